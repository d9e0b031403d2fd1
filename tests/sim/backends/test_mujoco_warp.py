"""The GPU engine, on warp's `cpu` device: it agrees with `mujoco_cpu` to float32, and says where its result is no physics.

The first run on a machine compiles the engine's kernels (one to two minutes); warp keeps them in its cache.
"""

import dataclasses
import sys

import mujoco
import numpy as np
import pytest

from dataset.body.mjcf import HumanoidConfig, humanoid_mjcf
from dataset.skeleton import GRAVITY
from sim.acting_torque import acting_torque
from sim.backends.contract import FLOAT32_CLOSURE
from sim.backends.mujoco_cpu import MujocoCpu
from sim.backends.mujoco_warp import MujocoWarp
from sim.backends.warp_device import contact_bound
from sim.closure import closure_residual
from sim.humanoid import Humanoid
from sim.record import Origin, RecordConfig, record

pytest.importorskip("mujoco_warp")
pytestmark = pytest.mark.timeout(900)  # a cold cache on a busy machine


def shaken_states(humanoid, rest_state, count, lift=0.0, seed=0):
    qpos, qvel = rest_state(humanoid, lift=lift)
    rng = np.random.default_rng(seed)
    return np.repeat(qpos, count, axis=0), np.repeat(qvel, count, axis=0) + 0.3 * rng.standard_normal((count, 75))


def both(humanoid, states, ctrl, **options):
    traces = []
    for backend in (MujocoCpu(humanoid), MujocoWarp(humanoid, device="cpu", **options)):
        backend.reset(*states)
        traces.append(backend.rollout(ctrl))
        backend.close()
    return traces


def moment_about_origin(trace):
    return trace.ground_torque + np.cross(trace.ground_point, trace.ground_force)


@pytest.mark.parametrize("environments", [1, 5, 32])
def test_states_forces_and_torques_are_those_of_the_cpu(humanoid, rest_state, random_targets, environments):
    """30 substeps from standing, servos shaken by 0.2 rad: states, contacts and torques to float32."""
    states = shaken_states(humanoid, rest_state, environments, lift=0.01)
    cpu, warp = both(humanoid, states, random_targets(30, 0.2, environments=environments))
    assert np.abs(cpu.qpos - warp.qpos).max() < 1e-5
    assert np.abs(cpu.qvel - warp.qvel).max() < 1e-3
    assert warp.valid_substeps.tolist() == [30] * environments and warp.warnings == ("",) * environments
    touching = np.linalg.norm(cpu.ground_force, axis=-1) > 1.0
    assert touching.sum() > 30 * environments
    # forces up to 2 kN, moments about the origin up to 300 N·m, servo and joint torques up to 340 N·m
    np.testing.assert_allclose(warp.ground_force, cpu.ground_force, atol=0.5)
    np.testing.assert_allclose(moment_about_origin(warp), moment_about_origin(cpu), atol=0.2)
    np.testing.assert_allclose(warp.servo_force, cpu.servo_force, atol=0.02)
    for row in range(environments):
        torque = acting_torque(humanoid, warp, row)
        np.testing.assert_allclose(torque, acting_torque(humanoid, cpu, row), atol=0.02)
        assert closure_residual(humanoid, warp, torque, row)[0].max() < FLOAT32_CLOSURE
    np.testing.assert_allclose(warp.state[..., 0], cpu.state[..., 0], atol=1e-12)


def test_torques_at_the_servos_limit_are_without_damping(humanoid, rest_state, random_targets):
    """Targets of 1.5 rad drive servos into their limit; the torque that acted closes the equations there too."""
    states = shaken_states(humanoid, rest_state, 2, lift=0.5)
    cpu, warp = both(humanoid, states, random_targets(12, 1.5, environments=2, hold=6))
    limit = humanoid.model.actuator_forcerange[:, 1]
    saturated = np.abs(warp.servo_force) >= limit
    assert 0.01 < saturated.mean() < 0.5
    np.testing.assert_allclose(saturated.mean(), (np.abs(cpu.servo_force) >= limit).mean(), atol=0.005)
    for row in range(2):
        torque = acting_torque(humanoid, warp, row)
        np.testing.assert_allclose(torque, acting_torque(humanoid, cpu, row), atol=0.5)
        assert closure_residual(humanoid, warp, torque, row)[0].max() < FLOAT32_CLOSURE


