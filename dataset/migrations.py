"""Older schemas of a shard and the steps from each to the next: code, so that it can be tested.

A step takes the manifest and the arrays of schema n and gives those of n + 1. `dataset.migrate` writes the result as a new data
set; a shard is never changed. Schema 1 is the first, so there is no step yet: whoever changes the schema adds one here, with a
test that starts from a stored shard of the old one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from dataset.fields import FIELDS
from dataset.manifest import COPIED, SCHEMA_VERSION, Dropped, read_verified
from dataset.schema import Dynamics, Subject
from dataset.shard import hash_file

Arrays = dict[str, np.ndarray]
"""Arrays of a shard by name, memory-mapped, sequences end to end."""
Step = Callable[[dict[str, Any], Arrays], tuple[dict[str, Any], Arrays]]
"""Manifest and arrays of one schema to those of the next."""

STEPS: Final[Mapping[int, Step]] = MappingProxyType({})
"""Step from each older schema, by its number."""


def migrate_shard(
    shard: Path, steps: Mapping[int, Step] = STEPS, *, newest: int = SCHEMA_VERSION
) -> tuple[list[Dynamics], list[Dropped]]:
    """Sequences and dropped items of a shard of this or any older schema, as today's records.

    Args:
        shard: Complete shard.
        steps: Steps by the schema they start from.
        newest: Schema to arrive at.

    Raises:
        ValueError: The shard is incomplete or damaged, of a later schema, or of one without a step.
    """
    manifest = read_verified(shard)
    arrays = {entry["name"]: _load(shard, entry) for entry in manifest["fields"]}
    while (schema := manifest["schema"]) != newest:
        if schema not in steps:
            known = sorted({*steps, newest})
            raise ValueError(f"{shard}: expected one of the schemas {known}, found {schema}; update this program")
        manifest, arrays = steps[schema](json.loads(json.dumps(manifest)), dict(arrays))
        if manifest["schema"] != schema + 1:
            raise AssertionError(f"the step from schema {schema} gave schema {manifest['schema']}")
    return _records(manifest, arrays), [Dropped(**row) for row in manifest["dropped"]]


def _load(shard: Path, entry: dict[str, Any]) -> np.ndarray:
    path = shard / entry["file"]
    if not path.is_file() or hash_file(path) != entry["sha256"]:
        raise ValueError(f"{path}: expected sha256 {entry['sha256']}, found another file or none; delete the shard")
    return np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None, allow_pickle=False)


def _records(manifest: dict[str, Any], arrays: Arrays) -> list[Dynamics]:
    people = [Subject(**row | {"shape": tuple(row["shape"])}) for row in manifest["subjects"]]
    records = []
    for number, row in enumerate(manifest["sequences"]):
        parts = {}
        for field in FIELDS:
            start = row["start"] if field.per == "frame" else row["start"] - number
            parts[field.name] = field.cast(arrays[field.name][start : start + field.rows_of(row["num_frames"])])
        facts = {key: row[key] for key in COPIED} | {"flags": tuple(row["flags"])}
        records.append(Dynamics(**facts, subject=people[row["subject"]], **parts))
    return records
