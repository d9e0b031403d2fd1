"""The Isaac Gym backend on a stand-in (MuJoCo under a real Python 3.8): its numbers are those of the simulation."""

import ast
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

from dataset import rotation
from dataset.body.mjcf import HumanoidConfig
from dataset.skeleton import BODY_NAMES, FEET
from dataset.store import Store
from sim.acting_torque import acting_torque
from sim.backends import isaacgym_worker
from sim.backends.isaacgym_client import record_config
from sim.backends.isaacgym_ground import contact_centres, free_moments
from sim.backends.isaacgym_model import IsaacGymConfig, explicit_damping, hinged_model
from sim.backends.isaacgym_process import WorkerFailure
from sim.closure import closure_residual, unexplained_forces
from sim.humanoid import make_humanoid
from sim.record import Origin, RecordConfig, record

WEIGHT = 70.0 * 9.81
SINGLE = 2e-4
"""Residual that single precision leaves here [body weights]: 6e-8 of 10 m/s is 6e-7 m/s, times 70 kg · 150 Hz over the weight,
on several bodies; measured 1e-5 to 6e-5."""


def turned_states(humanoid, rest_state, count, seed=0):
    """Bent, turning and moving persons a metre above the floor."""
    qpos, qvel = (np.repeat(values, count, axis=0) for values in rest_state(humanoid, lift=1.0))
    rng = np.random.default_rng(seed)
    qpos[:, humanoid.quat_columns] = rotation.from_rotation_vector(rng.uniform(-0.6, 0.6, (count, 24, 3)))
    qvel[:] = rng.uniform(-1.0, 1.0, qvel.shape)
    return qpos, qvel


def same_rotations(found, wanted, columns, tolerance):
    np.testing.assert_allclose(np.abs(np.sum(found[..., columns] * wanted[..., columns], axis=-1)), 1.0, atol=tolerance)


def test_the_worker_is_python_3_8(python38):
    source = Path(isaacgym_worker.__file__).read_text()
    ast.parse(source, feature_version=(3, 8))
    # the parser of 3.11 lets some later syntax pass; that of 3.8 does not
    compiled = subprocess.run(
        [python38, "-c", "import sys; compile(sys.stdin.read(), 'worker', 'exec')"], input=source, text=True
    )
    assert compiled.returncode == 0


