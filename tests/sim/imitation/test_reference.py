"""The reference trajectory is smooth, consistent and the same on machines that differ in the last bits."""

import dataclasses

import mujoco
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import nnls

from dataset import rotation
from dataset.kinematics import forward_kinematics
from dataset.motion.ground import center_of_mass
from dataset.skeleton import FEET, GRAVITY
from sim.imitation.tracker.contacts import contact_candidates, pyramid_edges
from sim.imitation.tracker.dynamics_filter import feasible_reference
from sim.imitation.tracker.feedforward import _support, base_targets, feedforward_torque
from sim.imitation.tracker.inverse_dynamics import candidate_points, needed_forces
from sim.imitation.tracker.reference import ReferenceTrajectory, _smooth, make_reference


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


@pytest.fixture
def random_motion(standing):
    """Two states with random poses, velocities and accelerations: every term of the inverse dynamics counts."""
    generator, model = np.random.default_rng(6), standing.model
    qpos = np.repeat(model.qpos0[None], 2, axis=0)
    for row in qpos:
        mujoco.mj_integratePos(model, row, generator.normal(size=model.nv), 1.0)
    qvel, qacc = generator.normal(size=(2, 2, model.nv))
    return ReferenceTrajectory(qpos, qvel, qacc, standing.config.substep)


def test_needed_forces_are_mass_matrix_times_acceleration_and_bias(standing, random_motion):
    model, data = standing.model, mujoco.MjData(standing.model)
    needed = needed_forces(standing, random_motion, np.array([1, 0]))
    for row, sample in enumerate((1, 0)):
        data.qpos[:], data.qvel[:] = random_motion.qpos[sample], random_motion.qvel[sample]
        mujoco.mj_forward(model, data)
        mass = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, mass)
        expected = mass @ random_motion.qacc[sample] + data.qfrc_bias
        np.testing.assert_allclose(needed.force[row], expected, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(needed.com[row], data.subtree_com[standing.body_id[0]], atol=1e-12)


def test_contact_forces_act_on_the_joints_by_the_jacobians_of_their_points(standing, random_motion):
    """What `_support` took away is Jᵀf of forces f inside the friction pyramid at the points, with MuJoCo's Jacobians."""
    model, data = standing.model, mujoco.MjData(standing.model)
    needed = needed_forces(standing, random_motion, np.array([0]))
    ids, _ = contact_candidates(standing)
    chosen = np.flatnonzero(np.isin(ids, standing.body_id[[ankle for ankle, _ in FEET]]))[::3]
    points, bodies = candidate_points(standing, needed)[0, chosen], ids[chosen]
    rotation_of = model.body_dofadr + model.body_dofnum - 3
    force = needed.force[0].copy()
    force[2] += 2000.0  # something to push for in any pose
    before, edges = force.copy(), pyramid_edges()
    found = _support(points, bodies, needed.pos[0], needed.frame[0], model.body_parentid, rotation_of, edges, force)
    assert found
    data.qpos[:] = random_motion.qpos[0]
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    rows, jacobian = [], np.zeros((3, model.nv))
    for point, body in zip(points, bodies, strict=True):
        mujoco.mj_jac(model, data, jacobian, None, point, body)
        rows.extend(edges @ jacobian)
    taken, columns = before - force, np.array(rows).T
    shares, rest = nnls(columns, taken)
    assert rest < 1e-8 * np.linalg.norm(taken)
    assert shares.sum() > 0.0


def test_feedforward_of_leaning_forward_carries_the_body_weight_at_the_ankles(standing, sway):
    """A body that stands still, tilted by 3 degrees about its ankles, is held there: together m·g times the lever.

    Without the contacts' forces the ankles would carry no more than the feet's own weight.
    """
    tilt, pivot = rotation.from_axis_angle((0.0, 1.0, 0.0), np.radians(3.0)), np.array([0.0, 0.0, 0.08])
    quat = np.repeat(sway.quat[:1], 37, axis=0)
    quat[:, 0] = rotation.multiply(tilt, quat[:, 0])
    for ankle, _ in FEET:
        quat[:, ankle] = rotation.conjugate(tilt)
    root_pos = pivot + rotation.rotate(tilt, np.repeat(sway.root_pos[:1], 37, axis=0) - pivot)
    leaning = dataclasses.replace(sway, root_pos=root_pos, quat=quat)
    reference = make_reference(standing, leaning)
    torque = feedforward_torque(standing, reference)[reference.num_samples // 2].reshape(-1, 3)
    body_pos, body_quat = forward_kinematics(standing.body.offset, root_pos[:1], quat[:1])
    ankles = [foot[0] for foot in FEET]
    lever = (center_of_mass(standing.body, body_pos, body_quat)[0] - body_pos[0, ankles].mean(axis=0))[0]
    assert lever == pytest.approx(0.041, abs=0.003)
    carried = torque[[ankle - 1 for ankle in ankles], 1].sum()
    assert carried == pytest.approx(standing.body.mass.sum() * GRAVITY * lever, rel=0.1)


def test_targets_do_not_depend_on_the_last_bits_of_the_motion(standing, sway):
    shifted = dataclasses.replace(sway, root_pos=sway.root_pos + 1e-12, quat=sway.quat * (1.0 + 1e-13))
    one, two = (feasible_reference(standing, motion)[0] for motion in (sway, shifted))
    targets = [base_targets(standing, reference, feedforward_torque(standing, reference)) for reference in (one, two)]
    np.testing.assert_array_equal(*targets)
    for first, second in zip(one.start(0), two.start(0), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("frames", "shape"), [(600, (24, 4)), (40, (3,)), (30, (24, 4))])
def test_smoothing_is_scipys_gaussian_of_the_odd_reflection(frames, shape):
    values = np.random.default_rng(frames).normal(size=(frames, *shape)).cumsum(axis=0)
    pad = min(58, frames - 1)
    padded = np.concatenate([2 * values[:1] - values[pad:0:-1], values, 2 * values[-1:] - values[-2 : -pad - 2 : -1]])
    expected = gaussian_filter1d(padded, 14.4, axis=0, mode="nearest")[pad : pad + frames]
    np.testing.assert_allclose(_smooth(values, 14.4), expected, rtol=1e-14, atol=1e-14)
