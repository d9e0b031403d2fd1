"""Strides of a foot from a force record that is known by construction."""

import numpy as np
import pytest

from sim.imitation.assess import foot_steps, strides

RATE, WEIGHT = 240.0, 700.0
STRIDE, STANCE = 264, 165
"""A stride of 1.1 s with the foot loaded for 62.5 % of it."""


def step() -> np.ndarray:
    """Force of one stride: two humps of 1.2 and 1.05 body weights, then the swing."""
    phase = np.linspace(0.0, 1.0, STANCE)
    humps = 1.2 * np.exp(-(((phase - 0.25) / 0.15) ** 2)) + 1.05 * np.exp(-(((phase - 0.75) / 0.15) ** 2))
    return WEIGHT * np.concatenate([np.maximum(humps, 0.1), np.zeros(STRIDE - STANCE)])


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("standing", [0, 100, 900])
def test_standing_before_and_after_the_strides_does_not_count(count, standing):
    """The clip stands, swings once, walks, and stands again: the share of all its time would be .8."""
    swing, rest = np.zeros(80), np.full(standing, 0.5 * WEIGHT)
    force = np.concatenate([rest, swing, *[step()] * count, np.full(max(standing, 30), 0.5 * WEIGHT)])
    steps = foot_steps(force, force, RATE, WEIGHT)
    assert steps.strides == count
    assert steps.stance_share == pytest.approx(STANCE / STRIDE, abs=1e-9)
    assert (steps.first_peak, steps.valley, steps.second_peak) == pytest.approx((1.2, 0.14, 1.05), abs=0.01)
    np.testing.assert_array_equal(strides(force, RATE)[0], standing + 80 + np.array([0, STANCE, STRIDE]))


def test_without_a_whole_stride_there_is_no_share():
    for force in (np.zeros(500), np.full(500, 350.0), np.concatenate([np.full(200, 350.0), np.zeros(80), step()])):
        steps = foot_steps(force, force, RATE, WEIGHT)
        assert steps.strides == 0
        assert np.all(np.isnan([steps.stance_share, steps.first_peak, steps.valley, steps.second_peak]))


def test_a_single_hump_has_no_valley():
    hump = WEIGHT * np.sin(np.linspace(0.0, np.pi, STANCE))
    one = np.concatenate([hump, np.zeros(STRIDE - STANCE)])
    twice = np.concatenate([np.zeros(40), one, one])
    steps = foot_steps(twice, twice, RATE, WEIGHT)
    assert min(steps.first_peak, steps.second_peak) - steps.valley < 0.01


def test_a_scuff_and_a_gap_of_a_few_milliseconds_are_no_steps():
    one = step()
    one[STANCE + 40 : STANCE + 48] = 60.0
    one[60:64] = 0.0
    force = np.concatenate([np.zeros(40), one, one, np.full(60, 350.0)])
    assert foot_steps(force, force, RATE, WEIGHT).strides == 2
    assert foot_steps(force, force, RATE, WEIGHT).stance_share == pytest.approx(STANCE / STRIDE)


def test_one_long_stand_in_the_middle_does_not_move_the_median():
    stand = np.concatenate([np.full(2000, 350.0), np.zeros(80)])
    force = np.concatenate([np.zeros(40), step(), step(), stand, step(), step(), np.full(60, 350.0)])
    assert foot_steps(force, force, RATE, WEIGHT).stance_share == pytest.approx(STANCE / STRIDE)
