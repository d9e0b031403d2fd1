"""The filtered motion asks of the floor what the floor can give, and stays near the motion."""

import dataclasses
import itertools

import mujoco
import numpy as np
import pytest
from scipy.optimize import nnls

from dataset import rotation
from dataset.kinematics import forward_kinematics
from dataset.skeleton import BODY_INDEX, FEET, MIRROR_AXIAL, MIRROR_BODY, MIRROR_VECTOR, PARENTS
from sim.imitation.tracker import dynamics_filter
from sim.imitation.tracker.contact_forces import (
    LANES,
    compliance_of,
    ridge_nonnegative,
    ridge_nonnegative_exact,
    supply_frames,
)
from sim.imitation.tracker.dynamics_filter import filter_motion, shift_for, smallest_shift
from sim.imitation.tracker.floor_demand import floor_demand
from sim.imitation.tracker.pose_shift import normal_equations, solve_on_tree
from sim.imitation.tracker.reference import make_reference


def demanded(humanoid, motion):
    """Demand of a motion at its frames."""
    reference = make_reference(humanoid, motion)
    samples = np.minimum(np.arange(motion.num_frames) * humanoid.substeps, reference.num_samples - 1)
    return floor_demand(humanoid, reference, samples)


def missing(humanoid, motion):
    """RMS of the force and moment that the floor cannot supply to a motion as it is [body weights]."""
    demand = demanded(humanoid, motion)
    wanted = np.concatenate([demand.force, demand.moment], axis=1)
    rest, force = np.zeros_like(wanted), np.zeros(len(demand.ridges))
    supply_frames(demand.columns, demand.ridges, demand.offsets, wanted, force, 500, rest)
    return float(np.sqrt(np.mean(np.sum(np.square(rest), axis=1))))


def distance(humanoid, one, other):
    """Distance of all bodies between two motions [m], shape (T, 24)."""
    here, there = (forward_kinematics(humanoid.body.offset, m.root_pos, m.quat)[0] for m in (one, other))
    return np.linalg.norm(here - there, axis=-1)


@pytest.mark.parametrize("count", [0, 1, 4, 40])
def test_contact_forces_agree_with_scipys_nnls(count):
    generator = np.random.default_rng(count)
    columns, wanted = generator.normal(size=(count, 6)), generator.normal(size=6)
    ridge = generator.uniform(1e-2, 1e-1, size=count)
    force = np.zeros(count)
    rest = ridge_nonnegative(columns, ridge, wanted, force, 20000, 1e-12)
    np.testing.assert_allclose(rest, wanted - columns.T @ force, atol=1e-9)
    if count:
        rows = np.concatenate([columns.T, np.diag(np.sqrt(ridge))])
        np.testing.assert_allclose(force, nnls(rows, np.r_[wanted, np.zeros(count)])[0], atol=1e-6)
    assert np.all(force >= 0.0)
    exact = np.zeros(count)
    assert ridge_nonnegative_exact(columns, ridge, wanted, exact)
    np.testing.assert_allclose(exact, force, atol=1e-6)
    missing_wrench = wanted - columns.T @ exact
    np.testing.assert_allclose(exact, np.maximum(0.0, columns @ missing_wrench) / ridge, atol=1e-10)  # optimality


@pytest.mark.parametrize("distance", [0.0, 1e-15, 1e-13, 1e-11])
def test_contact_forces_are_found_where_a_force_is_about_to_act(distance):
    generator = np.random.default_rng(5)
    for _ in range(200):
        columns, rest = generator.normal(size=(24, 6)), generator.normal(size=6)
        columns[:8] -= np.outer(columns[:8] @ rest + distance, rest) / (rest @ rest)  # a·r = -distance: the kink of φ
        ridge = np.full(24, 0.03**2)
        expected = np.maximum(0.0, columns @ rest) / ridge
        force = np.zeros(24)
        assert ridge_nonnegative_exact(columns, ridge, rest + columns.T @ expected, force)
        np.testing.assert_allclose(force, expected, atol=1e-6 * expected.max())


