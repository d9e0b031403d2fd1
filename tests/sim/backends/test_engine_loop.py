"""The compiled loop gives what the engine's own sensors and `mujoco.rollout` give, bit for bit."""

import mujoco
import mujoco.rollout
import numpy as np
import pytest

from dataset.body.mjcf import HumanoidConfig, humanoid_mjcf
from dataset.skeleton import BODY_NAMES
from sim.backends import engine_memory
from sim.backends.engine_memory import EngineMemory
from sim.backends.mujoco_cpu import MujocoCpu
from sim.humanoid import Humanoid, make_humanoid


def rolled_out(humanoid, qpos, qvel, ctrl):
    """States and sensors (24 bodies' contacts, 69 servos) of `mujoco.rollout`."""
    start = np.concatenate([np.ones((len(qpos), 1)), qpos, qvel], axis=1)
    with mujoco.rollout.Rollout(nthread=0) as pool:
        states, sensors = pool.rollout(humanoid.model, [mujoco.MjData(humanoid.model)], start, ctrl)
    return states, sensors[..., :216].reshape(*sensors.shape[:2], 24, 9), sensors[..., 216:]


@pytest.mark.parametrize("size", [0.05, 1.0])
@pytest.mark.parametrize("lift", [0.0, 0.3])
def test_states_contacts_and_servos_are_those_of_rollout_and_its_sensors(
    humanoid, rest_state, random_targets, size, lift
):
    qpos, qvel = rest_state(humanoid, lift=lift)
    qpos, qvel = np.repeat(qpos, 2, axis=0), np.repeat(qvel, 2, axis=0)
    qvel[1, :6] = 1.0, -0.5, 0.0, 3.0, -4.0, 2.0  # falls over: other bodies touch
    ctrl = random_targets(300, size, environments=2)
    backend = MujocoCpu(humanoid)
    backend.reset(qpos, qvel)
    trace = backend.rollout(ctrl)
    states, contacts, servos = rolled_out(humanoid, qpos, qvel, ctrl)
    assert np.array_equal(trace.state[:, 1:], states)
    assert np.array_equal(trace.servo_force, servos)
    # MuJoCo gives what the first body of the pair, ours, does to the floor.
    assert np.array_equal(trace.ground_force, -contacts[..., :3])
    assert np.array_equal(trace.ground_torque, -contacts[..., 3:6])
    assert np.array_equal(trace.ground_point, contacts[..., 6:])
    touching = np.any(trace.ground_force != 0, axis=-1)
    assert touching.any(axis=(0, 1)).sum() > 4 and touching.sum(axis=-1).max() > 2
    assert not touching.all(axis=-1).any()


def test_contacts_that_twist_and_roll_have_their_torque(body, rest_state, random_targets):
    config = HumanoidConfig(substep=1.0 / 150.0)
    text = humanoid_mjcf(body, config).replace(
        'condim="3" friction="1.0 0.005 0.0001"', 'condim="6" friction="1 0.1 0.1"'
    )
    humanoid = Humanoid(body, config, mujoco.MjModel.from_xml_string(text))
    assert set(humanoid.model.geom_condim) == {6}
    qpos, qvel = rest_state(humanoid)
    ctrl = random_targets(150, 0.3)
    backend = MujocoCpu(humanoid)
    backend.reset(qpos, qvel)
    trace = backend.rollout(ctrl)
    _, contacts, _ = rolled_out(humanoid, qpos, qvel, ctrl)
    assert np.array_equal(trace.ground_torque, -contacts[..., 3:6])
    assert np.array_equal(trace.ground_point, contacts[..., 6:])


def test_a_floor_that_is_the_second_geom_pushes_up_all_the_same(body, rest_state):
    """MuJoCo sorts a pair by the kind of its geoms: a box as the floor comes after a capsule or a sphere."""
    config = HumanoidConfig(substep=1.0 / 150.0)
    text = humanoid_mjcf(body, config).replace('type="plane" size="0 0 1"', 'type="box" size="5 5 1" pos="0 0 -1"')
    humanoid = Humanoid(body, config, mujoco.MjModel.from_xml_string(text))
    qpos, qvel = rest_state(humanoid)
    qpos[:, 3:7] = np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0
    qpos[:, 2] = 0.2  # lies
    backend = MujocoCpu(humanoid)
    backend.reset(qpos, qvel)
    trace = backend.rollout(np.zeros((1, 150, 69)))
    _, contacts, _ = rolled_out(humanoid, qpos, qvel, trace.ctrl)
    capsules = [BODY_NAMES.index(name) for name in ("Pelvis", "Chest", "Head", "L_Elbow", "R_Elbow")]
    touching = int(np.any(trace.ground_force[0, :, capsules] != 0, axis=(0, 2)).argmax())
    data = mujoco.MjData(humanoid.model)
    data.qpos[:] = trace.qpos[0, touching]
    mujoco.mj_forward(humanoid.model, data)
    floor = mujoco.mj_name2id(humanoid.model, mujoco.mjtObj.mjOBJ_GEOM, "floor")
    assert floor in data.contact.geom[:, 1], "no contact has the floor second: this is not the stated case"
    assert np.array_equal(trace.ground_force, -contacts[..., :3])
    assert np.array_equal(trace.ground_torque, -contacts[..., 3:6])
    assert trace.ground_force[..., 2].sum(axis=-1).max() > 0.5 * body.mass.sum() * 9.81


def test_a_model_without_sensors_gives_the_same_trace(humanoid, body, rest_state, random_targets):
    bare = make_humanoid(body, HumanoidConfig(substep=1.0 / 150.0, has_sensors=False))
    traces = []
    for each in (humanoid, bare):
        backend = MujocoCpu(each)
        backend.reset(*rest_state(each))
        traces.append(backend.rollout(random_targets(60, 0.3)))
    for name in ("state", "ground_force", "ground_torque", "ground_point", "servo_force"):
        assert np.array_equal(getattr(traces[0], name), getattr(traces[1], name))


def test_what_follows_a_warning_repeats_the_substep_that_warned(humanoid, rest_state, random_targets):
    ctrl = random_targets(20, 0.1)
    ctrl[0, 12, 0] = np.inf
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid))
    trace = backend.rollout(ctrl)
    for rows in (trace.state[0, 13:], trace.ground_force[0, 12:], trace.servo_force[0, 12:]):
        assert np.all(rows == rows[0])


def test_a_layout_that_is_not_the_engines_is_refused(humanoid, monkeypatch):
    structure = engine_memory._structure

    def shifted(name):
        found = structure(name)
        return np.dtype([("unknown", np.int64), *found.descr]) if name == "mjContact" else found

    engine_memory._check_layout.cache_clear()
    monkeypatch.setattr(engine_memory, "_structure", shifted)
    with pytest.raises(RuntimeError, match=r"mujoco 4\S*: expected its structures to be laid out"):
        EngineMemory(mujoco.MjData(humanoid.model))
