"""Named shapes and seeded inputs of the window kernel, used alike by its tests and its benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.windows.reference import Disturbance


@dataclass(frozen=True, kw_only=True)
class Case:
    """One shape of the window kernel."""

    name: str
    """Identifier in test ids and benchmark rows."""
    frames: int
    """Flat frames G."""
    markers: int
    """Markers a frame P."""
    windows: int
    """Windows B."""
    tokens: int
    """Tokens a window M."""
    half_width: int = 2
    """W, frames before t and after t + 1: a window holds 2 W + 2 frames."""
    has_noise: bool = True
    """Windows are disturbed."""
    is_shuffled: bool = False
    """Frames are shown in a random order."""
    has_gaps: bool = True
    """Some positions are NaN and some tokens empty."""
    dtype: str = "float32"
    """float32 or float64."""
    note: str
    """Why the case is there."""


CASES = (
    Case(
        name="one", frames=2, markers=1, windows=1, tokens=1, half_width=0, has_noise=False, has_gaps=False,
        note="smallest: a window of one transition",
    ),
    Case(name="none", frames=9, markers=3, windows=0, tokens=4, has_noise=False, note="empty batch"),
    Case(name="prime", frames=31, markers=7, windows=11, tokens=5, dtype="float64", note="odd sizes, gaps, noise"),
    Case(name="four", frames=13, markers=5, windows=4, tokens=9, half_width=1, note="short windows, repeats"),
    Case(name="plain", frames=50, markers=40, windows=17, tokens=40, has_noise=False, note="prediction: undisturbed"),
    Case(name="odd", frames=33, markers=9, windows=12, tokens=7, note="two tokens at a time and one left, gaps, noise"),
    Case(name="sparse", frames=12, markers=300, windows=5, tokens=6, note="few of many markers"),
    Case(name="shuffled", frames=40, markers=6, windows=9, tokens=4, is_shuffled=True, note="a prior's negatives"),
)  # fmt: skip
"""Shapes of the tests, small enough for the interpreter."""

BENCH_CASES = (
    Case(
        name="paper", frames=120000, markers=53, windows=2400, tokens=53, has_noise=False, has_gaps=False,
        note="a batch of the paper's windows, all markers of a laboratory set",
    ),
    Case(name="train", frames=40000, markers=220, windows=2400, tokens=59, has_gaps=False, note="subsets with noise"),
)  # fmt: skip
"""Shapes of the benchmarks: frames far beyond the caches."""


def make(case: Case, seed: int = 0) -> dict[str, Any]:
    """Arguments of `make_tokens` for a case."""
    num_frames = 2 * case.half_width + 2
    rng = np.random.default_rng(seed)
    markers = rng.normal(0.0, 1.0, (case.frames, case.markers, 3)).astype(case.dtype)
    if case.tokens == case.markers:
        index = np.tile(np.arange(case.markers, dtype=np.int32), (case.windows, 1))
    else:
        index = np.sort(rng.integers(0, case.markers, (case.windows, case.tokens)).astype(np.int32), axis=1)
    if case.has_gaps:
        markers[rng.random(markers.shape[:2]) < 0.02] = np.nan
        index[rng.random(index.shape) < 0.1] = -1
    disturbance = None
    if case.has_noise:
        length = 3 * (num_frames + 1) * case.tokens + 101
        disturbance = Disturbance(
            table=rng.normal(size=length).astype(case.dtype),
            start=rng.integers(0, 101, case.windows),
            offset_size=rng.uniform(0.0, 0.02, case.windows),
            jitter_size=rng.uniform(0.0, 0.005, case.windows),
        )
    return {
        "marker_pos": markers, "index": index, "half_width": case.half_width,
        "frame": rng.integers(case.half_width, case.frames - case.half_width - 1, case.windows),
        "origin": rng.normal(size=(case.windows, 3)), "heading": rng.uniform(-np.pi, np.pi, case.windows),
        "is_mirrored": rng.random(case.windows) < 0.5, "disturbance": disturbance,
        "order": rng.permuted(np.tile(np.arange(num_frames), (case.windows, 1)), axis=1) if case.is_shuffled else None,
    }  # fmt: skip
