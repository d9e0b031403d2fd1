"""Recorded torques and contacts explain the recorded motion to rounding in every substep, saturated servos included."""

import mujoco
import numpy as np
import pytest

from dataset.body.mjcf import HumanoidConfig
from sim.acting_torque import acting_torque
from sim.backends.mujoco_cpu import MujocoCpu
from sim.closure import closure_residual, inverse_dynamics
from sim.humanoid import make_humanoid

WEIGHT = 70.0 * 9.81


def engine_residual(humanoid, trace, torque, substep):
    """M·a + c − Jᵀf − Sᵀτ by the engine's own routines, shape (75,)."""
    model, data = humanoid.model, mujoco.MjData(humanoid.model)
    data.qpos[:], data.qvel[:] = trace.qpos[0, substep], trace.qvel[0, substep]
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_crb(model, data)
    mujoco.mj_comVel(model, data)
    acceleration = (trace.qvel[0, substep + 1] - trace.qvel[0, substep]) / trace.substep
    inertial, bias, ground = np.zeros(75), np.zeros(75), np.zeros(75)
    mujoco.mj_mulM(model, data, inertial, acceleration)
    mujoco.mj_rne(model, data, 0, bias)
    for row, own in enumerate(humanoid.body_id):
        mujoco.mj_applyFT(
            model, data, trace.ground_force[0, substep, row], trace.ground_torque[0, substep, row],
            trace.ground_point[0, substep, row], own, ground,
        )  # fmt: skip
    residual = inertial + bias - ground
    residual[humanoid.ctrl_dof] -= torque[substep].reshape(-1)
    return residual


def test_every_substep_closes_the_equations_of_motion(shaken, humanoid):
    trace, saturated = shaken
    assert saturated > 0.005, "the motion must drive servos to their limits"
    all_rows, root_rows = closure_residual(humanoid, trace, acting_torque(humanoid, trace))
    assert all_rows.shape == root_rows.shape == (300,)
    assert all_rows.max() < 1e-11
    assert np.all(root_rows <= all_rows)


@pytest.mark.parametrize("rate", [60, 120, 240])
def test_they_close_at_any_step(body, rest_state, random_targets, rate):
    humanoid = make_humanoid(body, HumanoidConfig(substep=1.0 / rate))
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid, lift=0.1))
    trace = backend.rollout(random_targets(2 * rate, 0.3, seed=7, hold=rate // 10))
    assert trace.ground_force[0, :, :, 2].sum(axis=1).max() > WEIGHT
    assert closure_residual(humanoid, trace, acting_torque(humanoid, trace))[0].max() < 1e-11


def test_the_engine_agrees_that_they_close(shaken, humanoid):
    trace, _ = shaken
    torque = acting_torque(humanoid, trace)
    saturated = np.abs(trace.servo_force[0]) >= humanoid.model.actuator_forcerange[:, 1]
    substeps = {0, 40, 100, 200, int(saturated.sum(axis=1).argmax())}
    assert saturated[list(substeps)].any()
    for substep in substeps:
        assert np.abs(engine_residual(humanoid, trace, torque, substep)).max() < 1e-8 * WEIGHT


def test_the_servo_output_itself_is_not_the_torque(shaken, humanoid):
    trace, _ = shaken
    commanded = trace.servo_force[0].reshape(-1, 23, 3).copy()
    assert closure_residual(humanoid, trace, commanded)[0].max() > 0.05
    # implicit damping of a servo at its limit is not there to be subtracted
    gain = np.diff(trace.qvel[0][:, humanoid.ctrl_dof], axis=0)
    everywhere = commanded - (humanoid.damping * gain).reshape(-1, 23, 3)
    assert closure_residual(humanoid, trace, everywhere)[0].max() > 0.05


def test_inverse_dynamics_agrees_with_the_engine_on_random_states(humanoid):
    rng = np.random.default_rng(3)
    model, data = humanoid.model, mujoco.MjData(humanoid.model)
    qpos, qvel, qacc = rng.standard_normal((6, 99)), 5 * rng.standard_normal((6, 75)), 50 * rng.standard_normal((6, 75))
    qpos[:, humanoid.quat_columns] /= np.linalg.norm(qpos[:, humanoid.quat_columns], axis=-1, keepdims=True)
    ours = inverse_dynamics(humanoid, qpos, qvel, qacc)
    for row in range(6):
        data.qpos[:], data.qvel[:], data.qacc[:] = qpos[row], qvel[row], qacc[row]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_crb(model, data)
        mujoco.mj_comVel(model, data)
        inertial, bias = np.zeros(75), np.zeros(75)
        mujoco.mj_mulM(model, data, inertial, qacc[row])
        mujoco.mj_rne(model, data, 0, bias)
        np.testing.assert_allclose(ours[row], inertial + bias, rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("axis", range(6))
def test_a_millionth_of_a_body_weight_of_residual_force_is_found(humanoid, rest_state, random_targets, axis):
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid))
    wrench = np.zeros((1, 20, 6))
    scale = WEIGHT if axis < 3 else WEIGHT * humanoid.body.subject.height
    wrench[0, 12, axis] = 1e-6 * scale
    trace = backend.rollout(random_targets(20, 0.2), residual=wrench)
    all_rows, root_rows = closure_residual(humanoid, trace, acting_torque(humanoid, trace))
    assert root_rows[12] == pytest.approx(1e-6, rel=1e-3)
    assert np.delete(all_rows, 12).max() < 1e-11


def test_a_wrong_torque_or_contact_is_found(shaken, humanoid):
    trace, _ = shaken
    torque = acting_torque(humanoid, trace)
    torque[50, 22, 1] += 1e-5 * WEIGHT  # right hand
    all_rows, root_rows = closure_residual(humanoid, trace, torque)
    assert all_rows[50] == pytest.approx(1e-5 / humanoid.body.subject.height, rel=1e-6)
    assert root_rows[50] < 1e-11
    torque[60] = np.nan
    assert np.isnan(closure_residual(humanoid, trace, torque)[0][60])
