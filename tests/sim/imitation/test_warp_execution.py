"""The tracker that executes on its device: its records are those of the roll-out, and what was given up leaves no trace."""

import dataclasses
import gc
import weakref
from collections import Counter

import numpy as np
import pytest

from sim.backends.contract import FLOAT32_CLOSURE
from sim.backends.mujoco_cpu import MujocoCpu
from sim.imitation.tracker.clip import RetryConfig, track_clip
from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.solve import followed_reference, solve, stretch_controls
from sim.imitation.tracker.steps import QUANTUM

pytest.importorskip("mujoco_warp")
import torch

from sim.backends.warp_sums import WarpTransitions
from sim.imitation.tracker.solve_on_device import solve_on_device
from sim.imitation.tracker.warp_execution import WarpExecutor

pytestmark = pytest.mark.timeout(900)  # a cold cache on a busy machine
SEARCH = SearchConfig(samples=2, rounds=1, knots=2, damping=(0.1,), width_scale=0.2, planning_substep=1.0 / 60.0)


@pytest.fixture(scope="module")
def followed(coarse, sway):
    return followed_reference(coarse, sway)


@pytest.fixture(scope="module")
def executor(coarse, followed):
    return WarpExecutor(coarse, followed.reference, followed.base, SEARCH, device="cpu")


@pytest.fixture(scope="module")
def executed(coarse, sway):
    return solve_on_device(coarse, sway, "cpu", seed=3, search=SEARCH)


def test_sums_of_an_executed_clip_are_those_of_its_open_loop_roll_out(coarse, followed, executed):
    """Sixteen knots executed one by one, each from the state that the host was shown, or all transitions in one call."""
    solution, [part] = executed
    assert solution.is_complete and np.any(part.stretch.offsets != 0)
    assert solution.search["engine"] == "mujoco_warp on cpu"
    qpos, qvel = followed.reference.start(0)
    ctrl = stretch_controls(coarse, followed.reference, followed.base, part.stretch)
    device = WarpTransitions(coarse, 1, device="cpu", chunk=len(ctrl) // coarse.substeps)
    expected = device.run(qpos[None], qvel[None], ctrl[None])
    assert part.sums.qpos.shape == expected.qpos.shape == (1, 2 * solution.num_knots + 1, 99)
    np.testing.assert_allclose(part.sums.qpos, expected.qpos, atol=1e-4)
    np.testing.assert_allclose(part.sums.impulse, expected.impulse, atol=1e-2)
    for name in ("early", "late"):
        force, other = (getattr(sums, name).sum(axis=(0, 1, 2)) for sums in (part.sums, expected))
        np.testing.assert_allclose(force, other, rtol=1e-3, atol=1.0)
    assert part.sums.closure.max() < FLOAT32_CLOSURE and part.sums.valid_substeps[0] == len(ctrl)


def test_what_is_executed_follows_the_motion_and_the_other_engine(coarse, followed, executed):
    _, [part] = executed
    assert np.abs(part.sums.qpos[0] - part.wanted)[:, :3].max() < 0.05
    qpos, qvel = followed.reference.start(0)
    backend = MujocoCpu(coarse)
    backend.reset(qpos[None], qvel[None])
    trace = backend.rollout(stretch_controls(coarse, followed.reference, followed.base, part.stretch)[None])
    np.testing.assert_allclose(part.sums.qpos[0], trace.qpos[0, :: coarse.substeps], atol=1e-3)


def path_of(executor, targets, start=0):
    """Moments of knots executed one after the other from the reference's state, and the distance from it at their end."""
    first = executor.first_step(start)
    moments, held, error = [first.moment], first.offset, first.error
    for number, target in enumerate(torch.as_tensor(targets, dtype=torch.float32)):
        moment, error = executor.execute(moments[-1], start + number, held, target)
        moments.append(moment)
        held = target
    return moments, error


def offsets_of(executor, knots, width=0.0):
    return width * np.random.default_rng(0).standard_normal((knots, len(executor.planner.columns)))


def test_what_the_search_gave_up_leaves_no_trace(executor):
    targets = offsets_of(executor, 4, 0.02)
    path_of(executor, targets)
    expected = executor.sums(0, 4)
    moments, _ = path_of(executor, 15.0 * targets)
    assert np.abs(executor.sums(0, 4).qpos - expected.qpos).max() > 0.01
    _, error = executor.execute(moments[2], 2, torch.zeros(25), torch.full((25,), 1e12))
    assert np.isnan(error), "a target beyond MuJoCo's bounds"
    path_of(executor, targets)
    found = executor.sums(0, 4)
    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), err_msg=field.name)


def test_the_distance_from_the_reference_is_that_of_the_tracker(executor):
    moments, error = path_of(executor, offsets_of(executor, 3, 0.1), start=2)
    state = np.concatenate([[0.0], moments[-1].qpos.numpy(), moments[-1].qvel.numpy()])
    assert error == pytest.approx(executor.planner.body_error(state.astype(np.float64), 5), rel=1e-4)
    assert error > 1e-3


