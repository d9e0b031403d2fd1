"""Measured forces of both feet, ready to act on the gait model: assigned to feet, low-passed, with heel strikes.

Axis legend: K plate samples, T frames, F = 2 feet (left, right).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.lab.contact import intervals, merge_short
from dataset.lab.plates import LOAD_THRESHOLD, MeasuredFeet, measure_feet
from dataset.low_pass import low_pass
from dataset.schema import LabTrial

SHORTEST_STANCE = 0.2
"""Loads and unloaded times shorter than this are no stance and no swing [s]."""


@dataclass(frozen=True, kw_only=True)
class FootForces:
    """What the ground did to both feet."""

    time: np.ndarray
    """Times of the plate samples [s], shape (K,)."""
    wrench: np.ndarray
    """Force [N] and moment about the world origin [N·m], world, low-passed, shape (K, F, 6)."""
    heel_strikes: tuple[np.ndarray, np.ndarray]
    """Times at which the unfiltered vertical force of each foot (left, right) rises above 20 N [s]."""
    frame_time: np.ndarray
    """Times of the marker frames [s], shape (T,)."""
    valid: np.ndarray
    """Frames whose forces are completely measured, shape (T,)."""
    belt_velocity: np.ndarray
    """Horizontal velocity of the belt [m/s], shape (2,); zero overground."""
    walking_speed: float
    """Speed of the pelvis relative to the ground it walks on [m/s]."""
    notes: tuple[str, ...]
    """Rejected stretches and why."""

    def at(self, time: np.ndarray) -> np.ndarray:
        """Wrenches at other times by linear interpolation, shape (len(time), F, 6); NaN outside the plates' clock."""
        flat = self.wrench.reshape(len(self.time), -1)
        values = np.column_stack([np.interp(time, self.time, column, left=np.nan, right=np.nan) for column in flat.T])
        return values.reshape(len(time), 2, 6)


def foot_forces(trial: LabTrial, cutoff: float) -> FootForces:
    """Assign plates to feet, filter the forces and find heel strikes.

    Args:
        trial: Markers of both feet and the pelvis, with plates or foot wrenches.
        cutoff: Half-power frequency of the zero-lag fourth-order Butterworth [Hz].

    Raises:
        ValueError: no forces, forces named for the wrong foot, a trial whose whole force comes from one channel although both
            feet walk (a treadmill without two plates), or what `dataset.lab.plates.measure_feet` refuses.
    """
    measured = measure_feet(trial)
    rate = (len(measured.time) - 1) / float(measured.time[-1] - measured.time[0])
    vertical = measured.wrench[:, :, 2]
    loaded = [
        merge_short(vertical[:, foot] > LOAD_THRESHOLD, max(2, round(SHORTEST_STANCE * rate))) for foot in range(2)
    ]
    _refuse_single_channel(trial, measured.contact.foot, loaded)
    _refuse_swapped(trial, measured, loaded)
    strikes = tuple(
        np.array([measured.time[start] for start, _ in intervals(state) if start > 0], dtype=float) for state in loaded
    )
    return FootForces(
        time=measured.time,
        wrench=low_pass(measured.wrench, rate, cutoff),
        heel_strikes=(strikes[0], strikes[1]),
        frame_time=trial.time,
        valid=measured.valid,
        belt_velocity=measured.contact.belt_velocity,
        walking_speed=measured.contact.walking_speed,
        notes=measured.notes,
    )


def _refuse_swapped(trial: LabTrial, measured: MeasuredFeet, loaded: list[np.ndarray]) -> None:
    """Refuse wrenches whose names say the wrong foot: where markers and forces agree better with left and right exchanged."""
    if trial.foot_wrench is None:
        return
    at = np.clip(np.searchsorted(measured.time, trial.time), 0, len(measured.time) - 1)
    pressed = np.stack([state[at] for state in loaded], axis=1)
    contact = measured.contact.foot
    agrees, swapped = float((pressed == contact).mean()), float((pressed[:, ::-1] == contact).mean())
    if swapped > max(0.75, agrees + 0.2):
        raise ValueError(
            f"{trial.path}: force columns: expected the force named left under the left foot, found them exchanged (contacts of "
            f"markers and forces agree in {100 * agrees:.0f} % of the frames, exchanged in {100 * swapped:.0f} %); swap l and r "
            "in the force file"
        )


def _refuse_single_channel(trial: LabTrial, contact: np.ndarray, loaded: list[np.ndarray]) -> None:
    if len(trial.plates) == 1 and np.linalg.norm(contact.mean(axis=0)) > 0.5 and contact.all(axis=1).any():
        share = [float(state.mean()) for state in loaded]
        raise ValueError(
            f"{trial.path}: force channels: expected one plate under each foot, found the single channel "
            f"'{trial.plates[0].name}' (loaded {100 * max(share):.0f} % of the time) while both feet are down together; "
            "give the forces of a split belt or of separate plates"
        )
