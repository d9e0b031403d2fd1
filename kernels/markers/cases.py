"""Named shapes and seeded inputs of the marker kernels, shared by tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.markers.reference import PoseBlend


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
    has_blend: bool = False
    """With pose blend shapes."""
    dtype: str = "float32"
    """Dtype of poses and result."""
    note: str
    """Why the case is there."""


CASES = (
    Case(name="one", frames=1, markers=1, weights=1, note="smallest"),
    Case(name="no_frame", frames=0, markers=5, weights=4, note="empty batch"),
    Case(name="no_marker", frames=3, markers=0, weights=4, note="empty marker set"),
    Case(name="prime_subjects", frames=31, markers=7, weights=3, subjects=5, dtype="float64", note="ragged subjects"),
    Case(name="laboratory", frames=64, markers=53, weights=1, note="rigid laboratory set"),
    Case(name="dense", frames=23, markers=150, weights=4, subjects=3, note="skinned training set"),
    Case(
        name="blend", frames=19, markers=11, weights=4, subjects=2, has_blend=True, note="frames no multiple of a block"
    ),
    Case(name="blend64", frames=8, markers=5, weights=1, has_blend=True, dtype="float64", note="blend in float64"),
)
"""Shapes of the tests, small enough for the interpreter."""

BENCH_CASES = (
    Case(name="laboratory", frames=65536, markers=53, weights=1, note="rigid laboratory set"),
    Case(name="dense", frames=16384, markers=150, weights=4, subjects=3, note="skinned training set"),
    Case(name="smpl", frames=2048, markers=53, weights=4, has_blend=True, note="SMPL with pose blend shapes"),
)
"""Shapes of the benchmarks, larger than the caches."""


def make(case: Case, seed: int = 0) -> dict[str, Any]:
    """Arguments of `place_markers` for a case: a body within 2 m of the origin, random poses and weights."""
    rng = np.random.default_rng(seed)
    num_bodies = 24
    weights = rng.dirichlet(np.ones(case.weights), case.markers)
    if case.weights > 1:
        weights[::3, 1:] = 0.0  # every third marker is rigid, as laboratory markers in a dense set
        weights[::3, 0] = 1.0
    quat = rng.normal(size=(case.frames, num_bodies, 4))
    blend = None
    if case.has_blend:
        parents = np.array([-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21])
        # SMPL's corrections are millimetres to centimetres in all
        directions = rng.normal(0.0, 0.002, (9 * (num_bodies - 1), case.markers, 3))
        blend = PoseBlend(directions=directions.astype(case.dtype), parents=parents)
    return {
        "points": rng.uniform(-0.9, 0.9, (case.subjects, case.markers, 3)),
        "joint_pos": rng.uniform(-0.8, 0.8, (case.subjects, num_bodies, 3)),
        "bodies": rng.integers(0, num_bodies, (case.markers, case.weights)),
        "weights": weights,
        "body_pos": rng.uniform(-2.0, 2.0, (case.frames, num_bodies, 3)).astype(case.dtype),
        "body_rot": _matrices(quat).astype(case.dtype),
        "subject": rng.integers(0, case.subjects, case.frames),
        "blend": blend,
    }


def _matrices(quat: np.ndarray) -> np.ndarray:
    w, x, y, z = np.moveaxis(quat / np.linalg.norm(quat, axis=-1, keepdims=True), -1, 0)
    cross = np.zeros((*quat.shape[:-1], 3, 3))
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -z, y, -x
    cross -= np.swapaxes(cross, -1, -2)
    return np.eye(3) + 2.0 * (w[..., None, None] * cross + cross @ cross)