def test_the_worker_imports_nothing_of_ours():
    names = set()
    for node in ast.walk(ast.parse(Path(isaacgym_worker.__file__).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    assert names - sys.stdlib_module_names == {"isaacgym", "numpy"}


def test_hinges_are_the_same_person_in_the_rest_pose(humanoid):
    """MuJoCo reads the text too: equal masses, centres and inertia of the whole tree as felt at every joint."""
    model = mujoco.MjModel.from_xml_string(hinged_model(humanoid))
    assert (model.nbody, model.njnt, model.nu) == (25, 70, 69)
    order = [model.body(name).id for name in BODY_NAMES]
    np.testing.assert_allclose(model.body_mass[order], humanoid.body.mass, rtol=1e-12)
    matrices = []
    for each in (model, humanoid.model):
        data, dense = mujoco.MjData(each), np.empty((each.nv, each.nv))
        data.qpos[:3] = humanoid.body.joint_pos[0]
        mujoco.mj_forward(each, data)
        mujoco.mj_fullM(each, data, dense)
        matrices.append(dense)
    np.testing.assert_allclose(matrices[0], matrices[1], atol=1e-9)


def test_damping_is_what_explicit_torques_can_have(body):
    """One substep of the undriven, damped velocities must not turn any of them around, nor be damped less than it could."""
    for rate in (150, 480):
        humanoid = make_humanoid(body, HumanoidConfig(substep=1.0 / rate))
        damping = explicit_damping(humanoid)
        assert np.all(damping <= humanoid.damping) and np.any(damping < 0.9 * humanoid.damping)
        inertia, data = np.empty((75, 75)), mujoco.MjData(humanoid.model)
        mujoco.mj_forward(humanoid.model, data)
        mujoco.mj_fullM(humanoid.model, data, inertia)
        held = np.zeros((75, 75))
        held[humanoid.ctrl_dof, humanoid.ctrl_dof] = (damping + humanoid.stiffness / rate) / rate
        assert abs(np.linalg.eigvals(np.linalg.solve(inertia, held)).real.max() - 1.0) < 1e-6
    with pytest.raises(ValueError, match="stiffness_scale"):
        explicit_damping(make_humanoid(body, HumanoidConfig(substep=1.0 / 60.0, stiffness_scale=1.0)))


@pytest.mark.parametrize("rate_frame", ["child", "parent"])
@pytest.mark.parametrize("velocity_point", ["com", "origin"])
def test_conventions_are_measured_and_states_are_the_same_by_any(
    humanoid, rest_state, isaacgym, stand_in, rate_frame, velocity_point
):
    stand_in(rate_frame=rate_frame, velocity_point=velocity_point)
    backend = isaacgym(humanoid)
    states = turned_states(humanoid, rest_state, 2)
    backend.reset(*states)
    assert dataclasses.asdict(backend.conventions) == {"rate_frame": rate_frame, "velocity_point": velocity_point}
    trace = backend.rollout(np.zeros((2, 20, 69)))
    same_rotations(trace.qpos[:, 0], states[0], humanoid.quat_columns, 1e-6)
    np.testing.assert_allclose(trace.qvel[:, 0], states[1], atol=1e-6)
    np.testing.assert_allclose(trace.qpos[:, 0, :3], states[0][:, :3], atol=1e-6)
    # the wrong convention would leave 0.1 m/s or rad/s for the first step to explain
    for row in range(2):
        assert closure_residual(humanoid, trace, acting_torque(humanoid, trace, row), row)[0].max() < SINGLE


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"angles": "euler"}, "joint positions are rotation vectors"),
        ({"mass_factor": 1.01}, "expected mass"),
        ({"has_contacts": False}, "expected contacts with"),
    ],
)
def test_a_simulator_of_other_conventions_is_refused(humanoid, rest_state, isaacgym, stand_in, options, complaint):
    stand_in(**options)
    backend = isaacgym(humanoid)
    with pytest.raises((ValueError, WorkerFailure), match=complaint):
        backend.reset(*rest_state(humanoid))


def test_torques_are_the_servo_law_at_the_beginning_of_each_substep(humanoid, rest_state, isaacgym, random_targets):
    backend = isaacgym(humanoid)
    backend.reset(*rest_state(humanoid, lift=1.0))
    trace = backend.rollout(random_targets(30, 3.0))
    qpos, qvel = trace.qpos[0, :-1], trace.qvel[0, :-1]
    angle = rotation.to_rotation_vector(qpos[:, humanoid.quat_columns[1:]]).reshape(30, 69)
    rate = qvel[:, humanoid.omega_columns[1:]].reshape(30, 69)
    limit = humanoid.torque_limit
    law = humanoid.stiffness * (trace.ctrl[0] - angle) - explicit_damping(humanoid) * rate
    torque = acting_torque(humanoid, trace).reshape(30, 69)
    np.testing.assert_allclose(torque, np.clip(law, -limit, limit), atol=1e-3)
    assert np.any(np.abs(torque) == limit.astype(np.float32)), "some servos must be at their limit"
    assert np.array_equal(trace.servo_force[0].reshape(30, 69), torque)


def test_the_motion_is_that_of_mujoco_here_under_the_same_torques(humanoid, rest_state, isaacgym, random_targets):
    backend = isaacgym(humanoid)
    backend.reset(*turned_states(humanoid, rest_state, 1))
    trace = backend.rollout(random_targets(30, 0.5))
    model, data = humanoid.model, mujoco.MjData(humanoid.model)
    model = mujoco.MjModel.from_xml_string(hinged_text_with_balls(humanoid))
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = trace.qpos[0, 0], trace.qvel[0, 0]
    torque = acting_torque(humanoid, trace).reshape(30, 69)
    for k in range(30):
        data.qfrc_applied[humanoid.ctrl_dof] = torque[k]
        mujoco.mj_step(model, data)
        same_rotations(data.qpos, trace.qpos[0, k + 1], humanoid.quat_columns, 1e-6)
        np.testing.assert_allclose(data.qvel, trace.qvel[0, k + 1], atol=2e-3)  # grows with the motion
    np.testing.assert_allclose(data.qpos[:3], trace.qpos[0, 30, :3], atol=1e-5)


