"""Body mass from a trial in which the person stands still on the plates."""

from __future__ import annotations

import numpy as np

from dataset.schema import LabTrial
from dataset.skeleton import GRAVITY

STEADIEST_SHARE = 0.05
"""Standing still: the total vertical force varies by less than this share of its mean (standard deviation)."""


def static_mass(trial: LabTrial) -> float:
    """Mass [kg] = mean total vertical force over all plates / g.

    Args:
        trial: Standing trial; one plate may carry both feet.

    Returns:
        Mass [kg].

    Raises:
        ValueError: no forces, or a person who does not stand still on the plates for the whole trial.
    """
    if trial.foot_wrench is not None:
        lift = trial.foot_wrench[:, :, 2].sum(axis=1)
    elif trial.plates:
        count = min(len(plate.force) for plate in trial.plates)
        lift = np.sum([plate.force[:count, 2] for plate in trial.plates], axis=0)
    else:
        raise ValueError(
            f"{trial.path}: forces: expected force plates in the static trial, found none; pass the mass [kg]"
        )
    mean, spread = float(lift.mean()), float(lift.std())
    if mean < 50.0 or spread > STEADIEST_SHARE * mean:
        raise ValueError(
            f"{trial.path}: forces: expected quiet standing on the plates, found {mean:.0f} N with a standard deviation of "
            f"{spread:.0f} N; give a trial of quiet standing or pass the mass [kg]"
        )
    return mean / GRAVITY
