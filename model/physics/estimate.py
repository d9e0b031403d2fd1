"""Ground reaction of both feet from optical markers by physics alone: no plate, no learned part.

Segments from markers -> whole-body force and moment (Newton, Euler) -> feet by contact, smooth transition and moment
balance.

Axis legend: T frames, F = 2 feet (left, right).
"""

from __future__ import annotations

import numpy as np

from dataset.lab.contact import FootContact, detect_contact
from dataset.schema import LabTrial
from model.physics.forces import FootForces
from model.physics.newton import DEFAULT_CUTOFF, total_reaction
from model.physics.segments import body_segments
from model.physics.split import split_reaction
from model.physics.support import division_points, fused_cop

CONTACT_DELAY = 0.02
"""Marker contacts precede the forces by this much [s]: landing is told too early from smoothed markers, and measured
forces lag the estimate by 0 to 16 ms in the trials this was chosen on (schreiber2019, opencap, biomechzoo,
rajagopal2015)."""


def delay_contact(contact: np.ndarray, frames: int) -> np.ndarray:
    """Contacts (T, F) moved later by a number of frames; the first frames keep the first state."""
    if frames <= 0:
        return contact.copy()
    return np.concatenate([np.repeat(contact[:1], frames, axis=0), contact[:-frames]])


def walking_direction(feet: FootContact, com: np.ndarray, rate: float) -> np.ndarray:
    """Unit horizontal direction of progression over the ground, shape (2,); that of the feet where the body stays."""
    good = com[np.isfinite(com).all(axis=1), :2]
    travel = np.zeros(2) if len(good) < 2 else good[-1] - good[0] - feet.belt_velocity * (len(good) - 1) / rate
    if np.linalg.norm(travel) < 0.3:
        travel = np.nanmean(feet.forefoot_pos[:, :, :2] - feet.heel_pos[:, :, :2], axis=(0, 1))
    return travel / np.linalg.norm(travel)


def floor_height(feet: FootContact) -> float:
    """Height of the floor [m]: zero, unless the lowest heel says that the laboratory's origin lies elsewhere."""
    lowest = float(np.nanpercentile(feet.heel_pos[:, :, 2], 5))
    return 0.0 if 0.0 < lowest < 0.12 else lowest - 0.03


def marker_physics(
    trial: LabTrial, mass: float, *, cutoff: float = DEFAULT_CUTOFF, sex: float = 0.5, transition: float = 0.5
) -> FootForces:
    """Estimate the ground reaction of both feet of a trial from its markers.

    Args:
        trial: Full-body marker trial (see `body_segments` and `foot_parts` for the markers that are needed).
        mass: Body mass [kg]; an error of 5 % is 0.5 N/kg of force.
        cutoff: Low-pass of the segment paths [Hz].
        sex: 0 male, 1 female: table of segment parameters.
        transition: Weight of the smooth transition against the zero-moment share in double support.

    Returns:
        Forces and centres of pressure at marker rate; NaN in frames where markers are missing.

    Raises:
        ValueError: landmarks missing, mass not positive, or no stretch of 12 complete frames.
    """
    if not mass > 0:
        raise ValueError(
            f"{trial.path}: mass: expected the body mass in kg, got {mass}; pass it or measure a static trial"
        )
    feet = detect_contact(trial)
    segments = body_segments(trial, sex=sex)
    floor = floor_height(feet)
    total = total_reaction(segments, trial.marker_rate, mass, cutoff=cutoff, floor=floor)
    if not np.isfinite(total.force_T3).any():
        gaps = [name for index, name in enumerate(segments.names) if not np.isfinite(segments.com_TS3[:, index]).all()]
        raise ValueError(
            f"{trial.path}: markers: expected at least 12 frames in a row with all segments, found "
            "none (gaps in "
            f"{', '.join(gaps) or 'a trial that short'}); fill the gaps in the "
            "capture software"
        )
    contact = delay_contact(feet.foot, round(CONTACT_DELAY * trial.marker_rate))
    support = division_points(feet, contact, trial.marker_rate)
    heading = walking_direction(feet, total.com_T3, trial.marker_rate)
    grf = split_reaction(
        total.force_T3,
        total.zmp_T2,
        total.com_T3,
        contact,
        support,
        heading,
        rate=trial.marker_rate,
        floor=floor,
        transition=transition,
    )
    cop = fused_cop(feet, contact, total.zmp_T2, trial.marker_rate)
    return FootForces(
        time_T=trial.time,
        grf_TF3=grf,
        cop_TF2=cop,
        contact_TF=contact,
        mass=mass,
        floor=floor,
        notes=segments.notes,
    )