def test_a_stretch_that_begins_later_is_summed_at_its_own_time(executor):
    still = offsets_of(executor, 3)
    path_of(executor, still)
    before = executor.sums(0, 3)
    moments, _ = path_of(executor, still, start=5)
    found = executor.sums(5, 8)
    np.testing.assert_array_equal(found.qpos[0, ::2], [moment.qpos.numpy() for moment in moments])
    np.testing.assert_array_equal(executor.sums(0, 3).impulse, before.impulse)
    assert np.any(found.impulse != before.impulse)


def test_a_plan_starts_from_the_one_before_shifted_by_a_knot(executor):
    rng = np.random.default_rng(0)
    steps = [executor.first_step(0)]
    for knot in range(2):
        steps.append(executor.next_step(steps[-1], knot, rng, SEARCH))
    assert steps[2].warm.shape == steps[0].warm.shape == (SEARCH.knots, 25)
    assert torch.equal(steps[2].warm[0], steps[2].warm[1]), "the last knot is held"
    offsets, states = executor.gathered(steps)
    assert offsets.dtype == np.int16 and offsets.shape == (3, 25) and not offsets[0].any() and offsets[1:].any()
    np.testing.assert_array_equal(offsets[1:] * QUANTUM, np.stack([step.offset.numpy() for step in steps[1:]]))
    np.testing.assert_array_equal(states[:, 1:100], executor.sums(0, 2).qpos[0, ::2])


@pytest.mark.thorough
def test_two_stretches_of_a_clip_are_recorded_at_their_times_and_what_failed_is_not(coarse, followed, monkeypatch):
    """Knot 6 fails always, knot 12 once: back and back again, then a new stretch; both are their open-loop roll-outs."""
    executor = WarpExecutor(coarse, followed.reference, followed.base, SEARCH, device="cpu")
    usual, seen = executor.next_step, Counter()

    def failing(step, knot, rng, search):
        seen[knot] += 1
        is_lost = knot == 6 or (knot == 12 and seen[12] == 1)
        return dataclasses.replace(usual(step, knot, rng, search), **({"error": np.nan} if is_lost else {}))

    monkeypatch.setattr(executor, "next_step", failing)
    tracked = track_clip(executor, seed=3, retry=RetryConfig(back_knots=3, restart_knots=2, min_stretch=0.1))
    assert [(part.start, part.end) for part in tracked.stretches] == [(0, 6), (9, 18)]
    assert tracked.num_retries == 3 and seen[6] == 3 and seen[12] == 2
    for part in tracked.stretches:
        sums, (qpos, qvel) = (
            executor.sums(part.start, part.end),
            followed.reference.start(part.start * executor.execute_steps),
        )
        ctrl = stretch_controls(coarse, followed.reference, followed.base, part)
        device = WarpTransitions(coarse, 1, device="cpu", chunk=len(ctrl) // coarse.substeps)
        expected = device.run(qpos[None], qvel[None], ctrl[None])
        np.testing.assert_allclose(sums.qpos, expected.qpos, atol=1e-5)
        np.testing.assert_allclose(sums.impulse, expected.impulse, atol=1e-3)
        np.testing.assert_array_equal(part.states[:, 1:100], sums.qpos[0, ::2])


def test_a_finished_clip_leaves_nothing_on_the_device(coarse, followed):
    """At once, without a search for cycles: of the device's memory Python knows nothing."""
    executor = WarpExecutor(coarse, followed.reference, followed.base, SEARCH, device="cpu")
    executor.next_step(executor.first_step(0), 0, np.random.default_rng(0), SEARCH)
    held = [weakref.ref(loop) for loop in (executor.loop, *(part.loop for part in executor.planner._rollouts.values()))]
    assert len(held) >= 2
    executor.close()
    gc.collect()
    gc.disable()
    try:
        del executor
        assert [loop() for loop in held] == [None] * len(held)
    finally:
        gc.enable()


def test_a_knot_that_is_no_whole_transition_is_refused(coarse, followed):
    search = dataclasses.replace(SEARCH, knot_time=1.0 / 60.0)
    with pytest.raises(ValueError, match=r"knot_time: expected a multiple of a transition, \d+ substeps, got \d+"):
        WarpExecutor(coarse, followed.reference, followed.base, search, device="cpu")


def test_plans_at_another_rate_than_solutions_are_refused(coarse, sway):
    search = dataclasses.replace(SEARCH, knot_time=2.0 / 15.0)
    with pytest.raises(ValueError, match=r"knot_time: expected 1/15 s, .* got 0\.133"):
        solve_on_device(coarse, sway, "cpu", search=search)
    with pytest.raises(ValueError, match=r"knot_time: expected 1/15 s"):
        solve(coarse, sway, search=search)
