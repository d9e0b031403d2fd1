"""Named shapes and seeded inputs of the ground-reaction kernels, shared by tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Case:
    """Contacts of some frames."""

    name: str
    """Identifier in test ids and benchmark rows."""
    frames: int
    """Frames T."""
    contacts: int
    """Contacts of each frame, or their mean where ragged."""
    bodies: int = 24
    """Bodies N."""
    is_ragged: bool = False
    """Contacts a frame drawn from 0 to twice the mean."""
    has_torque: bool = True
    """Contacts carry torques."""
    dtype: str = "float32"
    """float32 or float64."""
    note: str
    """Why the case is there."""


CASES = (
    Case(name="one_contact", frames=1, contacts=1, note="smallest"),
    Case(name="no_contact", frames=3, contacts=0, note="flight: nothing to sum"),
    Case(name="prime_ragged", frames=37, contacts=5, is_ragged=True, dtype="float64", note="empty frames, odd counts"),
    Case(name="one_body", frames=11, contacts=7, bodies=1, has_torque=False, note="all contacts on one body"),
    Case(name="crowded", frames=5, contacts=211, note="lying: many contacts on all bodies"),
    Case(name="feet", frames=257, contacts=8, bodies=4, has_torque=False, note="two feet"),
    Case(name="full", frames=131, contacts=8, has_torque=True, note="all bodies"),
)
"""Shapes of the tests, small enough for the interpreter."""

BENCH_CASES = (
    Case(name="feet", frames=262144, contacts=8, bodies=4, has_torque=False, note="two feet of two bodies each"),
    Case(name="full", frames=131072, contacts=8, has_torque=True, note="all bodies, all outputs"),
)
"""Shapes of the benchmarks, several times the caches."""


def make(case: Case, seed: int = 0) -> dict[str, np.ndarray | int | None]:
    """Arguments of `aggregate_contacts` for a case: contacts on z = 0, mostly pressing, some sliding or pulling."""
    rng = np.random.default_rng(seed)
    counts = np.full(case.frames, case.contacts)
    if case.is_ragged:
        counts = rng.integers(0, 2 * case.contacts + 1, case.frames)
    total = int(counts.sum())
    position = rng.uniform(-2.0, 2.0, (total, 3))
    position[:, 2] = 0.0
    force = rng.normal(0.0, 60.0, (total, 3))
    force[:, 2] = np.where(rng.random(total) < 0.9, rng.uniform(0.0, 400.0, total), -0.2)
    torque = rng.normal(0.0, 3.0, (total, 3))
    return {
        "position": position.astype(case.dtype),
        "force": force.astype(case.dtype),
        "torque": torque.astype(case.dtype) if case.has_torque else None,
        "body": rng.integers(0, case.bodies, total).astype(np.int32),
        "offsets": np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        "num_bodies": case.bodies,
    }


def make_substeps(transitions: int, substeps: int, bodies: int = 24, seed: int = 0) -> dict[str, np.ndarray]:
    """Arguments force, torque, position (K, N, 3) of the averaging form: two feet in alternating contact, float64."""
    rng = np.random.default_rng(seed)
    total = transitions * substeps
    force = np.zeros((total, bodies, 3))
    touching = rng.random((total, bodies)) < 0.3
    force[touching] = rng.normal((0.0, 0.0, 300.0), (40.0, 40.0, 80.0), (int(touching.sum()), 3))
    torque = np.where(touching[..., None], rng.normal(0.0, 2.0, force.shape), 0.0)
    position = np.where(touching[..., None], rng.uniform(-1.0, 1.0, force.shape), np.nan)
    position[..., 2] *= 0.001
    return {"force": force, "torque": torque, "position": position}
