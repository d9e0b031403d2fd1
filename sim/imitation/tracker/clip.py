"""Tracking of a whole clip: plan, execute, go back and search harder where it fails, start again where it cannot be done.

Axis legend: D = 25 searched degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.search import QUANTUM, Moment, Tracker


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
    """Growing stretch: one entry a knot."""

    start: int
    moments: list[Moment]
    offsets: list[np.ndarray]
    errors: list[float]
    warm: list[np.ndarray]

    @property
    def knot(self) -> int:
        return self.start + len(self.offsets) - 1

    def cut(self, knot: int) -> None:
        keep = max(knot - self.start, 0) + 1
        for items in (self.moments, self.offsets, self.errors, self.warm):
            del items[keep:]


def _new_path(tracker: Tracker, knot: int) -> _Path:
    zero = np.zeros(len(tracker.columns))
    warm = np.zeros((tracker.search.knots, len(tracker.columns)))
    moment = tracker.reference_moment(knot)
    return _Path(knot, [moment], [zero], [tracker.body_error(moment.state, knot)], [warm])


def _advance(tracker: Tracker, path: _Path, rng: np.random.Generator, search: SearchConfig) -> None:
    plan = tracker.plan(path.moments[-1], path.knot, path.offsets[-1], path.warm[-1], rng, search)
    target = np.clip(np.round(plan[0] / QUANTUM), -32767, 32767) * QUANTUM
    moment = tracker.execute(path.moments[-1], path.knot, path.offsets[-1], target)
    warm = np.zeros_like(path.warm[-1])
    warm[: len(plan) - 1] = plan[1:]
    warm[len(plan) - 1 :] = plan[-1]
    path.moments.append(moment)
    path.offsets.append(target)
    path.warm.append(warm)
    path.errors.append(tracker.body_error(moment.state, path.knot))


def track_clip(
    tracker: Tracker, *, seed: int = 0, retry: RetryConfig | None = None, progress: Callable[[int], None] | None = None
) -> TrackedClip:
    """Track a clip from its first frame, with backtracking.

    Where the mean body error passes `trigger_error` (or the state stops being finite) the search goes back `back_knots`
    and tries again with another seed, more samples and more rounds. When the ladder is used up, the stretch ends where
    the error was last below half the trigger and a new one starts a little later in the reference's state.

    Args:
        tracker: Search for this clip and humanoid.
        seed: Seed of all random numbers; the same seed gives the same result.
        retry: Backtracking settings.
        progress: Called with the knot reached after every plan.
    """
    retry = retry or RetryConfig()
    done: list[TrackedStretch] = []
    path, attempt, failed_at, retries, plans = _new_path(tracker, 0), 0, -1, 0, 0

    def finish() -> None:
        if (path.knot - path.start) * tracker.search.knot_time >= retry.min_stretch:
            offsets = np.round(np.array(path.offsets) / QUANTUM).astype(np.int16)
            states = np.array([moment.state for moment in path.moments])
            done.append(TrackedStretch(path.start, offsets, np.array(path.errors), states))

    while path.knot < tracker.num_knots:
        factor, extra = retry.ladder[attempt]
        search = replace(
            tracker.search, samples=round(tracker.search.samples * factor), rounds=tracker.search.rounds + extra
        )
        _advance(tracker, path, np.random.default_rng([seed, path.knot, plans if attempt else 0]), search)
        plans += 1
        if progress is not None:
            progress(path.knot)
        error = path.errors[-1]
        if not (np.isfinite(error) and error < retry.trigger_error):
            failed_at = max(path.knot, failed_at)
            if attempt + 1 < len(retry.ladder):
                attempt, retries = attempt + 1, retries + 1
                path.cut(path.knot - retry.back_knots)
                continue
            if np.isfinite(error) and error < retry.success_error:
                continue  # the ladder is used up: go on as long as it still counts as tracked
            good = [knot for knot, value in enumerate(path.errors) if value < 0.5 * retry.trigger_error]
            path.cut(path.start + (good[-1] if good else 0))
            finish()
            path, attempt = _new_path(tracker, min(failed_at + retry.restart_knots, tracker.num_knots)), 0
        elif attempt and path.knot > failed_at + retry.back_knots:
            attempt = 0
    finish()
    return TrackedClip(tuple(done), tracker.num_knots, retries)
