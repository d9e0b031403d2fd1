"""Screening: what flat, empty ground and Newton allow."""

from collections.abc import Callable

import numpy as np
import pytest

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.motion.retarget import retarget
from dataset.motion.screen import screen_motion
from dataset.schema import Motion
from dataset.skeleton import BODY_INDEX

MakeMotion = Callable[..., Motion]


def swaying(make_motion: MakeMotion, frames: int = 121) -> Motion:
    """A person who stands and moves the arms: usable."""
    motion = make_motion(frames)
    swing = 0.5 * np.sin(np.linspace(0.0, 12.0, frames))
    for arm in ("L_Shoulder", "R_Shoulder"):
        motion.quat[:, BODY_INDEX[arm]] = rotation.from_axis_angle((0.0, 0.0, 1.0), swing)
    return motion


def test_a_standing_person_is_usable_throughout(make_motion: MakeMotion, body: BodyModel) -> None:
    report = screen_motion(swaying(make_motion), body)
    assert report.is_usable
    assert report.stretches == ((0, 121),)
    assert not any(len(frames) for frames in report.bad_frames.values())
    assert report.slide_speed < 0.01
    assert report.usable_duration == pytest.approx(4.0)


def test_hanging_in_the_air_floats_but_a_ballistic_flight_does_not(make_motion: MakeMotion, body: BodyModel) -> None:
    time = np.arange(121) / 30.0
    held = swaying(make_motion)
    held.root_pos[:, 2] += 0.4 * np.clip(3.0 * np.minimum(time - 1.5, 2.9 - time), 0.0, 1.0)
    floating = screen_motion(held, body).bad_frames["floats"]
    assert floating.min() > 45
    assert floating.max() < 87
    assert len(floating) > 25
    jump = swaying(make_motion)
    flight = (time > 1.5) & (time < 2.1)
    jump.root_pos[flight, 2] += 4.905 * (time[flight] - 1.5) * (2.1 - time[flight])
    report = screen_motion(jump, body)
    assert len(report.bad_frames["floats"]) == 0
    assert report.is_usable


def test_a_teleport_and_a_snapping_joint_are_found_at_their_frame(make_motion: MakeMotion, body: BodyModel) -> None:
    motion = swaying(make_motion)
    motion.root_pos[70:, 0] += 1.0
    motion.quat[100:, BODY_INDEX["L_Elbow"]] = rotation.from_axis_angle((0.0, 0.0, 1.0), -1.5)
    report = screen_motion(motion, body)
    assert set(report.bad_frames["jumps"]) == {70, 100}
    assert all(not (start < 70 < stop) for start, stop in report.stretches)
    assert report.stretches[0][1] < 70


def test_leaning_where_no_foot_is_needs_an_object(make_motion: MakeMotion, body: BodyModel) -> None:
    motion = swaying(make_motion)
    lean = np.radians(45.0) * np.clip(np.linspace(-2.0, 4.0, 121), 0.0, 1.0)
    motion.quat[:, 0] = rotation.from_axis_angle((0.0, 1.0, 0.0), lean)  # a plank held up at the heels
    for foot in ("L_Ankle", "R_Ankle"):
        motion.quat[:, BODY_INDEX[foot]] = rotation.from_axis_angle((0.0, 1.0, 0.0), -lean)
    motion.root_pos[:, 0], motion.root_pos[:, 2] = 0.9 * np.sin(lean), 0.9 * np.cos(lean)
    unsupported = screen_motion(motion, body).bad_frames["unsupported"]
    assert len(unsupported) > 40
    assert unsupported.min() > 40


def test_stepping_onto_a_box_is_refused_as_uneven_ground(make_motion: MakeMotion, body: BodyModel) -> None:
    motion = swaying(make_motion)
    motion.root_pos[:, 2] += 0.3 * np.clip(np.linspace(-10.0, 10.0, 121), 0.0, 1.0)
    report = screen_motion(motion, body)
    assert not report.is_usable
    assert report.stance_range == pytest.approx(0.3, abs=0.03)
    assert "objects, a slope" in report.refusal
    assert report.stretches == ()


def test_a_refusal_and_the_complaints_name_frames(make_motion: MakeMotion, body: BodyModel) -> None:
    motion = swaying(make_motion)
    motion.root_pos[::20, 2] -= 0.1
    motion.root_pos[60:66, 2] -= 0.1
    report = screen_motion(motion, body)
    assert report.complaints.startswith("penetrates in 12 frames (0, 20, 40, 60-65, 80, 2 more runs)")
    assert report.refusal == f"no usable stretch in 121 frames: {report.complaints}"
    assert screen_motion(swaying(make_motion), body).complaints == ""


def test_a_still_picture_is_refused(make_motion: MakeMotion, body: BodyModel) -> None:
    assert "nothing moves" in screen_motion(make_motion(61), body).refusal


def test_sliding_feet_are_measured(make_motion: MakeMotion, body: BodyModel) -> None:
    motion = swaying(make_motion)
    motion.root_pos[:, 0] = 0.5 * np.arange(121) / 30.0
    report = screen_motion(motion, body)
    assert report.slide_speed == pytest.approx(0.5, rel=0.1)
    assert report.slide_fraction > 0.95


def test_penetration_is_judged_before_it_is_lifted(make_motion: MakeMotion, body: BodyModel) -> None:
    motion = swaying(make_motion)
    motion.root_pos[60:66, 2] -= 0.1
    report = screen_motion(motion, body)
    np.testing.assert_array_equal(report.bad_frames["penetrates"], np.arange(60, 66))
    assert report.penetration_max > 0.09
    assert screen_motion(retarget(motion, body), body).penetration_max < 0.03
