"""Sequences of a data set on disk as training frames, with the solver's markers placed."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
from tqdm import tqdm

from dataset.splits import Part, SplitConfig, split_sequences
from dataset.store import Store
from model.frames import Frames, build_frames
from model.markers import place_pool


def recording_of(clip: str) -> str:
    """Recording that a clip was cut from: clips `source/file@start` of one file are stretches of one recording."""
    return clip.partition("@")[0]


def split_store(store: Store, config: SplitConfig, held_out: tuple[str, ...] = ()) -> dict[Part, np.ndarray]:
    """Numbers of the sequences in each part, where no recording is in two parts.

    Two stretches of one walk are hardly different motions: split by clip alone, one would be tested on the other.

    Args:
        store: Data set.
        config: Shares; split by clip means by recording here.
        held_out: Clips, recordings or, where the split is by subject, subjects that belong to the test part.

    Raises:
        ValueError: A held-out name does not occur.
    """
    infos = [dataclasses.replace(info, clip=recording_of(info.clip)) for info in store.sequences]
    names = [recording_of(name) for name in held_out] if config.by == "clip" else list(held_out)
    return split_sequences(infos, config, held_out=names)


def load_frames(store: Store, numbers: np.ndarray, label: str, smoothing: float | None = None) -> Frames:
    """Read sequences and place their markers, with a progress bar.

    Raises:
        ValueError: No sequence, or none long enough.
    """
    if not len(numbers):
        raise ValueError(f"{store.path}: the split leaves no {label} sequence of {len(store)}; collect more clips")
    sequences = [store.read(int(number)) for number in numbers]
    return build_frames(
        sequences, place_pool, smoothing=smoothing,
        progress=lambda items: tqdm(items, desc=f"{label} markers", unit="sequence", file=sys.stderr, disable=None),
    )  # fmt: skip
