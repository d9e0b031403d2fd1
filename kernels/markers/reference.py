"""Body poses to marker positions, skinning only the markers: the specification, float64 NumPy.

Axis legend: P subjects, M markers, N bodies, K weights of a marker (1 rigid, up to 4 skinned), T frames, D = 9 (N - 1)
numbers of the pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class PoseBlend:
    """Pose-dependent corrections of marker points, as SMPL has them (`posedirs` at the markers' vertices)."""

    directions: Any
    """Displacement of each rest point [m] by each number of the pose, shape (D, M, 3): nine rows a body from body 1 on,
    the entries (i, j) of its rotation against its parent minus the identity, row by row."""
    parents: Any
    """Parent of each body, shape (N,), integers; that of body 0 is not read."""


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
    """Marker positions of posed bodies by linear blend skinning of the marker points alone.

    p_tm = sum_k w_mk (x_tb + R_tb (y_pm - j_pb)) with b = bodies[m, k], p = subject[t]: each body carries the point as
    it lies in the rest pose, where body frames are aligned with the world. Weights are used as given (rows should sum
    to 1). A NaN pose gives NaN markers of that body only.

    With a blend, y_pm moves before it is carried: y_pm + sum_d (R_parent(b)^T R_b - 1)_d B_dm, d over all bodies but the
    root and their nine entries; a NaN rotation then spoils every marker of its frame.

    Args:
        points: Marker points in the rest pose [m], shape (P, M, 3).
        joint_pos: Joint centres in the rest pose [m], same axes and origin, shape (P, N, 3).
        bodies: Bodies that carry each marker, shape (M, K), integers in [0, N); repeat any body under a zero weight.
        weights: Their weights, shape (M, K).
        body_pos: Joint centres in the world [m], shape (T, N, 3).
        body_rot: Body-to-world rotation matrices, shape (T, N, 3, 3).
        subject: Subject of each frame, shape (T,), integers in [0, P).
        blend: Pose-dependent corrections, None for none.
        markers: Written: marker positions [m], world, shape (T, M, 3).

    Source: Loper et al. 2015 (SMPL), equations 2 (linear blend skinning) and 9 (pose blend shapes), at the markers only.
    """
    lever_PMK3 = points[:, :, None].astype(np.float64) - joint_pos[:, bodies]
    markers_TM3 = np.zeros((body_pos.shape[0], points.shape[1], 3))
    offset_TM3: Any = 0.0
    if blend is not None:
        rot_TN33 = body_rot.astype(np.float64)
        local_TN33 = np.swapaxes(rot_TN33[:, blend.parents[1:]], -1, -2) @ rot_TN33[:, 1:] - np.eye(3)
        offset_TM3 = np.tensordot(local_TN33.reshape(len(body_rot), -1), blend.directions.astype(np.float64), 1)
    for k in range(bodies.shape[1]):
        body_M = bodies[:, k]
        turned_TM3 = np.einsum(
            "tmij,tmj->tmi", body_rot[:, body_M].astype(np.float64), lever_PMK3[subject, :, k] + offset_TM3
        )
        # a body without weight is not read, as in the fast versions
        carried_TM3 = np.where(weights[:, k, None] != 0, turned_TM3 + body_pos[:, body_M], 0.0)
        markers_TM3 += weights[:, k, None] * carried_TM3
    markers[...] = markers_TM3
