"""Body poses to marker positions, compiled. Same contract as `reference`.

Levers, weights and the skinning are float64, three coordinates in a register; pose-dependent offsets (centimetres) are
summed in the dtype of the poses, as a product of two matrices: features of a block of frames times the blend matrix, in
panels of 16 columns that stay in the first cache, four frames' sums at a time in registers.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels._check import as_unsigned
from kernels._lane_memory import finish_stores, load_3, load_4, load_8, put, put_3, store, take
from kernels._lanes import as_in, lane, multiply_add, pack_4, spread_4, spread_8, wide
from kernels._streaming import copy_out, is_past_cache
from kernels._threads import over_rows
from kernels.markers.reference import PoseBlend

_FRAMES = 16
"""Frames whose pose-dependent offsets are summed together, and whose markers leave the cache together."""
_TOGETHER = 4
"""Of these, frames whose sums are in registers at once."""
_PANEL = 16
"""Columns of the blend matrix whose sums are in registers at once."""
_LEAST_ITEMS = 1 << 14
"""Carried points that are worth a thread."""


def place_markers(
    points: np.ndarray,
    joint_pos: np.ndarray,
    bodies: np.ndarray,
    weights: np.ndarray,
    body_pos: np.ndarray,
    body_rot: np.ndarray,
    subject: np.ndarray,
    blend: PoseBlend | None,
    markers: np.ndarray,
) -> None:
    """Same contract as reference."""
    dtype = markers.dtype
    lever = points[:, :, None].astype(np.float64) - joint_pos[:, bodies]
    if blend is None:
        panels, parents = np.zeros((0, 0, _PANEL), dtype), np.zeros(0, np.int64)
    else:
        panels, parents = _panels(blend.directions, dtype), blend.parents.astype(np.int64, copy=False)
    over_rows(
        _place, len(markers), _LEAST_ITEMS // max(bodies.size, 1) + 1,
        lever.reshape(-1), bodies.astype(np.int64), weights.astype(np.float64), np.ascontiguousarray(body_pos).reshape(-1),
        np.ascontiguousarray(body_rot).reshape(-1), body_pos.shape[1], as_unsigned(subject), panels, parents,
        markers.reshape(-1), is_past_cache(markers),
    )  # fmt: skip


def _panels(directions: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The blend matrix as (panel, row, column), the last panel filled up with zeros."""
    rows = directions.reshape(directions.shape[0], -1)
    padded = np.zeros((len(rows), -(-rows.shape[1] // _PANEL), _PANEL), dtype)
    padded.reshape(len(rows), -1)[:, : rows.shape[1]] = rows
    return np.ascontiguousarray(padded.transpose(1, 0, 2))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _place(
    first_frame: int, last_frame: int, lever: np.ndarray, bodies: np.ndarray, weights: np.ndarray, body_pos: np.ndarray,
    body_rot: np.ndarray, num_bodies: int, subject: np.ndarray, panels: np.ndarray, parents: np.ndarray,
    markers: np.ndarray, past_cache: bool,
) -> None:  # fmt: skip
    num_markers, num_weights = bodies.shape
    num_panels, num_rows, _ = panels.shape
    has_blend, width = num_panels > 0, num_panels * _PANEL
    carrier = np.empty(16 * num_bodies)  # of each body three columns of rotation and the position, four numbers each
    feature = np.zeros(_FRAMES * num_rows, markers.dtype)
    offset = np.zeros(_FRAMES * width, markers.dtype)
    rows = np.empty(3 * _FRAMES * num_markers, markers.dtype)
    for start in range(first_frame, last_frame, _FRAMES):
        stop = min(start + _FRAMES, last_frame)
        if has_blend:
            _write_features(start, stop, body_rot, num_bodies, parents, feature)
            _multiply(stop - start, feature, panels.reshape(-1), num_panels, num_rows, offset)
        for t in range(start, stop):
            _write_carriers(t, body_pos, body_rot, num_bodies, carrier)
            first_lever = 3 * np.int64(subject[t]) * num_markers * num_weights
            for m in range(num_markers):
                total = spread_4(0.0)
                moved = (t - start) * width + 3 * m
                for k in range(num_weights):
                    w = weights[m, k]
                    if w == 0.0:
                        continue
                    at = first_lever + 3 * (m * num_weights + k)
                    x, y, z = take(lever, at), take(lever, at + 1), take(lever, at + 2)
                    if has_blend:
                        x += take(offset, moved)
                        y += take(offset, moved + 1)
                        z += take(offset, moved + 2)
                    at = 16 * bodies[m, k]
                    turned = load_4(carrier, at) * spread_4(x) + load_4(carrier, at + 4) * spread_4(y)
                    turned = turned + load_4(carrier, at + 8) * spread_4(z)
                    total = total + spread_4(w) * (load_4(carrier, at + 12) + turned)
                put_3(rows, 3 * ((t - start) * num_markers + m), as_in(rows, total))
        copy_out(markers, 3 * start * num_markers, rows, 3 * (stop - start) * num_markers, past_cache)
    finish_stores()


@numba.njit(error_model="numpy")
def _write_carriers(
    t: int, body_pos: np.ndarray, body_rot: np.ndarray, num_bodies: int, carrier: np.ndarray
) -> None:  # fmt: skip
    zero = body_rot.dtype.type(0.0)
    for b in range(num_bodies):
        position, rotation = 3 * (t * num_bodies + b), 9 * (t * num_bodies + b)
        for j in range(3):
            first = rotation + j
            column = pack_4(take(body_rot, first), take(body_rot, first + 3), take(body_rot, first + 6), zero)
            store(carrier, 16 * b + 4 * j, wide(column))
        store(carrier, 16 * b + 12, wide(load_3(body_pos, position)))


@numba.njit(error_model="numpy")
def _write_features(
    start: int, stop: int, body_rot: np.ndarray, num_bodies: int, parents: np.ndarray, feature: np.ndarray
) -> None:
    """R_parent^T R_b - 1 of every body but the root, its nine numbers row by row, those of four frames side by side."""
    num_rows = 9 * (num_bodies - 1)
    one, zero = body_rot.dtype.type(1.0), body_rot.dtype.type(0.0)
    for t in range(start, stop):
        block, within = (t - start) // _TOGETHER, (t - start) % _TOGETHER
        for b in range(1, num_bodies):
            above, own = 9 * (t * num_bodies + parents[b]), 9 * (t * num_bodies + b)
            first, second, third = load_3(body_rot, own), load_3(body_rot, own + 3), load_3(body_rot, own + 6)
            for i in range(3):
                local = spread_4(take(body_rot, above + i)) * first
                local = multiply_add(spread_4(take(body_rot, above + 3 + i)), second, local)
                local = multiply_add(spread_4(take(body_rot, above + 6 + i)), third, local)
                local = local - pack_4(one if i == 0 else zero, one if i == 1 else zero, one if i == 2 else zero, zero)
                at = _TOGETHER * (block * num_rows + 9 * (b - 1) + 3 * i) + within
                put(feature, at, lane(local, 0))
                put(feature, at + _TOGETHER, lane(local, 1))
                put(feature, at + 2 * _TOGETHER, lane(local, 2))


@numba.njit(error_model="numpy")
def _multiply(
    num_frames: int, feature: np.ndarray, panels: np.ndarray, num_panels: int, num_rows: int, offset: np.ndarray
) -> None:
    """Features times blend matrix; a frame's sums do not depend on the frames beside it."""
    width = num_panels * _PANEL
    none = spread_8(panels.dtype.type(0.0))
    for panel in range(num_panels):
        for block in range((num_frames + _TOGETHER - 1) // _TOGETHER):
            left_0, left_1, left_2, left_3 = none, none, none, none
            right_0, right_1, right_2, right_3 = none, none, none, none
            at, row = block * num_rows * _TOGETHER, panel * num_rows * _PANEL
            for _ in range(num_rows):
                left, right = load_8(panels, row), load_8(panels, row + 8)
                f = spread_8(take(feature, at))
                left_0, right_0 = multiply_add(f, left, left_0), multiply_add(f, right, right_0)
                f = spread_8(take(feature, at + 1))
                left_1, right_1 = multiply_add(f, left, left_1), multiply_add(f, right, right_1)
                f = spread_8(take(feature, at + 2))
                left_2, right_2 = multiply_add(f, left, left_2), multiply_add(f, right, right_2)
                f = spread_8(take(feature, at + 3))
                left_3, right_3 = multiply_add(f, left, left_3), multiply_add(f, right, right_3)
                at += _TOGETHER
                row += _PANEL
            here = block * _TOGETHER * width + panel * _PANEL
            store(offset, here, left_0)
            store(offset, here + 8, right_0)
            store(offset, here + width, left_1)
            store(offset, here + width + 8, right_1)
            store(offset, here + 2 * width, left_2)
            store(offset, here + 2 * width + 8, right_2)
            store(offset, here + 3 * width, left_3)
            store(offset, here + 3 * width + 8, right_3)
