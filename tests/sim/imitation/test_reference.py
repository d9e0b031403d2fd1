"""The reference trajectory is smooth, consistent and the same on machines that differ in the last bits."""

import dataclasses

import mujoco
import numpy as np
import pytest

from sim.imitation.tracker.feedforward import base_targets, feedforward_torque, rotation_vector
from sim.imitation.tracker.reference import make_reference


def test_velocities_are_those_that_carry_the_positions_forward(standing, sway):
    reference = make_reference(standing, sway)
    qpos = reference.qpos[200].copy()
    mujoco.mj_integratePos(standing.model, qpos, 0.5 * (reference.qvel[200] + reference.qvel[201]), reference.substep)
    np.testing.assert_allclose(qpos, reference.qpos[201], atol=2e-6)


def test_smoothing_keeps_the_velocity_at_both_ends(standing, sway):
    steady = dataclasses.replace(
        sway, root_pos=sway.root_pos + np.outer(np.arange(sway.num_frames) / 30.0, [1.3, 0.0, 0.0])
    )
    reference = make_reference(standing, steady)
    np.testing.assert_allclose(reference.qvel[[0, -1], 0], 1.3, rtol=1e-6)


def test_a_motion_that_is_too_short_is_refused_by_name(standing, sway):
    short = dataclasses.replace(sway, root_pos=sway.root_pos[:5], quat=sway.quat[:5])
    with pytest.raises(ValueError, match=r"test/sway.*0\.3 s"):
        make_reference(standing, short)


def test_feedforward_of_quiet_standing_carries_the_body_weight(standing, sway):
    """At rest the contacts supply the root's six rows, so hip torques stay those of a standing person."""
    reference = make_reference(standing, sway)
    torque = feedforward_torque(standing, reference).reshape(reference.num_samples, -1, 3)
    assert np.abs(torque[:, [0, 1]]).max() < 60.0  # N·m at the hips; the whole weight at arm's length would be hundreds


def test_targets_do_not_depend_on_the_last_bits_of_the_motion(standing, sway):
    shifted = dataclasses.replace(sway, root_pos=sway.root_pos + 1e-12, quat=sway.quat * (1.0 + 1e-13))
    one, two = (make_reference(standing, motion) for motion in (sway, shifted))
    targets = [base_targets(standing, reference, feedforward_torque(standing, reference)) for reference in (one, two)]
    np.testing.assert_array_equal(*targets)
    for first, second in zip(one.start(0), two.start(0), strict=True):
        np.testing.assert_array_equal(first, second)


def test_rotation_vector_is_short_whatever_the_sign_of_the_quaternion():
    quat = np.array([[0.6, 0.0, 0.8, 0.0], [-0.6, 0.0, -0.8, 0.0]])
    vectors = rotation_vector(quat)
    np.testing.assert_allclose(vectors[0], vectors[1])
    assert np.linalg.norm(vectors[0]) == pytest.approx(2.0 * np.arctan2(0.8, 0.6))
