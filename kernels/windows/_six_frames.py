"""Windows of ImDy's six frames, compiled: two markers at a time, one in each half of a register of eight numbers.

Six positions of two markers are six registers. Their frames, six numbers each, are packed two by two into three registers;
halves are then put together so that nine whole registers hold the two tokens one after the other, and leave past the
caches where the batch is large. Meanwhile the frames of the next window are on their way to the first cache.

Axis legend: G flat frames, P markers a frame, B windows, M tokens a window, Q = 6 frames a window.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kernels._lane_memory import finish_stores, load_3, load_4, prefetch, put, take
from kernels._lanes import (
    both,
    high_half,
    high_halves,
    is_finite_xyz,
    low_and_high,
    low_half,
    low_halves,
    multiply_add,
    pack_4,
    spread_4,
    spread_8,
    where_at_least,
    xyz_x,
    yxzw,
    yz_xy,
    z_xyz,
)
from kernels.windows._any_frames import fill, put_out

_STEP = 21
"""Entries of the noise table that a marker takes: an offset and a displacement a frame."""
_FETCHED = 3
"""Cache lines asked for at a time."""
_MOST_FETCHED = 12
"""More lines than these for two tokens are not worth it: their twelve positions are asked for one by one."""


@njit(error_model="numpy", inline="always")
def _place(flat, row, first, second, origin, along, across, table_L, entry, next_entry, q, offset, jitter):  # noqa: ANN001, ANN202  compiled into its caller
    """Positions of two markers in the window's frame; in the spare lanes is what stands behind them in memory."""
    seen = both(load_4(flat, row + first), load_4(flat, row + second)) - origin
    if table_L is not None:  # decided when compiling: None has a type of its own
        still = both(load_3(table_L, entry), load_3(table_L, next_entry))
        moving = both(load_3(table_L, entry + 3 + 3 * q), load_3(table_L, next_entry + 3 + 3 * q))
        seen = seen + (offset * still + jitter * moving)
    return multiply_add(along, seen, across * yxzw(seen))


@njit(error_model="numpy", inline="always")
def _fetch(flat, coming, coming_end, line):  # noqa: ANN001, ANN202  likewise
    """Ask for three lines; where the next ones begin."""
    prefetch(flat, coming)
    prefetch(flat, coming + line)
    prefetch(flat, coming + 2 * line)
    return min(coming + _FETCHED * line, coming_end)


