"""Named shapes and seeded inputs of the momentum kernels, shared by tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Case:
    """Torques of some transitions."""

    name: str
    """Identifier in test ids and benchmark rows."""
    transitions: int
    """Transitions T."""
    substeps: int
    """Substeps S of a transition."""
    joints: int = 23
    """Joints J."""
    dtype: str = "float32"
    """float32 or float64."""
    note: str
    """Why the case is there."""


CASES = (
    Case(name="one", transitions=1, substeps=1, joints=1, note="smallest"),
    Case(name="no_substep", transitions=3, substeps=0, note="empty sum"),
    Case(name="no_transition", transitions=0, substeps=4, note="empty batch"),
    Case(name="prime", transitions=13, substeps=7, joints=5, dtype="float64", note="odd counts"),
    Case(name="wide", transitions=5, substeps=3, joints=8, note="three whole registers a row"),
    Case(name="imdy", transitions=61, substeps=2, note="the paper's 60 Hz"),
    Case(name="kail", transitions=17, substeps=15, note="450 Hz"),
)
"""Shapes of the tests, small enough for the interpreter."""

BENCH_CASES = (
    Case(name="imdy", transitions=131072, substeps=2, note="the paper's 60 Hz"),
    Case(name="kail", transitions=32768, substeps=15, note="450 Hz"),
)
"""Shapes of the benchmarks, several times the caches."""


def make(case: Case, seed: int = 0) -> np.ndarray:
    """Torques of a case [N·m], shape (T, S, J, 3)."""
    rng = np.random.default_rng(seed)
    shape = (case.transitions, case.substeps, case.joints, 3)
    return rng.normal(0.0, 80.0, shape).astype(case.dtype)
