"""Forward kinematics of the 24-body tree, compiled: `dataset.kinematics` calls it, and says what it computes.

Products and rotations are those of `dataset.rotation`, operation by operation, so that the bits are the same.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def chain_rotations(parents: np.ndarray, quat: np.ndarray, out: np.ndarray) -> None:
    """R_b = R_parent ⊗ q_b.

    Args:
        parents: Parent of each body, smaller than the body itself, shape (N,); the first one's is not used.
        quat: Pelvis to world, then child to parent, shape (T, N, 4).
        out: Output: body to world, shape (T, N, 4).
    """
    for t in range(quat.shape[0]):
        out[t, 0] = quat[t, 0]
        for b in range(1, parents.shape[0]):
            aw, ax, ay, az = out[t, parents[b]]
            bw, bx, by, bz = quat[t, b]
            out[t, b, 0] = aw * bw - ax * bx - ay * by - az * bz
            out[t, b, 1] = aw * bx + ax * bw + ay * bz - az * by
            out[t, b, 2] = aw * by - ax * bz + ay * bw + az * bx
            out[t, b, 3] = aw * bz + ax * by - ay * bx + az * bw


@njit(cache=True, nogil=True, error_model="numpy")
def chain_positions(parents: np.ndarray, offset: np.ndarray, body_quat: np.ndarray, out: np.ndarray) -> None:
    """p_b = p_parent + R_parent offset_b.

    Args:
        parents: As in `chain_rotations`.
        offset: Joint of each body from its parent's joint, parent frame [m], shape (N, 3).
        body_quat: Body to world, shape (T, N, 4).
        out: Joints in the world [m], shape (T, N, 3): the pelvis given, the others output.
    """
    for t in range(body_quat.shape[0]):
        for b in range(1, parents.shape[0]):
            w, x, y, z = body_quat[t, parents[b]]
            ox, oy, oz = offset[b]
            ux, uy, uz = 2.0 * (y * oz - z * oy), 2.0 * (z * ox - x * oz), 2.0 * (x * oy - y * ox)
            place = out[t, parents[b]]
            out[t, b, 0] = place[0] + (ox + w * ux + (y * uz - z * uy))
            out[t, b, 1] = place[1] + (oy + w * uy + (z * ux - x * uz))
            out[t, b, 2] = place[2] + (oz + w * uz + (x * uy - y * ux))
