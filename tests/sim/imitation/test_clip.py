"""Tracking of a whole clip with a tracker that fails where it is told to: going back, the ladder, new stretches."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from sim.imitation.tracker.clip import RetryConfig, track_clip
from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.search import Moment
from sim.imitation.tracker.steps import QUANTUM, StepByStep

RETRY = RetryConfig()
SAMPLES = SearchConfig().samples


@dataclass
class ScriptedTracker(StepByStep):
    """Stands in for `Tracker`: the state is the error, and each plan is a number that tells the plans apart."""

    num_knots: int = 40
    bad_knot: int = 20
    """Knot that is reached with the error `bad`, unless enough samples are taken or the stretch starts behind."""
    bad: float = np.nan
    enough: int = 10**6
    search: SearchConfig = field(default_factory=SearchConfig)
    plans: list[tuple[int, int, int]] = field(default_factory=list)
    """Knot, samples and rounds of each plan that was asked for."""

    @property
    def columns(self) -> np.ndarray:
        return np.arange(3)

    def reference_moment(self, knot: int) -> Moment:
        return Moment(np.array([0.0]), np.zeros(1))

    def body_error(self, state: np.ndarray, knot: int) -> float:
        return float(state[0])

    def plan(
        self,
        moment: Moment,
        knot: int,
        held: np.ndarray,
        warm: np.ndarray,
        rng: np.random.Generator,
        search: SearchConfig,
    ) -> np.ndarray:
        self.plans.append((knot, search.samples, search.rounds))
        return np.full((search.knots, 3), 100 * len(self.plans) * QUANTUM)

    def execute(self, moment: Moment, knot: int, held: np.ndarray, target: np.ndarray) -> Moment:
        has_failed = knot + 1 == self.bad_knot and self.plans[-1][1] < self.enough
        return Moment(np.array([self.bad if has_failed else 0.1]), np.zeros(1))


def test_a_clip_that_goes_well_is_planned_once_a_knot():
    tracker = ScriptedTracker(bad_knot=-1)
    tracked = track_clip(tracker)
    assert tracked.is_complete and tracked.num_retries == 0
    assert tracker.plans == [(knot, SAMPLES, tracker.search.rounds) for knot in range(40)]
    [stretch] = tracked.stretches
    np.testing.assert_array_equal(stretch.offsets[:, 0], 100 * np.arange(41))
    assert stretch.states.shape == (41, 1) and stretch.errors[0] == 0.0


def test_at_a_failure_the_search_goes_back_and_tries_harder_until_it_is_past():
    tracker = ScriptedTracker(bad=0.4, enough=2 * SAMPLES)
    tracked = track_clip(tracker)
    assert tracked.is_complete and tracked.num_retries == 1
    back = 20 - RETRY.back_knots
    assert [plan[0] for plan in tracker.plans] == [*range(20), *range(back, 40)]
    rounds = tracker.search.rounds
    harder = [knot for knot, samples, extra in tracker.plans if (samples, extra) == (2 * SAMPLES, rounds + 1)]
    assert harder == list(range(back, 20 + RETRY.back_knots + 1)), "the usual effort again once it is well past"
    [stretch] = tracked.stretches
    expected = [*range(back + 1), *range(21, 21 + 40 - back)]  # plans that were executed and kept
    np.testing.assert_array_equal(stretch.offsets[:, 0], 100 * np.array(expected))


def test_when_the_ladder_is_used_up_a_new_stretch_starts_behind():
    tracker = ScriptedTracker()
    tracked = track_clip(tracker)
    assert not tracked.is_complete and tracked.num_retries == len(RETRY.ladder) - 1
    first, second = tracked.stretches
    assert (first.start, first.end) == (0, 19), "the last knot that was well below the trigger"
    assert (second.start, second.end) == (20 + RETRY.restart_knots, 40)
    assert np.all(np.isfinite(first.states)) and len(first.offsets) == 20
    assert [samples for knot, samples, _ in tracker.plans if knot == 19] == [SAMPLES, 2 * SAMPLES, 4 * SAMPLES]
    assert tracker.plans[-1][1] == SAMPLES, "a new stretch starts with the usual effort"


def test_what_is_still_tracked_at_the_end_of_the_ladder_goes_on():
    tracker = ScriptedTracker(bad=0.45)
    tracked = track_clip(tracker)
    assert tracked.is_complete and tracked.num_retries == 2
    assert tracked.stretches[0].errors[20] == 0.45


def test_a_stretch_that_is_too_short_is_dropped():
    tracked = track_clip(ScriptedTracker(bad_knot=8))
    assert [(stretch.start, stretch.end) for stretch in tracked.stretches] == [(8 + RETRY.restart_knots, 40)]
    nothing = track_clip(ScriptedTracker(num_knots=12, bad_knot=6))
    assert nothing.stretches == () and not nothing.is_complete


@pytest.mark.parametrize("seed", [0, 5])
def test_each_attempt_has_random_numbers_of_its_own_and_the_first_the_same_always(monkeypatch, seed):
    seeds = []
    usual = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda key: seeds.append(tuple(key)) or usual(key))
    track_clip(ScriptedTracker(bad=0.4, enough=2 * SAMPLES), seed=seed)
    assert seeds[:20] == [(seed, knot, 0) for knot in range(20)]
    assert len(set(seeds)) == len(seeds), "a second attempt at a knot is not the first once more"
