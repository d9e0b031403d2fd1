"""Prediction on trials: frames, axes, gaps, belts and checks hold whatever the weights are.

The solver here is trained for seconds on swaying toy bodies (`conftest.py`): its forces mean nothing, their symmetries do.
"""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from dataset import rotation
from dataset.lab.axes import UP_ROTATION
from dataset.lab.c3d import write_c3d
from dataset.lab.external_loads import read_forces
from dataset.lab.opensim import read_storage, write_trc
from dataset.schema import LabTrial
from dataset.skeleton import GRAVITY, JOINT_NAMES
from model.kinetics import ARRAYS, read_kinetics
from model.predict import PredictConfig, main
from model.trial_kinetics import anchored, load_trained, predict_trial
from model.trial_markers import prepare_markers


@pytest.fixture(scope="module")
def solver(weights):
    return load_trained(weights)


@pytest.fixture(scope="module")
def person(sway_sequences):
    """Who sways: given to most predictions, so that the body need not be fitted again and again."""
    return sway_sequences[3].subject


@pytest.fixture(scope="module")
def alone(trial, solver, person):
    return predict_trial(trial, trial.mass, solver=solver, subject=person, method="imdys")


def test_every_array_has_its_shape_and_unit_and_is_finite(trial, alone, tmp_path):
    """All of kinetics.npz is described; 30 Hz from the trial's first frame; forces and torques everywhere."""
    from model.kinetics import write_kinetics

    write_kinetics(tmp_path / "kinetics.npz", alone)
    found = read_kinetics(tmp_path / "kinetics.npz")
    frames = len(found["time_T"])
    assert found["time_T"][0] == trial.time[0]
    assert np.allclose(np.diff(found["time_T"]), 1 / 30)
    assert found["time_T"][-1] > trial.time[-1] - 1 / 30
    assert found["grf_TF3"].shape == (frames, 2, 3)
    assert found["torque_TJ3"].shape == (frames, 23, 3)
    assert list(found["joint_names"]) == list(JOINT_NAMES)
    assert float(found["mass"]) == pytest.approx(trial.mass)
    for name in ("grf_TF3", "grf_sd_TF3", "torque_TJ3", "newton_difference_T", "joint_pos_TN3", "body_quat_TN4"):
        assert np.isfinite(found[name]).all(), name
    texts = {"format", "name", "source", "method", "weights", "mass_source", "uncertainty", "frame", "description"}
    names = {"foot_names", "joint_names", "body_names", "marker_names", "quality_names", "notes", "left_out"}
    assert set(found) == set(ARRAYS) | texts | names
    assert json.loads(found["description"]) == ARRAYS


def test_turning_and_moving_the_laboratory_turns_the_forces_with_it(trial, alone, solver, person):
    """Windows are canonical: where a person stands and which way they face does not matter."""
    quat = rotation.from_rotation_vector(np.array([0.0, 0.0, 2.1]))
    turn, shift = rotation.to_matrix(quat), np.array([3.0, -5.0, 0.0])
    moved = dataclasses.replace(trial, markers=trial.markers @ turn.T + shift)
    other = predict_trial(moved, trial.mass, solver=solver, subject=person, method="imdys")
    size = np.abs(alone.grf_TF3).max()
    assert size > 50.0
    assert np.abs(other.grf_TF3 - alone.grf_TF3 @ turn.T).max() < 1e-3 * size
    assert np.abs(other.torque_TJ3 - alone.torque_TJ3).max() < 1e-3 * np.abs(alone.torque_TJ3).max()
    seen = np.isfinite(alone.cop_TF2).all(axis=2) & np.isfinite(other.cop_TF2).all(axis=2)
    assert seen.any()
    assert np.abs(other.cop_TF2 - (alone.cop_TF2 @ turn[:2, :2].T + shift[:2]))[seen].max() < 1e-3


def test_mass_scales_forces_and_torques(trial, alone, solver, person):
    """The solver answers per kilogram; an error of the mass is an error of the same share of every force."""
    other = predict_trial(trial, 1.05 * trial.mass, solver=solver, subject=person, method="imdys")
    assert np.allclose(other.grf_TF3, 1.05 * alone.grf_TF3, rtol=1e-6)
    assert np.allclose(other.torque_TJ3, 1.05 * alone.torque_TJ3, rtol=1e-6)


def test_the_fitted_body_gives_nearly_the_windows_of_the_true_one(trial, alone, solver):
    """Fitting proportions to the trial's own markers finds the person: pelvis within a centimetre, forces alike."""
    other = predict_trial(trial, trial.mass, solver=solver, method="imdys")
    assert np.linalg.norm(other.joint_pos_TN3[:, 0] - alone.joint_pos_TN3[:, 0], axis=1).max() < 0.01
    assert np.median(np.abs(other.grf_TF3 - alone.grf_TF3)) < 0.05 * np.abs(alone.grf_TF3).max()


