"""Flat frames to canonical windows, compiled: one pass over the markers that a window keeps, no temporary arrays.

A position is one register of three numbers and a spare: two of them are added and turned as quickly as two numbers.
Positions of a token stay in registers until their differences are written, with the first two and the last frame outside
the loop. A window's tokens are put together in the first cache, while the markers of the next window are on their way to
it, and leave in one piece.

Axis legend: G flat frames, P markers a frame, B windows, M tokens a window, Q = 2 W + 2 frames a window, W = half_width
before t and after t + 1, F = 6 Q features.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kernels._lane_memory import finish_stores, load_3, prefetch, put, store
from kernels._lanes import lane, pack_4, spread_4, yxzw
from kernels._streaming import copy_out, is_past_cache
from kernels._threads import over_rows
from kernels.windows.reference import Disturbance

_LEAST_TOKENS = 4096
"""Tokens that are worth a thread."""


@njit(error_model="numpy", inline="always")
def _read(flat, first, origin, table_L, entry, noise, offset, jitter):  # noqa: ANN001, ANN202  compiled into its caller
    position = load_3(flat, first) - origin
    if table_L is not None:  # decided when compiling: None has a type of its own
        position = position + (offset * load_3(table_L, entry) + jitter * load_3(table_L, noise))
    return position


@njit(error_model="numpy", inline="always")
def _find_rows(row_Q, frame, order_BQ, b, half_width, num_markers):  # noqa: ANN001, ANN202  compiled into its caller
    """Where each shown frame of a window begins."""
    for q in range(len(row_Q)):
        shown = order_BQ[b, q] if len(order_BQ) else q
        row_Q[q] = (frame - half_width + shown) * num_markers * 3


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(
    first_window: int, last_window: int, flat: np.ndarray, num_markers: int, frame_B: np.ndarray, index_BM: np.ndarray,
    origin_B3: np.ndarray, heading_B: np.ndarray, is_mirrored_B: np.ndarray, order_BQ: np.ndarray,
    table_L: np.ndarray | None, start_B: np.ndarray, offset_B: np.ndarray, jitter_B: np.ndarray, half_width: int, rate: float,
    tokens: np.ndarray, mask_BM: np.ndarray, past_cache: bool,
) -> None:  # fmt: skip
    num_tokens = index_BM.shape[1]
    num_frames = 2 * half_width + 2
    token_size, window_size = 6 * num_frames, 6 * num_frames * num_tokens
    kind = flat.dtype.type
    zero, one = kind(0.0), kind(1.0)
    step, half_step = spread_4(kind(rate)), spread_4(kind(0.5 * rate))
    offset, jitter, entry, noise = spread_4(zero), spread_4(zero), 0, 0
    row_Q, coming_Q = np.empty(num_frames, np.int64), np.empty(num_frames, np.int64)
    window = np.empty(window_size + 1, flat.dtype)  # the spare number of the last position goes to the last place
    for b in range(first_window, last_window):
        coming = min(b + 1, last_window - 1)
        _find_rows(row_Q, frame_B[b], order_BQ, b, half_width, num_markers)
        _find_rows(coming_Q, frame_B[coming], order_BQ, coming, half_width, num_markers)
        c, s = kind(np.cos(heading_B[b])), kind(np.sin(heading_B[b]))
        side = kind(-1.0 if is_mirrored_B[b] else 1.0)
        origin = pack_4(origin_B3[b, 0], origin_B3[b, 1], origin_B3[b, 2], zero)
        along, across = pack_4(c, side * c, one, zero), pack_4(s, -side * s, zero, zero)
        if table_L is not None:
            offset, jitter = spread_4(offset_B[b]), spread_4(jitter_B[b])
        for m in range(num_tokens):
            column = 3 * index_BM[coming, m]
            for q in range(num_frames):
                prefetch(flat, coming_Q[q] + column)
            marker, here = index_BM[b, m], m * token_size
            is_present = marker >= 0
            if is_present:
                column = 3 * marker
                if table_L is not None:
                    entry = start_B[b] + m * 3 * (num_frames + 1)
                    noise = entry + 3
                seen = _read(flat, row_Q[0] + column, origin, table_L, entry, noise, offset, jitter)
                before = along * seen + across * yxzw(seen)
                seen = _read(flat, row_Q[1] + column, origin, table_L, entry, noise + 3, offset, jitter)
                now = along * seen + across * yxzw(seen)
                # One sum instead of a test a number: it is not finite if any position is not.
                total = before + now
                store(window, here, before)
                store(window, here + 3, step * (now - before))
                for q in range(2, num_frames):
                    here += 6
                    seen = _read(flat, row_Q[q] + column, origin, table_L, entry, noise + 3 * q, offset, jitter)
                    after = along * seen + across * yxzw(seen)
                    total = total + after
                    store(window, here, now)
                    store(window, here + 3, half_step * (after - before))
                    before, now = now, after
                store(window, here + 6, now)
                store(window, here + 9, step * (now - before))
                is_present = np.isfinite(lane(total, 0) + lane(total, 1) + lane(total, 2))
            if not is_present:
                for i in range(m * token_size, (m + 1) * token_size):
                    put(window, i, zero)
            mask_BM[b, m] = is_present
        copy_out(tokens, b * window_size, window, window_size, past_cache)
    finish_stores()


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
        noise = (np.ascontiguousarray(disturbance.table), disturbance.start.astype(np.int64, copy=False), *sizes)
    over_rows(
        _fill, len(frame), _LEAST_TOKENS // max(index.shape[1], 1) + 1,
        marker_pos.reshape(-1), marker_pos.shape[1], frame.astype(np.int64, copy=False),
        index.astype(np.int32, copy=False), origin.astype(dtype, copy=False), heading, is_mirrored,
        np.zeros((0, 0), np.int64) if order is None else order.astype(np.int64, copy=False), *noise, half_width, rate,
        tokens.reshape(-1), mask, is_past_cache(tokens),
    )  # fmt: skip
