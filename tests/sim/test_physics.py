"""The simulated world obeys mechanics: weight, momentum, energy, mirror symmetry."""

import itertools

import mujoco
import numpy as np
import pytest

from dataset.body.mjcf import HumanoidConfig
from dataset.skeleton import GRAVITY, MIRROR_AXIAL, MIRROR_BODY, MIRROR_VECTOR
from sim.backends.mujoco_cpu import MujocoCpu
from sim.humanoid import make_humanoid
from sim.momentum_balance import com_velocity, momentum_error

MIRROR = np.array(MIRROR_BODY)


def mirrored_qpos(humanoid, qpos):
    out = qpos.copy()
    out[..., 1] *= -1.0
    out[..., humanoid.quat_columns] = qpos[..., humanoid.quat_columns][..., MIRROR, :] * np.array([1.0, *MIRROR_AXIAL])
    return out


def mirrored_qvel(humanoid, qvel):
    out = qvel.copy()
    out[..., :3] *= MIRROR_VECTOR
    out[..., humanoid.omega_columns] = qvel[..., humanoid.omega_columns][..., MIRROR, :] * MIRROR_AXIAL
    return out


def mirrored_ctrl(ctrl):
    return (ctrl.reshape(*ctrl.shape[:-1], 23, 3)[..., MIRROR[1:] - 1, :] * MIRROR_AXIAL).reshape(ctrl.shape)


def rollout(humanoid, state, ctrl):
    backend = MujocoCpu(humanoid)
    backend.reset(*state)
    trace = backend.rollout(ctrl)
    backend.close()
    return trace


def test_standing_still_the_ground_carries_the_body_weight(body, rest_state):
    # Full PHC stiffness: the ankles' 2 x 800 N·m/rad hold the inverted pendulum (m·g·l = 600 N·m/rad); 0.4 falls.
    humanoid = make_humanoid(body, HumanoidConfig(stiffness_scale=1.0))
    trace = rollout(humanoid, rest_state(humanoid), np.zeros((1, 600, 69)))
    total = trace.ground_force[0].sum(axis=1) / (body.mass.sum() * GRAVITY)
    np.testing.assert_allclose(total[450:].mean(axis=0), [0.0, 0.0, 1.0], atol=2e-3)
    feet = np.isin(np.arange(24), [7, 8, 10, 11])
    assert np.abs(trace.ground_force[0, 450:, ~feet]).max() == 0.0
    # no net moment about the centre of mass: the ground pushes from under it
    moment = (np.cross(trace.ground_point[0, 599], trace.ground_force[0, 599]) + trace.ground_torque[0, 599]).sum(
        axis=0
    )
    com = centre_of_mass(humanoid, trace.qpos[0, 599])
    assert -moment[1] / (body.mass.sum() * GRAVITY) == pytest.approx(com[0], abs=2e-3)
    assert moment[0] / (body.mass.sum() * GRAVITY) == pytest.approx(com[1], abs=2e-3)