def test_results_are_in_the_axes_of_the_file(trial, solver, weights, tmp_path):
    """The same motion as a C3D with z up and a TRC with y up and a clock of its own gives the same forces, each in its axes."""
    write_c3d(tmp_path / "up_z.c3d", trial)
    rot = UP_ROTATION["y"]
    late = dataclasses.replace(trial, rot_world_lab=rot, time=trial.time + 12.5)
    write_trc(tmp_path / "up_y.trc", late)
    found = []
    for name in ("up_z.c3d", "up_y.trc"):
        out = tmp_path / name.replace(".", "_")
        main(PredictConfig(trial=tmp_path / name, out=out, weights=weights, mass=70.0, height=1.7, method="imdys"))
        found.append(read_kinetics(out / "kinetics.npz"))
    first, second = found
    assert first["time_T"][0] == 0.0
    assert second["time_T"][0] == pytest.approx(12.5)
    size = np.abs(first["grf_TF3"]).max()
    assert np.abs(second["grf_TF3"] @ rot.T - first["grf_TF3"]).max() < 0.01 * size
    assert np.abs(second["joint_pos_TN3"] @ rot.T - first["joint_pos_TN3"]).max() < 2e-3
    assert np.abs(second["grf_TF3"][:, :, 1].sum(axis=1).mean() / (70.0 * GRAVITY)) > 0.3


def test_anchoring_gives_the_total_that_newton_asks_for(alone):
    """The slow part of the total becomes m (a + g); the division of the vertical force stays the solver's."""
    from model.physics.quality import slow_part

    other = anchored(alone)
    use = ~alone.is_edge_T
    total = slow_part(other.grf_TF3.sum(axis=1) + other.rest_grf_T3)
    error = np.linalg.norm(total - alone.newton_T3, axis=1)[use] / (alone.mass * GRAVITY)
    before = alone.newton_difference_T[use]
    assert np.median(before) > 0.05  # the toy solver is wrong
    assert np.median(error) < 0.02
    share = alone.grf_TF3[:, 0, 2] / alone.grf_TF3[:, :, 2].sum(axis=1)
    moved = other.grf_TF3[:, 0, 2] / other.grf_TF3[:, :, 2].sum(axis=1)
    assert np.allclose(share, moved, atol=1e-9)
    assert (other.newton_difference_T == alone.newton_difference_T).all()


def test_a_treadmill_is_level_ground_that_moves():
    """Markers that slide with a belt come out as those of walking over ground, to the accuracy of the belt's speed."""
    walk, belt = _walking_markers(), np.array([-1.2, 0.0, 0.0])
    slid = dataclasses.replace(walk, markers=walk.markers + belt * walk.time[:, None, None])
    ground, treadmill = prepare_markers(walk), prepare_markers(slid)
    assert not ground.belt_velocity.any()
    assert np.abs(treadmill.belt_velocity - belt[:2]).max() < 0.05
    drift = np.diff(treadmill.markers_TM3 - ground.markers_TM3, axis=0) * 30.0
    assert np.abs(drift).max() < 0.05
    assert np.allclose(
        treadmill.belt_shift()[-1], -treadmill.belt_velocity * (treadmill.time_T[-1] - treadmill.time_T[0])
    )
    assert any("Treadmill" in note for note in treadmill.notes)


def _walking_markers() -> LabTrial:
    """Feet that step and a pelvis that glides at 1.2 m/s: enough for contacts, no person."""
    time = np.arange(240) / 100
    stride, phase = 1.1, {"L": 0.0, "R": 0.5}
    names, tracks = [], []
    for side, y in (("L", 0.1), ("R", -0.1)):
        cycle = (time / stride + phase[side]) % 1.0
        number = np.floor(time / stride + phase[side])
        swing = np.clip((cycle - 0.6) / 0.4, 0.0, 1.0)
        step = (number - phase[side] + (swing - np.sin(2 * np.pi * swing) / (2 * np.pi))) * 1.2 * stride
        lift = 0.15 * np.sin(np.pi * swing)
        for label, ahead, height in (("HEE", 0.0, 0.05), ("TOE", 0.18, 0.04)):
            names.append(side + label)
            tracks.append(np.column_stack([step + ahead, np.full_like(time, y), height + lift]))
        for label, x in (("ASI", 0.1), ("PSI", -0.1)):
            names.append(side + label)
            tracks.append(np.column_stack([1.2 * time + x, np.full_like(time, y), np.full_like(time, 0.95)]))
    return LabTrial(
        name="steps", path="steps.c3d", marker_names=tuple(names), marker_rate=100.0, time=time,
        markers=np.stack(tracks, axis=1),
    )  # fmt: skip


