"""Flat frames to canonical windows, compiled: one pass over the markers that a window keeps, no temporary arrays.

A position is one register of three numbers and a spare: two of them are added and turned as quickly as two numbers.
Positions of a token stay in registers until it is known to be whole; its frames, six numbers each, are then packed two by two
into three registers and written, past the caches where the batch is large. Meanwhile the frames of the next window are on
their way to the first cache.

Axis legend: G flat frames, P markers a frame, B windows, M tokens a window, Q = 2 W + 2 frames a window, W = half_width
before t and after t + 1, F = 6 Q features.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kernels._lane_memory import finish_stores, load_3, load_4, prefetch, store, store_past_cache
from kernels._lanes import is_finite, pack_4, spread_4, xyz_x, yxzw, yz_xy, z_xyz
from kernels._streaming import is_past_cache
from kernels._threads import over_rows
from kernels.windows.reference import Disturbance

_LEAST_TOKENS = 4096
"""Tokens that are worth a thread."""


@njit(error_model="numpy", inline="always")
def _place(flat, first, origin, along, across, table_L, entry, q, offset, jitter):  # noqa: ANN001, ANN202  compiled into its caller
    """A position in the window's frame."""
    seen = load_3(flat, first) - origin
    if table_L is not None:  # decided when compiling: None has a type of its own
        seen = seen + (offset * load_3(table_L, entry) + jitter * load_3(table_L, entry + 3 + 3 * q))
    return along * seen + across * yxzw(seen)


@njit(error_model="numpy", inline="always")
def _write(tokens, at, place, velocity, next_place, next_velocity, past_cache):  # noqa: ANN001, ANN202  likewise
    """Two frames of a token."""
    first, second, third = xyz_x(place, velocity), yz_xy(velocity, next_place), z_xyz(next_place, next_velocity)
    if past_cache:
        store_past_cache(tokens, at, first)
        store_past_cache(tokens, at + 4, second)
        store_past_cache(tokens, at + 8, third)
    else:
        store(tokens, at, first)
        store(tokens, at + 4, second)
        store(tokens, at + 8, third)


@njit(error_model="numpy", inline="always")
def _find_rows(row_Q, frame, order_BQ, b, half_width, num_markers):  # noqa: ANN001, ANN202  compiled into its caller
    """Where each shown frame of a window begins."""
    for q in range(len(row_Q)):
        shown = order_BQ[b, q] if len(order_BQ) else q
        row_Q[q] = (frame - half_width + shown) * num_markers * 3


