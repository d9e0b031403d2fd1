"""Runs of rows out of several pieces, compiled: a binary search and one copy of adjacent bytes a run.

Bytes are copied whatever the dtype, so one compiled function serves all fields.

Axis legend: P pieces, B runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit, typed

from kernels._threads import over_rows
from kernels.gather.reference import Pieces

_LEAST_BYTES = 1 << 18
"""Bytes that are worth a thread."""


def list_bytes(arrays: Sequence[np.ndarray]) -> Any:
    """The arrays as a compiled list of read-only flat bytes on the same memory."""
    found: Any = typed.List()  # pyright: ignore[reportCallIssue]
    for array in arrays:
        flat = array.reshape(-1).view(np.uint8)
        flat.flags.writeable = False  # one type for all: maps are read-only already
        found.append(flat)
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _copy(
    first_run: int, last_run: int, bytes_P: Any, offsets: np.ndarray, first_B: np.ndarray, length: int, row_bytes: int,
    runs: np.ndarray, is_inside_B: np.ndarray,
) -> None:  # fmt: skip
    size = length * row_bytes
    for b in range(first_run, last_run):
        row = first_B[b]
        low, high = 0, len(offsets) - 1  # offsets[low] <= row < offsets[high]; empty pieces are passed over
        while high - low > 1:
            middle = (low + high) // 2
            if offsets[middle] <= row:
                low = middle
            else:
                high = middle
        is_inside_B[b] = row + length <= offsets[low + 1]
        if is_inside_B[b]:
            start = (row - offsets[low]) * row_bytes
            source, target = bytes_P[low][start : start + size], runs[b]
            for i in range(size):
                target[i] = source[i]


def gather_runs(pieces: Pieces, first: np.ndarray, length: int, runs: np.ndarray, is_inside: np.ndarray) -> None:
    """Same contract as `kernels.gather.reference.gather_runs`."""
    row_bytes = int(np.prod(pieces.row_shape, dtype=np.int64)) * pieces.dtype.itemsize
    size = length * row_bytes
    over_rows(
        _copy, len(first), _LEAST_BYTES // max(size, 1) + 1, pieces.compiled, pieces.offsets, first, length, row_bytes,
        runs.reshape(-1).view(np.uint8).reshape(len(first), size), is_inside,
    )  # fmt: skip
