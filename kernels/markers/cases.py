"""Named shapes and seeded inputs of the marker kernels, shared by tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Case:
    """Poses and a marker set."""

    name: str
    """Identifier in test ids and benchmark rows."""
    frames: int
    """Frames T."""
    markers: int
    """Markers M."""
    weights: int
    """Weights K of a marker."""
    subjects: int = 1
    """Subjects P, spread over the frames."""
    dtype: str = "float32"
    """Dtype of poses and result."""
    note: str
    """Why the case is there."""


CASES = (
    Case(name="one", frames=1, markers=1, weights=1, note="smallest"),
    Case(name="no_frame", frames=0, markers=5, weights=4, note="empty batch"),
    Case(name="no_marker", frames=3, markers=0, weights=4, note="empty marker set"),
    Case(name="prime_subjects", frames=31, markers=7, weights=3, subjects=5, dtype="float64", note="ragged subjects"),
    Case(name="laboratory", frames=2048, markers=53, weights=1, note="rigid laboratory set, benchmark size"),
    Case(name="dense", frames=512, markers=150, weights=4, subjects=3, note="skinned training set, benchmark size"),
)
"""Awkward shapes first, benchmark sizes last."""


def make(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    """Arguments of `place_markers` for a case: a body within 2 m of the origin, random poses and weights."""
    rng = np.random.default_rng(seed)
    num_bodies = 24
    weights = rng.dirichlet(np.ones(case.weights), case.markers)
    if case.weights > 1:
        weights[::3, 1:] = 0.0  # every third marker is rigid, as laboratory markers in a dense set
        weights[::3, 0] = 1.0
    quat = rng.normal(size=(case.frames, num_bodies, 4))
    return {
        "points": rng.uniform(-0.9, 0.9, (case.subjects, case.markers, 3)),
        "joint_pos": rng.uniform(-0.8, 0.8, (case.subjects, num_bodies, 3)),
        "bodies": rng.integers(0, num_bodies, (case.markers, case.weights)),
        "weights": weights,
        "body_pos": rng.uniform(-2.0, 2.0, (case.frames, num_bodies, 3)).astype(case.dtype),
        "body_rot": _matrices(quat).astype(case.dtype),
        "subject": rng.integers(0, case.subjects, case.frames),
    }


def _matrices(quat: np.ndarray) -> np.ndarray:
    w, x, y, z = np.moveaxis(quat / np.linalg.norm(quat, axis=-1, keepdims=True), -1, 0)
    cross = np.zeros((*quat.shape[:-1], 3, 3))
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -z, y, -x
    cross -= np.swapaxes(cross, -1, -2)
    return np.eye(3) + 2.0 * (w[..., None, None] * cross + cross @ cross)
