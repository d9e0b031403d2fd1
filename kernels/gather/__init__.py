"""Runs of rows out of arrays that lie in several pieces: random windows of a data set that is a folder of shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels import _check
from kernels._dispatch import Backend, pick
from kernels.gather.reference import Pieces

BACKENDS = (
    Backend(name="numba", module="numba_cpu", requires=("numba",)),
    Backend(name="reference", module="reference"),
)
"""For NumPy arrays, best first."""

__all__ = ["BACKENDS", "Pieces", "gather_runs", "join"]


def join(arrays: Sequence[np.ndarray]) -> Pieces:
    """Arrays end to end as one, without copying them.

    Args:
        arrays: At least one, of one dtype and one row shape, C-contiguous; memory maps stay memory maps.

    Raises:
        ValueError: None is given, or they differ in dtype or row shape, or one is not contiguous or holds objects.
    """
    if not arrays:
        raise ValueError("arrays: expected at least one array, got none")
    first = arrays[0]
    for number, array in enumerate(arrays):
        if array.ndim < 1 or array.dtype != first.dtype or array.shape[1:] != first.shape[1:] or array.dtype.hasobject:
            raise ValueError(
                f"arrays: expected rows of {first.dtype} {first.shape[1:]} in all as in the first, got {array.dtype} "
                f"{array.shape[1:]} in number {number}"
            )
        _check.check_contiguous(**{f"arrays[{number}]": array})
    return Pieces(arrays)


def gather_runs(
    pieces: Pieces, first: np.ndarray, length: int, *, out: np.ndarray | None = None, backend: str = "auto"
) -> np.ndarray:
    """Rows first[b] to first[b] + length - 1 of the joined arrays: out[b, k] = row first[b] + k.

    Args:
        pieces: Joined arrays (`join`), G rows in all.
        first: First row of each run, counted over all pieces, shape (B,), integers.
        length: Rows of a run, at least 1. A run lies in one piece, as a window of one sequence does.
        out: Array to write instead of a new one, shape (B, length, *row), dtype of the pieces, contiguous.
        backend: `auto`, `numba` or `reference`.

    Returns:
        Shape (B, length, *row), dtype of the pieces.

    Raises:
        ValueError: A run reaches out of its piece or of the rows, or a shape or dtype is wrong.
        RuntimeError: The named backend cannot run here.
    """
    sizes = _check.bind_axes(first=(first, "B"))
    if length < 1:
        raise ValueError(f"length: expected at least 1 row, got {length}")
    _check.check_index("first", first, pieces.num_rows)
    shape = (sizes["B"], length, *pieces.row_shape)
    runs = np.empty(shape, pieces.dtype) if out is None else out
    _check.check_out("out", runs, shape, pieces.dtype)
    is_inside = np.empty(sizes["B"], bool)
    pick(__name__, BACKENDS, backend).gather_runs(pieces, first.astype(np.int64, copy=False), length, runs, is_inside)
    if not is_inside.all():
        bad = int(first[np.flatnonzero(~is_inside)[0]])
        raise ValueError(
            f"first: expected runs of {length} rows inside one piece, got one from row {bad} beyond its end"
        )
    return runs
