"""Marker-only physics: momentum closes on a body whose motion is known, splits add up, real trials stay near the plates."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dataset.lab.plates import measure_feet, window_mean
from dataset.lab.read import read_trial
from dataset.schema import LabTrial
from model.baselines import HALF_WEIGHT_F3, constant_force, weight_over_marker_contact
from model.physics import marker_physics
from model.physics.newton import total_reaction
from model.physics.segments import body_segments, hip_centers
from model.physics.split import moment_share, smooth_transition, split_reaction

MARKERS = {
    "LASI": (0.1, 0.12, 0.95), "RASI": (0.1, -0.12, 0.95), "LPSI": (-0.08, 0.05, 0.98), "RPSI": (-0.08, -0.05, 0.98),
    "C7": (-0.06, 0.0, 1.46), "CLAV": (0.06, 0.0, 1.40), "LSHO": (0.0, 0.18, 1.42), "RSHO": (0.0, -0.18, 1.42),
    "LKNE": (0.0, 0.14, 0.5), "RKNE": (0.0, -0.14, 0.5), "LANK": (-0.02, 0.14, 0.08), "RANK": (-0.02, -0.14, 0.08),
    "LHEE": (-0.08, 0.1, 0.03), "RHEE": (-0.08, -0.1, 0.03), "LTOE": (0.11, 0.1, 0.04), "RTOE": (0.11, -0.1, 0.04),
    "LELB": (0.0, 0.3, 1.1), "RELB": (0.0, -0.3, 1.1), "LWRA": (0.1, 0.35, 0.85), "RWRA": (0.1, -0.35, 0.85),
}  # fmt: skip
MASS = 70.0


def standing(offset: np.ndarray) -> LabTrial:
    """All markers translated together by offset (T, 3)."""
    rest = np.array(list(MARKERS.values()))
    time = np.arange(len(offset)) / 100.0
    return LabTrial(name="s", path="s", marker_names=tuple(MARKERS), marker_rate=100.0, time=time,
                    markers=rest + offset[:, None])  # fmt: skip


def test_a_person_at_rest_weighs_its_weight_with_the_zero_moment_point_below_the_centre_of_mass() -> None:
    trial = standing(np.zeros((100, 3)))
    total = total_reaction(body_segments(trial), 100.0, MASS)
    np.testing.assert_allclose(total.force_T3, np.tile([0, 0, MASS * 9.81], (100, 1)), atol=1e-6)
    np.testing.assert_allclose(total.zmp_T2, total.com_T3[:, :2], atol=1e-6)
    forces = marker_physics(trial, MASS)
    np.testing.assert_allclose(forces.grf_TF3.sum(axis=1), total.force_T3, atol=1e-6)
    np.testing.assert_allclose(forces.grf_TF3[:, 0, 2], forces.grf_TF3[:, 1, 2], rtol=1e-6)  # mirror symmetric


def test_the_total_force_is_mass_times_acceleration_plus_weight() -> None:
    time = np.arange(300) / 100.0
    omega = 2 * np.pi * 1.0
    sway = 0.03 * np.sin(omega * time)
    total = total_reaction(body_segments(standing(np.outer(sway, [1.0, 0.5, 0.2]))), 100.0, MASS)
    expected = MASS * np.outer(-(omega**2) * sway, [1.0, 0.5, 0.2]) + [0, 0, MASS * 9.81]
    # 6 Hz low-pass: a 1 Hz sine loses about 0.1 %
    np.testing.assert_allclose(total.force_T3[30:-30], expected[30:-30], atol=0.3)


def test_segment_masses_sum_to_the_body_and_the_centre_of_mass_is_near_the_navel() -> None:
    segments = body_segments(standing(np.zeros((20, 3))))
    assert segments.fraction_S.sum() == pytest.approx(1.0)
    com = (segments.com_TS3[0] * segments.fraction_S[:, None]).sum(axis=0)
    assert abs(com[1]) < 1e-9 and 0.9 < com[2] < 1.1
    assert any("head" in note for note in segments.notes)


def test_hip_centres_follow_the_regression_in_any_pose() -> None:
    points = np.array([MARKERS["LASI"], MARKERS["RASI"]]), np.mean([MARKERS["LPSI"], MARKERS["RPSI"]], axis=0)
    left, right = hip_centers(points[0][:1], points[0][1:], points[1][None])
    width, depth = 0.24, float(np.linalg.norm([0.18, 0.0, 0.03]))
    assert np.linalg.norm(left - right) == pytest.approx(2 * (0.33 * width + 0.0073))
    assert np.linalg.norm(0.5 * (left + right) - [[0.1, 0.0, 0.95]]) == pytest.approx(
        np.hypot(0.24 * depth + 0.0099, 0.30 * width + 0.0109)
    )
    assert left[0, 1] > 0 and left[0, 2] < 0.95


def test_the_smooth_transition_starts_at_one_and_ends_near_zero() -> None:
    fall, push = smooth_transition(np.array([0.0, 1.0]))
    np.testing.assert_allclose(fall, [1.0, np.exp(-8.0)])
    np.testing.assert_allclose(push, [1.0, 0.0], atol=1e-12)


def test_the_moment_share_is_one_at_the_second_foot_and_clipped_beyond() -> None:
    first, second = np.zeros((3, 2)), np.tile([0.4, 0.0], (3, 1))
    np.testing.assert_allclose(
        moment_share(np.array([[0.4, 0.1], [0.1, 0.0], [0.9, 0.0]]), first, second), [1.0, 0.25, 1.0]
    )


def test_the_feet_always_share_exactly_the_total_force() -> None:
    rng = np.random.default_rng(0)
    contact = np.zeros((60, 2), dtype=bool)
    contact[:40, 0], contact[25:, 1] = True, True
    force = rng.normal([50.0, -20.0, 700.0], 30.0, (60, 3))
    support = np.tile([[0.0, 0.1], [0.5, -0.1]], (60, 1, 1))
    com = np.column_stack([np.linspace(0, 0.5, 60), np.zeros(60), np.ones(60)])
    grf = split_reaction(force, com[:, :2], com, contact, support, np.array([1.0, 0.0]), rate=100.0)
    np.testing.assert_allclose(grf.sum(axis=1), force, atol=1e-9)
    assert not grf[:25, 1].any() and not grf[40:, 0].any()
    assert (np.diff(grf[25:40, 1, 2]) > -100).all() and grf[26, 1, 2] < grf[38, 1, 2]  # the leading foot takes over


def test_missing_landmarks_and_masses_are_named() -> None:
    trial = standing(np.zeros((50, 3)))
    keep = [index for index, name in enumerate(MARKERS) if name != "LASI"]
    cut = dataclasses.replace(
        trial, marker_names=tuple(trial.marker_names[index] for index in keep), markers=trial.markers[:, keep]
    )
    with pytest.raises(ValueError, match="expected l_asis, found none"):
        marker_physics(cut, MASS)
    with pytest.raises(ValueError, match="mass: expected the body mass"):
        marker_physics(trial, 0.0)


def test_baselines_carry_the_body_weight_on_average() -> None:
    trial = standing(np.zeros((50, 3)))
    for predictor in (constant_force(HALF_WEIGHT_F3), weight_over_marker_contact):
        forces = predictor(trial, MASS)
        np.testing.assert_allclose(forces.grf_TF3[:, :, 2].sum(axis=1), MASS * 9.81)
    turned = constant_force(np.array([[1.0, 0.2, 5.0], [1.0, -0.2, 5.0]]))(trial, MASS)
    np.testing.assert_allclose(turned.grf_TF3[0, 0], [MASS, 0.2 * MASS, 5.0 * MASS], atol=1e-6)  # feet point along +x


def test_real_walks_stay_within_the_goals(data_dir: Path) -> None:
    path = data_dir / "lab/schreiber2019/2015043/2015043_C4_04.c3d"
    trial = read_trial(path)
    assert trial.mass is not None
    measured, forces = measure_feet(trial), marker_physics(trial, trial.mass)
    plates = window_mean(measured.time, measured.wrench[:, :, :3], trial.time, 0.5 / trial.marker_rate)
    error = np.linalg.norm(forces.grf_TF3 - plates, axis=2)[measured.valid] / trial.mass
    assert measured.valid.sum() > 80
    assert error.mean() < 0.35
    baseline = weight_over_marker_contact(trial, trial.mass)
    worse = np.linalg.norm(baseline.grf_TF3 - plates, axis=2)[measured.valid] / trial.mass
    assert error.mean() < 0.5 * worse.mean()
