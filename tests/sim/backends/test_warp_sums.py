"""Sums that the device keeps of each transition are those of its substeps, and give the same records."""

import dataclasses

import numpy as np
import pytest

from sim.acting_torque import acting_torque
from sim.backends.contract import FLOAT32_CLOSURE
from sim.backends.mujoco_warp import MujocoWarp
from sim.closure import closure_residual
from sim.record import Origin, RecordConfig, record

pytest.importorskip("mujoco_warp")
from sim.backends.warp_sums import WarpTransitions
from sim.record_sums import record_sums

pytestmark = pytest.mark.timeout(900)  # a cold cache on a busy machine
ORIGIN = Origin(name="shaken", clip="test")
CONFIG = RecordConfig(min_duration=0.1, transient=0.0, max_closure=FLOAT32_CLOSURE)


@pytest.fixture(scope="module")
def stretch(humanoid, rest_state, random_targets):
    """Three environments, one with a bad target in transition 4 of 6: trace and sums of the same roll-out."""
    qpos, qvel = rest_state(humanoid)
    states = np.repeat(qpos, 3, axis=0), np.repeat(qvel, 3, axis=0)
    ctrl = random_targets(30, 0.1, environments=3)
    ctrl[2, 22, 7] = np.nan
    backend = MujocoWarp(humanoid, device="cpu", chunk=10)
    backend.reset(*states)
    trace = backend.rollout(ctrl)
    sums = WarpTransitions(humanoid, 3, device="cpu", chunk=4).run(*states, ctrl)
    return trace, sums, states, ctrl


def test_states_impulses_and_closure_are_those_of_the_substeps(humanoid, stretch):
    trace, sums, _, _ = stretch
    assert np.array_equal(sums.qpos[:2], trace.qpos[:2, ::5]) and np.array_equal(sums.qvel[:2], trace.qvel[:2, ::5])
    for row in range(2):
        torque = acting_torque(humanoid, trace, row)
        expected = trace.substep * torque.reshape(6, 5, 23, 3).sum(axis=1)
        np.testing.assert_allclose(sums.impulse[row], expected, atol=2e-7 * np.abs(torque).max())
        # The same equations of the same numbers in float64: what differs is the rounding of the recursion.
        closure = closure_residual(humanoid, trace, torque, row)[0].reshape(6, 5).max(axis=1)
        np.testing.assert_allclose(sums.closure[row], closure, atol=5e-5)
        assert sums.closure[row].max() < FLOAT32_CLOSURE


def test_the_check_on_the_device_notices_a_force_that_was_not_there(humanoid, rest_state):
    """Bodies of another mass explain the motion no more: ten per cent of a thigh is far above the rounding."""
    body = humanoid.body
    mass = body.mass.copy()
    mass[1] *= 1.1
    forged = dataclasses.replace(humanoid, body=dataclasses.replace(body, mass=mass))
    sums = WarpTransitions(forged, 1, device="cpu").run(*rest_state(humanoid), np.zeros((1, 10, 69)))
    assert sums.closure.min() > 5 * FLOAT32_CLOSURE


def test_records_from_sums_are_those_from_substeps(humanoid, stretch):
    trace, sums, _, _ = stretch
    for row in range(3):
        expected, whole = record(humanoid, trace, ORIGIN, environment=row, config=CONFIG)
        found, report = record_sums(humanoid, sums, ORIGIN, environment=row, config=CONFIG)
        assert report.cut == whole.cut and report.kept == whole.kept and len(found) == len(expected) == 1
        for field in dataclasses.fields(found[0]):
            one, other = getattr(found[0], field.name), getattr(expected[0], field.name)
            if field.name == "closure_error":
                np.testing.assert_allclose(one, other, atol=5e-5)
            elif isinstance(one, np.ndarray) and one.dtype == np.float32:
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-4, err_msg=field.name)
            elif isinstance(one, np.ndarray):
                assert np.array_equal(one, other), field.name
            else:
                assert one == other, field.name


def test_what_is_not_sound_ends_its_environment_with_its_reason(humanoid, stretch):
    _, sums, _, _ = stretch
    assert sums.valid_substeps.tolist() == [30, 30, 22]
    assert sums.warnings[:2] == ("", "") and "BADCTRL" in sums.warnings[2]
    _, report = record_sums(humanoid, sums, ORIGIN, environment=2, config=CONFIG)
    assert report.kept == 4 and sum(report.cut.values()) == 2
    [reason] = report.cut
    assert "BADCTRL" in reason


def test_the_default_bound_on_the_closure_is_that_of_float32(humanoid, stretch):
    _, sums, _, _ = stretch
    _, report = record_sums(humanoid, sums, ORIGIN)
    assert "closure" not in report.cut
    _, strict = record_sums(humanoid, sums, ORIGIN, config=RecordConfig())
    assert strict.cut["closure"] == 6


def test_wrong_input_is_refused_with_what_was_expected(humanoid, stretch):
    _, _, (qpos, qvel), ctrl = stretch
    device = WarpTransitions(humanoid, 3, device="cpu")
    with pytest.raises(ValueError, match=r"ctrl: expected shape \(3, P·5, 69\) with P >= 1, got \(3, 29, 69\)"):
        device.run(qpos, qvel, ctrl[:, :29])
    with pytest.raises(ValueError, match=r"qvel: expected shape \(3, 75\), got \(2, 75\)"):
        device.run(qpos, qvel[:2], ctrl)
    with pytest.raises(ValueError, match="chunk: expected at least 1"):
        WarpTransitions(humanoid, 3, device="cpu", chunk=0)
