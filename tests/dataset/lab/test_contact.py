"""Marker contacts on a walker whose contacts are known by construction, overground and on a belt."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dataset.lab.contact import detect_contact, intervals, merge_short
from dataset.lab.landmarks import find_landmarks, normalise_label
from dataset.schema import LabTrial

RATE, SPEED, STEP = 100.0, 1.2, 0.55
NAMES = ("LASI", "RASI", "LPSI", "RPSI", "LHEE", "LTOE", "RHEE", "RTOE")


def walker(seconds: float = 4.0) -> tuple[LabTrial, np.ndarray]:
    """Each foot stands 60 % of a 1.1 s cycle and swings 40 %, with true contacts (T, 2)."""
    time = np.arange(round(seconds * RATE)) / RATE
    cycle, stance = 2 * STEP, 0.6 * 2 * STEP
    contact = np.zeros((len(time), 2), dtype=bool)
    feet = np.zeros((len(time), 2))
    lift = np.zeros((len(time), 2))
    for foot, shift in enumerate((0.0, STEP)):
        phase = (time + shift) % cycle
        start = time - phase
        contact[:, foot] = phase < stance
        swing = np.clip((phase - stance) / (cycle - stance), 0.0, 1.0)
        blend = 10 * swing**3 - 15 * swing**4 + 6 * swing**5
        feet[:, foot] = SPEED * (start + blend * cycle)
        lift[:, foot] = 0.12 * np.sin(np.pi * swing) ** 1.0
    markers = np.zeros((len(time), len(NAMES), 3))
    for index, (x, y, z) in enumerate([(0.1, 0.12, 0.95), (0.1, -0.12, 0.95), (-0.1, 0.05, 0.97), (-0.1, -0.05, 0.97)]):
        markers[:, index] = [x, y, z]
        markers[:, index, 0] += SPEED * time
    for foot in range(2):
        for part, ahead in ((0, -0.05), (1, 0.15)):
            column = 4 + 2 * foot + part
            markers[:, column, 0] = feet[:, foot] + ahead
            markers[:, column, 1] = 0.1 - 0.2 * foot
            markers[:, column, 2] = 0.03 + lift[:, foot]
    trial = LabTrial(name="w", path="w", marker_names=NAMES, marker_rate=RATE, time=time, markers=markers)
    return trial, contact


def test_contacts_of_a_constructed_walk_are_found_within_five_frames() -> None:
    trial, true = walker()
    found = detect_contact(trial)
    assert found.walking_speed == pytest.approx(SPEED, rel=0.02)
    np.testing.assert_array_equal(found.belt_velocity, 0.0)
    for foot in range(2):
        expected, got = intervals(true[:, foot]), intervals(found.foot[:, foot])
        assert len(expected) == len(got)
        np.testing.assert_allclose(got, expected, atol=5)  # the swing leaves and lands smoothly


def test_the_same_walk_on_a_belt_gives_the_same_contacts() -> None:
    trial, _ = walker()
    belt = trial.markers.copy()
    belt[:, :, 0] -= SPEED * trial.time[:, None]
    overground, treadmill = detect_contact(trial), detect_contact(dataclasses.replace(trial, markers=belt))
    np.testing.assert_allclose(treadmill.belt_velocity, [-SPEED, 0.0], atol=0.05)
    assert (overground.foot != treadmill.foot).mean() < 0.01


def test_a_trial_without_a_heel_says_which_foot_and_which_markers() -> None:
    trial, _ = walker(1.0)
    keep = [index for index, name in enumerate(NAMES) if name != "RHEE"]
    cut = dataclasses.replace(trial, marker_names=tuple(NAMES[index] for index in keep), markers=trial.markers[:, keep])
    with pytest.raises(ValueError, match="right heel: expected one of heel"):
        detect_contact(cut)


def test_short_contacts_and_gaps_are_merged_but_not_at_the_ends() -> None:
    state = np.array([1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1], dtype=bool)
    expected = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1], dtype=bool)
    np.testing.assert_array_equal(merge_short(state, 3), expected)


def test_landmarks_are_found_in_the_labels_of_four_laboratories() -> None:
    for labels in (
        ("LASI", "LHEE", "C7"),
        ("L_IAS", "L_FCC", "CV7"),
        ("L.ASIS", "L_calc", "C7"),
        ("Bob:LASI", "Bob:LHEE", "c7"),
    ):
        assert find_landmarks(labels) == {"l_asis": 0, "l_heel": 1, "c7": 2}
    assert normalise_label("Subject 1:R.5-meta_x") == "r5metax"