def hinged_text_with_balls(humanoid):
    """The humanoid without servos under the explicit integrator."""
    from dataset.body.mjcf import humanoid_mjcf

    text = humanoid_mjcf(humanoid.body, dataclasses.replace(humanoid.config, has_sensors=False))
    text = text.replace('integrator="implicitfast"', 'integrator="Euler"')
    return text[: text.index("  <actuator>")] + "</mujoco>"


@pytest.mark.parametrize("control", ["effort", "position"])
def test_records_close_to_single_precision_and_say_what_they_are(body, rest_state, isaacgym, random_targets, control):
    humanoid = make_humanoid(body, HumanoidConfig())
    backend = isaacgym(humanoid, control=control)
    backend.reset(*rest_state(humanoid, lift=0.01))
    trace = backend.rollout(random_targets(640, 0.02, hold=48))
    closure = closure_residual(humanoid, trace, acting_torque(humanoid, trace))[0]
    assert trace.ground_force[0, :, :, 2].sum(axis=1).max() > WEIGHT
    assert 1e-9 < np.median(closure) < SINGLE
    kept, report = record(humanoid, trace, Origin(name="a", clip="b/c", flags=("first",)), config=record_config())
    assert report.kept == 31 and report.closure_max <= 1e-3
    exact = "torque_commanded" if control == "effort" else "torque_sensed"
    assert kept[0].flags == ("first", "isaacgym", "float32", exact, "free_moment_from_motion")
    # and nothing is kept where somebody asks for MuJoCo's precision
    assert record(humanoid, trace, Origin(name="a", clip="b/c"), config=RecordConfig())[1].cut["closure"] > 30


def test_a_wrong_torque_or_force_is_found(humanoid, rest_state, isaacgym):
    """The check can fail: neither may be off by a hundredth of the body weight."""
    backend = isaacgym(humanoid)
    backend.reset(*rest_state(humanoid))
    trace = backend.rollout(np.zeros((1, 60, 69)))
    for name, scale, axis in (
        ("torque", 0.01 * WEIGHT * 1.75, slice(3, 4)),
        ("ground_force", 0.01 * WEIGHT, slice(0, 1)),
    ):
        wrong = getattr(trace, name).copy()
        wrong[:, :, axis] += scale
        broken = dataclasses.replace(trace, **{name: wrong})
        assert closure_residual(humanoid, broken, acting_torque(humanoid, broken))[0].min() > 5e-3


def test_a_standing_person_presses_with_its_weight_within_its_feet(humanoid, rest_state, isaacgym):
    backend = isaacgym(humanoid)
    backend.reset(*rest_state(humanoid))
    trace = backend.rollout(np.zeros((1, 150, 69)))
    force = trace.ground_force[0, -30:]
    assert abs(force[..., 2].sum(axis=1).mean() / WEIGHT - 1.0) < 0.02
    feet = [row for foot in FEET for row in foot]
    assert np.all(force[:, [row for row in range(24) if row not in feet]] == 0.0)
    point = np.sum(force[..., 2:] * trace.ground_point[0, -30:], axis=1) / force[..., 2:].sum(axis=1)
    ankle = humanoid.body.joint_pos[[BODY_NAMES.index("L_Ankle"), BODY_NAMES.index("R_Ankle")]]
    assert np.all(np.abs(point[:, 1]) < ankle[0, 1]) and np.all(np.abs(point[:, 0] - ankle[:, 0].mean()) < 0.2)
    assert np.all(np.abs(point[:, 2]) < 5e-3), "contacts lie in the floor"


def test_the_free_moment_that_the_motion_asks_for_is_the_one_that_acted(shaken, humanoid):
    trace, _ = shaken
    true = trace.ground_torque[0]
    blind = dataclasses.replace(trace, ground_torque=trace.ground_torque * [1.0, 1.0, 0.0])
    found = free_moments(humanoid, blind, 0)
    assert np.abs(true[..., 2]).max() > 1.0
    np.testing.assert_allclose(found, true[..., 2], atol=1e-7 * np.abs(true).max())
    rows = unexplained_forces(humanoid, trace, acting_torque(humanoid, trace))
    assert np.abs(rows).max() < 1e-7


