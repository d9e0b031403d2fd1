"""Body poses to marker positions, compiled. Same contract as `reference`.

Levers, weights and the skinning are float64; pose-dependent offsets (centimetres) are summed in the dtype of the poses,
for a block of frames at a time, so that the rows of the blend matrix that are in use stay in the first cache.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels._check import as_unsigned
from kernels._threads import over_rows
from kernels.markers.reference import PoseBlend

_FRAMES = 8
"""Frames whose pose-dependent offsets are summed together."""
_REGISTER = 8
"""float32 in a vector register."""
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
        directions, parents = np.zeros((0, 3 * points.shape[1]), dtype), np.zeros(0, np.int64)
    else:
        rows = blend.directions.reshape(blend.directions.shape[0], -1)
        # whole vector registers: a rest of a row costs as much as five times its length
        directions = np.zeros((len(rows), -(-rows.shape[1] // _REGISTER) * _REGISTER), dtype)
        directions[:, : rows.shape[1]] = rows
        parents = blend.parents.astype(np.int64, copy=False)
    over_rows(
        _place, len(markers), _LEAST_ITEMS // max(bodies.size, 1) + 1,
        lever, bodies.astype(np.uint64), weights.astype(np.float64), np.ascontiguousarray(body_pos),
        np.ascontiguousarray(body_rot), as_unsigned(subject), directions, parents, markers,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _place(
    first_frame: int,
    last_frame: int,
    lever: np.ndarray,
    bodies: np.ndarray,
    weights: np.ndarray,
    body_pos: np.ndarray,
    body_rot: np.ndarray,
    subject: np.ndarray,
    directions: np.ndarray,
    parents: np.ndarray,
    markers: np.ndarray,
) -> None:
    num_markers, num_weights = bodies.shape
    has_blend = len(directions) > 0
    rot_D = np.empty(9 * body_rot.shape[1])  # float64 once a frame, not once a carried point
    pos_D = np.empty(3 * body_rot.shape[1])
    feature_I9 = np.empty((_FRAMES, 9), markers.dtype)
    offset_ID = np.zeros((_FRAMES, directions.shape[1]), markers.dtype)
    one, two = np.uint64(1), np.uint64(2)
    for start in range(first_frame, last_frame, _FRAMES):
        stop = min(start + _FRAMES, last_frame)
        if has_blend:
            _sum_offsets(start, stop, body_rot, directions, parents, feature_I9, offset_ID)
        for t in range(start, stop):
            given_D = body_rot[t].reshape(-1)
            for d in range(len(rot_D)):
                rot_D[d] = given_D[d]
            given_D = body_pos[t].reshape(-1)
            for d in range(len(pos_D)):
                pos_D[d] = given_D[d]
            lever_MK3, offset_D = lever[subject[t]], offset_ID[t - start]
            for m in range(num_markers):
                x = 0.0
                y = 0.0
                z = 0.0
                for k in range(num_weights):
                    w = weights[m, k]
                    if w == 0.0:
                        continue
                    o = np.uint64(3) * bodies[m, k]
                    r = np.uint64(3) * o
                    lx, ly, lz = lever_MK3[m, k, 0], lever_MK3[m, k, 1], lever_MK3[m, k, 2]
                    if has_blend:
                        lx += offset_D[3 * m]
                        ly += offset_D[3 * m + 1]
                        lz += offset_D[3 * m + 2]
                    x += w * (pos_D[o] + (rot_D[r] * lx + rot_D[r + one] * ly + rot_D[r + two] * lz))
                    r += np.uint64(3)
                    y += w * (pos_D[o + one] + (rot_D[r] * lx + rot_D[r + one] * ly + rot_D[r + two] * lz))
                    r += np.uint64(3)
                    z += w * (pos_D[o + two] + (rot_D[r] * lx + rot_D[r + one] * ly + rot_D[r + two] * lz))
                markers[t, m, 0] = x
                markers[t, m, 1] = y
                markers[t, m, 2] = z


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sum_offsets(
    start: int,
    stop: int,
    body_rot: np.ndarray,
    directions: np.ndarray,
    parents: np.ndarray,
    feature_I9: np.ndarray,
    offset_ID: np.ndarray,
) -> None:
    """Offsets of the frames start to stop: nine rows of the blend matrix for every body but the root."""
    width = offset_ID.shape[1]
    offset_ID[:] = 0.0
    for b in range(1, len(parents)):
        for t in range(start, stop):
            above, own = body_rot[t, parents[b]], body_rot[t, b]
            for i in range(3):
                for j in range(3):
                    local = (
                        np.float64(above[0, i]) * own[0, j]
                        + np.float64(above[1, i]) * own[1, j]
                        + np.float64(above[2, i]) * own[2, j]
                    )
                    feature_I9[t - start, 3 * i + j] = local - (1.0 if i == j else 0.0)
        rows_9D = directions[9 * (b - 1) : 9 * b]
        for i in range(stop - start):
            f = feature_I9[i]
            f0, f1, f2, f3, f4, f5, f6, f7, f8 = f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8]
            row = offset_ID[i]
            for d in range(width):
                low = (f0 * rows_9D[0, d] + f1 * rows_9D[1, d]) + (f2 * rows_9D[2, d] + f3 * rows_9D[3, d])
                high = (f4 * rows_9D[4, d] + f5 * rows_9D[5, d]) + (f6 * rows_9D[6, d] + f7 * rows_9D[7, d])
                row[d] += (low + high) + f8 * rows_9D[8, d]
