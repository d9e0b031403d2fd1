"""The CPU backend returns what MuJoCo did in each substep, the same bits whatever shares the call, and warnings."""

import mujoco
import numpy as np
import pytest

from dataset.body.mjcf import HumanoidConfig, humanoid_mjcf
from sim.backends.mujoco_cpu import MujocoCpu
from sim.humanoid import Humanoid


@pytest.fixture(scope="module")
def backend(humanoid):
    with_two_threads = MujocoCpu(humanoid, nthread=2)
    yield with_two_threads
    with_two_threads.close()


def several_states(humanoid, rest_state, count, seed=0):
    qpos, qvel = rest_state(humanoid, lift=0.02)
    rng = np.random.default_rng(seed)
    shaken = np.repeat(qvel, count, axis=0) + 0.5 * rng.standard_normal((count, qvel.shape[1]))
    return np.repeat(qpos, count, axis=0), shaken


def test_substeps_are_those_of_a_plain_stepping_loop(humanoid, rest_state, random_targets):
    ctrl = random_targets(40, 0.3)
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid))
    trace = backend.rollout(ctrl)
    data = mujoco.MjData(humanoid.model)
    data.qpos[:] = rest_state(humanoid)[0][0]
    for k in range(40):
        assert np.array_equal(trace.qpos[0, k], data.qpos)
        assert np.array_equal(trace.qvel[0, k], data.qvel)
        data.ctrl[:] = ctrl[0, k]
        mujoco.mj_step(humanoid.model, data)
    assert np.array_equal(trace.qpos[0, 40], data.qpos)


def test_contacts_and_servos_of_substep_k_are_those_of_state_k_with_the_ground_pushing_up(shaken, humanoid):
    trace, _ = shaken
    model, data = humanoid.model, mujoco.MjData(humanoid.model)
    data.qpos[:], data.qvel[:] = trace.qpos[0, 0], trace.qvel[0, 0]
    touching = 0
    for k in range(300):
        data.ctrl[:] = trace.ctrl[0, k]
        mujoco.mj_step(model, data)  # leaves the contacts and forces that moved state k to k + 1
        force, moment = np.zeros((24, 3)), np.zeros((24, 3))
        for index, contact in enumerate(data.contact):
            wrench = np.zeros(6)
            mujoco.mj_contactForce(model, data, index, wrench)
            axes = contact.frame.reshape(3, 3).T
            floor_first = model.geom_bodyid[contact.geom[0]] == 0
            own = model.geom_bodyid[contact.geom[1 if floor_first else 0]]
            sign = 1.0 if floor_first else -1.0
            row = int(np.flatnonzero(humanoid.body_id == own)[0])
            world = sign * axes @ wrench[:3]
            force[row] += world
            moment[row] += sign * axes @ wrench[3:] + np.cross(contact.pos, world)
            touching += 1
        recorded = trace.ground_torque[0, k] + np.cross(trace.ground_point[0, k], trace.ground_force[0, k])
        scale = max(1.0, np.abs(force).max())
        np.testing.assert_allclose(trace.ground_force[0, k], force, atol=1e-12 * scale)
        np.testing.assert_allclose(recorded, moment, atol=1e-12 * scale)
        assert np.array_equal(trace.servo_force[0, k], data.actuator_force)
    assert touching > 300
    assert trace.ground_force[..., 2].min() >= 0.0


def test_results_do_not_depend_on_threads_or_company(humanoid, backend, rest_state, random_targets):
    states = several_states(humanoid, rest_state, 7)
    ctrl = random_targets(45, 0.3, environments=7)
    backend.reset(*states)
    together = backend.rollout(ctrl)
    single = MujocoCpu(humanoid, nthread=1)
    single.reset(*states)
    one_thread = single.rollout(ctrl)
    assert together.num_environments == 7 and together.num_substeps == 45
    for name in ("state", "ground_force", "ground_torque", "ground_point", "servo_force"):
        assert np.array_equal(getattr(together, name), getattr(one_thread, name))
    for row in (0, 3, 6):
        single.reset(states[0][row : row + 1], states[1][row : row + 1])
        alone = single.rollout(ctrl[row : row + 1])
        assert np.array_equal(alone.state[0], together.state[row])
        assert np.array_equal(alone.ground_force[0], together.ground_force[row])


