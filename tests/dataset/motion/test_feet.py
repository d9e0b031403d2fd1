"""Foot frames that are off by a constant are found in stance and levelled."""

import numpy as np
import pytest

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.motion.feet import foot_offset, level_standing_feet, levelling_turn
from dataset.skeleton import FEET

Foot = tuple[np.ndarray, np.ndarray]


def standing(pitch: float, roll: float, frames: int = 60) -> np.ndarray:
    """Foot-to-world rotations of a level foot whose frame is off by this pitch (toe down) and roll."""
    return np.tile(rotation.conjugate(levelling_turn(pitch, roll)), (frames, 1))


def test_an_offset_of_both_feet_is_found_and_removed() -> None:
    pitch, roll = np.radians(12.0), np.radians(3.0)
    quats = (standing(pitch, roll), standing(pitch, -roll))
    still = (np.tile([0.0, 0.1, 0.08], (60, 1)), np.tile([0.0, -0.1, 0.08], (60, 1)))
    found = foot_offset(still, quats, 30.0)
    assert found is not None
    np.testing.assert_allclose(found, (pitch, roll), atol=1e-9)
    level = rotation.multiply(quats[0], levelling_turn(*found))
    np.testing.assert_allclose(
        rotation.rotate(level, np.array([0.0, 0.0, 1.0])), np.tile([0, 0, 1], (60, 1)), atol=1e-9
    )


@pytest.mark.parametrize(
    ("left", "right", "speed"),
    [
        (25.0, 25.0, 0.0),  # on the toes: posture
        (15.0, 0.0, 0.0),  # one foot pointed: posture
        (10.0, 10.0, 1.0),  # never at rest
    ],
)
def test_posture_is_left_alone(left: float, right: float, speed: float) -> None:
    path = np.linspace(0.0, 2.0 * speed, 60)[:, None] * np.array([1.0, 0.0, 0.0])
    quats = (standing(np.radians(left), 0.0), standing(np.radians(right), 0.0))
    assert foot_offset((path, path), quats, 30.0) is None


def sole_pitch(body: BodyModel, root_pos: np.ndarray, quat: np.ndarray, ankle: int) -> np.ndarray:
    """Angle of the sole, toe down positive [deg]."""
    _, body_quat = forward_kinematics(body.offset, root_pos, quat)
    up = rotation.rotate(rotation.conjugate(body_quat[:, ankle]), np.array([0.0, 0.0, 1.0]))
    return np.degrees(np.arctan2(-up[:, 0], up[:, 2]))


@pytest.mark.parametrize(("tilt", "levelled"), [(-15.0, True), (-35.0, False), (20.0, False)])
def test_a_foot_that_stands_on_its_heel_is_levelled(body: BodyModel, tilt: float, levelled: bool) -> None:
    """Toes up by 15 degrees: an artefact. By 35, or on the ball of the foot: posture."""
    quat = np.tile(rotation.IDENTITY, (40, 24, 1))
    root_pos = np.tile(body.joint_pos[0], (40, 1))
    ankle = FEET[0][0]
    quat[:, ankle] = rotation.from_axis_angle((0.0, 1.0, 0.0), np.radians(tilt))
    assert sole_pitch(body, root_pos, quat, ankle)[20] == pytest.approx(tilt)
    level = level_standing_feet(body, root_pos, quat, 30.0)
    assert np.abs(sole_pitch(body, root_pos, level, ankle) - (0.0 if levelled else tilt)).max() < 1e-6
    np.testing.assert_array_equal(np.delete(level, ankle, axis=1), np.delete(quat, ankle, axis=1))


def test_a_foot_that_moves_is_left_alone(body: BodyModel) -> None:
    quat = np.tile(rotation.IDENTITY, (40, 24, 1))
    quat[:, FEET[0][0]] = rotation.from_axis_angle((0.0, 1.0, 0.0), np.radians(-15.0))
    walking = body.joint_pos[0] + np.outer(np.arange(40) / 30.0, [1.0, 0.0, 0.0])
    np.testing.assert_allclose(level_standing_feet(body, walking, quat, 30.0), quat, atol=1e-12)
