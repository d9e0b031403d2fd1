"""Laboratory metrics: known errors on constructed forces, the window, the fitted delay, the table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset.lab.contact import FootContact
from dataset.lab.plates import MeasuredFeet
from dataset.schema import LabTrial
from dataset.skeleton import FEET, GRAVITY
from model.baselines import (
    HALF_WEIGHT,
    MARKER_CONTACT,
    PHYSICS,
    PLATE_CONTACT,
    lab_baselines,
    weight_over_plate_contact,
)
from model.evaluate_lab import EvaluateLabConfig, main, training_mean
from model.lab_metrics import best_delay, compare, summarise
from model.lab_trials import USES, tuned_on, walking_trials
from model.physics.forces import FootForces
from model.scaling import Scaling

MASS = 50.0
TIME = np.arange(300) / 100.0
CLOCK = np.arange(3000) / 1000.0


def load(time: np.ndarray) -> np.ndarray:
    """Forces of two alternating feet, shape (n, 2, 3): the right foot unloaded where its sine is negative."""
    left = 300.0 + 100.0 * np.sin(2 * np.pi * time)
    right = np.maximum(300.0 * np.sin(2 * np.pi * 0.8 * time), 0.0)
    force = np.zeros((len(time), 2, 3))
    force[:, 0, 2], force[:, 1, 2] = left, right
    force[:, 0, 0] = 20.0
    return force


def measurement(lag: float = 0.0) -> tuple[LabTrial, MeasuredFeet]:
    trial = LabTrial(
        name="m", path="m", marker_names=("LASI",), marker_rate=100.0, time=TIME, markers=np.zeros((300, 1, 3))
    )
    wrench = np.zeros((3000, 2, 6))
    wrench[:, :, :3] = load(CLOCK - lag)
    flags = np.ones((300, 2), dtype=bool)
    feet = FootContact(heel=flags, forefoot=flags, heel_pos=np.zeros((300, 2, 3)), forefoot_pos=np.zeros((300, 2, 3)),
                       walking_speed=1.0, belt_velocity=np.zeros(2))  # fmt: skip
    return trial, MeasuredFeet(time=CLOCK, wrench=wrench, valid=np.ones(300, dtype=bool), contact=feet, notes=())


def prediction(error: np.ndarray | float = 0.0) -> FootForces:
    return FootForces(time_T=TIME, grf_TF3=load(TIME) + error, cop_TF2=np.zeros((300, 2, 2)),
                      contact_TF=np.ones((300, 2), dtype=bool), mass=MASS)  # fmt: skip


def test_a_perfect_prediction_has_no_error() -> None:
    trial, measured = measurement()
    errors = summarise([compare(trial, measured, prediction(), MASS)])
    assert errors.all_frames < 0.02 and errors.vertical_correlation > 0.9999  # 100 Hz against 1000 Hz sampling
    assert abs(errors.body_weight_error) < 0.05


def test_a_constant_error_vector_gives_its_length_per_mass() -> None:
    trial, measured = measurement()
    shift = np.array([[30.0, 0.0, 40.0], [0.0, 0.0, 0.0]])
    errors = summarise([compare(trial, measured, prediction(shift), MASS)])
    assert errors.all_frames == pytest.approx(0.5, abs=0.02)  # 50 N / 50 kg on one of two feet
    assert errors.body_weight_error == pytest.approx(100 * 40 / MASS / 9.81, abs=0.1)
    assert errors.double_support == pytest.approx(0.5, abs=0.02)
    assert errors.total_vector == pytest.approx(1.0, abs=0.02)


def test_rows_count_what_they_say() -> None:
    trial, measured = measurement()
    item = compare(trial, measured, prediction(), MASS)
    assert len(item.time) == 90  # 2.99 s at 30 Hz
    right = load(item.time)[:, 1, 2]
    sure = np.abs(right - 20.0) > 10.0
    np.testing.assert_array_equal(item.loaded[sure, 1], right[sure] > 20.0)
    assert item.loaded[:, 0].all()
    gap = np.array(measured.valid)
    gap[100:110] = False
    fewer = compare(trial, dataclasses.replace(measured, valid=gap), prediction(), MASS)
    assert not fewer.valid[(fewer.time > 0.985) & (fewer.time < 1.105)].any()
    assert fewer.valid.sum() >= 90 - 6


def test_slow_predictions_are_interpolated_and_gaps_are_left_out() -> None:
    trial, measured = measurement()
    coarse = np.arange(90) / 30.0
    grf = load(coarse)
    grf[30] = np.nan
    slow = FootForces(
        time_T=coarse, grf_TF3=grf, cop_TF2=np.zeros((90, 2, 2)), contact_TF=np.ones((90, 2), dtype=bool), mass=MASS
    )
    item = compare(trial, measured, slow, MASS)
    np.testing.assert_allclose(item.predicted[10], grf[10] / MASS)
    assert not item.valid[30] and item.valid[[28, 32]].all()


def test_the_fitted_delay_is_the_lag_of_the_plates() -> None:
    trial, measured = measurement(lag=0.015)
    assert best_delay([(trial, measured, prediction(), MASS)]) == pytest.approx(0.015)


def test_summarise_refuses_trials_without_a_valid_frame() -> None:
    trial, measured = measurement()
    none = dataclasses.replace(measured, valid=np.zeros(300, dtype=bool))
    with pytest.raises(ValueError, match="at least one trial with valid frames"):
        summarise([compare(trial, none, prediction(), MASS)])


def test_the_command_writes_a_table_in_which_physics_beats_the_baselines(data_dir: Path, tmp_path: Path) -> None:
    """Even the one that knows the measured contacts."""
    groups = ("rajagopal2015", "biomechzoo_children turn")
    rows = main(EvaluateLabConfig(out=tmp_path, data=data_dir, groups=groups), lab_baselines())
    table = json.loads((tmp_path / "lab_table.json").read_text())
    assert len(rows) == len(table["rows"]) == 8
    for group in groups:
        errors = {row.predictor: row.shipped.all_frames for row in rows if row.group == group}
        assert errors[PHYSICS] < 0.4
        assert errors[PHYSICS] < min(errors[PLATE_CONTACT], errors[MARKER_CONTACT])
        assert max(errors[PLATE_CONTACT], errors[MARKER_CONTACT]) < errors[HALF_WEIGHT]
    lines = (tmp_path / "lab_table.md").read_text().splitlines()
    assert sum(line.startswith("| ") for line in lines) == 2 + len(rows)  # head and rule above them
    assert table["chosen_on"].keys() == {"schreiber2019", "opencap_subject4", "biomechzoo_children", "rajagopal2015",
                                         "gaitalytics", "lenhart2015"}  # fmt: skip
    assert "- Nothing: lenhart2015." in lines


def test_every_group_of_the_table_says_what_it_was_used_for(data_dir: Path) -> None:
    """A set that is added later is not called untuned by leaving it out."""
    groups = {file.group for file in walking_trials(data_dir)}
    assert {group.split(" ")[0] for group in groups} == set(USES)
    assert {group: tuned_on(group) for group in groups if tuned_on(group) != "yes"} == {
        "lenhart2015": "no", "gaitalytics treadmill": "method only",
    }  # fmt: skip


def test_weight_over_plate_contact_is_on_the_feet_that_the_plates_see() -> None:
    trial, measured = measurement()
    trial = dataclasses.replace(
        trial, marker_names=("LHEE", "LTOE", "RHEE", "RTOE"), markers=np.zeros((300, 4, 3)),
        foot_wrench=measured.wrench, foot_rate=1000.0,
    )  # fmt: skip
    forces = weight_over_plate_contact(trial, MASS)
    right = load(TIME)[:, 1, 2]
    np.testing.assert_allclose(forces.grf_TF3[right > 30.0, :, 2], MASS * GRAVITY / 2)
    np.testing.assert_allclose(
        forces.grf_TF3[right < 10.0], np.tile([[0.0, 0.0, MASS * GRAVITY], [0.0] * 3], ((right < 10.0).sum(), 1, 1))
    )


def test_the_training_mean_is_the_mean_force_of_the_two_bodies_of_each_foot() -> None:
    mean = torch.arange(72.0).reshape(24, 3)
    scaling = Scaling(**{item.name: mean for item in dataclasses.fields(Scaling)})
    for foot, bodies in enumerate(FEET):
        np.testing.assert_allclose(training_mean(scaling)[foot], mean[list(bodies)].sum(0))


def test_without_data_the_command_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMDYLAB_DATA", raising=False)
    with pytest.raises(ValueError, match="neither --data nor IMDYLAB_DATA"):
        main(EvaluateLabConfig(out=tmp_path))
