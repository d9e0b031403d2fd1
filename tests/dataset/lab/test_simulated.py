"""A simulation seen as a laboratory trial: markers on the body, exact mean forces, plates that give the feet back."""

import dataclasses

import numpy as np
import pytest

from dataset.body.default import make_body
from dataset.body.marker_sets import marker_set
from dataset.lab.c3d import read_c3d, write_c3d
from dataset.lab.plates import center_of_pressure, measure_feet, window_mean
from dataset.lab.simulated import foot_wrench, lay_plates, mean_preserving, simulated_trial
from dataset.schema import FRAME_RATE, LabTrial, Subject
from dataset.skeleton import GRAVITY


def test_faster_samples_have_the_means_they_were_made_from_and_never_pull():
    """Means over t ± 1/60 s are the frames; what is zero stays zero and what pushes does not pull."""
    rng = np.random.default_rng(1)
    frames = np.maximum(rng.normal(300.0, 400.0, (40, 2)), 0.0)
    frames[10:16] = 0.0
    fine = mean_preserving(frames, 480.0)
    clock = np.arange(len(fine)) / 480.0
    means = window_mean(clock, fine, np.arange(40) / FRAME_RATE, 0.5 / FRAME_RATE)
    assert len(fine) == 39 * 16 + 1
    assert np.abs(means - frames).max() < 0.01 * frames.max()  # the trapezoids between samples
    assert fine.min() >= 0.0
    assert (fine[11 * 16 : 14 * 16] == 0.0).all()


def test_the_wrench_of_a_foot_has_its_centre_of_pressure(build_dynamics):
    """Moments are about the world origin: the centre of pressure comes back from the wrench."""
    record = build_dynamics(frames=30)
    wrench = foot_wrench(record)
    point = center_of_pressure(wrench)
    loaded = np.isfinite(point).all(axis=2)
    assert loaded.any()
    assert np.abs(point - record.cop[:, [7, 8]])[loaded].max() < 1e-5
    assert np.allclose(wrench[:, 0, :3], record.grf[:, 7], atol=1e-4)


def test_a_simulated_trial_has_the_markers_of_the_set_on_the_body(build_dynamics):
    """Rest pose checked on one frame: a heel marker is near its ankle; noise is as large as asked; times start at 0."""
    record = build_dynamics(frames=20, subject=Subject(name="made-up-person", mass=64.0))
    body, markers = make_body(record.subject), marker_set("plug_in_gait_39")
    trial = simulated_trial(record, body, markers)
    noisy = simulated_trial(record, body, markers, noise=0.002)
    assert trial.time[0] == 0.0
    assert trial.marker_names == markers.labels
    assert trial.num_frames == 19 * 4 + 1
    assert (noisy.markers - trial.markers).std() == pytest.approx(0.002, rel=0.05)
    span = np.ptp(trial.markers[0], axis=0)
    assert 1.2 < span[2] < 2.0
    assert trial.mass == 64.0
    with pytest.raises(ValueError, match="at least 6 frames"):
        simulated_trial(build_dynamics(frames=5), body, markers)


def stepping_trial() -> LabTrial:
    """Two feet that step one after the other, each carrying body weight while it stands; no person above them."""
    rate, count = 120.0, 360
    time = np.arange(count) / rate
    fine = np.arange(4 * count) / (4 * rate)
    wrench, tracks, names = np.zeros((len(fine), 2, 6)), [], []
    for foot, (side, y, phase) in enumerate((("L", 0.1, 0.0), ("R", -0.1, 0.5))):
        step, lift = _steps(time, phase)
        for label, ahead in (("HEE", 0.0), ("TOE", 0.18)):
            names.append(side + label)
            tracks.append(np.column_stack([step + ahead, np.full(count, y), 0.04 + lift]))
        ground, swing = _steps(fine, phase)
        force = 70.0 * GRAVITY * (swing <= 0.0) * np.ones_like(fine)
        point = np.column_stack([ground + 0.1, np.full(len(fine), y)])
        wrench[:, foot, 2] = force
        wrench[:, foot, 3], wrench[:, foot, 4] = point[:, 1] * force, -point[:, 0] * force
    return LabTrial(
        name="steps", path="steps.c3d", marker_names=tuple(names), marker_rate=rate, time=time,
        markers=np.stack(tracks, axis=1), foot_wrench=wrench, foot_rate=4 * rate, mass=70.0,
    )  # fmt: skip


def _steps(time, phase):
    """Position and height of a foot: 0.6 s of stance, 0.4 s of swing over 1.2 m."""
    cycle, number = (time + phase) % 1.0, np.floor(time + phase)
    swing = np.clip((cycle - 0.6) / 0.4, 0.0, 1.0)
    forward = 1.2 * (number - phase + swing - np.sin(2 * np.pi * swing) / (2 * np.pi))
    return forward, 0.12 * np.sin(np.pi * swing)


def test_plates_under_the_steps_give_each_foot_its_force_back_through_a_c3d(tmp_path):
    """Written as a C3D with one plate a step and read again, the assignment of plates to feet finds the same wrenches."""
    trial = stepping_trial()
    laid = lay_plates(trial)
    assert laid.foot_wrench is None
    assert len(laid.plates) == 7
    write_c3d(tmp_path / "steps.c3d", laid)
    found = measure_feet(read_c3d(tmp_path / "steps.c3d"))
    assert found.valid.mean() > 0.75
    assert found.notes == ()
    clock = np.arange(len(trial.foot_wrench)) / trial.foot_rate
    for foot in range(2):
        original = np.interp(found.time, clock, trial.foot_wrench[:, foot, 2])
        assert np.abs(found.wrench[:, foot, 2] - original).max() < 1.0
    with pytest.raises(ValueError, match="foot_wrench"):
        lay_plates(dataclasses.replace(trial, foot_wrench=None))