@njit(cache=True, nogil=True, error_model="numpy")
def fill_six(  # noqa: PLR0915  loops in functions of their own would count references to arrays in every round
    first_window: int, last_window: int, flat: np.ndarray, num_markers: int, frame_B: np.ndarray, index_BM: np.ndarray,
    origin_B3: np.ndarray, heading_B: np.ndarray, is_mirrored_B: np.ndarray, order_BQ: np.ndarray,
    table_L: np.ndarray | None, start_B: np.ndarray, offset_B: np.ndarray, jitter_B: np.ndarray, rate: float,
    tokens: np.ndarray, mask: np.ndarray, past_cache: bool, skew: int,
) -> None:  # fmt: skip
    """Write the tokens and the mask of windows [first_window, last_window)."""
    num_tokens = index_BM.shape[1]
    index = index_BM.reshape(-1)
    order = order_BQ.reshape(-1)
    kind = flat.dtype.type
    zero, one = kind(0.0), kind(1.0)
    nothing, halfway = spread_8(zero), spread_8(kind(0.5))
    step, half_step = spread_8(kind(rate)), spread_8(kind(0.5 * rate))
    offset, jitter, entry = spread_8(zero), spread_8(zero), 0
    row_Q = np.empty(6, np.int64)
    line = 64 // flat.itemsize
    width = 8 if flat.itemsize == 4 else 1  # numbers of a whole register
    row = 3 * num_markers
    last_frame = len(flat) // max(row, 1) - 4
    # A window's frames lie together: fetched a share a turn, or, where few of many markers are shown, these alone.
    share = 6 * row // line // max(num_tokens // 2, 1) + 1
    rounds = -(-share // _FETCHED) if share <= _MOST_FETCHED else 0
    for b in range(first_window, last_window):
        if frame_B[b] == last_frame:  # four numbers cannot be read where the last marker stands
            fill(
                b,
                b + 1,
                flat,
                num_markers,
                frame_B,
                index_BM,
                origin_B3,
                heading_B,
                is_mirrored_B,
                order_BQ,
                table_L,
                start_B,
                offset_B,
                jitter_B,
                rate,
                tokens,
                mask,
                past_cache,
                2,
            )
            continue
        for q in range(6):
            row_Q[q] = row * (frame_B[b] - 2 + (take(order, 6 * b + q) if len(order) else q))
        r0, r1, r2, r3, r4, r5 = row_Q[0], row_Q[1], row_Q[2], row_Q[3], row_Q[4], row_Q[5]
        c, s = kind(np.cos(heading_B[b])), kind(np.sin(heading_B[b]))
        side = kind(-1.0 if is_mirrored_B[b] else 1.0)
        origin_4 = pack_4(origin_B3[b, 0], origin_B3[b, 1], origin_B3[b, 2], zero)
        along_4, across_4 = pack_4(c, side * c, one, zero), pack_4(s, -side * s, zero, zero)
        origin, along, across = both(origin_4, origin_4), both(along_4, along_4), both(across_4, across_4)
        if table_L is not None:
            entry = start_B[b]
            offset, jitter = spread_8(offset_B[b]), spread_8(jitter_B[b])
        next_b = min(b + 1, last_window - 1)
        next_row = row * (frame_B[next_b] - 2)
        to_next = (next_b - b) * num_tokens
        coming, coming_end = next_row, next_row + max(6 * row - _FETCHED * line, 0)
        i, end = b * num_tokens, (b + 1) * num_tokens
        at = 36 * i
        # Pairs lie at whole registers: before them one token may stand alone, and behind them another.
        alone = i if past_cache and (at + skew) % width else end - 1
        while i < end:
            is_pair = i != alone and i + 1 < end
            j = i + is_pair
            if rounds:
                coming = _fetch(flat, coming, coming_end, line)
                for _ in range(1, rounds):  # apart, or the compiler unrolls what is mostly done once
                    coming = _fetch(flat, coming, coming_end, line)
            else:
                for q in range(6):
                    prefetch(flat, next_row + row * q + 3 * take(index, i + to_next))
                    prefetch(flat, next_row + row * q + 3 * take(index, j + to_next))
            first, second = np.int64(take(index, i)), np.int64(take(index, j))
            is_given = (first | second) >= 0
            if not is_given:
                first, second = max(first, 0), max(second, 0)
            first, second, next_entry = 3 * first, 3 * second, entry + _STEP * is_pair
            p0 = _place(flat, r0, first, second, origin, along, across, table_L, entry, next_entry, 0, offset, jitter)
            p1 = _place(flat, r1, first, second, origin, along, across, table_L, entry, next_entry, 1, offset, jitter)
            p2 = _place(flat, r2, first, second, origin, along, across, table_L, entry, next_entry, 2, offset, jitter)
            p3 = _place(flat, r3, first, second, origin, along, across, table_L, entry, next_entry, 3, offset, jitter)
            p4 = _place(flat, r4, first, second, origin, along, across, table_L, entry, next_entry, 4, offset, jitter)
            p5 = _place(flat, r5, first, second, origin, along, across, table_L, entry, next_entry, 5, offset, jitter)
            total = (p1 - p0) + (p4 - p2) + (p5 - p3)  # in which every position takes part
            if is_given and is_finite_xyz(total):
                put(mask, i, 1)
                put(mask, j, 1)
            else:
                has_first = take(index, i) >= 0 and is_finite_xyz(low_half(total))
                has_second = take(index, j) >= 0 and is_finite_xyz(high_half(total))
                put(mask, i, has_first)
                put(mask, j, has_second)
                keep = both(spread_4(kind(has_first)), spread_4(kind(has_second)))
                p0, p1 = where_at_least(keep, halfway, p0, nothing), where_at_least(keep, halfway, p1, nothing)
                p2, p3 = where_at_least(keep, halfway, p2, nothing), where_at_least(keep, halfway, p3, nothing)
                p4, p5 = where_at_least(keep, halfway, p4, nothing), where_at_least(keep, halfway, p5, nothing)
            v0, v1 = step * (p1 - p0), half_step * (p2 - p0)
            v2, v3 = half_step * (p3 - p1), half_step * (p4 - p2)
            v4, v5 = half_step * (p5 - p3), step * (p5 - p4)
            t0, t1, t2 = xyz_x(p0, v0), yz_xy(v0, p1), z_xyz(p1, v1)
            t3, t4, t5 = xyz_x(p2, v2), yz_xy(v2, p3), z_xyz(p3, v3)
            t6, t7, t8 = xyz_x(p4, v4), yz_xy(v4, p5), z_xyz(p5, v5)
            if is_pair:
                put_out(tokens, at, low_halves(t0, t1), past_cache)
                put_out(tokens, at + 8, low_halves(t2, t3), past_cache)
                put_out(tokens, at + 16, low_halves(t4, t5), past_cache)
                put_out(tokens, at + 24, low_halves(t6, t7), past_cache)
                put_out(tokens, at + 32, low_and_high(t8, t0), past_cache)
                put_out(tokens, at + 40, high_halves(t1, t2), past_cache)
                put_out(tokens, at + 48, high_halves(t3, t4), past_cache)
                put_out(tokens, at + 56, high_halves(t5, t6), past_cache)
                put_out(tokens, at + 64, high_halves(t7, t8), past_cache)
                at, i, entry = at + 72, i + 2, entry + 2 * _STEP
            else:
                put_out(tokens, at, low_half(t0), past_cache)
                put_out(tokens, at + 4, low_half(t1), past_cache)
                put_out(tokens, at + 8, low_half(t2), past_cache)
                put_out(tokens, at + 12, low_half(t3), past_cache)
                put_out(tokens, at + 16, low_half(t4), past_cache)
                put_out(tokens, at + 20, low_half(t5), past_cache)
                put_out(tokens, at + 24, low_half(t6), past_cache)
                put_out(tokens, at + 28, low_half(t7), past_cache)
                put_out(tokens, at + 32, low_half(t8), past_cache)
                at, i, entry = at + 36, i + 1, entry + _STEP
    finish_stores()
