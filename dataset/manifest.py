"""The manifest of a shard: fields, subjects, sequences and dropped items, and the identity of the data.

A manifest depends on the data alone (no time, host or worker). Its `content` is a hash over all of it, the sha256 of
every file included, so equal content means equal data.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dataset.fields import FIELD
from dataset.schema import FRAME_RATE, Dynamics, Subject
from dataset.skeleton import BODY_NAMES, JOINT_NAMES

FORMAT: Final = "imdylab-dynamics"
SCHEMA_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
SUCCESS: Final = "_SUCCESS"
OFFSETS: Final = "offsets"

LANDING: Final = "transient"
"""Reason of what every stretch loses at its start, where the body lands on the floor: no failure."""
FLOAT32: Final = "float32"
"""Flag of records of an engine that computes in float32: its equations of motion close to rounding, far above float64's."""
FAILURES: Final = ("unreadable", "no_solution", "error", "crashed")
"""Reasons for which nothing came of a clip though it was not tried to its end: a later run may try again."""

RecordKey = tuple[str, str, int, float, str]
"""Solution, subject, seed, start and perturbation: what tells a record from others of other names."""
COPIED: Final = ("name", "clip", "seed", "substep", "clip_start", "controller", "solution", "perturbation", "flags")
"""Attributes of `Dynamics` that are stored in the manifest as they are."""


@dataclass(frozen=True, kw_only=True)
class SequenceInfo:
    """What the manifest says about a sequence. Meanings as in `dataset.schema.Dynamics`."""

    name: str
    """Identifier, unique in the data set."""
    clip: str
    """`source/name` of the imitated motion."""
    subject: Subject
    """Simulated person."""
    seed: int
    """Seed of the controller."""
    substep: float
    """Physics step [s]."""
    clip_start: float
    """Time of the clip at the first frame [s]."""
    controller: str
    """What drove the body."""
    solution: str
    """Hash of the replayed solution, or empty."""
    perturbation: str
    """Disturbance applied on purpose, or empty."""
    flags: tuple[str, ...]
    """Words a user should know."""
    start: int
    """First frame in the shard's arrays."""
    num_frames: int
    """Frames T; there are T - 1 transitions."""

    @property
    def record_key(self) -> RecordKey | None:
        """What it is a record of, equal for twins under two names; None if not known."""
        return record_key(self)


def record_key(item: SequenceInfo | Dynamics) -> RecordKey | None:
    """As `SequenceInfo.record_key`."""
    if not item.solution:
        return None
    return item.solution, item.subject.name, item.seed, item.clip_start, item.perturbation


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A stretch that was asked for and is not in the data."""

    clip: str
    """`source/name` of the motion."""
    subject: str
    """Name of the subject."""
    seed: int
    """Seed of the controller."""
    reason: str
    """One word or short phrase; `dataset.inspect` counts by it."""
    seconds: float
    """Length of the stretch [s]."""


def make_manifest(
    sequences: Sequence[Dynamics | SequenceInfo], dropped: Sequence[Dropped], files: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Manifest of a new shard.

    Args:
        sequences: Records (or what a manifest says about them) in storage order.
        dropped: Stretches that failed.
        files: File name, dtype, shape, bytes and sha256 of each array, by field name (and `offsets`).
    """
    subjects = list(dict.fromkeys(item.subject for item in sequences))
    rows: list[dict[str, Any]] = []
    start = 0
    for item in sequences:
        row: dict[str, Any] = {key: getattr(item, key) for key in COPIED} | {"flags": list(item.flags)}
        rows.append(row | {"subject": subjects.index(item.subject), "start": start, "num_frames": item.num_frames})
        start += item.num_frames
    manifest = {
        "format": FORMAT,
        "schema": SCHEMA_VERSION,
        "frame_rate": FRAME_RATE,
        "counts": {
            "sequences": len(sequences),
            "subjects": len(subjects),
            "clips": len({item.clip for item in sequences}),
            "frames": start,
            "transitions": start - len(sequences),
            "dropped": len(dropped),
        },
        "bodies": list(BODY_NAMES),
        "joints": list(JOINT_NAMES),
        "fields": [_describe(name) | entry for name, entry in files.items()],
        "subjects": [dataclasses.asdict(subject) | {"shape": list(subject.shape)} for subject in subjects],
        "sequences": rows,
        "dropped": [dataclasses.asdict(item) for item in dropped],
    }
    return {"content": content_of(manifest)} | manifest


def _describe(name: str) -> dict[str, Any]:
    if name == OFFSETS:
        return {"name": name, "per": "sequence", "unit": "frame", "frame": "-", "description": "first frame of each"}
    field = FIELD[name]
    return {key: getattr(field, key) for key in ("name", "per", "unit", "frame", "description")}


def content_of(manifest: dict[str, Any]) -> str:
    """Identity of the data: sha256 of the manifest in canonical form, without the identity itself."""
    bare = {key: value for key, value in manifest.items() if key != "content"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()).hexdigest()


def encode_manifest(manifest: dict[str, Any]) -> bytes:
    """Bytes of the manifest file."""
    return (json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


class OtherSchemaError(ValueError):
    """A shard of another schema version: sound, but not for this program."""


def read_manifest(shard: Path) -> dict[str, Any]:
    """Manifest of a complete shard of today's schema.

    Raises:
        ValueError: The shard is incomplete, its manifest was changed, or it is of another format.
        OtherSchemaError: It is of another schema version.
    """
    manifest, path = read_verified(shard), shard / MANIFEST
    if manifest["schema"] != SCHEMA_VERSION:
        advice = (
            "bring it up with `python -m dataset.migrate`"
            if manifest["schema"] < SCHEMA_VERSION
            else "update this program"
        )
        raise OtherSchemaError(
            f"{path}: expected schema version {SCHEMA_VERSION}, found {manifest['schema']}; {advice}"
        )
    if manifest["bodies"] != list(BODY_NAMES):
        raise ValueError(f"{path}: expected the bodies {BODY_NAMES}, found {manifest['bodies']}")
    return manifest


def read_verified(shard: Path) -> dict[str, Any]:
    """Manifest of a complete shard of any schema.

    Raises:
        ValueError: The shard is incomplete, its manifest was changed, or it is of another format.
    """
    path = shard / MANIFEST
    try:
        expected = (shard / SUCCESS).read_text().strip()
    except OSError:
        raise ValueError(
            f"{shard}: expected a complete shard with {SUCCESS}, found none; it was cut off while being written:"
            " delete the folder and collect again"
        ) from None
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(
            f"{path}: expected the shard's manifest, found no file; delete the shard and collect again"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if expected != found:
        raise ValueError(
            f"{path}: expected sha256 {expected} as in {SUCCESS}, found {found}; the manifest was changed:"
            " delete the shard and collect again"
        )
    manifest = json.loads(data)
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT!r}, found {manifest.get('format')!r}")
    for entry in manifest["fields"]:
        if entry["file"] != f"{entry['name']}.npy" or not entry["name"].isidentifier():
            raise ValueError(
                f"{path}: expected a file of the shard for each field, found {entry['file']!r}; delete the shard"
            )
    return manifest
