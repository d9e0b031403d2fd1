"""What every exported file says about a sequence and its arrays, in JSON's own types."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from dataset.fields import FIELDS
from dataset.manifest import COPIED
from dataset.provenance import plain
from dataset.schema import Dynamics


def sequence_facts(item: Dynamics) -> dict[str, Any]:
    """Name, clip, subject, seed and the rest of what the manifest holds about a sequence."""
    return {key: plain(getattr(item, key)) for key in COPIED} | {"subject": dataclasses.asdict(item.subject)}


def field_facts() -> dict[str, dict[str, Any]]:
    """Row, unit, frame and meaning of each stored array, by name."""
    names = ("per", "unit", "frame", "description")
    return {field.name: {key: getattr(field, key) for key in names} for field in FIELDS}


def file_stem(name: str) -> str:
    """Name of a sequence as a file name."""
    return re.sub(r"[^\w.-]+", "_", name)