def test_chunks_change_no_bit_and_company_only_the_rounding(humanoid, rest_state, random_targets):
    states = shaken_states(humanoid, rest_state, 3)
    ctrl = random_targets(22, 0.2, environments=3)
    backend = MujocoWarp(humanoid, device="cpu", chunk=22)
    backend.reset(*states)
    whole = backend.rollout(ctrl)
    chunked = MujocoWarp(humanoid, device="cpu", chunk=5)
    chunked.reset(*states)
    parts = chunked.rollout(ctrl)
    for name in ("state", "ground_force", "ground_torque", "ground_point", "servo_force"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name)), name
    chunked.reset(states[0][1:2], states[1][1:2])
    alone = chunked.rollout(ctrl[1:2])
    assert np.abs(alone.qpos[0] - whole.qpos[1]).max() < 1e-5


def test_handing_on_the_warm_start_makes_two_calls_one(humanoid, rest_state, random_targets):
    ctrl = random_targets(20, 0.2)
    backend = MujocoWarp(humanoid, device="cpu")
    backend.reset(*rest_state(humanoid))
    whole = backend.rollout(ctrl)
    backend.reset(*rest_state(humanoid))
    first = backend.rollout(ctrl[:, :7])
    second = backend.rollout(ctrl[:, 7:], warmstart=first.warmstart)
    assert np.array_equal(second.qpos, whole.qpos[:, 7:])
    assert np.array_equal(second.ground_force, whole.ground_force[:, 7:])


@pytest.mark.parametrize("at", [0, 6, 9])
def test_a_bad_target_ends_its_environment_and_no_other(humanoid, rest_state, random_targets, at):
    ctrl = random_targets(10, 0.1, environments=3)
    ctrl[1, at, 5] = np.nan
    states = shaken_states(humanoid, rest_state, 3)
    _, warp = both(humanoid, states, ctrl)
    assert warp.valid_substeps.tolist() == [10, at, 10]
    assert warp.warnings[0] == warp.warnings[2] == "" and "BADCTRL" in warp.warnings[1]
    clean = MujocoWarp(humanoid, device="cpu")
    clean.reset(*states)
    ctrl[1] = 0.0
    untouched = clean.rollout(ctrl)
    assert np.array_equal(warp.state[[0, 2]], untouched.state[[0, 2]])


def test_an_environment_that_leaves_the_numbers_is_noticed(humanoid, rest_state, random_targets):
    states = shaken_states(humanoid, rest_state, 3, lift=1.0)
    states[1][0, 70] = 3e10  # beyond MuJoCo's bound of 1e10
    states[1][2, 70] = 3e5  # fine to start from, not to go on from
    _, warp = both(humanoid, states, random_targets(8, 0.1, environments=3))
    assert warp.warnings[0].startswith("BADQVEL") and warp.valid_substeps[0] == 0
    assert warp.warnings[1] == "" and warp.valid_substeps[1] == 8
    cpu, _ = both(humanoid, states, random_targets(8, 0.1, environments=3))
    assert warp.valid_substeps[2] == cpu.valid_substeps[2] < 8
    assert "BADQACC" in warp.warnings[2]


def test_arrays_too_small_for_the_contacts_are_an_error_that_names_them(humanoid, rest_state):
    ctrl = np.zeros((2, 3, 69))
    for name, value in (("nconmax", 3), ("njmax", 20)):
        backend = MujocoWarp(humanoid, device="cpu", **{name: value})
        qpos, qvel = rest_state(humanoid)
        backend.reset(np.repeat(qpos, 2, axis=0), np.repeat(qvel, 2, axis=0))
        with pytest.raises(ValueError, match=rf"^{name}: expected room .* got {value}"):
            backend.rollout(ctrl)
    with pytest.raises(ValueError, match="njmax: expected at least 1, got 0"):
        backend = MujocoWarp(humanoid, device="cpu", njmax=0)
        backend.reset(*rest_state(humanoid))


