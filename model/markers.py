"""Markers that training shows to the solver: the dense set of skin points and the sets of laboratories, on any subject.

Axis legend: P markers, N bodies.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from dataset.body.default import make_body
from dataset.body.landmarks import LANDMARKS
from dataset.body.marker_sets import MarkerSet, landmark_set, marker_points, marker_set
from dataset.marker_tracks import MarkerPlacement
from dataset.schema import Subject

LAB_SETS = ("plug_in_gait_39", "cmu_41", "opencap")
"""Laboratory marker sets that training mixes in; their markers stand 9 mm off the skin and move with one bone."""


@dataclass(frozen=True, kw_only=True)
class MarkerPool:
    """All markers that are placed, and which of them belong together."""

    sets: tuple[MarkerSet, ...]
    """Sets laid end to end; markers are numbered through all of them, P in all."""
    dense: np.ndarray
    """Markers of the dense set."""
    labs: dict[str, np.ndarray]
    """Markers of each laboratory set."""


@functools.cache
def training_pool() -> MarkerPool:
    """The dense set, then every landmark once; laboratory sets are choices of landmarks."""
    dense = marker_set("dense")
    landmarks = landmark_set("landmarks", tuple(LANDMARKS), tuple(LANDMARKS))
    number = {int(vertex): dense.num_markers + i for i, vertex in enumerate(landmarks.vertices)}
    labs = {name: np.array([number[int(vertex)] for vertex in marker_set(name).vertices]) for name in LAB_SETS}
    return MarkerPool(sets=(dense, landmarks), dense=np.arange(dense.num_markers), labs=labs)


def place_pool(subject: Subject) -> MarkerPlacement:
    """Every marker of the pool on the default body of a subject."""
    body = make_body(subject)
    parts = [marker_points(body, item) for item in training_pool().sets]
    points, bodies, weights = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return MarkerPlacement(points=points, joint_pos=np.asarray(body.joint_pos), bodies=bodies, weights=weights)
