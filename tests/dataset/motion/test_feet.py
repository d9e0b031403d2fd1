"""Foot frames that are off by a constant are found in stance and levelled."""

import numpy as np
import pytest

from dataset import rotation
from dataset.motion.feet import foot_offset, levelling_turn

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
