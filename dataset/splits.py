"""Fixed splits by hash: which part a recording or a subject belongs to never depends on what else is in the data set.

A recording comes under several names: as stretches, as a clip of two packages, as two file formats. `recording_of` is the
one place that knows; tested on the motion it was trained on, a network looks better than it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

import numpy as np

from dataset.manifest import SequenceInfo

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
_EXTENSIONS: Final = (".amc", ".bvh", ".npz", ".txt")
_START: Final = re.compile(r"@(\d+(?:\.\d+)?)$")
"""What names a stretch of a file: where it begins [s]."""
_CMU_TAKE: Final = re.compile(r"0*(\d{1,3})_0*(\d{1,2})(?:_\d+)?(?:_poses|_stageii)?")
"""Subject and take of the CMU database, then the piece of a take that was cut up, then what AMASS appends."""
_DEEPMIMIC: Final = "humanoid3d_"


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How sequences are divided."""

    by: Literal["recording", "subject"] = "recording"
    """What must not be in two parts: a recording (all its names, stretches, subjects and seeds together) or a subject."""
    validation: float = 0.1
    """Share of the recordings or subjects held out for choosing settings."""
    test: float = 0.1
    """Share held out for evaluation."""
    salt: str = "imdylab-1"
    """Changing it gives another, independent split."""

    def __post_init__(self) -> None:
        if not (self.validation >= 0 and self.test >= 0 and self.validation + self.test < 1):
            raise ValueError(
                f"split: expected shares >= 0 that leave some to train, got {self.validation} and {self.test}"
            )


def recording_of(clip: str) -> str:
    """The recording that a clip shows, by one name whatever file or package it was read from.

    - `source/file@start`, a stretch, is of recording `source/file`; so is `source/source/file`, and the file with its
      extension.
    - A take of the CMU database (`01/01_01`, or SUBJECT_TAKE below anything called cmu) is `cmu/SUBJECT_TAKE`, as ASF + AMC,
      BVH or AMASS and whole or in numbered pieces.
    - `embedded/X`, the clips of the `pybullet` wheel, and DeepMimic's own file `humanoid3d_X` are `humanoid3d/X`.

    Names are all that is looked at: a copy under a new name is a recording of its own.

    Args:
        clip: Name of a clip in a data set, a list of stretches or a motion folder.
    """
    path = PurePosixPath(_START.sub("", clip))
    if path.suffix.lower() in _EXTENSIONS:
        path = path.with_suffix("")
    parts = list(path.parts)
    if len(parts) > 2 and parts[0] == parts[1]:
        del parts[0]
    *folders, name = parts
    if name.startswith(_DEEPMIMIC) or folders == ["embedded"]:
        return f"humanoid3d/{name.removeprefix(_DEEPMIMIC)}"
    take = _CMU_TAKE.fullmatch(name)
    if take and (any("cmu" in folder.lower() for folder in folders) or folders[-1:] == [name.partition("_")[0]]):
        return f"cmu/{int(take[1]):02d}_{int(take[2]):02d}"
    return "/".join(parts)


def unique_seconds(stretches: Iterable[tuple[str, float, float]]) -> float:
    """Duration of the motion in some stretches [s], where what several show of one recording counts once.

    Two copies of a recording are taken to share their clock: the files start together.

    Args:
        stretches: Clip, first and last moment [s]. The moments count from the start of the file, or from `start` where the
            clip is itself a stretch, `source/file@start`.
    """
    spans: dict[str, list[tuple[float, float]]] = {}
    for clip, begin, end in stretches:
        start = _START.search(clip)
        offset = float(start[1]) if start else 0.0
        spans.setdefault(recording_of(clip), []).append((offset + begin, offset + end))
    total = 0.0
    for recording in spans.values():
        covered = -np.inf
        for begin, end in sorted(recording):
            total += max(0.0, end - max(begin, covered))
            covered = max(covered, end)
    return total


def part_of(key: str, config: SplitConfig | None = None) -> Part:
    """Part of a recording or subject: the hash of its name as a number in [0, 1) against the shares, test first."""
    config = config or SplitConfig()
    digest = hashlib.sha256(f"{config.salt}\0{key}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < config.test:
        return "test"
    return "validation" if place < config.test + config.validation else "train"


def split_sequences(
    sequences: Iterable[SequenceInfo], config: SplitConfig | None = None, *, held_out: Iterable[str] = ()
) -> dict[Part, np.ndarray]:
    """Numbers of the sequences in each part.

    Args:
        sequences: Sequences of a store, in order.
        config: How to divide.
        held_out: What belongs to the test part whatever its hash: subjects where the split is by subject, else clips or
            recordings, under any of their names.

    Returns:
        Ascending indices into `sequences` by part; the three together are all of them.

    Raises:
        ValueError: A held-out name does not occur.
    """
    config = config or SplitConfig()
    name_of = recording_of if config.by == "recording" else str
    keys = [name_of(info.clip if config.by == "recording" else info.subject.name) for info in sequences]
    fixed = {name_of(name): name for name in held_out}
    if unknown := sorted(fixed[key] for key in fixed.keys() - set(keys)):
        raise ValueError(f"held_out: expected {config.by} names of this data set, found unknown {unknown}")
    part = {key: "test" if key in fixed else part_of(key, config) for key in set(keys)}
    return {name: np.array([i for i, key in enumerate(keys) if part[key] == name], dtype=np.int64) for name in PARTS}
