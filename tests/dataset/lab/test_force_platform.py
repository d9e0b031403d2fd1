"""Analog channels of platform types 1 to 4 to one wrench: the same load must come out of every type."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.lab.force_platform import platform_wrench

CORNERS = np.array([[1.4, 2.25, 0.0], [1.4, 1.75, 0.0], [0.6, 1.75, 0.0], [0.6, 2.25, 0.0]])
"""x of the platform runs along world +y, its y along world +x, its z down; centre (1, 2)."""
ROT = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
FORCE, POINT, FREE = np.array([20.0, -30.0, 800.0]), np.array([0.05, -0.1, 0.0]), 4.0
TWIST = np.array([0.0, 0.0, FREE])
"""Load in platform axes: force, point from the centre of the surface, moment about z."""


def _expected() -> tuple[np.ndarray, np.ndarray]:
    force = ROT @ FORCE
    moment = ROT @ (np.cross(POINT, FORCE) + TWIST)
    return force, moment + np.cross([1.0, 2.0, 0.0], force)


def _about(depth: float) -> np.ndarray:
    """Moment about a transducer `depth` below the surface (z down)."""
    return np.cross(POINT, FORCE) + TWIST + np.cross([0.0, 0.0, -depth], FORCE)


def test_types_one_two_and_four_give_the_same_wrench() -> None:
    channels = {
        1: np.concatenate([FORCE, POINT[:2], [FREE]]),
        2: np.concatenate([FORCE, _about(0.04)]),
        4: np.concatenate([FORCE, _about(0.04)]) / 2.0,
    }
    for kind, values in channels.items():
        force, moment = platform_wrench(kind, values[None], CORNERS, np.array([0.0, 0.0, -0.04]), 2.0 * np.eye(6))
        np.testing.assert_allclose(force[0], _expected()[0], atol=1e-9)
        np.testing.assert_allclose(moment[0], _expected()[1], atol=1e-9)


def test_type_three_adds_its_eight_sensors() -> None:
    a, b, depth = 0.2, 0.35, 0.05
    moment = _about(depth)
    fz = np.full(4, FORCE[2] / 4)
    fz += moment[0] / (4 * b) * np.array([1, 1, -1, -1]) + moment[1] / (4 * a) * np.array([-1, 1, 1, -1])
    spread = moment[2] / (2 * b)  # the whole twist in the x sensors
    sensors = np.concatenate([[FORCE[0] / 2 - spread, FORCE[0] / 2 + spread], [FORCE[1] / 2] * 2, fz])
    force, about_origin = platform_wrench(3, sensors[None], CORNERS, np.array([a, b, -depth]))
    np.testing.assert_allclose(force[0], _expected()[0], atol=1e-9)
    np.testing.assert_allclose(about_origin[0], _expected()[1], atol=1e-9)


def test_an_origin_stored_with_the_opposite_sign_gives_the_same_wrench() -> None:
    values = np.concatenate([FORCE, _about(0.04)])[None]
    first = platform_wrench(2, values, CORNERS, np.array([0.0, 0.0, -0.04]))
    second = platform_wrench(2, values, CORNERS, np.array([0.0, 0.0, 0.04]))
    np.testing.assert_allclose(first[1], second[1])


def test_wrong_channels_and_missing_calibration_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 8 columns for type 3"):
        platform_wrench(3, np.zeros((2, 6)), CORNERS, np.zeros(3))
    with pytest.raises(ValueError, match="CAL_MATRIX"):
        platform_wrench(4, np.zeros((2, 6)), CORNERS, np.zeros(3))
    with pytest.raises(ValueError, match="platform type"):
        platform_wrench(7, np.zeros((2, 6)), CORNERS, np.zeros(3))
