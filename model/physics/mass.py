"""Body mass from measured forces and the markers' acceleration."""

from __future__ import annotations

import numpy as np

from dataset.lab.plates import MeasuredFeet, window_mean
from dataset.schema import LabTrial
from dataset.skeleton import GRAVITY
from model.physics.newton import total_reaction
from model.physics.segments import body_segments


def mass_from_forces(trial: LabTrial, measured: MeasuredFeet) -> float:
    """Mass that the plates saw: sum of vertical force over sum of (g + vertical acceleration of the centre of mass).

    Both sums run over the valid frames, so that the acceleration's own mean over them cancels.

    Args:
        trial: Full-body trial with forces.
        measured: Its measured feet.

    Returns:
        Mass [kg].

    Raises:
        ValueError: fewer than 20 valid frames with complete markers.
    """
    unit = total_reaction(body_segments(trial), trial.marker_rate, 1.0).force_T3[:, 2]
    force = window_mean(measured.time, measured.wrench[:, :, 2].sum(axis=1), trial.time, 0.5 / trial.marker_rate)
    use = measured.valid & np.isfinite(unit) & np.isfinite(force)
    if use.sum() < 20:
        raise ValueError(
            f"{trial.path}: forces: expected at least 20 frames on the plates with complete markers to "
            "tell the mass, "
            f"found {int(use.sum())}; pass the mass [kg] instead"
        )
    mass = float(force[use].sum() / unit[use].sum())
    if not 5.0 < mass < 300.0:
        raise ValueError(
            f"{trial.path}: forces: expected plates that carry a person of 5 to 300 kg, found "
            f"{mass:.1f} kg "
            f"(gravity {GRAVITY} m/s²); check the unit and scale of the plates"
        )
    return mass
