"""Tracking of a whole clip: plan, execute, go back and search harder where it fails, start again where it cannot be done.

Axis legend: D = 25 searched degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sim.imitation.tracker.steps import Follower, Step


@dataclass(frozen=True, kw_only=True)
class RetryConfig:
    """When and how the search goes back."""

    success_error: float = 0.5
    """A stretch is tracked while the mean body error stays below this [m]."""
    trigger_error: float = 0.35
    """Mean body error at which the search goes back [m]."""
    back_knots: int = 10
    """How many knots it goes back."""
    ladder: tuple[tuple[float, int], ...] = ((1.0, 0), (2.0, 1), (4.0, 1))
    """Factor on the samples and rounds added at each further attempt (each has its own seed)."""
    restart_knots: int = 3
    """Knots skipped before a new stretch starts in the reference's state."""
    min_stretch: float = 1.0
    """Stretches shorter than this are dropped [s]."""


@dataclass(frozen=True, eq=False)
class TrackedStretch:
    """An executed part of a clip."""

    start: int
    """Knot at which it starts, in the reference's state."""
    offsets: np.ndarray
    """Executed knot offsets, in multiples of `QUANTUM`, first row zero, shape (executed + 1, D), int16."""
    errors: np.ndarray
    """Mean distance of the bodies from the reference at each knot [m], shape (executed + 1,)."""
    states: np.ndarray
    """Physics state at each knot, shape (executed + 1, 175)."""

    @property
    def end(self) -> int:
        """Knot at which it ends."""
        return self.start + len(self.offsets) - 1


@dataclass(frozen=True, eq=False)
class TrackedClip:
    """Result of tracking one clip."""

    stretches: tuple[TrackedStretch, ...]
    """Tracked parts in order; one that covers the clip if all went well."""
    num_knots: int
    """Knots of the whole clip."""
    num_retries: int
    """Times the search went back."""

    @property
    def is_complete(self) -> bool:
        """Whether one stretch covers the whole clip."""
        return len(self.stretches) == 1 and self.stretches[0].start == 0 and self.stretches[0].end == self.num_knots


@dataclass(eq=False)
class _Path:
    """Growing stretch: one step a knot."""

    start: int
    steps: list[Step]

    @property
    def knot(self) -> int:
        return self.start + len(self.steps) - 1

    def cut(self, knot: int) -> None:
        del self.steps[max(knot - self.start, 0) + 1 :]


def track_clip(
    tracker: Follower, *, seed: int = 0, retry: RetryConfig | None = None, progress: Callable[[int], None] | None = None
) -> TrackedClip:
    """Track a clip from its first frame, with backtracking.

    Where the mean body error passes `trigger_error` (or the state stops being finite) the search goes back `back_knots`
    and tries again with another seed, more samples and more rounds. When the ladder is used up, the stretch ends where
    the error was last below half the trigger and a new one starts a little later in the reference's state.

    Args:
        tracker: What plans and executes, for this clip and humanoid.
        seed: Seed of all random numbers; the same seed gives the same result.
        retry: Backtracking settings.
        progress: Called with the knot reached after every plan.
    """
    retry = retry or RetryConfig()
    done: list[TrackedStretch] = []
    path, attempt, failed_at, retries, plans = _Path(0, [tracker.first_step(0)]), 0, -1, 0, 0

    def finish() -> None:
        if (path.knot - path.start) * tracker.search.knot_time >= retry.min_stretch:
            offsets, states = tracker.gathered(path.steps)
            done.append(TrackedStretch(path.start, offsets, np.array([step.error for step in path.steps]), states))

    while path.knot < tracker.num_knots:
        factor, extra = retry.ladder[attempt]
        search = replace(
            tracker.search, samples=round(tracker.search.samples * factor), rounds=tracker.search.rounds + extra
        )
        rng = np.random.default_rng([seed, path.knot, plans if attempt else 0])
        path.steps.append(tracker.next_step(path.steps[-1], path.knot, rng, search))
        plans += 1
        if progress is not None:
            progress(path.knot)
        error = path.steps[-1].error
        if not (np.isfinite(error) and error < retry.trigger_error):
            failed_at = max(path.knot, failed_at)
            if attempt + 1 < len(retry.ladder):
                attempt, retries = attempt + 1, retries + 1
                path.cut(path.knot - retry.back_knots)
                continue
            if np.isfinite(error) and error < retry.success_error:
                continue  # the ladder is used up: go on as long as it still counts as tracked
            good = [knot for knot, step in enumerate(path.steps) if step.error < 0.5 * retry.trigger_error]
            path.cut(path.start + (good[-1] if good else 0))
            finish()
            start = min(failed_at + retry.restart_knots, tracker.num_knots)
            path, attempt = _Path(start, [tracker.first_step(start)]), 0
        elif attempt and path.knot > failed_at + retry.back_knots:
            attempt = 0
    finish()
    return TrackedClip(tuple(done), tracker.num_knots, retries)
