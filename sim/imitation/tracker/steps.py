"""A tracked stretch grows by a knot a step: plan, execute the plan's first knot, shift the rest to start the next plan from.

`track_clip` drives a `Follower` and sees of a step nothing but its error, so a follower may keep states and plans where it likes:
`StepByStep` in arrays here, `tracker.warp_execution` on a device.

Axis legend: D = 25 searched degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sim.imitation.tracker.config import SearchConfig

QUANTUM = 2.0**-13
"""Executed offsets are whole multiples of this [rad], so that they can be stored as 16-bit integers."""
LARGEST_OFFSET = 32767
"""Largest of these multiples."""


@dataclass(frozen=True, eq=False)
class Step:
    """Where a stretch is at a knot. All but the error is known to the follower alone."""

    moment: Any
    """Everything the physics needs to go on."""
    offset: Any
    """Offset in force [rad], shape (D,)."""
    warm: Any
    """Offsets that the next search starts from [rad], shape (knots, D)."""
    error: float
    """Mean distance of the bodies from the reference [m]; NaN where the physics has failed."""


class Follower(Protocol):
    """What follows a clip knot by knot."""

    search: SearchConfig
    """Settings."""

    @property
    def num_knots(self) -> int:
        """Knots of the clip."""
        ...

    def first_step(self, knot: int) -> Step:
        """The reference's own state at a knot, nothing planned."""
        ...

    def next_step(self, step: Step, knot: int, rng: np.random.Generator, search: SearchConfig) -> Step:
        """Plan at a knot and execute up to the next."""
        ...

    def gathered(self, steps: Sequence[Step]) -> tuple[np.ndarray, np.ndarray]:
        """Of the steps of a stretch: executed offsets in multiples of `QUANTUM`, (steps, D) int16, and states, (steps, 175)."""
        ...


class StepByStep:
    """A follower made of a tracker's `plan` and `execute`."""

    columns: Any
    search: Any
    reference_moment: Any
    body_error: Any
    plan: Any
    execute: Any

    def first_step(self, knot: int) -> Step:
        """As `Follower.first_step`."""
        moment, unknowns = self.reference_moment(knot), len(self.columns)
        warm = np.zeros((self.search.knots, unknowns))
        return Step(moment, np.zeros(unknowns), warm, self.body_error(moment.state, knot))

    def next_step(self, step: Step, knot: int, rng: np.random.Generator, search: SearchConfig) -> Step:
        """As `Follower.next_step`."""
        plan = self.plan(step.moment, knot, step.offset, step.warm, rng, search)
        target = np.clip(np.round(plan[0] / QUANTUM), -LARGEST_OFFSET, LARGEST_OFFSET) * QUANTUM
        moment = self.execute(step.moment, knot, step.offset, target)
        warm = np.zeros_like(step.warm)
        warm[: len(plan) - 1] = plan[1:]
        warm[len(plan) - 1 :] = plan[-1]
        return Step(moment, target, warm, self.body_error(moment.state, knot + 1))

    def gathered(self, steps: Sequence[Step]) -> tuple[np.ndarray, np.ndarray]:
        """As `Follower.gathered`."""
        offsets = np.round(np.array([step.offset for step in steps]) / QUANTUM).astype(np.int16)
        return offsets, np.array([step.moment.state for step in steps])
