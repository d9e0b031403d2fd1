"""Named shapes and seeded inputs of the window kernels, shared by tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Case:
    """Windows to cut."""

    name: str
    """Identifier in test ids and benchmark rows."""
    frames: int
    """Frames F."""
    markers: int
    """Stored markers M."""
    windows: int
    """Windows B."""
    half_width: int = 2
    """Frames before t, and after t + 1."""
    min_markers: int | None = None
    """Least number drawn; all if None."""
    max_markers: int | None = None
    """Greatest number drawn; all if None."""
    disturbance: float = 0.0
    """Standard deviation of offset and jitter [m]."""
    gaps: float = 0.0
    """Share of missing marker samples."""
    dtype: str = "float32"
    """float32 or float64."""
    note: str
    """Why the case is there."""


CASES = (
    Case(name="two_frames", frames=2, markers=1, windows=1, half_width=0, note="smallest window: no inner frame"),
    Case(name="no_window", frames=9, markers=3, windows=0, note="empty batch"),
    Case(name="no_marker", frames=9, markers=0, windows=2, note="empty marker set"),
    Case(name="prime_gaps", frames=41, markers=7, windows=13, half_width=1, gaps=0.05, dtype="float64", note="gaps"),
    Case(name="subset", frames=101, markers=150, windows=29, min_markers=22, max_markers=96, note="as in training"),
    Case(
        name="disturbed", frames=41, markers=11, windows=7, min_markers=1, max_markers=5, disturbance=0.005,
        dtype="float64", note="random displacements",
    ),
    Case(name="paper", frames=50_000, markers=53, windows=2400, note="the paper's batch, benchmark size"),
)  # fmt: skip
"""Awkward shapes first, benchmark sizes last."""


def make(case: Case, seed: int = 0) -> dict[str, Any]:
    """Arguments of `gather_windows` for a case: markers drifting within a few metres."""
    rng = np.random.default_rng(seed)
    drift = np.cumsum(rng.normal(0.0, 0.02, (case.frames, 1, 3)), axis=0)
    marker_pos = (
        drift + rng.normal(0.0, 0.4, (1, case.markers, 3)) + rng.normal(0, 0.01, (case.frames, case.markers, 3))
    )
    marker_pos[rng.random(marker_pos.shape[:2]) < case.gaps] = np.nan
    angle = np.cumsum(rng.normal(0.0, 0.1, case.frames))
    last = case.frames - case.half_width - 1
    return {
        "marker_pos": marker_pos.astype(case.dtype),
        "origin": drift[:, 0, :2].astype(case.dtype),
        "heading": np.stack((np.cos(angle), np.sin(angle)), axis=-1).astype(case.dtype),
        "frame": rng.integers(case.half_width, last, case.windows),
        "index": rng.integers(0, 10**9, case.windows),
        "half_width": case.half_width,
        "min_markers": case.min_markers,
        "max_markers": case.max_markers,
        "offset_std": case.disturbance,
        "jitter_std": case.disturbance,
    }
