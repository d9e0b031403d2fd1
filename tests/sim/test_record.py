"""Records hold what the substeps say, and only transitions that deserve it."""

import dataclasses

import numpy as np
import pytest

from dataset.skeleton import GRAVITY
from kernels.grf import accumulate_contact_wrench, finish_contact_wrench, start_contact_wrench
from kernels.momentum import add_substep, start_impulse
from sim.acting_torque import acting_torque
from sim.backends.mujoco_cpu import MujocoCpu
from sim.record import Origin, RecordConfig, RecordReport, record

ORIGIN = Origin(name="shaken", clip="test/shaken", seed=3, clip_start=1.5, controller="random", flags=("violent",))
ALL = RecordConfig(transient=0.0, min_duration=0.0)


@pytest.fixture(scope="module")
def calm(humanoid, rest_state, random_targets):
    """2 s of swaying, 60 transitions of 5 substeps."""
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid))
    return backend.rollout(random_targets(300, 0.05, seed=1))


def test_frames_and_transitions_hold_the_states_and_sums_of_their_substeps(humanoid, calm):
    [dynamics], _ = record(humanoid, calm, ORIGIN, config=ALL)
    assert dynamics.num_frames == 61
    np.testing.assert_array_equal(dynamics.root_pos, calm.qpos[0, ::5, :3].astype(np.float32))
    np.testing.assert_array_equal(dynamics.quat[7, 4], calm.qpos[0, 35, humanoid.quat_columns[4]].astype(np.float32))
    spin = calm.qvel[0, 35, humanoid.omega_columns[4]]
    np.testing.assert_array_equal(dynamics.ang_vel[7, 4], spin.astype(np.float32))
    torque = acting_torque(humanoid, calm)
    np.testing.assert_allclose(dynamics.impulse[11], torque[55:60].sum(axis=0) / 150.0, rtol=1e-6, atol=1e-9)
    force = calm.ground_force[0]
    np.testing.assert_allclose(dynamics.grf_mean[11], force[55:60].mean(axis=0), rtol=1e-6, atol=1e-5)
    # S = 5: the frame's window of 5 substeps cuts the second and the one before the last in half
    window = 0.5 * force[52] + force[53] + force[54] + force[55] + force[56] + 0.5 * force[57]
    np.testing.assert_allclose(dynamics.grf[11], window / 5.0, rtol=1e-6, atol=1e-5)
    assert dynamics.is_edge.tolist() == [True] + [False] * 59 + [True]


def test_the_recorded_centre_of_pressure_and_force_carry_the_moment_of_the_window(humanoid, calm):
    [dynamics], _ = record(humanoid, calm, ORIGIN, config=ALL)
    force, torque, point = calm.ground_force[0], calm.ground_torque[0], calm.ground_point[0]
    moment = np.cross(point, force) + torque
    shares = np.array([0.5, 1, 1, 1, 1, 0.5])[:, None, None] / 5.0
    for frame in (10, 30, 50):
        expected = (shares * moment[5 * frame - 3 : 5 * frame + 3]).sum(axis=0)
        for body in np.flatnonzero(dynamics.grf[frame, :, 2] > 20.0):
            lever = np.array([*dynamics.cop[frame, body], 0.0])
            about_origin = np.cross(lever, dynamics.grf[frame, body])
            about_origin[2] += dynamics.free_moment[frame, body]
            np.testing.assert_allclose(about_origin, expected[body], atol=2e-3)
        assert np.all(np.isnan(dynamics.cop[frame, dynamics.grf[frame, :, 2] < 1.0]))


