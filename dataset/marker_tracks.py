"""Marker tracks of stored poses, and the heading of the pelvis that windows are turned to.

Axis legend: T frames, M markers, N bodies, K weights of a marker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset import rotation
from dataset.kinematics import forward_kinematics
from dataset.skeleton import PARENTS
from kernels.markers import place_markers


@dataclass(frozen=True, kw_only=True)
class MarkerPlacement:
    """Markers on the body of one subject."""

    joint_pos: np.ndarray
    """Joint centres in the rest pose [m], shape (N, 3)."""
    points: np.ndarray
    """Marker points in the rest pose [m], same axes and origin, shape (M, 3)."""
    bodies: np.ndarray
    """Bodies that carry each marker, shape (M, K), integers."""
    weights: np.ndarray
    """Their weights, rows summing to 1, shape (M, K)."""

    def place(self, root_pos: np.ndarray, quat: np.ndarray) -> np.ndarray:
        """Marker positions [m], world, shape (T, M, 3), float32, of poses (T, 3) and (T, N, 4)."""
        offset = self.joint_pos.copy()
        offset[1:] -= self.joint_pos[list(PARENTS[1:])]
        body_pos, body_quat = forward_kinematics(offset, root_pos, quat)
        body_rot = rotation.to_matrix(body_quat)
        return place_markers(self.points, self.joint_pos, self.bodies, self.weights, body_pos, body_rot).astype(
            np.float32
        )


def pelvis_heading(quat: np.ndarray) -> np.ndarray:
    """Cosine and sine of the angle of the pelvis's forward axis about the vertical, (T, 4) to (T, 2).

    A pelvis that looks straight up or down has no heading by this axis; then the direction of its up axis, reversed if it
    looks up, is taken (it is where the forward axis points after the shortest turn upright).
    """
    forward = rotation.rotate(quat, np.array([1.0, 0.0, 0.0]))
    up = rotation.rotate(quat, np.array([0.0, 0.0, 1.0]))
    is_steep = np.linalg.norm(forward[..., :2], axis=-1, keepdims=True) < 1e-6
    flat = np.where(is_steep, -np.sign(forward[..., 2:]) * up[..., :2], forward[..., :2])
    return flat / np.linalg.norm(flat, axis=-1, keepdims=True)
