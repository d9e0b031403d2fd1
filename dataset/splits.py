"""Fixed splits by hash: which part a clip or a subject belongs to never depends on what else is in the data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dataset.manifest import SequenceInfo

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How sequences are divided."""

    by: Literal["clip", "subject"] = "clip"
    """What must not be in two parts: a clip (all its subjects, seeds and stretches together) or a subject."""
    validation: float = 0.1
    """Share of the clips or subjects held out for choosing settings."""
    test: float = 0.1
    """Share held out for evaluation."""
    salt: str = "imdylab-1"
    """Changing it gives another, independent split."""

    def __post_init__(self) -> None:
        if not (self.validation >= 0 and self.test >= 0 and self.validation + self.test < 1):
            raise ValueError(
                f"split: expected shares >= 0 that leave some to train, got {self.validation} and {self.test}"
            )


def part_of(key: str, config: SplitConfig | None = None) -> Part:
    """Part of a clip or subject name: its hash as a number in [0, 1) against the shares, test first."""
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
        held_out: Clips or subjects (as `config.by`) that belong to the test part whatever their hash.

    Returns:
        Ascending indices into `sequences` by part; the three together are all of them.

    Raises:
        ValueError: A held-out name does not occur.
    """
    config = config or SplitConfig()
    keys = [info.clip if config.by == "clip" else info.subject.name for info in sequences]
    fixed = set(held_out)
    if unknown := fixed - set(keys):
        raise ValueError(f"held_out: expected {config.by} names of this data set, found unknown {sorted(unknown)}")
    part = {key: "test" if key in fixed else part_of(key, config) for key in set(keys)}
    return {name: np.array([i for i, key in enumerate(keys) if part[key] == name], dtype=np.int64) for name in PARTS}