def centre_of_mass(humanoid, qpos):
    data = mujoco.MjData(humanoid.model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(humanoid.model, data)
    mujoco.mj_comPos(humanoid.model, data)
    return data.subtree_com[0].copy()


def test_a_mirrored_start_gives_the_mirrored_motion(humanoid, rest_state, random_targets):
    qpos, qvel = rest_state(humanoid)
    qvel = qvel + 0.3 * np.random.default_rng(2).standard_normal(qvel.shape)
    ctrl = random_targets(150, 0.15, seed=2)
    plain = rollout(humanoid, (qpos, qvel), ctrl)
    other = rollout(humanoid, (mirrored_qpos(humanoid, qpos), mirrored_qvel(humanoid, qvel)), mirrored_ctrl(ctrl))
    assert plain.ground_force[0, :, :, 2].sum(axis=1).max() > 800.0
    assert np.abs(plain.qpos[0, -1] - mirrored_qpos(humanoid, plain.qpos)[0, -1]).max() > 0.05, "a symmetric motion"
    # Rounding differs (left and right are summed in one order) and contact lets it grow: 3e-15 m after this second.
    np.testing.assert_allclose(mirrored_qpos(humanoid, plain.qpos), other.qpos, rtol=0, atol=1e-11)
    np.testing.assert_allclose(plain.ground_force[:, :, MIRROR] * MIRROR_VECTOR, other.ground_force, rtol=0, atol=1e-6)
    np.testing.assert_allclose(plain.ground_torque[:, :, MIRROR] * MIRROR_AXIAL, other.ground_torque, rtol=0, atol=1e-6)


def energy_gain(body, rest_state, rate):
    """Change of kinetic plus potential energy [J] and its kinetic part after 1/6 s of limp, spinning free fall."""
    humanoid = make_humanoid(body, HumanoidConfig(stiffness_scale=0.0, substep=1.0 / rate))
    qpos, qvel = rest_state(humanoid, lift=3.0)
    qvel = qvel + 3.0 * np.random.default_rng(1).standard_normal(qvel.shape)
    trace = rollout(humanoid, (qpos, qvel), np.zeros((1, rate // 6, 69)))
    data, energy = mujoco.MjData(humanoid.model), []
    for row in (0, -1):
        data.qpos[:], data.qvel[:] = trace.qpos[0, row], trace.qvel[0, row]
        mujoco.mj_forward(humanoid.model, data)
        mujoco.mj_energyPos(humanoid.model, data)
        mujoco.mj_energyVel(humanoid.model, data)
        energy.append(data.energy.copy())
    assert np.all(trace.ground_force == 0.0)
    return float(np.sum(energy[1] - energy[0])), float(energy[0][1])


def test_a_limp_fall_keeps_its_energy_to_the_integrators_order(body, rest_state):
    gains = [energy_gain(body, rest_state, rate) for rate in (150, 300, 600)]
    assert abs(gains[0][0]) < 0.05 * gains[0][1]
    # first order: half the step, half the error
    for coarse, fine in itertools.pairwise(gains):
        assert coarse[0] / fine[0] == pytest.approx(2.0, abs=0.4)


def test_momentum_balances_each_transition_to_the_integrators_order(body, rest_state):
    medians = []
    for rate in (150, 300, 600):
        humanoid = make_humanoid(body, HumanoidConfig(substep=1.0 / rate))
        qpos, qvel = rest_state(humanoid)
        time = np.arange(2 * rate) / rate
        phase = np.random.default_rng(4).uniform(0, 2 * np.pi, 69)
        ctrl = 0.25 * np.sin(2 * np.pi * 1.2 * time[:, None] + phase)[None]
        trace = rollout(humanoid, (qpos, qvel), ctrl)
        frames = slice(0, None, humanoid.substeps)
        force = trace.ground_force[0].sum(axis=1).reshape(-1, humanoid.substeps, 3).mean(axis=1)
        velocity = com_velocity(humanoid, trace.qpos[0, frames], trace.qvel[0, frames])
        error = momentum_error(velocity, force, float(body.mass.sum()))
        assert np.median(np.linalg.norm(force, axis=1)) > 0.5 * 70 * GRAVITY
        medians.append(np.median(error[9:]))
    assert medians[0] < 0.02
    for coarse, fine in itertools.pairwise(medians):
        assert coarse / fine == pytest.approx(2.0, abs=0.7)


def test_com_velocity_is_the_rate_of_the_centre_of_mass(humanoid):
    rng = np.random.default_rng(5)
    qpos = rng.standard_normal((4, 99))
    qpos[:, humanoid.quat_columns] /= np.linalg.norm(qpos[:, humanoid.quat_columns], axis=-1, keepdims=True)
    qvel = rng.standard_normal((4, 75))
    step = 1e-6
    for row, velocity in enumerate(com_velocity(humanoid, qpos, qvel)):
        ends = []
        for sign in (-1.0, 1.0):
            moved = qpos[row].copy()
            mujoco.mj_integratePos(humanoid.model, moved, qvel[row], sign * step)
            ends.append(centre_of_mass(humanoid, moved))
        np.testing.assert_allclose(velocity, (ends[1] - ends[0]) / (2 * step), atol=1e-7)
