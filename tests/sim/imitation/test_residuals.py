"""Residuals: zero on the reference, their square is the cost term by term, and each sees what it is for."""

import mujoco
import numpy as np
import pytest

from dataset import rotation
from dataset.skeleton import MIRROR_AXIAL, MIRROR_BODY
from sim.imitation.tracker.clearance import penetration_depths
from sim.imitation.tracker.limits import clearance_capsules, joint_ranges
from sim.imitation.tracker.reference import make_reference
from sim.imitation.tracker.residuals import num_residuals, rollout_residuals
from sim.imitation.tracker.search import Tracker
from sim.imitation.tracker.servo_targets import fill_controls
from sim.imitation.tracker.whole_body import whole_body_state


def make_tracker(humanoid, motion):
    reference = make_reference(humanoid, motion)
    return Tracker(humanoid, reference, np.zeros((reference.num_samples, 69)))


def test_whole_body_state_agrees_with_the_simulator(standing, sway):
    tracker = make_tracker(standing, sway)
    reference, model = tracker.reference, standing.model
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = reference.qpos[100], reference.qvel[100] + 0.3
    mujoco.mj_forward(model, data)
    mujoco.mj_subtreeVel(model, data)
    pos, rot, summary = np.zeros((24, 3)), np.zeros((24, 4)), np.zeros(9)
    whole_body_state(data.qpos, data.qvel, *tracker.arrays, pos, rot, summary)
    np.testing.assert_allclose(pos, data.xpos[standing.body_id], atol=1e-9)
    np.testing.assert_allclose(summary[:3], data.subtree_com[1], atol=1e-9)
    np.testing.assert_allclose(summary[3:6], data.subtree_linvel[1], atol=1e-9)
    np.testing.assert_allclose(summary[6:], data.subtree_angmom[1], atol=1e-8)


def test_joint_ranges_of_the_right_side_mirror_the_left():
    low, high = joint_ranges()
    mirror = np.array(MIRROR_BODY[1:]) - 1
    np.testing.assert_allclose(np.minimum(low[mirror] * MIRROR_AXIAL, high[mirror] * MIRROR_AXIAL), low)
    assert np.all(low < high)


def test_limbs_that_pass_through_each_other_have_depth(standing, sway):
    tracker = make_tracker(standing, sway)
    ends, radius, pairs = clearance_capsules(standing.body)
    depth, apart = np.zeros(len(pairs)), np.zeros(len(pairs))
    pos, rot = tracker.ref_pos[0].copy(), tracker.ref_rot[0]
    penetration_depths(pos, rot, ends, radius, pairs, apart)
    pos[[4, 7, 10]] = pos[[5, 8, 11]]  # the left shank and foot moved into the right
    penetration_depths(pos, rot, ends, radius, pairs, depth)
    assert apart[:5].max() == 0.0
    assert depth[0] > 0.05


def test_controls_run_linearly_from_knot_to_knot():
    base, out = np.zeros((8, 69)), np.zeros((1, 8, 69))
    offsets = np.array([[[0.0], [1.0], [-1.0]]])
    fill_controls(base, offsets, np.array([5]), 4, out)
    np.testing.assert_allclose(out[0, :, 5], [0.25, 0.5, 0.75, 1.0, 0.5, 0.0, -0.5, -1.0])
    assert np.count_nonzero(np.delete(out[0], 5, axis=1)) == 0


def residuals_of(tracker, states, force, weights, checkpoints=(5, 11), soft_lag=2):
    """Residuals of states whose reference is the tracker's, from its first planning step, shape (B, M)."""
    checks = np.array(checkpoints)
    at, feet = checks + 1, np.array([7, 10, 8, 11])
    joints = np.r_[0.0, np.full(23, 1 / 23)]
    size = num_residuals(len(checks), len(feet), len(tracker.pairs), states.shape[1], soft_lag)
    out = np.full((len(states), size), np.nan)
    rollout_residuals(
        states, force, checks, soft_lag, weights, joints, tracker.body_weight, feet, *tracker.arrays,
        tracker.range_low[at], tracker.range_high[at], tracker.ends, tracker.radius, tracker.pairs, tracker.ref_pos[at],
        tracker.ref_rot[at], tracker.ref_quat[at], tracker.ref_summary[at], tracker.ref_depth[at], out,
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def follower(standing, sway):
    return make_tracker(standing, sway)


@pytest.fixture
def on_reference(follower):
    """Twelve planning steps that are the reference itself, one sample."""
    rows = slice(1, 13)
    states = [np.zeros((12, 1)), follower.planning.qpos[rows], follower.planning.qvel[rows]]
    return np.concatenate(states, axis=1)[None]


def test_the_reference_has_no_residual_and_every_place_is_filled(follower, on_reference):
    out = residuals_of(follower, on_reference, np.full((1, 12), 700.0), np.ones(10))
    np.testing.assert_allclose(out, 0.0, atol=1e-9)


def test_a_shift_of_the_body_costs_what_the_formula_says(follower, on_reference):
    """Moved by d: w_pos·d² + w_com·d², and nothing else; a force step of one body weight: w_soft over its two windows."""
    moved = on_reference.copy()
    moved[:, :, 1:4] += [0.03, -0.02, 0.01]
    force = np.full((1, 12), 0.0)
    force[:, 6:] = follower.body_weight
    weights = np.array([3.0, 6.0, 30.0, 20.0, 3.0, 0.001, 5.0, 0.2, 3.0, 200.0])
    cost = float(np.sum(residuals_of(follower, moved, force, weights) ** 2))
    assert cost == pytest.approx(50.0 * 0.0014 + 0.2 * 2 / 10, rel=1e-9)


def test_a_turn_of_one_joint_costs_its_angle_squared(follower, on_reference):
    turned = on_reference.copy()
    columns = 1 + follower.humanoid.quat_address[23] + np.arange(4)  # a hand: no body hangs on it
    quat = turned[0, :, columns].T
    turned[0, :, columns] = rotation.multiply(quat, rotation.from_rotation_vector(np.array([0.0, 0.2, 0.0]))).T
    weights = np.zeros(10)
    weights[0] = 3.0
    cost = float(np.sum(residuals_of(follower, turned, np.zeros((1, 12)), weights) ** 2))
    assert cost == pytest.approx(3.0 / 23 * 0.04, rel=1e-6)


def test_a_state_that_is_not_finite_is_worse_than_any_other(follower, on_reference):
    broken = np.concatenate([on_reference, on_reference])
    broken[1, -1, 50] = np.nan
    out = residuals_of(follower, broken, np.zeros((2, 12)), np.ones(10))
    assert np.isfinite(out).all()
    assert np.sum(out[1] ** 2) > 1e6