def test_centres_of_contacts_in_moving_frames_are_where_the_forces_act(shaken, humanoid):
    trace, _ = shaken
    model, data = humanoid.model, mujoco.MjData(humanoid.model)
    seen = 0
    for k in range(0, 300, 3):
        data.qpos[:], data.qvel[:] = trace.qpos[0, k], trace.qvel[0, k]
        mujoco.mj_forward(model, data)
        normal, point, centre = np.zeros(24), np.zeros((24, 3)), np.zeros((24, 3))
        for index, contact in enumerate(data.contact):
            wrench = np.zeros(6)
            mujoco.mj_contactForce(model, data, index, wrench)
            own = max(model.geom_bodyid[contact.geom])
            row = int(np.flatnonzero(humanoid.body_id == own)[0])
            normal[row] += wrench[0]
            point[row] += wrench[0] * data.xmat[own].reshape(3, 3).T @ (contact.pos - data.xpos[own])
            centre[row] += wrench[0] * contact.pos
            seen += 1
        found = contact_centres(humanoid, trace.qpos[0, k : k + 1], normal[None], point[None])[0]
        pressed = normal > 0
        np.testing.assert_allclose(found[pressed], (centre[pressed].T / normal[pressed]).T, atol=1e-12)
        assert np.all(found[~pressed] == 0.0)
    assert seen > 50


def test_environments_do_not_touch_and_calls_go_on_where_the_last_ended(humanoid, rest_state, isaacgym, random_targets):
    states, ctrl = turned_states(humanoid, rest_state, 3, seed=4), random_targets(40, 0.3, environments=3)
    backend = isaacgym(humanoid)
    backend.reset(*states)
    together = backend.rollout(ctrl)
    first_worker = backend.pid
    backend.reset(states[0][1:2], states[1][1:2])
    assert backend.pid != first_worker
    with pytest.raises(ProcessLookupError):
        os.kill(first_worker, 0)
    halves = [backend.rollout(ctrl[1:2, :13]), backend.rollout(ctrl[1:2, 13:])]
    np.testing.assert_allclose(halves[0].state[0], together.state[1, :14], atol=1e-6)
    np.testing.assert_allclose(halves[1].qpos[0], together.qpos[1, 13:], atol=1e-6)
    np.testing.assert_allclose(halves[1].ground_force[0], together.ground_force[1, 13:], atol=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"control": "velocity"}, "control: expected 'effort' or 'position', got 'velocity'"),
        ({"solver": "newton"}, "solver: expected 'tgs' or 'pgs', got 'newton'"),
        ({"position_iterations": 0}, "position_iterations: expected at least 1, got 0"),
        ({"threads": -1}, "threads: expected at least 0, got -1"),
        ({"reply_timeout": 0.0}, "reply_timeout: expected a positive number, got 0"),
        ({"contact_offset": float("nan")}, "contact_offset: expected a positive number, got nan"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_a_worker_starts(options, message):
    """An unknown control would otherwise be taken for PhysX's own drives."""
    with pytest.raises(ValueError, match=message):
        IsaacGymConfig(python=Path("python3.8"), **options)


def test_wrong_input_is_refused_with_what_was_expected(humanoid, refuses_wrong_input, isaacgym):
    backend = isaacgym(humanoid)
    refuses_wrong_input(backend)
    with pytest.raises(ValueError, match="ctrl: expected finite"):
        backend.rollout(np.full((1, 5, 69), np.inf))


def smoke(python, *options):
    command = [sys.executable, "-m", "sim.backends.isaacgym_smoke", "--isaac-python", os.fspath(python), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])


def test_the_smoke_command_judges_and_stores(python38, stand_in, tmp_path):
    result = smoke(python38, "--out", os.fspath(tmp_path / "set"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "records can be made" in result.stdout
    records = list(Store.open(tmp_path / "set"))
    assert [item.name for item in records] == ["isaacgym/standing/0", "isaacgym/standing/1"]
    assert all("torque_commanded" in item.flags for item in records)
    stand_in(mass_factor=1.5)
    refused = smoke(python38)
    assert refused.returncode == 2 and "expected mass" in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.isaac
def test_the_real_isaac_gym_passes_the_smoke_command():
    result = smoke(Path(os.environ["IMDYLAB_ISAAC_PYTHON"]))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "STAND-IN" not in json.dumps(result.stdout)
