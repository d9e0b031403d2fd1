"""The body model of one subject: joint centres, masses, inertias, collision shapes, skin points.

Everything the simulator's humanoid (`dataset.body.mjcf`), the marker kernels and the solver's physics need about a person,
whatever it came from (the default body or a user's SMPL file).

Axis legend: N = 24 bodies, V skin vertices, 3 = x forward, y left, z up in the rest pose (T-pose facing +x).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.schema import Subject


@dataclass(frozen=True, kw_only=True)
class CollisionShape:
    """A primitive that touches the ground, fixed to one body."""

    body: int
    """Index of the body that carries it."""
    kind: str
    """`sphere`, `capsule` or `box`."""
    center: np.ndarray
    """Centre in the body frame [m], shape (3,)."""
    size: tuple[float, ...]
    """sphere: (radius,); capsule: (radius, half length of the axis); box: half extents (x, y, z) [m]."""
    axis: np.ndarray
    """Unit vector of a capsule's axis in the body frame, shape (3,); (0, 0, 1) for the others."""


@dataclass(frozen=True, kw_only=True)
class BodyModel:
    """Rigid 24-body model of a subject, with the skin that its markers sit on."""

    subject: Subject
    """Person it represents."""
    joint_pos: np.ndarray
    """Joint centres in the rest pose [m], shape (N, 3); the floor under the rest pose is z = 0, the pelvis at x = y = 0."""
    mass: np.ndarray
    """Body masses [kg], shape (N,); sums to `subject.mass`."""
    com: np.ndarray
    """Centres of mass from each body's own joint, body frame [m], shape (N, 3)."""
    inertia: np.ndarray
    """Inertia about each body's centre of mass, body frame [kg·m²], shape (N, 3, 3)."""
    shapes: tuple[CollisionShape, ...]
    """Collision shapes of the ground contact."""
    vertices: np.ndarray
    """Skin in the rest pose [m], same axes and origin as `joint_pos`, shape (V, 3)."""
    faces: np.ndarray
    """Triangles, shape (F, 3), int32."""
    weights: np.ndarray
    """Skinning weights of each vertex, at most 4 non-zero a row, shape (V, N), float32; rows sum to 1."""
    provenance: str
    """What the body was made from (`default`, or the user's file)."""
    landmark_pos: np.ndarray | None = None
    """Skin landmarks in the rest pose [m], axes and origin of `joint_pos`, in the order of `dataset.body.landmarks.LANDMARKS`,
    shape (L, 3): placed with hanging arms as laboratories do, then carried rigidly by their bone. None where unknown."""
    landmark_normal: np.ndarray | None = None
    """Outward unit normals of the skin there, carried alike, shape (L, 3)."""

    @property
    def offset(self) -> np.ndarray:
        """Joint centre from the parent's joint centre [m], shape (N, 3); row 0 is the rest pelvis position."""
        from dataset.skeleton import PARENTS

        parents = np.array(PARENTS)
        offset = self.joint_pos.copy()
        offset[1:] -= self.joint_pos[parents[1:]]
        return offset
