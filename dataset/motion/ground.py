"""Height of a posed body above the floor z = 0: lowest point of its collision shapes.

Axis legend: T frames, N = 24 bodies, C collision shapes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataset import rotation
from dataset.body.model import BodyModel, CollisionShape


def lowest_points(shapes: Sequence[CollisionShape], body_pos: np.ndarray, body_quat: np.ndarray) -> np.ndarray:
    """Lowest height of each collision shape [m], shape (T, C).

    Sphere: z_c - r. Capsule: z_c - r - l |a_z| with half length l and world axis a. Box: z_c - sum_i e_i |R_zi| with
    half extents e.

    Args:
        shapes: Collision shapes, such as `BodyModel.shapes`.
        body_pos: Joint positions in the world [m], shape (T, N, 3).
        body_quat: Body to world quaternions, shape (T, N, 4).
    """
    heights = np.empty((body_pos.shape[0], len(shapes)))
    for index, shape in enumerate(shapes):
        heights[:, index] = lowest_point(shape, body_pos[:, shape.body], body_quat[:, shape.body])
    return heights


def lowest_point(shape: CollisionShape, position: np.ndarray, quat: np.ndarray) -> np.ndarray:
    """Lowest height of one collision shape [m], shape (...); as `lowest_points`.

    Args:
        shape: The shape.
        position: Joint of its body in the world [m], shape (..., 3).
        quat: Its body to world, shape (..., 4).
    """
    center = position[..., 2] + rotation.rotate(quat, shape.center)[..., 2]
    if shape.kind == "sphere":
        return center - shape.size[0]
    if shape.kind == "capsule":
        return center - (shape.size[0] + shape.size[1] * np.abs(rotation.rotate(quat, shape.axis)[..., 2]))
    if shape.kind == "box":
        return center - np.abs(rotation.to_matrix(quat)[..., 2, :]) @ np.array(shape.size)
    raise ValueError(f"CollisionShape.kind: expected sphere, capsule or box, found {shape.kind!r}")


def center_of_mass(body: BodyModel, body_pos: np.ndarray, body_quat: np.ndarray) -> np.ndarray:
    """Centre of mass of the whole body in the world [m], shape (T, 3)."""
    centers = body_pos + rotation.rotate(body_quat, body.com)
    return np.einsum("n,tnk->tk", body.mass, centers) / body.mass.sum()
