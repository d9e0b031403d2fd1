"""Anchoring forces to Newton and flagging what contradicts it: hand-made signals with known answers."""

import numpy as np
import pytest

from dataset.body.default import make_body
from dataset.kinematics import forward_kinematics
from dataset.schema import FRAME_RATE, Motion, Subject
from dataset.skeleton import GRAVITY
from model.physics.anchor import anchor_to_newton
from model.physics.quality import (
    AMBER,
    GREEN,
    RED,
    UNKNOWN,
    newton_difference,
    newton_from_body,
    quality_flags,
    slow_part,
)

TIME = np.arange(90) / FRAME_RATE


@pytest.fixture
def newton():
    """A body that bobs at 1 Hz and is pushed forwards."""
    bob = 2.0 * np.sin(2 * np.pi * TIME)
    return np.column_stack([np.full(90, 0.5), np.zeros(90), GRAVITY + bob])


@pytest.fixture
def contacts(newton):
    """Feet that share a total 10 % too small, push against each other, and a fast shake that Newton cannot see."""
    share = 0.5 + 0.3 * np.sin(2 * np.pi * 0.5 * TIME)
    force = np.zeros((90, 3, 3))
    for foot, part in enumerate((share, 1.0 - share)):
        force[:, foot] = 0.9 * part[:, None] * newton
    force[:, 0, 1], force[:, 1, 1] = 0.8, -0.8
    shake = 0.4 * np.sin(2 * np.pi * 13.0 * TIME)
    force[:, 0, 2] += share * shake
    force[:, 1, 2] += (1.0 - share) * shake
    return force


def test_the_slow_total_becomes_newtons_and_the_fast_part_stays(newton, contacts):
    """Σ F = m (a + g) below 6 Hz; the shake above it is the solver's and remains."""
    moved = anchor_to_newton(contacts, newton)
    inner = slice(8, -8)
    total = moved.sum(axis=1)
    assert np.abs(slow_part(total) - newton)[inner].max() < 0.06
    fast = total[inner, 2] - newton[inner, 2]
    assert fast.std() > 0.2


def test_internal_forces_and_the_vertical_division_are_kept(newton, contacts):
    """Feet that push against each other still do, by the same amount; shares of the load do not change."""
    moved = anchor_to_newton(contacts, newton)
    share = contacts[:, 0, 2] / contacts[:, :, 2].sum(axis=1)
    assert np.allclose(moved[:, 0, 2] / moved[:, :, 2].sum(axis=1), share)
    assert np.abs((moved - contacts)[:, :, 1]).max() < 1e-9
    assert (moved[:, 2] == 0.0).all()


def test_flight_and_unknown_frames_are_left_alone(newton, contacts):
    """Nothing is invented where no foot is loaded, nor where markers are missing."""
    contacts[30:40] = 0.0
    newton[60:70] = np.nan
    moved = anchor_to_newton(contacts, newton)
    assert (moved[30:40] == 0.0).all()
    assert np.array_equal(moved[60:70], contacts[60:70])


def test_the_difference_from_newton_is_in_body_weights(newton):
    """A total that is everywhere a quarter of body weight too large differs by 0.25."""
    wrong = newton + np.array([0.0, 0.0, 0.25 * GRAVITY])
    assert np.allclose(newton_difference(wrong, newton)[8:-8], 0.25, atol=0.01)


def test_flags_follow_the_difference_and_the_doubts():
    """Green below 0.1, amber to 0.25 or where doubtful, red above, unknown where it was not checked."""
    difference = np.array([0.02, 0.02, 0.15, 0.30, 0.30, np.nan])
    doubtful = np.array([False, True, False, False, True, False])
    assert quality_flags(difference, doubtful).tolist() == [GREEN, AMBER, AMBER, RED, RED, UNKNOWN]


def test_newton_of_a_fitted_body_sees_its_acceleration():
    """A body lifted as z = 0.05 cos(2π t) is pushed by g − 0.05 (2π)² cos(2π t); frames without a pose are unknown."""
    body = make_body(Subject(name="lifted"))
    quat = np.tile([1.0, 0.0, 0.0, 0.0], (90, 24, 1))
    root = np.tile(body.joint_pos[0], (90, 1))
    root[:, 2] += 0.05 * np.cos(2 * np.pi * TIME)
    motion = Motion(name="lift", source="test", frame_rate=30.0, root_pos=root, quat=quat)
    fitted = np.ones(90, dtype=bool)
    fitted[70:] = False
    found = newton_from_body(body, motion, fitted)
    expected = GRAVITY - 0.05 * (2 * np.pi) ** 2 * np.cos(2 * np.pi * TIME)
    assert np.abs(found.force_T3[10:60, 2] - expected[10:60]).max() < 0.1
    assert np.isnan(found.force_T3[70:]).all()
    position, _ = forward_kinematics(body.offset, root, quat)
    com = ((position + body.com) * body.mass[:, None]).sum(axis=1) / body.mass.sum()
    assert np.abs(found.com_T3 - com)[10:60].max() < 1e-3