def test_everything_that_can_touch_the_floor_has_room(humanoid, rest_state):
    """Far below the floor every shape has as many contacts as it can: exactly as many as there is room for."""
    qpos, qvel = rest_state(humanoid)
    qpos[:, 2] = -2.0
    backend = MujocoWarp(humanoid, device="cpu")
    backend.reset(qpos, qvel)
    backend.rollout(np.zeros((1, 1, 69)))
    assert backend._loop.data.nacon.numpy().tolist() == [contact_bound(humanoid)]


def test_a_residual_wrench_acts_and_is_reported(humanoid, rest_state):
    backend = MujocoWarp(humanoid, device="cpu")
    backend.reset(*rest_state(humanoid, lift=1.0))
    wrench = np.zeros((1, 12, 6))
    wrench[:, :, 2] = humanoid.body.mass.sum() * 9.81
    trace = backend.rollout(np.zeros((1, 12, 69)), residual=wrench)
    assert trace.residual is wrench
    assert abs(trace.qvel[0, -1, 2]) < 0.1
    after = backend.rollout(np.zeros((1, 12, 69)))
    assert after.residual is None
    assert after.qvel[0, -1, 2] == pytest.approx(trace.qvel[0, -1, 2] - 9.81 * 12 / 150.0, abs=0.1)


def test_records_are_those_of_the_cpu(humanoid, rest_state, random_targets):
    """A second of standing, shaken little, so that both engines stay together: same records, same balance."""
    short = RecordConfig(min_duration=0.2)
    config = dataclasses.replace(short, max_closure=FLOAT32_CLOSURE, transient=0.1)
    cpu, warp = both(humanoid, rest_state(humanoid, lift=-0.001), random_targets(100, 0.02))
    [expected], _ = record(humanoid, cpu, Origin(name="a", clip="test"), config=short)
    [found], report = record(humanoid, warp, Origin(name="a", clip="test"), config=config)
    frames = slice(6, None)  # the CPU's record begins behind 0.3 s, this one behind 0.1 s
    assert found.num_frames == expected.num_frames + 6
    np.testing.assert_allclose(found.root_pos[frames], expected.root_pos, atol=1e-5)
    np.testing.assert_allclose(found.impulse[frames], expected.impulse, atol=2e-4)
    np.testing.assert_allclose(found.grf_mean[frames], expected.grf_mean, atol=0.2)
    np.testing.assert_allclose(found.momentum_error[frames], expected.momentum_error, atol=2e-4)
    carried = found.grf_mean.sum(axis=1)[:, 2].mean() / (humanoid.body.mass.sum() * GRAVITY)
    assert abs(carried - 1.0) < 0.1
    assert report.closure_max < FLOAT32_CLOSURE
    strict, report = record(humanoid, warp, Origin(name="a", clip="test"), config=short)
    assert strict == [] and report.cut["closure"] > 0  # float32 never passes for float64


def test_a_captured_substep_is_the_substep(humanoid, rest_state, random_targets):
    """What a GPU replays as a graph, recorded and replayed here: the same bits, and nothing left of the recording."""
    import warp as wp

    from sim.backends.warp_device import find_device
    from sim.backends.warp_loop import SubstepLoop

    ends = []
    for is_captured in (False, True):
        loop = SubstepLoop(humanoid, 2, 5, find_device("cpu"))
        loop.write_state(*shaken_states(humanoid, rest_state, 2, lift=-0.002))
        loop.ctrl.assign(random_targets(5, 0.1, environments=2, hold=2).astype(np.float32))
        if is_captured:
            graph = loop._captured()
            for _ in range(5):
                wp.capture_launch(graph)
        else:
            loop.run(5)
        assert loop.row.numpy().tolist() == [5, 5]
        ends.append((loop.data.qpos.numpy(), loop.data.qvel.numpy(), loop.force.numpy()))
    for plain, captured in zip(*ends, strict=True):
        assert np.array_equal(plain, captured)


