"""Plates to feet on constructed strikes: full, partial, shared; window means; centre of pressure."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dataset.lab.contact import FootContact
from dataset.lab.plates import center_of_pressure, measure_feet, window_mean
from dataset.schema import ForcePlate, LabTrial

FRAMES, RATE, PLATE_RATE = 200, 100.0, 1000.0


def corners(x: float) -> np.ndarray:
    """A 0.5 m square plate centred at (x, 0), z of the platform down."""
    return np.array([[x + 0.25, 0.25, 0.0], [x + 0.25, -0.25, 0.0], [x - 0.25, -0.25, 0.0], [x - 0.25, 0.25, 0.0]])


def plate(x: float, point: tuple[float, float], start: float, stop: float) -> ForcePlate:
    """Plate centred at x, pressed at a point with 700 N between two times [s]."""
    clock = np.arange(int(FRAMES / RATE * PLATE_RATE)) / PLATE_RATE
    force = np.zeros((len(clock), 3))
    force[(clock >= start) & (clock < stop), 2] = 700.0
    moment = np.cross(np.broadcast_to([*point, 0.0], force.shape), force)
    return ForcePlate(rate=PLATE_RATE, force=force, moment=moment, corners=corners(x), name=f"at {x}")


def contact(left: tuple[int, int], right: tuple[int, int], left_x: float = 0.0, right_x: float = 0.6) -> FootContact:
    """Flat feet 0.2 m long standing at two places during two frame ranges."""
    down = np.zeros((FRAMES, 2), dtype=bool)
    down[left[0] : left[1], 0] = True
    down[right[0] : right[1], 1] = True
    heel = np.zeros((FRAMES, 2, 3))
    heel[:, 0] = [left_x - 0.1, 0.08, 0.03]
    heel[:, 1] = [right_x - 0.1, -0.08, 0.03]
    return FootContact(heel=down, forefoot=down, heel_pos=heel, forefoot_pos=heel + np.array([0.18, 0.0, 0.0]), walking_speed=1.2,
                       belt_velocity=np.zeros(2))  # fmt: skip


def trial(*plates: ForcePlate) -> LabTrial:
    return LabTrial(name="p", path="p", marker_names=("LASI",), marker_rate=RATE, time=np.arange(FRAMES) / RATE,
                    markers=np.zeros((FRAMES, 1, 3)), plates=plates)  # fmt: skip


def test_each_plate_goes_to_the_foot_that_stands_on_it() -> None:
    both = trial(plate(0.0, (0.0, 0.08), 0.5, 1.1), plate(0.6, (0.6, -0.08), 1.0, 1.6))
    measured = measure_feet(both, contact((50, 110), (100, 160)))
    at = np.searchsorted(measured.time, [0.7, 1.05, 1.3])
    np.testing.assert_allclose(measured.wrench[at, 0, 2], [700.0, 700.0, 0.0])
    np.testing.assert_allclose(measured.wrench[at, 1, 2], [0.0, 700.0, 700.0])
    np.testing.assert_allclose(center_of_pressure(measured.wrench[at[0], 0]), [0.0, 0.08], atol=1e-9)
    assert measured.valid[50:160].all() and not measured.valid[:8].any() and not measured.valid[-8:].any()


def test_a_step_off_the_plates_is_invalid_with_its_margin() -> None:
    measured = measure_feet(trial(plate(0.0, (0.0, 0.08), 0.5, 1.1)), contact((50, 110), (100, 160)))
    assert measured.valid[50:97].all()
    assert not measured.valid[97:163].any()
    assert measured.valid[163:192].all()


def test_a_partial_strike_is_rejected_and_named() -> None:
    measured = measure_feet(trial(plate(0.0, (0.0, 0.08), 0.65, 1.1)), contact((50, 110), (170, 171)))
    assert not measured.valid[50:110].any()
    assert any("partial strike" in note for note in measured.notes)


def test_a_foot_half_beside_its_plate_is_rejected() -> None:
    measured = measure_feet(trial(plate(0.0, (0.2, 0.08), 0.5, 1.1)), contact((50, 110), (170, 171), left_x=0.22))
    assert not measured.valid[50:110].any()
    assert any("beside the plate" in note for note in measured.notes)


def test_a_plate_under_both_feet_is_rejected_while_shared() -> None:
    measured = measure_feet(trial(plate(0.0, (0.0, 0.08), 0.5, 1.6)), contact((50, 110), (80, 160), right_x=0.1))
    assert not measured.valid[80:110].any()
    assert any("both feet" in note for note in measured.notes)


def test_a_load_far_from_both_feet_belongs_to_none() -> None:
    measured = measure_feet(trial(plate(3.0, (3.0, 0.0), 0.5, 1.1)), contact((50, 110), (100, 160)))
    assert not measured.wrench.any()
    assert any("no foot within" in note for note in measured.notes)


def test_a_trial_without_forces_is_refused() -> None:
    with pytest.raises(ValueError, match="expected force plates or foot wrenches"):
        measure_feet(dataclasses.replace(trial(), plates=()), contact((50, 110), (100, 160)))


def test_window_means_integrate_the_linear_interpolation() -> None:
    clock = np.arange(0.0, 1.0, 0.01)
    line = 3.0 * clock + 1.0
    np.testing.assert_allclose(window_mean(clock, line, np.array([0.3, 0.555]), 1 / 60), [1.9, 2.665])
    square = (clock >= 0.5).astype(float)
    assert window_mean(clock, square, np.array([0.5]), 0.1)[0] == pytest.approx(0.525)
    assert np.isnan(window_mean(clock, line, np.array([2.0]), 0.01)[0])
