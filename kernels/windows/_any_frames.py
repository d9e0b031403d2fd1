"""Windows of any number of frames, compiled: one marker at a time, its positions kept in the first cache.

A position is one register of three numbers and a spare: two of them are added and turned as quickly as two numbers.

Axis legend: G flat frames, P markers a frame, B windows, M tokens a window, Q = 2 W + 2 frames a window, W = half_width
before t and after t + 1.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kernels._lane_memory import finish_stores, load_3, load_4, put, store, store_past_cache
from kernels._lanes import is_finite, multiply_add, pack_4, spread_4, xyz_x, yxzw, yz_xy, z_xyz


@njit(error_model="numpy", inline="always")
def put_out(tokens, at, value, past_cache):  # noqa: ANN001, ANN202  compiled into its caller
    """Write a register."""
    if past_cache:
        store_past_cache(tokens, at, value)
    else:
        store(tokens, at, value)


@njit(error_model="numpy", inline="always")
def _write(tokens, at, place, velocity, next_place, next_velocity, past_cache):  # noqa: ANN001, ANN202  likewise
    """Two frames of a token."""
    put_out(tokens, at, xyz_x(place, velocity), past_cache)
    put_out(tokens, at + 4, yz_xy(velocity, next_place), past_cache)
    put_out(tokens, at + 8, z_xyz(next_place, next_velocity), past_cache)


@njit(cache=True, nogil=True, error_model="numpy")
def fill(
    first_window: int, last_window: int, flat: np.ndarray, num_markers: int, frame_B: np.ndarray, index_BM: np.ndarray,
    origin_B3: np.ndarray, heading_B: np.ndarray, is_mirrored_B: np.ndarray, order_BQ: np.ndarray,
    table_L: np.ndarray | None, start_B: np.ndarray, offset_B: np.ndarray, jitter_B: np.ndarray, rate: float,
    tokens: np.ndarray, mask_BM: np.ndarray, past_cache: bool, half_width: int,
) -> None:  # fmt: skip
    """Write the tokens and the mask of windows [first_window, last_window)."""
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
    at = first_window * num_tokens * 6 * num_frames
    for b in range(first_window, last_window):
        for q in range(num_frames):
            shown = order_BQ[b, q] if len(order_BQ) else q
            row_Q[q] = (frame_B[b] - half_width + shown) * num_markers * 3
        c, s = kind(np.cos(heading_B[b])), kind(np.sin(heading_B[b]))
        side = kind(-1.0 if is_mirrored_B[b] else 1.0)
        origin = pack_4(origin_B3[b, 0], origin_B3[b, 1], origin_B3[b, 2], zero)
        along, across = pack_4(c, side * c, one, zero), pack_4(s, -side * s, zero, zero)
        if table_L is not None:
            offset, jitter = spread_4(offset_B[b]), spread_4(jitter_B[b])
        for m in range(num_tokens):
            marker = index_BM[b, m]
            is_present = marker >= 0
            if is_present:
                if table_L is not None:
                    entry = start_B[b] + m * 3 * (num_frames + 1)
                total = nothing
                for q in range(num_frames):
                    seen = load_3(flat, row_Q[q] + 3 * marker) - origin
                    if table_L is not None:
                        still, moving = load_3(table_L, entry), load_3(table_L, entry + 3 + 3 * q)
                        seen = seen + (offset * still + jitter * moving)
                    place = multiply_add(along, seen, across * yxzw(seen))
                    total = total + place
                    store(place_Q, 4 * (q + 1), place)
                is_present = is_finite(total)
            if is_present:
                store(place_Q, 0, load_4(place_Q, 4))
                store(place_Q, 4 * (num_frames + 1), load_4(place_Q, 4 * num_frames))
                before, now = load_4(place_Q, 0), load_4(place_Q, 4)
                for q in range(0, num_frames, 2):
                    after, later = load_4(place_Q, 4 * (q + 2)), load_4(place_Q, 4 * (q + 3))
                    velocity = load_4(scale_Q, 4 * q) * (after - before)
                    next_velocity = load_4(scale_Q, 4 * (q + 1)) * (later - now)
                    _write(tokens, at + 6 * q, now, velocity, after, next_velocity, past_cache)
                    before, now = after, later
            else:
                for q in range(0, num_frames, 2):
                    _write(tokens, at + 6 * q, nothing, nothing, nothing, nothing, past_cache)
            put(mask_BM, b * num_tokens + m, is_present)
            at += 6 * num_frames
    finish_stores()
