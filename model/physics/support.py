"""Where a foot presses: centre of pressure of each foot from the phase of its stance and from the moment balance.

Axis legend: T frames, F = 2 feet (left, right).
"""

from __future__ import annotations

import numpy as np

from dataset.lab.contact import FootContact, intervals

PROGRESSION_PHASE = np.array([0.0, 0.05, 0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80, 0.90, 1.0])
"""Fraction of stance of the curve `PROGRESSION`."""
PROGRESSION = np.array([0.02, 0.10, 0.18, 0.30, 0.40, 0.50, 0.60, 0.70, 0.82, 0.95, 1.06, 1.16])
"""Centre of pressure along the foot: 0 at the heel marker, 1 at the forefoot marker (metatarsal heads)."""
TRAILING_POINT, LEADING_POINT, STANDING_POINT = 1.15, 0.6, 0.45
"""Where the feet press for the division of the load, 0 at the heel and 1 at the forefoot marker; chosen with
`CONTACT_DELAY` on the same trials (the foot's own centre of pressure in double support lies a little behind both)."""
CURVE_WEIGHT = 0.6
"""Weight of the curve against the zero-moment point along the foot in single support."""
HALF_WIDTH = 0.035
"""The centre of pressure stays this close to the heel-forefoot line [m]."""


def stance_phase(contact: np.ndarray, rate: float) -> np.ndarray:
    """Fraction of stance of each frame, shape of `contact` (T, F); NaN in swing.

    A stance cut by the end of the trial is taken to last 0.7 s (or as long as it is seen, if longer).
    """
    phase = np.full(contact.shape, np.nan)
    usual = round(0.7 * rate)
    for foot in range(2):
        for start, stop in intervals(contact[:, foot]):
            whole = start > 0 and stop < len(contact)
            length = stop - start if whole else max(stop - start, usual)
            first = 0 if start > 0 or stop == len(contact) else length - (stop - start)
            phase[start:stop, foot] = (first + np.arange(stop - start) + 0.5) / length
    return phase


def foot_axes(feet: FootContact) -> tuple[np.ndarray, np.ndarray]:
    """Heel position and vector to the forefoot marker on the floor, horizontal, shape (T, F, 2) each."""
    return feet.heel_pos[:, :, :2], feet.forefoot_pos[:, :, :2] - feet.heel_pos[:, :, :2]


def is_stepping(contact: np.ndarray, rate: float) -> np.ndarray:
    """True in stances shorter than 1.5 s, where the heel-to-toe curve applies, shape (T, F)."""
    stepping = np.zeros_like(contact)
    for foot in range(2):
        for start, stop in intervals(contact[:, foot]):
            stepping[start:stop, foot] = stop - start < 1.5 * rate and (start > 0 or stop < len(contact))
    return stepping


def progression_point(feet: FootContact, contact: np.ndarray, rate: float) -> np.ndarray:
    """Point of support from the heel-to-toe curve, mid-foot while standing, shape (T, F, 2); NaN in swing."""
    heel, axis = foot_axes(feet)
    phase = stance_phase(contact, rate)
    along = np.interp(np.nan_to_num(phase), PROGRESSION_PHASE, PROGRESSION)
    along = np.where(is_stepping(contact, rate), along, STANDING_POINT)
    return np.where(contact[:, :, None], heel + along[:, :, None] * axis, np.nan)


def division_points(feet: FootContact, contact: np.ndarray, rate: float) -> np.ndarray:
    """Points on the floor between which the zero-moment point divides the load in double support, shape (T, F, 2).

    In the second half of its stance a foot presses at `TRAILING_POINT`, in the first at `LEADING_POINT`; a standing
    foot in its middle.
    """
    heel, axis = foot_axes(feet)
    along = np.where(np.nan_to_num(stance_phase(contact, rate)) > 0.5, TRAILING_POINT, LEADING_POINT)
    along = np.where(is_stepping(contact, rate), along, STANDING_POINT)
    return heel + along[:, :, None] * axis


def fused_cop(feet: FootContact, contact: np.ndarray, zmp: np.ndarray, rate: float) -> np.ndarray:
    """Centre of pressure of each foot.

    Single support: along the foot 0.6 of the heel-to-toe curve and 0.4 of the zero-moment point (standing: the
    zero-moment point alone), across it the zero-moment point; both held inside the foot. Double support: the curve.

    Args:
        feet: Foot marker paths.
        contact: Feet on the ground, shape (T, F).
        zmp: Zero-moment point [m], shape (T, 2).
        rate: Frames per second [Hz].

    Returns:
        Centre of pressure [m], world, shape (T, F, 2); NaN for a foot off the ground.
    """
    heel, axis = foot_axes(feet)
    cop = progression_point(feet, contact, rate)
    length = np.linalg.norm(axis, axis=2, keepdims=True)
    unit = axis / np.maximum(length, 1e-9)
    normal = np.stack([-unit[:, :, 1], unit[:, :, 0]], axis=2)
    curved = is_stepping(contact, rate)
    for foot in range(2):
        alone = contact[:, foot] & ~contact[:, 1 - foot] & np.isfinite(zmp).all(axis=1)
        offset = zmp[alone] - heel[alone, foot]
        along = (offset * unit[alone, foot]).sum(axis=1)
        across = np.clip((offset * normal[alone, foot]).sum(axis=1), -HALF_WIDTH, HALF_WIDTH)
        curve = ((cop[alone, foot] - heel[alone, foot]) * unit[alone, foot]).sum(axis=1)
        weight = np.where(curved[alone, foot], CURVE_WEIGHT, 0.0)
        reach = length[alone, foot, 0]
        along = np.clip(weight * curve + (1.0 - weight) * along, -0.02, 1.25 * reach)
        cop[alone, foot] = (
            heel[alone, foot] + along[:, None] * unit[alone, foot] + across[:, None] * normal[alone, foot]
        )
    return cop