def test_handing_on_the_warm_start_makes_two_calls_one(humanoid, rest_state, random_targets):
    ctrl = random_targets(120, 0.3)
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid))
    whole = backend.rollout(ctrl)
    backend.reset(*rest_state(humanoid))
    first = backend.rollout(ctrl[:, :47])
    second = backend.rollout(ctrl[:, 47:], warmstart=first.warmstart)
    assert np.array_equal(second.qpos, whole.qpos[:, 47:])
    assert np.array_equal(second.ground_force, whole.ground_force[:, 47:])


@pytest.mark.parametrize("environments", [1, 3])
@pytest.mark.parametrize("at", [0, 6, 19])
def test_a_bad_target_ends_its_environment(humanoid, backend, rest_state, random_targets, environments, at):
    qpos, qvel = rest_state(humanoid)
    ctrl = random_targets(20, 0.1, environments=environments)
    ctrl[-1, at, 5] = np.nan
    backend.reset(np.repeat(qpos, environments, axis=0), np.repeat(qvel, environments, axis=0))
    trace = backend.rollout(ctrl)
    assert trace.valid_substeps.tolist() == [20] * (environments - 1) + [at]
    assert trace.warnings == ("",) * (environments - 1) + ("BADCTRL",)


@pytest.mark.parametrize("environments", [1, 3])
def test_an_automatic_reset_is_noticed_where_it_happens(humanoid, backend, rest_state, random_targets, environments):
    qpos, qvel = rest_state(humanoid, lift=1.0)
    qpos, qvel = np.repeat(qpos, environments, axis=0), np.repeat(qvel, environments, axis=0)
    qvel[0, 70] = 3e10  # beyond MuJoCo's bound of 1e10
    backend.reset(qpos, qvel)
    trace = backend.rollout(random_targets(8, 0.1, environments=environments))
    assert trace.warnings[0] == "BADQVEL"
    assert trace.valid_substeps.tolist() == [0] + [8] * (environments - 1)


def test_a_warning_is_counted_from_the_start_of_the_trace(humanoid, rest_state, random_targets):
    ctrl = random_targets(20, 0.1)
    ctrl[0, 12, 0] = np.inf
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid))
    trace = backend.rollout(ctrl)
    assert (trace.valid_substeps[0], trace.warnings[0]) == (12, "BADCTRL")
    assert np.all(np.isfinite(trace.state))


@pytest.mark.parametrize("substeps", [1, 3])
@pytest.mark.parametrize("environments", [1, 2])
def test_a_full_constraint_buffer_is_reported_even_in_the_last_substep(body, rest_state, environments, substeps):
    config = HumanoidConfig()
    text = humanoid_mjcf(body, config).replace("<default>", '<size memory="100K"/><default>', 1)
    humanoid = Humanoid(body, config, mujoco.MjModel.from_xml_string(text))
    qpos, qvel = rest_state(humanoid)
    backend = MujocoCpu(humanoid)
    backend.reset(np.repeat(qpos, environments, axis=0), np.repeat(qvel, environments, axis=0))
    trace = backend.rollout(np.zeros((environments, substeps, 69)))
    assert trace.warnings == ("CNSTRFULL",) * environments
    assert trace.valid_substeps.tolist() == [0] * environments


def test_a_residual_wrench_acts_and_is_reported(humanoid, rest_state):
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid, lift=1.0))
    wrench = np.zeros((1, 30, 6))
    wrench[:, :, 2] = humanoid.body.mass.sum() * 9.81
    trace = backend.rollout(np.zeros((1, 30, 69)), residual=wrench)
    assert trace.residual is wrench
    assert abs(trace.qpos[0, -1, 2] - trace.qpos[0, 0, 2]) < 0.05  # 0.2 s of free fall would be 0.2 m
    after = backend.rollout(np.zeros((1, 30, 69)))
    assert after.residual is None
    assert after.qpos[0, -1, 2] < after.qpos[0, 0, 2] - 0.15


def test_wrong_input_is_refused_with_what_was_expected(humanoid, body, refuses_wrong_input):
    backend = MujocoCpu(humanoid)
    refuses_wrong_input(backend)
    with pytest.raises(ValueError, match="nthread: expected at least 1, got 0"):
        MujocoCpu(humanoid, nthread=0)
    unnamed = humanoid_mjcf(body, HumanoidConfig(has_sensors=False)).replace('name="floor"', "")
    with pytest.raises(ValueError, match="floor"):
        MujocoCpu(Humanoid(body, HumanoidConfig(), mujoco.MjModel.from_xml_string(unnamed)))
