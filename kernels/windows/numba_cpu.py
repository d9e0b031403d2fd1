"""Flat frames to canonical windows, compiled: one pass over the markers that a window keeps, no temporary arrays.

A token's positions stay in registers until their differences are written, with the first two and the last frame outside
the loop. Arrays are read and written as flat ones at unsigned positions, so that compiled code tests no sign.

Axis legend: G flat frames, P markers a frame, B windows, M tokens a window, Q = 2 W + 2 frames a window, W = half_width
before t and after t + 1, F = 6 Q features.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kernels._check import as_unsigned
from kernels._threads import over_rows
from kernels.windows.reference import Disturbance

_LEAST_TOKENS = 4096
"""Tokens that are worth a thread."""
_ONE, _TWO, _THREE, _FOUR, _FIVE = np.arange(1, 6).astype(np.uint64)


@njit(error_model="numpy", inline="always")
def _read(flat, first, origin, table_L, entry, noise, offset, jitter):  # noqa: ANN001, ANN202  compiled into its caller
    x = flat[first] - origin[0]
    y = flat[first + _ONE] - origin[1]
    z = flat[first + _TWO] - origin[2]
    if table_L is not None:  # decided when compiling: None has a type of its own
        x += offset * table_L[entry] + jitter * table_L[noise]
        y += offset * table_L[entry + _ONE] + jitter * table_L[noise + _ONE]
        z += offset * table_L[entry + _TWO] + jitter * table_L[noise + _TWO]
    return x, y, z


@njit(error_model="numpy", inline="always")
def _write(flat, here, x, y, z, scale, dx, dy, dz):  # noqa: ANN001, ANN202  compiled into its caller
    flat[here] = x
    flat[here + _ONE] = y
    flat[here + _TWO] = z
    flat[here + _THREE] = scale * dx
    flat[here + _FOUR] = scale * dy
    flat[here + _FIVE] = scale * dz


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(
    first_window: int, last_window: int, flat: np.ndarray, num_markers: int, frame_B: np.ndarray, index_BM: np.ndarray,
    origin_B3: np.ndarray, heading_B: np.ndarray, is_mirrored_B: np.ndarray, order_BQ: np.ndarray,
    table_L: np.ndarray | None, start_B: np.ndarray, offset_B: np.ndarray, jitter_B: np.ndarray, half_width: int, rate: float,
    tokens_BMF: np.ndarray, mask_BM: np.ndarray,
) -> None:  # fmt: skip
    num_tokens = index_BM.shape[1]
    num_frames = 2 * half_width + 2
    kind = flat.dtype.type
    step, half_step = kind(rate), kind(0.5 * rate)
    offset, jitter, entry, noise = kind(0.0), kind(0.0), np.uint64(0), np.uint64(0)
    row_Q = np.empty(num_frames, np.uint64)  # where each shown frame begins
    token_size, entry_size, six = np.uint64(6 * num_frames), np.uint64(3 * (num_frames + 1)), np.uint64(6)
    for b in range(first_window, last_window):
        c, s = kind(np.cos(heading_B[b])), kind(np.sin(heading_B[b]))
        side = kind(-1.0 if is_mirrored_B[b] else 1.0)
        origin = origin_B3[b, 0], origin_B3[b, 1], origin_B3[b, 2]
        for q in range(num_frames):
            shown = order_BQ[b, q] if len(order_BQ) else q
            row_Q[q] = np.uint64((frame_B[b] - half_width + shown) * num_markers * 3)
        if table_L is not None:
            offset, jitter = offset_B[b], jitter_B[b]
        tokens = tokens_BMF[b].reshape(-1)
        for m in range(num_tokens):
            marker = index_BM[b, m]
            if marker < 0:
                mask_BM[b, m] = False
                tokens_BMF[b, m] = kind(0.0)
                continue
            column, here = np.uint64(3 * marker), np.uint64(m) * token_size
            if table_L is not None:
                entry = start_B[b] + np.uint64(m) * entry_size
                noise = entry + _THREE
            x, y, z = _read(flat, row_Q[0] + column, origin, table_L, entry, noise, offset, jitter)
            # One sum instead of a test a number: it is not finite if any position is not.
            total = x + y + z
            x0, y0, z0 = c * x + s * y, side * (c * y - s * x), z
            noise += _THREE
            x, y, z = _read(flat, row_Q[1] + column, origin, table_L, entry, noise, offset, jitter)
            total += x + y + z
            x1, y1, z1 = c * x + s * y, side * (c * y - s * x), z
            _write(tokens, here, x0, y0, z0, step, x1 - x0, y1 - y0, z1 - z0)
            for q in range(2, num_frames):
                here += six
                noise += _THREE
                x, y, z = _read(flat, row_Q[q] + column, origin, table_L, entry, noise, offset, jitter)
                total += x + y + z
                x2, y2, z2 = c * x + s * y, side * (c * y - s * x), z
                _write(tokens, here, x1, y1, z1, half_step, x2 - x0, y2 - y0, z2 - z0)
                x0, y0, z0 = x1, y1, z1
                x1, y1, z1 = x2, y2, z2
            _write(tokens, here + six, x1, y1, z1, step, x1 - x0, y1 - y0, z1 - z0)
            is_present = np.isfinite(total)
            mask_BM[b, m] = is_present
            if not is_present:
                tokens_BMF[b, m] = kind(0.0)


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
        noise = (None, np.zeros(0, np.uint64), empty, empty)
    else:
        sizes = (disturbance.offset_size.astype(dtype), disturbance.jitter_size.astype(dtype))
        noise = (disturbance.table, as_unsigned(disturbance.start.astype(np.int64, copy=False)), *sizes)
    over_rows(
        _fill, len(frame), _LEAST_TOKENS // max(index.shape[1], 1) + 1,
        marker_pos.reshape(-1), marker_pos.shape[1], frame.astype(np.int64, copy=False),
        index.astype(np.int32, copy=False), origin.astype(dtype, copy=False), heading, is_mirrored,
        np.zeros((0, 0), np.int64) if order is None else order.astype(np.int64, copy=False), *noise, half_width, rate,
        tokens, mask,
    )  # fmt: skip
