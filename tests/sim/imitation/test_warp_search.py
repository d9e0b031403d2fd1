"""The search on the device: its residuals are those of the processor, and what it plans can be executed and replayed."""

import numpy as np
import pytest

from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.residuals import LOST, num_residuals, rollout_residuals
from sim.imitation.tracker.sampled_gauss_newton import damped_steps
from sim.imitation.tracker.search import Tracker
from sim.imitation.tracker.servo_targets import fill_controls
from sim.imitation.tracker.solve import followed_reference, replay, solve

pytest.importorskip("mujoco_warp")
import torch
import warp as wp

from sim.imitation.tracker.config import pose_weights
from sim.imitation.tracker.warp_search import WarpTracker
from sim.imitation.tracker.warp_search import damped_steps as device_steps

pytestmark = pytest.mark.timeout(900)  # a cold cache on a busy machine
SEARCH = SearchConfig(samples=6, rounds=1, planning_sweeps=0)
"""Planning by Newton on both, so that their roll-outs are comparable."""


@pytest.fixture(scope="module")
def trackers(standing, sway):
    followed = followed_reference(standing, sway)
    plain = Tracker(standing, followed.reference, followed.base, SEARCH)
    return plain, WarpTracker(standing, followed.reference, followed.base, SEARCH, device="cpu")


def disturbed_states(tracker, window, count, rng):
    """States after each substep of a horizon: the reference's, every joint turned and every velocity changed."""
    rows = slice(window.first + 1, window.first + window.steps + 1)
    qpos = np.repeat(tracker.planning.qpos[None, rows], count, axis=0)
    qvel = np.repeat(tracker.planning.qvel[None, rows], count, axis=0)
    qpos[:, :, :3] += 0.1 * rng.standard_normal((count, window.steps, 3))
    qpos[:, :, tracker.humanoid.quat_columns] += 0.3 * rng.standard_normal((count, window.steps, 24, 4))
    qpos[:, :, tracker.humanoid.quat_columns] /= np.linalg.norm(
        qpos[:, :, tracker.humanoid.quat_columns], axis=-1, keepdims=True
    )
    qvel += rng.standard_normal(qvel.shape)
    return np.concatenate([np.zeros((count, window.steps, 1)), qpos, qvel], axis=2)


def test_residuals_of_any_states_are_those_of_the_processor(trackers):
    """Limbs turned by up to a radian and more: every term acts, excess over ranges and overlap of limbs too."""
    plain, device = trackers
    window, rng = plain._window(2, SEARCH), np.random.default_rng(0)
    states = disturbed_states(plain, window, 5, rng)
    force = 700.0 + 300.0 * rng.standard_normal((5, window.steps))
    at, feet = window.first + window.checks + 1, np.array([7, 10, 8, 11])
    expected = np.zeros((5, num_residuals(len(at), 4, len(plain.pairs), window.steps, plain.soft_lag)))
    rollout_residuals(
        states, force, window.checks, plain.soft_lag, SEARCH.weights.vector(), pose_weights(), plain.body_weight, feet,
        *plain.arrays, plain.range_low[at], plain.range_high[at], plain.ends, plain.radius, plain.pairs,
        plain.ref_pos[at], plain.ref_rot[at], plain.ref_quat[at], plain.ref_summary[at], plain.ref_depth[at], expected,
    )  # fmt: skip
    rollouts = device._rollouts_of(5)
    rollouts.loop.forget_faults()
    rollouts.qpos.assign(states[:, window.checks, 1:100].astype(np.float32))
    rollouts.qvel.assign(states[:, window.checks, 100:].astype(np.float32))
    rollouts.force_z.assign(force.astype(np.float32))
    found = rollouts.residuals(window, SEARCH).numpy()
    assert (expected != 0.0).mean() > 0.7 and np.abs(expected).max() > 1.0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_plan_costs_on_the_device_what_it_costs_on_the_processor(trackers):
    """Roll-outs of 0.4 s by both engines, the same residuals to what float32 makes of contacts."""
    plain, device = trackers
    moment, held = plain.reference_moment(1), np.zeros(len(plain.columns))
    window = plain._window(1, SEARCH)
    plans = 0.05 * np.random.default_rng(1).standard_normal((3, window.knots, len(plain.columns)))
    expected = plain._evaluate(moment, held, plans, window, SEARCH)
    tensors = torch.tensor(held, dtype=torch.float32), torch.tensor(plans, dtype=torch.float32)
    residual, cost = device.evaluate(moment, *tensors, window, SEARCH)
    np.testing.assert_allclose(residual.numpy(), expected.residual, atol=2e-3)
    np.testing.assert_allclose(cost.numpy(), expected.cost, rtol=2e-3)