def test_frames_are_solved_each_by_itself_and_yield_with_their_active_forces():
    generator = np.random.default_rng(3)
    frames = LANES + 3  # more than are solved side by side; with and without contact
    offsets = np.r_[0, 8, 8, 28, 28 + np.cumsum(generator.integers(0, 25, size=frames - 3))]
    count = offsets[-1]
    columns, ridge = generator.normal(size=(count, 6)), generator.uniform(0.1, 1.0, size=count)
    wanted, rest = generator.normal(size=(frames, 6)), np.zeros((frames, 6))
    together = np.zeros(count)
    supply_frames(columns, ridge, offsets, wanted, together, 300, rest)
    compliance = compliance_of(columns, ridge, offsets, together > 0.0)
    for t, (first, last) in enumerate(itertools.pairwise(offsets)):
        alone = np.zeros(last - first)
        missing_wrench = ridge_nonnegative(columns[first:last], ridge[first:last], wanted[t], alone, 300, 1e-9)
        np.testing.assert_array_equal(together[first:last], alone)
        np.testing.assert_array_equal(rest[t], missing_wrench)
        active = columns[first:last][alone > 0.0]
        expected = np.eye(6) + (active.T / ridge[first:last][alone > 0.0]) @ active
        np.testing.assert_allclose(compliance[t], expected, rtol=1e-12, atol=1e-12)


def test_normal_equations_are_those_of_mujocos_jacobians(standing):
    generator, model = np.random.default_rng(4), standing.model
    data = mujoco.MjData(model)
    mujoco.mj_integratePos(model, data.qpos, generator.normal(size=model.nv), 1.0)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    bodies = standing.body_id
    target = data.xpos[bodies] + generator.normal(size=(24, 3))
    expected, wanted, jacobian = np.zeros((model.nv, model.nv)), np.zeros(model.nv), np.zeros((3, model.nv))
    for row, body in enumerate(bodies):
        mujoco.mj_jacBody(model, data, jacobian, None, body)
        expected += jacobian.T @ jacobian
        wanted += jacobian.T @ (target[row] - data.xpos[body])
    normal, right = np.zeros_like(expected), np.zeros_like(wanted)
    axes = data.xmat[bodies].reshape(-1, 3, 3)
    normal_equations(data.xpos[bodies], axes, np.array(PARENTS), standing.omega_address, target, normal, right)
    np.testing.assert_allclose(np.tril(normal), np.tril(expected), atol=1e-10)
    np.testing.assert_array_equal(np.triu(normal, 1), 0.0)
    np.testing.assert_allclose(right, wanted, atol=1e-10)


def test_what_couples_along_the_tree_only_is_solved_as_a_dense_matrix_is(standing):
    """The mass matrix of a body has that form: a velocity acts on its ancestors and descendants."""
    generator, model = np.random.default_rng(5), standing.model
    data = mujoco.MjData(model)
    mujoco.mj_integratePos(model, data.qpos, generator.normal(size=model.nv), 1.0)
    mujoco.mj_forward(model, data)
    mass = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, mass)
    right = generator.normal(size=model.nv)
    expected, found = np.linalg.solve(mass, right), right.copy()
    solve_on_tree(np.tril(mass), model.dof_parentid, found)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_a_motion_that_the_floor_can_bring_about_stays(standing, sway):
    assert distance(standing, filter_motion(standing, sway)[0], sway).mean() < 0.004


