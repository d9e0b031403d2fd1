"""Baselines that every learned or physical estimate has to beat on laboratory trials.

Body weight over contact comes twice: over the contacts that the markers tell, which is all that a method without plates
can know, and over those that the plates tell, which is the published baseline and the stronger one.

Axis legend: T frames, F = 2 feet (left, right).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dataset.lab.contact import FootContact, detect_contact
from dataset.lab.plates import LOAD_THRESHOLD, measure_feet, window_mean
from dataset.schema import LabTrial
from dataset.skeleton import GRAVITY
from model.physics.estimate import marker_physics, walking_direction
from model.physics.forces import FootForces
from model.physics.support import progression_point

Predictor = Callable[[LabTrial, float], FootForces]
"""(trial, body mass [kg]) -> forces on both feet."""
HALF_WEIGHT, TRAINING_MEAN = "half the weight on each foot", "training mean"
MARKER_CONTACT, PLATE_CONTACT = "weight over marker contact", "weight over plate contact"
PHYSICS = "physics"
"""Names of the methods in tables."""
HALF_WEIGHT_F3 = np.array([[0.0, 0.0, 0.5 * GRAVITY], [0.0, 0.0, 0.5 * GRAVITY]])
"""Half the body weight on each foot [N/kg], the mean that any long motion on two feet must have, shape (F, 3)."""


def constant_force(mean_F3: np.ndarray) -> Predictor:
    """A predictor that answers the same force in every frame, whatever the motion.

    Args:
        mean_F3: Force per mass on (left, right) foot [N/kg] in heading axes (x forward, y left, z up), shape (F, 3): half
            the weight (`HALF_WEIGHT_F3`), or what a solver's training data have in the mean.

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


def weight_over_marker_contact(trial: LabTrial, mass: float) -> FootForces:
    """Body weight on the foot that the markers say is down, half each while both are, nothing in flight.

    Args:
        trial: Trial with heel and forefoot markers.
        mass: Body mass [kg].

    Returns:
        Vertical forces (T, F, 3) at marker rate; centre of pressure by the heel-to-toe curve.
    """
    feet = detect_contact(trial)
    return _shared_weight(trial, mass, feet, feet.foot)


def weight_over_plate_contact(trial: LabTrial, mass: float) -> FootForces:
    """The same over the feet that the plates say are loaded (above 20 N in the mean over a marker frame).

    It looks at the measurement, so it is no method, and stronger than any that has to find the contacts.

    Args:
        trial: Trial with plates or foot wrenches, heel and forefoot markers.
        mass: Body mass [kg].

    Returns:
        As `weight_over_marker_contact`; NaN outside the plates' clock.
    """
    measured = measure_feet(trial)
    vertical = window_mean(measured.time, measured.wrench[:, :, 2], trial.time, 0.5 / trial.marker_rate)
    forces = _shared_weight(trial, mass, measured.contact, np.nan_to_num(vertical) > LOAD_THRESHOLD)
    forces.grf_TF3[~np.isfinite(vertical).all(axis=1)] = np.nan
    return forces


def _shared_weight(trial: LabTrial, mass: float, feet: FootContact, down_TF: np.ndarray) -> FootForces:
    share = down_TF / np.maximum(down_TF.sum(axis=1, keepdims=True), 1)
    grf = np.zeros((trial.num_frames, 2, 3))
    grf[:, :, 2] = mass * GRAVITY * share
    cop = progression_point(feet, down_TF, trial.marker_rate)
    return FootForces(time_T=trial.time, grf_TF3=grf, cop_TF2=cop, contact_TF=down_TF, mass=mass)


def lab_baselines() -> dict[str, Predictor]:
    """What every prediction is shown beside: baselines without a solver, and marker-only physics."""
    return {
        HALF_WEIGHT: constant_force(HALF_WEIGHT_F3),
        MARKER_CONTACT: weight_over_marker_contact,
        PLATE_CONTACT: weight_over_plate_contact,
        PHYSICS: marker_physics,
    }
