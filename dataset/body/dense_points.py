"""Area-uniform points in mirror pairs on a mesh: how the dense marker set was chosen.

Farthest-point sampling in the geodesic (edge-path) metric, then a few rounds in which each point moves to the area centroid
of the skin nearest to it (Lloyd's relaxation). Geodesic distance, unlike the straight line, counts both sides of a thin limb.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def area_uniform_pairs(
    vertices: np.ndarray, faces: np.ndarray, mirror: np.ndarray, count: int, relaxations: int = 8
) -> np.ndarray:
    """Left vertices of `count` mirror pairs spread evenly over the skin, shape (count,), ascending; deterministic.

    Args:
        vertices: Mirror-symmetric skin [m], shape (V, 3); parts not connected to the largest (eyes, tongue) are left out.
        faces: Triangles, shape (F, 3).
        mirror: Vertex on the other side of each vertex, shape (V,).
        count: Number of pairs.
        relaxations: Rounds of relaxation.
    """
    from scipy.sparse.csgraph import connected_components

    graph = _edge_graph(vertices, faces)
    part = connected_components(graph, directed=False)[1]
    outside = part == np.bincount(part).argmax()
    candidates = outside & (vertices[:, 1] > 0.01)
    area = vertex_areas(vertices, faces)

    chosen = [int(np.flatnonzero(candidates)[vertices[candidates, 2].argmax()])]
    nearest = np.full(len(vertices), np.inf)
    while True:
        nearest = np.minimum(nearest, _distances(graph, [chosen[-1], mirror[chosen[-1]]]).min(axis=0))
        if len(chosen) == count:
            break
        chosen.append(int(np.where(candidates, nearest, -1.0).argmax()))
    points = np.array(chosen)
    for _ in range(relaxations):
        owner = _distances(graph, np.concatenate([points, mirror[points]])).argmin(axis=0)
        for index in range(count):
            cell = np.flatnonzero((owner == index) & candidates)
            center = area[cell] @ vertices[cell] / area[cell].sum()
            points[index] = cell[np.linalg.norm(vertices[cell] - center, axis=1).argmin()]
    return np.sort(points)


def cell_areas(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Skin area [m²] that is nearer (along the skin) to each point than to any other, shape (len(points),)."""
    distance = _distances(_edge_graph(vertices, faces), points)
    reached = np.isfinite(distance).any(axis=0)
    return np.bincount(distance.argmin(axis=0)[reached], vertex_areas(vertices, faces)[reached], minlength=len(points))


def vertex_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """A third of the area of the triangles around each vertex [m²], shape (V,)."""
    corner = vertices[faces]
    area = 0.5 * np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    return np.bincount(faces.ravel(), np.repeat(area / 3.0, 3), minlength=len(vertices))


def _edge_graph(vertices: np.ndarray, faces: np.ndarray) -> Any:
    from scipy.sparse import coo_matrix

    edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    return coo_matrix((length, (edges[:, 0], edges[:, 1])), shape=(len(vertices), len(vertices))).tocsr()


def _distances(graph: Any, sources: np.ndarray | list[int]) -> np.ndarray:
    from scipy.sparse.csgraph import dijkstra

    return dijkstra(graph, directed=False, indices=np.asarray(sources))