@pytest.mark.parametrize("hidden", [(), ("LKNE",)], ids=["segments", "fitted body"])
def test_a_shifted_laboratory_has_its_floor_in_every_result(trial, solver, person, tmp_path, hidden):
    """Where the origin lies 0.4 m under the floor, so do all results: grf.mot's points, the report, the centre of mass."""
    from model.predict import write_mot
    from model.report import write_report

    keep = [m for m, name in enumerate(trial.marker_names) if name not in hidden]
    names, markers, up = tuple(trial.marker_names[m] for m in keep), trial.markers[:, keep], np.array([0.0, 0.0, 0.4])
    usual = dataclasses.replace(trial, marker_names=names, markers=markers)
    raised = dataclasses.replace(trial, marker_names=names, markers=markers + up)
    low, high = (predict_trial(item, trial.mass, solver=solver, subject=person) for item in (usual, raised))
    assert any("fitted body" in note for note in high.notes) == bool(hidden)
    assert low.floor == 0.0
    assert high.floor == pytest.approx(0.4, abs=0.09)  # how high the heel markers sit is not known better
    for name in ("joint_pos_TN3", "com_T3", "markers_TM3"):
        assert np.nanmax(np.abs(getattr(high, name) - getattr(low, name) - up)) < 1e-3, name
    assert np.all(high.file_arrays()["cop_TF3"][:, :, 2] == high.floor)
    write_mot(tmp_path / "grf.mot", high)
    storage = read_storage(tmp_path / "grf.mot")
    for side in "lr":
        height = storage.values[:, storage.labels.index(f"ground_force_{side}_py")]
        np.testing.assert_allclose(height, high.floor, atol=1e-5)
    back = read_forces(tmp_path / "grf.mot", dataclasses.replace(usual, foot_wrench=None))
    loaded = np.isfinite(high.cop_TF2).all(axis=2)
    point = np.concatenate([high.cop_TF2, np.full((*loaded.shape, 1), high.floor)], axis=2)
    moment = np.cross(point, high.grf_TF3)[loaded]
    assert np.abs(back.foot_wrench[:, :, 3:][loaded] - moment).max() < 1e-3 * np.abs(moment).max()
    for result, text in ((high, f"{1000 * high.floor:.0f} mm above the origin"), (low, "floor at height 0")):
        write_report(tmp_path / "report.html", result, usual)
        assert text in (tmp_path / "report.html").read_text()


def test_gaps_are_bridged_reported_and_left_open_where_they_are_long(trial, alone, solver, person):
    """A short gap changes next to nothing; a marker hidden for a second is not shown to the solver then; both are named."""
    markers = trial.markers.copy()
    markers[50:62, 3] = np.nan
    markers[100:, 7] = np.nan
    gapped = dataclasses.replace(trial, markers=markers)
    found = predict_trial(gapped, trial.mass, solver=solver, subject=person, method="imdys")
    assert np.isfinite(found.grf_TF3).all()
    assert found.num_markers_T.min() == alone.num_markers_T.max() - 1
    assert np.abs(found.grf_TF3 - alone.grf_TF3)[5:20].max() < 0.1 * np.abs(alone.grf_TF3).max()
    assert any("missing" in note and "bridging" in note for note in found.notes)


def test_frames_without_a_pelvis_have_no_answer_instead_of_an_invented_one(trial, solver, person):
    """NaN in the file and broken lines in the report, and the notes say how many frames."""
    markers = trial.markers.copy()
    trunk = [
        trial.marker_names.index(name) for name in ("LASI", "RASI", "LPSI", "RPSI", "C7", "T10", "CLAV", "STRN", "RBAK")
    ]
    markers[100:170, trunk] = np.nan
    found = predict_trial(dataclasses.replace(trial, markers=markers), trial.mass, solver=solver, subject=person)
    silent = np.isnan(found.grf_TF3).any(axis=(1, 2))
    assert silent[27:40].all()
    assert not silent[:22].any()
    assert any("no answer" in note for note in found.notes)


