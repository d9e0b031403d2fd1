"""Baselines that every learned or physical estimate has to beat on laboratory trials.

Axis legend: T frames, F = 2 feet (left, right).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dataset.lab.contact import detect_contact
from dataset.schema import LabTrial
from dataset.skeleton import GRAVITY
from model.physics.estimate import walking_direction
from model.physics.forces import FootForces
from model.physics.support import progression_point

Predictor = Callable[[LabTrial, float], FootForces]
"""(trial, body mass [kg]) -> forces on both feet."""
HALF_WEIGHT_F3 = np.array([[0.0, 0.0, 0.5 * GRAVITY], [0.0, 0.0, 0.5 * GRAVITY]])
"""Half the body weight on each foot [N/kg], the mean that any long motion on two feet must have, shape (F, 3)."""


def mean_predictor(mean_F3: np.ndarray = HALF_WEIGHT_F3) -> Callable[[LabTrial, float], FootForces]:
    """A predictor that answers the training data's mean force in every frame.

    Args:
        mean_F3: Mean force per mass on (left, right) foot [N/kg] in heading axes (x forward, y left, z up), shape (F,
            3).

    Returns:
        Predictor (trial, mass [kg]) -> forces, turned into the trial's mean walking direction.

    Raises:
        ValueError: wrong shape.
    """
    mean = np.asarray(mean_F3, dtype=float)
    if mean.shape != (2, 3) or not np.isfinite(mean).all():
        raise ValueError(f"mean_F3: expected finite forces of shape (2, 3), got {mean.shape}")

    def predict(trial: LabTrial, mass: float) -> FootForces:
        feet = detect_contact(trial)
        ahead = walking_direction(feet, 0.5 * (feet.heel_pos[:, 0] + feet.heel_pos[:, 1]), trial.marker_rate)
        rot = np.array([[ahead[0], -ahead[1], 0.0], [ahead[1], ahead[0], 0.0], [0.0, 0.0, 1.0]])
        grf = np.broadcast_to(mass * mean @ rot.T, (trial.num_frames, 2, 3)).copy()
        cop = 0.5 * (feet.heel_pos + feet.forefoot_pos)[:, :, :2]
        return FootForces(
            time_T=trial.time,
            grf_TF3=grf,
            cop_TF2=cop,
            contact_TF=np.ones((trial.num_frames, 2), dtype=bool),
            mass=mass,
        )

    return predict


def weight_over_contact(trial: LabTrial, mass: float) -> FootForces:
    """Body weight on the foot that the markers say is down, half each while both are, nothing in flight.

    Args:
        trial: Trial with heel and forefoot markers.
        mass: Body mass [kg].

    Returns:
        Vertical forces (T, F, 3) at marker rate; centre of pressure by the heel-to-toe curve.
    """
    feet = detect_contact(trial)
    down = feet.foot
    share = down / np.maximum(down.sum(axis=1, keepdims=True), 1)
    grf = np.zeros((trial.num_frames, 2, 3))
    grf[:, :, 2] = mass * GRAVITY * share
    cop = progression_point(feet, down, trial.marker_rate)
    return FootForces(time_T=trial.time, grf_TF3=grf, cop_TF2=cop, contact_TF=down, mass=mass)
