"""Body poses to marker positions, compiled for one CPU core. Same contract as `reference`; float64 inside."""

from __future__ import annotations

import numba
import numpy as np


def place_markers(
    points: np.ndarray,
    joint_pos: np.ndarray,
    bodies: np.ndarray,
    weights: np.ndarray,
    body_pos: np.ndarray,
    body_rot: np.ndarray,
    subject: np.ndarray,
) -> np.ndarray:
    """Same contract as reference."""
    lever = points[:, :, None].astype(np.float64) - joint_pos[:, bodies]
    markers = np.empty((body_pos.shape[0], points.shape[1], 3), dtype=body_pos.dtype)
    _place(lever, bodies, weights.astype(np.float64), body_pos, body_rot, subject, markers)
    return markers


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _place(
    lever: np.ndarray,
    bodies: np.ndarray,
    weights: np.ndarray,
    body_pos: np.ndarray,
    body_rot: np.ndarray,
    subject: np.ndarray,
    markers: np.ndarray,
) -> None:
    num_markers, num_weights = bodies.shape
    for t in range(body_pos.shape[0]):
        p = subject[t]
        for m in range(num_markers):
            x = 0.0
            y = 0.0
            z = 0.0
            for k in range(num_weights):
                w = weights[m, k]
                if w == 0.0:
                    continue
                b = bodies[m, k]
                lx, ly, lz = lever[p, m, k, 0], lever[p, m, k, 1], lever[p, m, k, 2]
                r = body_rot[t, b]
                o = body_pos[t, b]
                x += w * (o[0] + (r[0, 0] * lx + r[0, 1] * ly + r[0, 2] * lz))
                y += w * (o[1] + (r[1, 0] * lx + r[1, 1] * ly + r[1, 2] * lz))
                z += w * (o[2] + (r[2, 0] * lx + r[2, 1] * ly + r[2, 2] * lz))
            markers[t, m, 0] = x
            markers[t, m, 1] = y
            markers[t, m, 2] = z