@pytest.mark.parametrize(
    "module",
    ["sim.backends.warp_kernels", "sim.backends.warp_closure_kernels", "sim.imitation.tracker.warp_kernels"],
)
def test_device_code_compiles_for_a_gpu_that_is_not_here(module, tmp_path):
    import importlib

    import warp as wp

    wp.compile_aot_module(importlib.import_module(module), arch=90, module_dir=tmp_path)
    [binary] = tmp_path.glob("*.sm90.cubin")
    assert binary.stat().st_size > 1000


def changed(body, old, new):
    config = HumanoidConfig(substep=1.0 / 150.0)
    text = humanoid_mjcf(body, config)
    assert old in text
    return Humanoid(body, config, mujoco.MjModel.from_xml_string(text.replace(old, new)))


def test_elliptic_cones_and_contacts_with_torsion_agree_too(body, rest_state, random_targets):
    """What the shipped humanoid does not use but a variant might: elliptic cones, condim 4."""
    text = 'cone="pyramidal"'
    humanoid = changed(body, text, 'cone="elliptic"')
    humanoid.model.geom_condim[:] = 4
    # soles 2 mm in the floor: just touching it, a contact is a matter of rounding
    states = shaken_states(humanoid, rest_state, 2, lift=-0.002)
    cpu, warp = both(humanoid, states, random_targets(10, 0.1, environments=2))
    assert np.abs(cpu.qpos - warp.qpos).max() < 1e-5
    assert np.any(warp.ground_force)
    np.testing.assert_allclose(warp.ground_force, cpu.ground_force, atol=0.5)
    np.testing.assert_allclose(moment_about_origin(warp), moment_about_origin(cpu), atol=0.2)


def test_what_the_engine_lacks_is_an_error_that_says_so(body, humanoid, rest_state):
    for old, new, reason in (
        ('solver="Newton"', 'solver="PGS"', "got PGS"),
        ('type="sphere"', 'type="ellipsoid"', "mjGEOM_ELLIPSOID"),
        ('contype="0" conaffinity="1"', 'contype="1" conaffinity="1"', "collide with each other"),
    ):
        text = changed_or_none(body, old, new)
        backend = MujocoWarp(text, device="cpu")
        with pytest.raises(ValueError, match=reason):
            backend.reset(*rest_state(humanoid))


def changed_or_none(body, old, new):
    if "ellipsoid" in new:  # a sphere has one size, an ellipsoid three
        spheres = [shape for shape in body.shapes if shape.kind == "sphere"]
        sizes = dataclasses.replace(spheres[0], size=(spheres[0].size[0],) * 3, kind="ellipsoid")
        shapes = tuple(sizes if shape is spheres[0] else shape for shape in body.shapes)
        config = HumanoidConfig(substep=1.0 / 150.0)
        other = dataclasses.replace(body, shapes=shapes)
        return Humanoid(body, config, mujoco.MjModel.from_xml_string(humanoid_mjcf(other, config)))
    return changed(body, old, new)


def test_wrong_input_is_refused_with_what_was_expected(humanoid, refuses_wrong_input):
    with pytest.raises(ValueError, match=r"device: expected one of cpu.* got 'tpu'"):
        MujocoWarp(humanoid, device="tpu")
    backend = MujocoWarp(humanoid, device="cpu")
    refuses_wrong_input(backend)
    with pytest.raises(ValueError, match="chunk"):
        MujocoWarp(humanoid, device="cpu", chunk=0)


def test_without_the_package_the_error_says_what_to_install(humanoid, monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    with pytest.raises(RuntimeError, match=r"mujoco_warp not installed; pip install -e '\.\[gpu\]'"):
        MujocoWarp(humanoid, device="cpu")
