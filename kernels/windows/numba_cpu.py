"""Flat frames to canonical windows, compiled: one pass over the markers that a window keeps, no temporary arrays.

Windows of ImDy's six frames take two markers at a time (`_six_frames`), others one (`_any_frames`).
"""

from __future__ import annotations

import numpy as np

from kernels._streaming import is_past_cache
from kernels._threads import over_rows
from kernels.windows._any_frames import fill
from kernels.windows._six_frames import fill_six
from kernels.windows.reference import Disturbance

_LEAST_TOKENS = 4096
"""Tokens that are worth a thread."""


def make_tokens(
    marker_pos: np.ndarray,
    frame: np.ndarray,
    index: np.ndarray,
    origin: np.ndarray,
    heading: np.ndarray,
    is_mirrored: np.ndarray,
    disturbance: Disturbance | None,
    order: np.ndarray | None,
    half_width: int,
    rate: float,
    tokens: np.ndarray,
    mask: np.ndarray,
) -> None:
    """Same contract as `kernels.windows.reference.make_tokens`."""
    dtype = marker_pos.dtype
    if disturbance is None:
        empty = np.zeros(0, dtype)
        noise = (None, np.zeros(0, np.int64), empty, empty)
    else:
        sizes = (disturbance.offset_size.astype(dtype), disturbance.jitter_size.astype(dtype))
        noise = (np.ascontiguousarray(disturbance.table), disturbance.start.astype(np.int64, copy=False), *sizes)
    if index.itemsize > 4:  # of a number below those of 32 bits the lower half may be a marker's
        index = np.maximum(index, -1)
    address = tokens.ctypes.data
    past_cache = is_past_cache(tokens) and address % 16 == 0
    arguments = (
        marker_pos.reshape(-1), marker_pos.shape[1], frame.astype(np.int64, copy=False),
        np.ascontiguousarray(index, np.int32), origin.astype(dtype, copy=False), heading, is_mirrored,
        np.zeros((0, 0), np.int64) if order is None else np.ascontiguousarray(order, np.int64), *noise, rate,
        tokens.reshape(-1), mask.reshape(-1).view(np.uint8), past_cache,
    )  # fmt: skip
    least_rows = _LEAST_TOKENS // max(index.shape[1], 1) + 1
    if half_width == 2:
        over_rows(fill_six, len(frame), least_rows, *arguments, address % 32 // tokens.itemsize)
    else:
        over_rows(fill, len(frame), least_rows, *arguments, half_width)