def test_a_sample_that_leaves_the_numbers_is_lost_and_no_other(trackers):
    plain, device = trackers
    window = plain._window(0, SEARCH)
    plans = np.zeros((3, window.knots, len(plain.columns)))
    plans[1, 3:] = 1e12
    tensors = torch.zeros(len(plain.columns)), torch.tensor(plans, dtype=torch.float32)
    residual, cost = device.evaluate(plain.reference_moment(0), *tensors, window, SEARCH)
    assert residual[1, 0] == LOST and residual[[0, 2]].abs().max() < LOST
    assert torch.isfinite(cost).all() and cost[1] > 1e6


@pytest.mark.parametrize("rows", [12, 400, 700])
def test_steps_in_float32_are_those_of_the_reference(rows):
    """More samples than residuals too: then the smaller system is another."""
    rng = np.random.default_rng(2)
    deviations, changes = rng.standard_normal((rows, 30)), rng.standard_normal((rows, 400))
    residual = rng.standard_normal(400)
    expected = damped_steps(deviations, changes, residual, (0.03, 0.3))
    tensors = (torch.tensor(values, dtype=torch.float32) for values in (deviations, changes, residual))
    np.testing.assert_allclose(device_steps(*tensors, (0.03, 0.3)).numpy(), expected, rtol=1e-3, atol=1e-5)


def test_controls_are_those_of_the_processor(trackers):
    plain, device = trackers
    window = plain._window(3, SEARCH)
    offsets = np.random.default_rng(3).standard_normal((6, window.knots + 1, len(plain.columns)))
    rollouts = device._rollouts_of(6)
    rollouts.roll(plain.reference_moment(3), torch.tensor(offsets, dtype=torch.float32), window)
    expected = np.zeros((6, window.steps, 69))
    base = plain.planning_base[window.first : window.first + window.steps]
    fill_controls(base, offsets, plain.columns, plain.knot_steps, expected)
    np.testing.assert_allclose(rollouts.loop.ctrl.numpy()[:, : window.steps], expected, atol=1e-5)
    assert wp.to_torch(rollouts.loop.row).tolist() == [window.steps] * 6


def test_what_is_planned_on_the_device_is_executed_and_replayed_bit_for_bit(coarse, sway):
    search = SearchConfig(samples=2, rounds=1, knots=2, damping=(0.1,), width_scale=0.2, planning_substep=1.0 / 60.0)
    solution = solve(coarse, sway, seed=3, search=search, planner="cpu")
    assert solution.is_complete
    assert solution.search["planner"] == "mujoco_warp on cpu"
    [part] = replay(coarse, sway, solution)
    assert part.exact_seconds == len(part.stretch.state_hash) == 1
    assert np.any(solution.stretches[0].offsets != 0)
    assert solution.stretches[0].error_mm.mean() < 40.0


def test_a_plan_is_no_worse_than_what_it_starts_from(trackers):
    plain, device = trackers
    start, held = plain.reference_moment(0), np.zeros(len(plain.columns))
    window = plain._window(0, SEARCH)
    start.state[100] += 0.4  # pushed forward: what the feed-forward alone does is not good
    warm = np.zeros((SEARCH.knots, len(plain.columns)))
    plan = device.plan(start, 0, held, warm, np.random.default_rng(0), SEARCH)
    assert plan.shape == (window.knots, len(plain.columns))
    before, after = plain._evaluate(start, held, np.stack([warm, plan]), window, SEARCH).cost
    assert after < 0.95 * before