def test_a_record_says_where_it_comes_from_and_stores_32_bits(humanoid, calm):
    [dynamics], _ = record(humanoid, calm, ORIGIN)
    assert (dynamics.name, dynamics.clip, dynamics.seed, dynamics.flags) == ("shaken", "test/shaken", 3, ("violent",))
    assert dynamics.controller == "random" and dynamics.subject.name == "default"
    assert dynamics.clip_start == pytest.approx(1.8)  # 0.3 s of landing transient dropped
    assert dynamics.num_frames == 52
    for field in dataclasses.fields(dynamics):
        value = getattr(dynamics, field.name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            assert value.dtype == (np.float64 if field.name == "closure_error" else np.float32)


def test_summing_substep_by_substep_gives_the_same_record(humanoid, calm):
    """The streaming forms of the kernels, one substep at a time, as a simulator without stored substeps would run them."""
    [dynamics], _ = record(humanoid, calm, ORIGIN, config=ALL)
    sums, torque = start_contact_wrench(61), acting_torque(humanoid, calm)
    impulse = []
    for k in range(300):
        if k % 5 == 0:
            total, error = start_impulse(1)
        add_substep(total, error, torque[k : k + 1], calm.substep)
        wrench = (x[0, k : k + 1] for x in (calm.ground_force, calm.ground_torque, calm.ground_point))
        accumulate_contact_wrench(*sums, *wrench, substeps_per_frame=5, first_substep=k)
        if k % 5 == 4:
            impulse.append((total + error)[0])
    np.testing.assert_array_equal(dynamics.impulse, np.array(impulse, dtype=np.float32))
    ground = finish_contact_wrench(*sums, substeps_per_frame=5)
    for name in ("grf", "grf_mean", "cop", "free_moment", "is_edge"):
        stored = getattr(dynamics, name)
        np.testing.assert_array_equal(stored, getattr(ground, name).astype(stored.dtype))


def test_behind_the_transient_the_first_frame_averages_over_both_sides(humanoid, calm):
    [dynamics], _ = record(humanoid, calm, ORIGIN)
    force = calm.ground_force[0]
    window = 0.5 * force[42] + force[43] + force[44] + force[45] + force[46] + 0.5 * force[47]
    np.testing.assert_allclose(dynamics.grf[0], window / 5.0, rtol=1e-6, atol=1e-5)
    assert dynamics.is_edge.tolist() == [False] * 51 + [True]


def test_stored_closure_and_momentum_figures_hold_for_the_stored_arrays(humanoid, calm):
    [dynamics], report = record(humanoid, calm, ORIGIN)
    assert 0.0 < dynamics.closure_error.max() < 1e-11
    assert report.closure_max == dynamics.closure_error.max()
    mass = humanoid.body.mass.sum()
    balance = np.linalg.norm(dynamics.grf_mean.sum(axis=1).mean(axis=0) - [0, 0, mass * GRAVITY]) / (mass * GRAVITY)
    assert balance < 0.2  # over 1.7 s of swaying the ground carries the weight
    assert np.median(dynamics.momentum_error) < 0.01
    assert report.summary()["momentum_error_median"] == pytest.approx(np.median(dynamics.momentum_error), rel=1e-5)


def test_a_tracking_failure_splits_a_stretch_and_is_counted(humanoid, calm):
    error = np.full(61, 0.1)
    error[30] = 0.7
    error[33] = np.nan
    first, second = record(humanoid, calm, ORIGIN, tracking_error=error)[0]
    assert (first.name, second.name) == ("shaken", "shaken#1")
    assert first.num_frames == 21 and second.num_frames == 27
    assert second.clip_start == pytest.approx(1.5 + 34 / 30)
    np.testing.assert_array_equal(second.root_pos, calm.qpos[0, 170::5, :3].astype(np.float32))
    report = record(humanoid, calm, ORIGIN, tracking_error=error)[1]
    assert report.simulated == 60 and report.kept == 46
    assert report.cut == {"transient": 9, "tracking": 4, "short": 1}


def test_transitions_that_do_not_close_are_never_kept(humanoid, calm):
    force = calm.ground_force.copy()
    force[0, 147, 7, 2] += 1e-3  # newtons: 1.5e-6 body weights in one substep of transition 29
    forged = dataclasses.replace(calm, ground_force=force)
    kept, report = record(humanoid, forged, ORIGIN)
    assert [dynamics.num_frames for dynamics in kept] == [21, 31]
    assert report.cut == {"transient": 9, "closure": 1}
    assert kept[0].is_edge.tolist() == [False] * 20 + [True]
    assert kept[1].is_edge.tolist() == [True] + [False] * 29 + [True]
    assert max(dynamics.closure_error.max() for dynamics in kept) < 1e-8


def test_a_residual_force_is_never_kept_declared_or_not(humanoid, rest_state, random_targets):
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid))
    wrench = np.zeros((1, 300, 6))
    wrench[0, 200:220, 0] = 5.0
    trace = backend.rollout(random_targets(300, 0.05), residual=wrench)
    declared = record(humanoid, trace, ORIGIN)[1]
    hidden = record(humanoid, dataclasses.replace(trace, residual=None), ORIGIN)[1]
    assert declared.cut["residual"] == hidden.cut["closure"] == 4
    assert declared.kept == hidden.kept == 60 - 9 - 4


def test_an_engine_warning_ends_the_stretch(humanoid, rest_state, random_targets):
    ctrl = random_targets(300, 0.05)
    ctrl[0, 203, 3] = np.nan
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid))
    [dynamics], report = record(humanoid, backend.rollout(ctrl), ORIGIN)
    assert dynamics.num_frames == 40 - 9 + 1
    assert report.cut == {"transient": 9, "BADCTRL": 20}


def test_a_stretch_cut_to_pieces_keeps_none_and_counts_all(humanoid, calm):
    error = np.where(np.arange(61) % 8 == 0, 1.0, 0.1)
    kept, report = record(humanoid, calm, ORIGIN, tracking_error=error)
    assert kept == []
    assert report.kept + sum(report.cut.values()) == report.simulated == 60
    assert report.cut["short"] > 0


def test_reports_of_stretches_add_up(humanoid, calm):
    total = RecordReport()
    for _ in range(3):
        total.add(record(humanoid, calm, ORIGIN)[1])
    assert total.simulated == 180 and total.kept == 153
    assert total.summary()["kept_s"] == pytest.approx(5.1)
    assert total.summary()["cut_s"] == {"transient": pytest.approx(0.9)}


def test_a_trace_that_is_no_whole_number_of_frames_is_refused(humanoid, rest_state):
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid))
    trace = backend.rollout(np.zeros((1, 12, 69)))
    with pytest.raises(ValueError, match="multiple of 5 substeps"):
        record(humanoid, trace, ORIGIN)
    backend.reset(*rest_state(humanoid))
    with pytest.raises(ValueError, match="tracking_error"):
        record(humanoid, backend.rollout(np.zeros((1, 10, 69))), ORIGIN, tracking_error=np.zeros(4))
