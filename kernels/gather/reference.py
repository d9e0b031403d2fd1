"""Runs of rows out of several pieces, one at a time: the specification.

Axis legend: P pieces, G rows of all pieces, B runs, L rows a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np


class Pieces:
    """Arrays end to end, seen as one array of G rows. Made by `kernels.gather.join`, which checks them."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = tuple(np.asarray(array) for array in arrays)
        """The pieces, P of them; maps are seen as plain arrays on the same memory."""
        self.dtype = self.arrays[0].dtype
        """Of every piece."""
        self.row_shape = self.arrays[0].shape[1:]
        """Shape of a row."""
        self.offsets = np.concatenate(([0], np.cumsum([len(array) for array in self.arrays], dtype=np.int64)))
        """Piece p holds rows offsets[p] to offsets[p + 1], shape (P + 1,), int64."""

    @property
    def num_rows(self) -> int:
        """Rows of all pieces, G."""
        return int(self.offsets[-1])

    @cached_property
    def compiled(self) -> Any:
        """The pieces in the form that compiled code takes, made once: a list of flat byte arrays."""
        from kernels.gather.numba_cpu import list_bytes

        return list_bytes(self.arrays)


def gather_runs(pieces: Pieces, first: np.ndarray, length: int, runs: np.ndarray, is_inside: np.ndarray) -> None:
    """runs[b, k] = row first[b] + k of the joined arrays; a run that leaves its piece is marked and not copied.

    Args:
        pieces: Joined arrays.
        first: First row of each run, shape (B,), int64, within [0, G).
        length: L, rows of a run.
        runs: Written, shape (B, L, *row).
        is_inside: Written: whether the run lies in one piece, shape (B,), bool.
    """
    for b, row in enumerate(first):
        piece = int(np.searchsorted(pieces.offsets, row, side="right")) - 1
        start = int(row - pieces.offsets[piece])
        is_inside[b] = start + length <= len(pieces.arrays[piece])
        if is_inside[b]:
            runs[b] = pieces.arrays[piece][start : start + length]
