"""Volume, centre and inertia of a mesh cut by planes: exact, for any shape of the body, without voxels.

A closed surface cut by half-spaces is closed by flat caps. Fanned from a point that lies in all the cutting planes the caps
span no volume, so the moments of the piece are sums over its skin triangles alone: no cap is ever built.

Axis legend: F triangles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Plane = tuple[np.ndarray, np.ndarray]
"""(normal, point): the half-space kept is normal · (x − point) >= 0."""


@dataclass(frozen=True)
class Moments:
    """Integrals of 1, x and x xᵀ over a solid, about the world origin."""

    volume: float
    """[m³]"""
    first: np.ndarray
    """[m⁴], shape (3,)."""
    second: np.ndarray
    """[m⁵], shape (3, 3)."""

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.volume + other.volume, self.first + other.first, self.second + other.second)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.volume - other.volume, self.first - other.first, self.second - other.second)

    def mirrored(self) -> Moments:
        """Moments of the mirror image in the plane y = 0."""
        sign = np.array([1.0, -1.0, 1.0])
        return Moments(self.volume, self.first * sign, self.second * np.outer(sign, sign))

    @property
    def center(self) -> np.ndarray:
        """Centre of volume [m], shape (3,)."""
        return self.first / self.volume

    @property
    def inertia_per_mass(self) -> np.ndarray:
        """Inertia about the centre of a uniform solid, divided by its mass [m²], shape (3, 3)."""
        spread = self.second / self.volume - np.outer(self.center, self.center)
        return np.trace(spread) * np.eye(3) - spread


def clip(triangles: np.ndarray, plane: Plane) -> np.ndarray:
    """Parts of triangles (F, 3, 3) on the kept side of a plane, orientation preserved, shape (F', 3, 3)."""
    normal, point = plane
    height = triangles @ normal - normal @ point
    inside = height >= 0.0
    count = inside.sum(axis=1)
    pieces = [triangles[count == 3]]
    for kept in (1, 2):
        rows = np.flatnonzero(count == kept)
        if not len(rows):
            continue
        # Rotate each triangle so that the vertex alone on its side comes first.
        lone = inside[rows] if kept == 1 else ~inside[rows]
        order = (np.argmax(lone, axis=1)[:, None] + np.arange(3)) % 3
        corner = np.take_along_axis(triangles[rows], order[:, :, None], axis=1)
        level = np.take_along_axis(height[rows], order, axis=1)
        to_next = (level[:, :1] / (level[:, :1] - level[:, 1:2])) * (corner[:, 1] - corner[:, 0]) + corner[:, 0]
        to_last = (level[:, :1] / (level[:, :1] - level[:, 2:3])) * (corner[:, 2] - corner[:, 0]) + corner[:, 0]
        if kept == 1:
            pieces.append(np.stack([corner[:, 0], to_next, to_last], axis=1))
        else:
            pieces.append(np.stack([to_next, corner[:, 1], corner[:, 2]], axis=1))
            pieces.append(np.stack([to_next, corner[:, 2], to_last], axis=1))
    return np.concatenate(pieces)


def cut_moments(triangles: np.ndarray, *planes: Plane, touching: tuple[Plane, ...] = ()) -> Moments:
    """Moments of the solid inside a surface and all half-spaces.

    Args:
        triangles: Surface, outward orientation [m], shape (F, 3, 3): closed, except for caps in planes that it was clipped
            with before and that the piece does not reach, or that are named in `touching`.
        planes: Half-spaces to cut with.
        touching: Planes that the surface was clipped with before and that bound the piece too.

    Raises:
        ValueError: If no point lies in all planes (two are parallel, or more than three): the caps would span volume.
    """
    for plane in planes:
        triangles = clip(triangles, plane)
    apex = _common_point((*touching, *planes))
    first, second, third = (triangles[:, corner] - apex for corner in range(3))
    volume = np.einsum("fi,fi->f", first, np.cross(second, third)) / 6.0
    total = first + second + third
    spread = np.einsum("f,fi,fj->ij", volume, total, total)
    for corner in (first, second, third):
        spread += (corner * volume[:, None]).T @ corner
    center = volume @ total / 4.0
    whole = float(volume.sum())
    shifted = spread / 20.0 + np.outer(apex, center) + np.outer(center, apex) + whole * np.outer(apex, apex)
    return Moments(whole, center + whole * apex, shifted)


def _common_point(planes: tuple[Plane, ...]) -> np.ndarray:
    """Point in all planes (the one nearest the origin), shape (3,)."""
    if not planes:
        return np.zeros(3)
    normals = np.stack([normal for normal, _ in planes])
    point, _, rank, _ = np.linalg.lstsq(normals, np.array([normal @ at for normal, at in planes]), rcond=None)
    if rank < len(planes):
        raise ValueError(f"cut_moments: expected planes that meet in a point or line, got normals {normals.tolist()}")
    return point
