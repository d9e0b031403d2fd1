"""The default body's shape space: build, age, sex and height -> the left half of a rest mesh.

The committed file `default_body.npz` (made by `dataset.body.distil`) holds a table of meshes on a grid of (sex, age, build,
height), compressed by principal components and interpolated multilinearly, and a low-rank space of further proportions.
Axes: x forward, y left, z up, origin at the pelvis joint, arms hanging (the mesh's own A-pose; `dataset.body.rest_pose`
straightens it).

Axis legend: H left-half vertices, V all vertices, R rig points, K components, N = 24 bodies.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from dataset.skeleton import MIRROR_BODY, NUM_BODIES

BODY_FILE: Final[Path] = Path(__file__).with_name("default_body.npz")

RIG_POINT_NAMES: Final[tuple[str, ...]] = (
    "Pelvis", "Torso", "Spine", "Chest", "Neck", "Head", "L_Thorax", "L_Shoulder", "L_Wrist", "L_Toe", "L_Hand",
    "index_knuckle", "little_knuckle",
)  # fmt: skip
"""Points inside the mesh that follow its shape: joint centres of the mesh's own rig and two knuckles that orient the hand."""

AGE_OF_HEIGHT: Final[tuple[tuple[float, float], ...]] = (
    (0.664, 0.0), (0.889, 0.1), (1.115, 0.2), (1.34, 0.3), (1.415, 1 / 3), (1.499, 0.4),
)  # fmt: skip
"""(standing height [m], age coordinate) of children of average height."""

REFERENCE_HEIGHT: Final[float] = 1.72
"""Height [m] on which one unit of a shape coefficient is one standard deviation; displacements scale with height."""


@dataclass(frozen=True, kw_only=True)
class ShapeSpace:
    """Contents of the distilled file, unpacked."""

    mean: np.ndarray
    """Mean of the nodes [m], shape (H + R, 3)."""
    node_table: np.ndarray
    """Coefficients of the nodes, shape (2 sexes, 3 ages, 5 builds, 3 heights, K)."""
    node_basis: np.ndarray
    """Components of the nodes [m], shape (K, (H + R) · 3)."""
    shape_basis: np.ndarray
    """Displacement of one standard deviation of each shape coefficient [m], shape (K', (H + R) · 3)."""
    left_vertex: np.ndarray
    """Vertex index of each left-half vertex, shape (H,)."""
    right_vertex: np.ndarray
    """Vertex index of its mirror image (itself on the midline), shape (H,)."""
    faces: np.ndarray
    """Triangles, shape (F, 3), int32."""
    half_weights: np.ndarray
    """Skinning weights of the left half on the 24 bodies, shape (H, N)."""

    @property
    def num_vertices(self) -> int:
        """Number of vertices V of the full mesh."""
        return int(self.faces.max()) + 1

    @property
    def num_shape(self) -> int:
        """Largest number of coefficients of `Subject.shape`."""
        return self.shape_basis.shape[0]

    def restricted(self, rows: np.ndarray) -> ShapeSpace:
        """The same space on some of the left-half vertices only (their rows, ascending); other vertices are then undefined."""
        points = np.concatenate([rows, np.arange(len(self.left_vertex), len(self.mean))])
        columns = (3 * points[:, None] + np.arange(3)).ravel()
        return ShapeSpace(
            mean=self.mean[points],
            node_table=self.node_table,
            node_basis=np.ascontiguousarray(self.node_basis[:, columns]),
            shape_basis=np.ascontiguousarray(self.shape_basis[:, columns]),
            left_vertex=self.left_vertex[rows],
            right_vertex=self.right_vertex[rows],
            faces=self.faces,
            half_weights=self.half_weights[rows],
        )

    def full_vertices(self, half: np.ndarray) -> np.ndarray:
        """Both halves of a mirror-symmetric mesh, (H, 3) -> (V, 3)."""
        vertices = np.empty((self.num_vertices, 3))
        vertices[self.right_vertex] = half * np.array([1.0, -1.0, 1.0])
        vertices[self.left_vertex] = half
        return vertices

    def full_weights(self) -> np.ndarray:
        """Skinning weights of all vertices, shape (V, N), float32."""
        weights = np.empty((self.num_vertices, NUM_BODIES), np.float32)
        weights[self.right_vertex] = self.half_weights[:, list(MIRROR_BODY)]
        weights[self.left_vertex] = self.half_weights
        return weights

    def points(self, sex: float, age: float, build: float, stature: float, displacement: np.ndarray) -> np.ndarray:
        """Left-half vertices and rig points [m], shape (H + R, 3).

        Args:
            sex: 0 male … 1 female.
            age: 0 baby, 1/3 child, 2/3 adult.
            build: -1 leanest … 1 average … 3 heaviest.
            stature: 0 shortest … 1 tallest of that sex and age.
            displacement: Shape displacement to add [m], shape (H + R, 3) (`shape_displacement`).
        """
        table = self.node_table
        for position in (sex, age * 3.0, build + 1.0, stature * 2.0):
            below = min(max(int(position), 0), table.shape[0] - 2)
            table = table[below] + (position - below) * (table[below + 1] - table[below])
        return self.mean + (table @ self.node_basis).reshape(self.mean.shape) + displacement

    def shape_displacement(self, coefficients: tuple[float, ...], height: float) -> np.ndarray:
        """Displacement [m] of shape coefficients on a person of `height` [m], shape (H + R, 3)."""
        used = np.asarray(coefficients, dtype=np.float64)
        flat = used @ self.shape_basis[: len(used)]
        return flat.reshape(self.mean.shape) * (height / REFERENCE_HEIGHT)


@functools.cache
def load_shape_space() -> ShapeSpace:
    """The committed default body, read once."""
    with np.load(BODY_FILE, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    half = len(arrays["left_vertex"])
    half_weights = np.zeros((half, NUM_BODIES))
    np.put_along_axis(half_weights, arrays["weight_body"].astype(np.int64), arrays["weight"].astype(np.float64), axis=1)
    half_weights /= half_weights.sum(axis=1, keepdims=True)
    mean = arrays["mean"].astype(np.float64)

    def unpacked(name: str) -> np.ndarray:
        rows = arrays[f"{name}_basis"].astype(np.float64) * arrays[f"{name}_scale"][:, None, None]
        rows[:, :half][:, arrays["left_vertex"] == arrays["right_vertex"], 1] = 0.0
        return rows.reshape(len(rows), -1)

    mean[:half][arrays["left_vertex"] == arrays["right_vertex"], 1] = 0.0
    return ShapeSpace(
        mean=mean,
        node_table=arrays["node_table"].astype(np.float64),
        node_basis=unpacked("node"),
        shape_basis=unpacked("shape"),
        left_vertex=arrays["left_vertex"].astype(np.int64),
        right_vertex=arrays["right_vertex"].astype(np.int64),
        faces=arrays["faces"].astype(np.int32),
        half_weights=half_weights,
    )


def age_coordinate(height: float, years: float) -> float:
    """Age coordinate of the shape space from height [m] and age [years].

    Below 1.5 m the height decides (children of average height for their age, whatever `years` says). Above, minors reach
    adult proportions at 1.65 m and adults (18 years and over) at 1.55 m, so that the body changes continuously with height.
    """
    heights, ages = zip(*AGE_OF_HEIGHT)
    adult_from = 1.55 if years >= 18.0 else 1.65
    return float(np.interp(height, (*heights, adult_from), (*ages, 2 / 3)))
