"""Uncertainty from marker subsets: the same subsets every time, and a calibration that finds floor and gain again."""

import numpy as np
import pytest

from model.spread import (
    SMALLEST_SUBSET,
    calibration_path,
    fit_calibration,
    load_calibration,
    save_calibration,
    spread,
    subsets,
)


def test_subsets_leave_markers_out_and_are_the_same_every_time():
    """Seven tenths of the markers, never fewer than the smallest training subset where there are more."""
    for markers, size in ((60, 42), (39, 27), (25, SMALLEST_SUBSET)):
        chosen = subsets(markers)
        assert all(len(set(part)) == size and part.max() < markers for part in chosen)
        assert all(np.array_equal(a, b) for a, b in zip(chosen, subsets(markers)))
    assert len({tuple(part) for part in subsets(39)}) == 8
    assert all(len(part) == 11 for part in subsets(12))
    assert subsets(3) == []


def test_spread_needs_three_answers():
    """The sample standard deviation over subsets with an answer; NaN where fewer than three have one."""
    answers = np.random.default_rng(0).normal(size=(8, 50, 2, 3))
    answers[5:, 10] = np.nan
    answers[2:, 20] = np.nan
    found = spread(answers)
    assert np.allclose(found[0], answers[:, 0].std(axis=0, ddof=1))
    assert np.allclose(found[10], answers[:5, 10].std(axis=0, ddof=1))
    assert np.isnan(found[20]).all()


def test_calibration_finds_floor_and_gain_of_made_up_errors(tmp_path):
    """Errors drawn with sd² = 0.3² + (2 spread)² (vertical 0.5, 3): found within a tenth, two thirds lie inside."""
    rng = np.random.default_rng(3)
    width = rng.uniform(0.02, 0.6, (4000, 2, 3))
    floor, gain = np.array([0.3, 0.3, 0.5]), np.array([2.0, 2.0, 3.0])
    error = rng.normal(size=width.shape) * np.sqrt(floor**2 + (gain * width) ** 2)
    found = fit_calibration(error, width, data="made up")
    assert found.floor_horizontal == pytest.approx(0.3, rel=0.1)
    assert found.gain_horizontal == pytest.approx(2.0, rel=0.1)
    assert found.floor_vertical == pytest.approx(0.5, rel=0.1)
    assert found.gain_vertical == pytest.approx(3.0, rel=0.1)
    assert found.inside == pytest.approx(0.68, abs=0.03)
    assert np.allclose(
        found.deviation(np.zeros((1, 2, 3))), [[[found.floor_horizontal] * 2 + [found.floor_vertical]] * 2]
    )
    weights = tmp_path / "solver.safetensors"
    assert load_calibration(weights) is None
    save_calibration(weights, found)
    assert load_calibration(weights) == found
    calibration_path(weights).write_text('{"gain": 1}')
    with pytest.raises(ValueError, match="spread calibration"):
        load_calibration(weights)


def test_too_few_frames_give_no_calibration():
    """A hundred frames at least, or nothing is claimed."""
    with pytest.raises(ValueError, match="at least 100"):
        fit_calibration(np.zeros((40, 2, 3)), np.zeros((40, 2, 3)))
