"""Sequences of a data set on disk as training frames, with the solver's markers placed."""

from __future__ import annotations

import sys

import numpy as np
from tqdm import tqdm

from dataset.store import Store
from model.frames import Frames, build_frames
from model.markers import place_pool


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