@njit(error_model="numpy", inline="always")
def _write_six(tokens, at, p0, p1, p2, p3, p4, p5, step, half_step, past_cache):  # noqa: ANN001, ANN202  likewise
    """A token of ImDy's six frames."""
    _write(tokens, at, p0, step * (p1 - p0), p1, half_step * (p2 - p0), past_cache)
    _write(tokens, at + 12, p2, half_step * (p3 - p1), p3, half_step * (p4 - p2), past_cache)
    _write(tokens, at + 24, p4, half_step * (p5 - p3), p5, step * (p5 - p4), past_cache)


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(  # noqa: PLR0915  loops in functions of their own would count references to arrays in every round
    first_window: int, last_window: int, flat: np.ndarray, num_markers: int, frame_B: np.ndarray, index_BM: np.ndarray,
    origin_B3: np.ndarray, heading_B: np.ndarray, is_mirrored_B: np.ndarray, order_BQ: np.ndarray,
    table_L: np.ndarray | None, start_B: np.ndarray, offset_B: np.ndarray, jitter_B: np.ndarray, half_width: int, rate: float,
    tokens: np.ndarray, mask_BM: np.ndarray, past_cache: bool,
) -> None:  # fmt: skip
    num_tokens = index_BM.shape[1]
    num_frames = 2 * half_width + 2
    kind = flat.dtype.type
    zero, one = kind(0.0), kind(1.0)
    nothing = spread_4(zero)
    step, half_step = spread_4(kind(rate)), spread_4(kind(0.5 * rate))
    scale_Q = np.empty(4 * num_frames, flat.dtype)
    for q in range(num_frames):
        store(scale_Q, 4 * q, step if q in (0, num_frames - 1) else half_step)
    offset, jitter, entry = spread_4(zero), spread_4(zero), 0
    row_Q = np.empty(num_frames, np.int64)
    place_Q = np.empty(4 * (num_frames + 2), flat.dtype)  # the first and the last position stand twice
    # A window's frames lie together: fetched a share a token, or, where few of many markers are shown, these alone.
    share = -(-3 * num_markers * num_frames // max(num_tokens, 1) // 16) * 16
    at = first_window * num_tokens * 6 * num_frames
    for b in range(first_window, last_window):
        next_b = min(b + 1, last_window - 1)
        coming = (frame_B[next_b] - half_width) * num_markers * 3
        _find_rows(row_Q, frame_B[b], order_BQ, b, half_width, num_markers)
        c, s = kind(np.cos(heading_B[b])), kind(np.sin(heading_B[b]))
        side = kind(-1.0 if is_mirrored_B[b] else 1.0)
        origin = pack_4(origin_B3[b, 0], origin_B3[b, 1], origin_B3[b, 2], zero)
        along, across = pack_4(c, side * c, one, zero), pack_4(s, -side * s, zero, zero)
        if table_L is not None:
            offset, jitter = spread_4(offset_B[b]), spread_4(jitter_B[b])
        for m in range(num_tokens):
            if share <= 16 * num_frames:
                for i in range(coming + m * share, coming + (m + 1) * share, 16):
                    prefetch(flat, i)
            else:
                for q in range(num_frames):
                    prefetch(flat, coming + 3 * (q * num_markers + index_BM[next_b, m]))
            marker = index_BM[b, m]
            if table_L is not None:
                entry = start_B[b] + m * 3 * (num_frames + 1)
            is_present = marker >= 0
            if is_present and num_frames == 6:  # ImDy's: positions stay in registers
                p0 = _place(flat, row_Q[0] + 3 * marker, origin, along, across, table_L, entry, 0, offset, jitter)
                p1 = _place(flat, row_Q[1] + 3 * marker, origin, along, across, table_L, entry, 1, offset, jitter)
                p2 = _place(flat, row_Q[2] + 3 * marker, origin, along, across, table_L, entry, 2, offset, jitter)
                p3 = _place(flat, row_Q[3] + 3 * marker, origin, along, across, table_L, entry, 3, offset, jitter)
                p4 = _place(flat, row_Q[4] + 3 * marker, origin, along, across, table_L, entry, 4, offset, jitter)
                p5 = _place(flat, row_Q[5] + 3 * marker, origin, along, across, table_L, entry, 5, offset, jitter)
                is_present = is_finite((p1 - p0) + (p4 - p2) + (p5 - p3))  # in which every position takes part
                if is_present:
                    _write_six(tokens, at, p0, p1, p2, p3, p4, p5, step, half_step, past_cache)
            elif is_present:
                total = nothing
                for q in range(num_frames):
                    place = _place(
                        flat, row_Q[q] + 3 * marker, origin, along, across, table_L, entry, q, offset, jitter
                    )
                    total = total + place
                    store(place_Q, 4 * (q + 1), place)
                is_present = is_finite(total)
                if is_present:
                    store(place_Q, 0, load_4(place_Q, 4))
                    store(place_Q, 4 * (num_frames + 1), load_4(place_Q, 4 * num_frames))
                    before, now = load_4(place_Q, 0), load_4(place_Q, 4)
                    for q in range(0, num_frames, 2):
                        after, second = load_4(place_Q, 4 * (q + 2)), load_4(place_Q, 4 * (q + 3))
                        velocity = load_4(scale_Q, 4 * q) * (after - before)
                        next_velocity = load_4(scale_Q, 4 * (q + 1)) * (second - now)
                        _write(tokens, at + 6 * q, now, velocity, after, next_velocity, past_cache)
                        before, now = after, second
            if not is_present:
                for q in range(0, num_frames, 2):
                    _write(tokens, at + 6 * q, nothing, nothing, nothing, nothing, past_cache)
            mask_BM[b, m] = is_present
            at += 6 * num_frames
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
        tokens.reshape(-1), mask, is_past_cache(tokens) and tokens.ctypes.data % 16 == 0,
    )  # fmt: skip
