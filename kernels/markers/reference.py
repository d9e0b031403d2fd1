"""Body poses to marker positions, skinning only the markers: the specification, float64 NumPy.

Axis legend: P subjects, M markers, N bodies, K weights of a marker (1 rigid, up to 4 skinned), T frames.
"""

from __future__ import annotations

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
    """Marker positions of posed bodies by linear blend skinning of the marker points alone.

    p_tm = sum_k w_mk (x_tb + R_tb (y_pm - j_pb)) with b = bodies[m, k], p = subject[t]: each body carries the point as
    it lies in the rest pose, where body frames are aligned with the world. Weights are used as given (rows should sum
    to 1). A NaN pose gives NaN markers of that body only.

    Args:
        points: Marker points in the rest pose [m], shape (P, M, 3).
        joint_pos: Joint centres in the rest pose [m], same axes and origin, shape (P, N, 3).
        bodies: Bodies that carry each marker, shape (M, K), integers in [0, N); repeat any body under a zero weight.
        weights: Their weights, shape (M, K).
        body_pos: Joint centres in the world [m], shape (T, N, 3).
        body_rot: Body-to-world rotation matrices, shape (T, N, 3, 3).
        subject: Subject of each frame, shape (T,), integers in [0, P).

    Returns:
        Marker positions [m], world, shape (T, M, 3), in the dtype of `body_pos`.

    Source: linear blend skinning as in Loper et al. 2015 (SMPL) equation 2, without pose-dependent corrections.
    """
    lever_PMK3 = points[:, :, None].astype(np.float64) - joint_pos[:, bodies]
    markers_TM3 = np.zeros((body_pos.shape[0], points.shape[1], 3))
    for k in range(bodies.shape[1]):
        body_M = bodies[:, k]
        turned_TM3 = np.einsum("tmij,tmj->tmi", body_rot[:, body_M].astype(np.float64), lever_PMK3[subject, :, k])
        # a body without weight is not read, as in the fast versions
        carried_TM3 = np.where(weights[:, k, None] != 0, turned_TM3 + body_pos[:, body_M], 0.0)
        markers_TM3 += weights[:, k, None] * carried_TM3
    return markers_TM3.astype(body_pos.dtype)