def test_a_body_that_leans_on_nothing_is_put_over_its_feet(standing, sway):
    """Whole body tilted forward about the ankles by 15 degrees: the mass centre is in front of the toes."""
    tilt = rotation.from_axis_angle((0.0, 1.0, 0.0), np.radians(15.0))
    pivot = np.array([0.0, 0.0, 0.08])
    quat = sway.quat.copy()
    quat[:, 0] = rotation.multiply(tilt, quat[:, 0])
    for ankle, _ in FEET:
        quat[:, ankle] = rotation.conjugate(tilt)
    leaning = dataclasses.replace(sway, root_pos=pivot + rotation.rotate(tilt, sway.root_pos - pivot), quat=quat)
    filtered = filter_motion(standing, leaning)[0]
    assert missing(standing, leaning) > 0.05
    assert missing(standing, filtered) < 0.25 * missing(standing, leaning)
    here, there = (
        forward_kinematics(standing.body.offset, motion.root_pos, motion.quat)[0] for motion in (filtered, leaning)
    )
    moved = here - there
    feet, chest = moved[:, [foot[0] for foot in FEET]], moved[:, BODY_INDEX["Chest"]]
    # Along the floor, where the body has to go: measured 3 mm at the feet and 20 mm at the chest. Heights change together
    # (6 mm at both, where the arms' swing ends), so the full distances at most say 0.34.
    assert np.linalg.norm(feet[..., :2], axis=-1).max() < 0.25 * np.linalg.norm(chest[:, :2], axis=-1).max()
    assert np.abs(feet[..., 2]).max() < 0.01


def test_in_the_air_the_mass_centre_falls_with_gravity(standing, sway):
    """A body that hangs still 0.5 m above the floor for half a second cannot: the filter lets it fly a parabola."""
    floating = dataclasses.replace(sway, root_pos=sway.root_pos[:16] + np.array([0.0, 0.0, 0.5]), quat=sway.quat[:16])
    demand = demanded(standing, floating)
    shift, _, rest, _ = smallest_shift(demand, 30.0)
    fall = np.gradient(np.gradient(shift[:, 2], 1 / 30), 1 / 30)[3:-3]
    assert np.abs(demand.force[4:-4, 2] - 1.0).max() < 0.1
    np.testing.assert_allclose(fall, -9.81, atol=1.0)
    assert np.abs(rest[2:-2, 2]).max() < 0.1


def test_a_mirrored_motion_is_filtered_to_the_mirror_image(standing, sway):
    def mirrored(motion):
        vectors = rotation.to_rotation_vector(motion.quat)[:, list(MIRROR_BODY)] * MIRROR_AXIAL
        return dataclasses.replace(
            motion, root_pos=motion.root_pos * MIRROR_VECTOR, quat=rotation.from_rotation_vector(vectors)
        )

    quat = sway.quat.copy()
    quat[:, BODY_INDEX["L_Hip"]] = rotation.from_axis_angle((1.0, 0.0, 0.0), 0.25)
    uneven = dataclasses.replace(sway, quat=quat)
    one, other = mirrored(filter_motion(standing, uneven)[0]), filter_motion(standing, mirrored(uneven))[0]
    assert distance(standing, filter_motion(standing, uneven)[0], uneven).max() > 0.005
    assert distance(standing, one, other).max() < 2e-3


def test_knowing_which_forces_push_gives_the_same_motion_to_the_last_bit_without_the_search(
    standing, sway, monkeypatch
):
    found, pushing = filter_motion(standing, sway)
    demand = demanded(standing, sway)
    shift, turn, _, first = smallest_shift(demand, 30.0)
    np.testing.assert_array_equal(first, pushing[0])
    assert 0 < first.sum() < len(first)
    np.testing.assert_array_equal(shift_for(demand, 30.0, first), (shift, turn))
    assert not np.array_equal(shift_for(demand, 30.0, ~first)[0], shift)
    with monkeypatch.context() as patch:
        patch.setattr(dynamics_filter, "smallest_shift", None)  # calling it would fail
        again, same = filter_motion(standing, sway, pushing)
    np.testing.assert_array_equal(again.root_pos, found.root_pos)
    np.testing.assert_array_equal(again.quat, found.quat)
    assert all(np.array_equal(one, other) for one, other in zip(same, pushing, strict=True))


def test_pushing_forces_of_another_count_are_found_anew(standing, sway):
    found, pushing = filter_motion(standing, sway)
    again, anew = filter_motion(standing, sway, [pushing[0][:-4]])
    np.testing.assert_array_equal(again.quat, found.quat)
    assert all(np.array_equal(one, other) for one, other in zip(anew, pushing, strict=True))
