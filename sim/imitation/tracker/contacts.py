"""Where the floor can push: the low points of the body and the edges of the friction pyramid."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sim.humanoid import Humanoid

PYRAMID_FRICTION = 0.7
"""Friction coefficient of the assumed contact forces; below the simulated one, to leave the search some room."""


@lru_cache(maxsize=32)
def contact_candidates(humanoid: Humanoid) -> tuple[np.ndarray, np.ndarray]:
    """Lowest-point candidates of each collision shape: (P,) MuJoCo body ids, (P, 4) offset in the body frame and radius."""
    ids, points = [], []
    for shape in humanoid.body.shapes:
        if shape.kind == "box":
            corners = np.array([[sx, sy, sz] for sx in (-1, 1) for sy in (-1, 1) for sz in (-1, 1)]) * np.array(
                shape.size
            )
            rows = [(*(shape.center + corner), 0.0) for corner in corners]
        elif shape.kind == "capsule":
            half = shape.axis * shape.size[1]
            rows = [(*(shape.center + sign * half), shape.size[0]) for sign in (-1.0, 1.0)]
        else:
            rows = [(*shape.center, shape.size[0])]
        ids += [humanoid.body_id[shape.body]] * len(rows)
        points += rows
    return np.array(ids), np.array(points)


def pyramid_edges() -> np.ndarray:
    """Forces on the edges of the friction pyramid with a vertical part of 1, shape (4, 3)."""
    tilt = PYRAMID_FRICTION
    return np.array([[tilt, 0.0, 1.0], [-tilt, 0.0, 1.0], [0.0, tilt, 1.0], [0.0, -tilt, 1.0]])