def test_objects_and_joint_centres_among_the_markers_are_left_out(trial, solver, person):
    """What is not on the fitted skin (a chair, a computed joint centre) is not shown to the solver; a cluster marker is."""
    names = [*trial.marker_names, "CHAIR1", "HIPJC", "CLUSTER3"]
    column = {name: trial.markers[:, trial.marker_names.index(name)] for name in ("LASI", "RPSI", "LKNE", "LTHI")}
    chair = np.full_like(column["LASI"], 0.4)
    inside = 0.5 * (column["LASI"] + column["RPSI"])
    cluster = column["LTHI"] + 0.15 * (column["LKNE"] - column["LTHI"])
    markers = np.concatenate([trial.markers, np.stack([chair, inside, cluster], axis=1)], axis=1)
    extended = dataclasses.replace(trial, marker_names=tuple(names), markers=markers)
    found = predict_trial(extended, trial.mass, solver=solver, subject=person, method="imdys")
    assert {label for label, _ in found.left_out} == {"CHAIR1", "HIPJC"}
    assert "CLUSTER3" in found.marker_names


def test_without_a_fit_the_pelvis_places_the_windows_and_torques_lose_their_frames(trial, alone, solver):
    """Three pelvis markers and unlabelled ones are enough for forces near those of the fitted body."""
    names = tuple(
        name if name in ("LASI", "RASI", "LPSI", "RPSI") else f"M{k}" for k, name in enumerate(trial.marker_names)
    )
    found = predict_trial(dataclasses.replace(trial, marker_names=names), trial.mass, solver=solver)
    assert not found.torque_has_frame_T.any()
    assert np.isnan(found.joint_pos_TN3).all()
    assert (np.linalg.norm(found.torque_TJ3, axis=2) > 0).all()
    assert found.method == "imdys"
    assert (found.quality_T == 3).all()
    assert np.median(np.abs(found.grf_TF3 - alone.grf_TF3)) < 0.15 * np.abs(alone.grf_TF3).max()
    assert any("no frames" in note for note in found.notes)


@pytest.fixture(scope="module")
def files(trial, weights, tmp_path_factory):
    """A prediction through the command line with measured forces beside it."""
    folder = tmp_path_factory.mktemp("predict")
    write_c3d(folder / "sway.c3d", dataclasses.replace(trial, foot_wrench=None))
    _write_forces(folder / "forces.mot", trial)
    command = [
        sys.executable, "-m", "model.predict", folder / "sway.c3d", "--out", folder / "out", "--weights", weights,
        "--forces", folder / "forces.mot", "--compare",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def _write_forces(path, trial):
    from dataset.lab.external_loads import write_grf_mot

    wrench = trial.foot_wrench
    clock = np.arange(len(wrench)) / trial.foot_rate
    fz = np.maximum(wrench[:, :, 2], 1.0)
    cop = np.stack([-wrench[:, :, 4] / fz, wrench[:, :, 3] / fz], axis=2)
    write_grf_mot(path, clock, wrench[:, :, :3], cop, np.zeros(wrench.shape[:2]), rot_world_lab=np.eye(3))


def test_the_command_writes_what_opensim_and_a_reader_need(files, trial):
    """kinetics.npz, an external-loads file with the same forces, and a report that stands alone."""
    folder, printed = files
    found = read_kinetics(folder / "out" / "kinetics.npz")
    storage = read_storage(folder / "out" / "grf.mot")
    assert storage.labels[:3] == ("ground_force_r_vx", "ground_force_r_vy", "ground_force_r_vz")
    back = read_forces(folder / "out" / "grf.mot", dataclasses.replace(trial, foot_wrench=None))
    loaded = np.isfinite(found["cop_TF3"]).all(axis=2)
    assert back.foot_wrench is not None
    assert np.abs(back.foot_wrench[:, :, :3] - found["grf_TF3"])[loaded].max() < 0.1
    assert "per-foot error" in printed
    assert found["mass_source"] == "file"


def test_the_report_stands_alone_and_names_file_mass_markers_and_errors(files):
    """One HTML file: no link to anything outside it, all sections there."""
    folder, _ = files
    page = (folder / "out" / "report.html").read_text()
    for outside in ('src="http', "src='http", 'href="http', "@import", "url(http"):
        assert outside not in page
    for text in (
        "sway.c3d",
        "body mass (file)",
        "markers in use",
        "imdys+physics",
        "weight over marker contact",
        "weight over plate contact",
        "double support",
    ):
        assert text in page, text
    assert page.count("<svg") >= 3
    assert "nan" not in page.split("<h2>Steps</h2>")[1].split("</table>")[0].lower()


def test_the_report_escapes_what_files_are_called(trial, alone, tmp_path):
    """A file name cannot put markup into the page."""
    from model.report import write_report

    write_report(tmp_path / "report.html", dataclasses.replace(alone, name="<script>alert(1)</script>"), trial)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
