"""Named shapes and seeded inputs of the gather kernel, shared by tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Case:
    """Runs of rows from several pieces."""

    name: str
    """Identifier in test ids and benchmark rows."""
    rows: tuple[int, ...]
    """Rows of each piece."""
    row_shape: tuple[int, ...]
    """Shape of a row."""
    length: int
    """Rows of a run."""
    runs: int
    """Runs B."""
    dtype: str = "float32"
    """Of the arrays."""
    note: str
    """Why the case is there."""


CASES = (
    Case(name="one", rows=(1,), row_shape=(), length=1, runs=1, dtype="bool", note="smallest, one byte"),
    Case(name="none", rows=(4,), row_shape=(3,), length=2, runs=0, note="empty batch"),
    Case(name="prime", rows=(13, 0, 7, 31), row_shape=(5, 3), length=7, runs=29, note="odd counts, an empty piece"),
    Case(name="whole", rows=(6, 6), row_shape=(2,), length=6, runs=3, dtype="float64", note="runs as long as a piece"),
    Case(name="rows", rows=(40, 3), row_shape=(24, 3), length=1, runs=17, note="single rows"),
)
"""Shapes of the tests, small enough for the interpreter."""

BENCH_CASES = (
    Case(
        name="one_piece", rows=(500_000,), row_shape=(100, 3), length=6, runs=2400, note="section 1.9: 6 frames x 300"
    ),
    Case(name="shards", rows=(5_000,) * 100, row_shape=(100, 3), length=6, runs=2400, note="the same in 100 shards"),
)
"""Shapes of the benchmarks: 600 MB, many times the caches."""


def make(case: Case, seed: int = 0) -> dict[str, Any]:
    """Pieces (unjoined), first rows of the runs and their length."""
    rng = np.random.default_rng(seed)
    arrays = []
    for rows in case.rows:
        shape = (rows, *case.row_shape)
        values = rng.random(shape, dtype=np.float32)
        arrays.append(values > 0.5 if case.dtype == "bool" else values.astype(case.dtype, copy=False))
    offsets = np.concatenate(([0], np.cumsum(case.rows)))
    allowed = np.concatenate(
        [np.arange(start, start + rows - case.length + 1) for start, rows in zip(offsets, case.rows, strict=False)]
    )
    return {"arrays": arrays, "first": rng.choice(allowed, case.runs), "length": case.length}
