"""Predicted forces beside measured ones and beside the baselines, on one trial with force plates.

Axis legend: T frames at 30 Hz, F = 2 feet (left, right).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from dataset.lab.plates import MeasuredFeet, center_of_pressure, measure_feet, window_mean
from dataset.schema import LabTrial
from model.baselines import lab_baselines
from model.kinetics import Kinetics
from model.lab_metrics import HALF_WINDOW, Comparison, LabErrors, compare, summarise
from model.physics.forces import FootForces


@dataclass(frozen=True, kw_only=True)
class TrialComparison:
    """Measured forces of a trial at the prediction's times, and the errors of all methods."""

    measured_TF3: np.ndarray
    """Plate force on each foot [N], world, mean over ± 1/60 s, shape (T, F, 3); NaN outside the plates' clock."""
    measured_cop_TF2: np.ndarray
    """Measured centre of pressure [m], world, shape (T, F, 2); NaN below 20 N."""
    valid_T: np.ndarray
    """Frames that count: everything that held the body was measured, shape (T,)."""
    methods: dict[str, LabErrors]
    """Errors by method on the frames that all of them answered, the prediction first; empty if no frame is valid."""
    refused: dict[str, str]
    """Baselines that cannot be computed on this trial, with the reason."""
    notes: tuple[str, ...]
    """Rejected stretches of the plates."""


def compare_methods(trial: LabTrial, kinetics: Kinetics) -> TrialComparison:
    """Compare a prediction and the baselines with the trial's force plates.

    Raises:
        ValueError: the trial has no plates or no foot markers.
    """
    measured = measure_feet(trial)
    answers: dict[str, FootForces] = {kinetics.method: kinetics.foot_forces()}
    refused = {}
    for name, predictor in lab_baselines().items():
        try:
            answers[name] = predictor(trial, kinetics.mass)
        except ValueError as error:
            refused[name] = str(error).removeprefix(f"{trial.path}: ")
    compared = [compare(trial, measured, forces, kinetics.mass) for forces in answers.values()]
    valid = np.logical_and.reduce([item.valid for item in compared])
    methods = {}
    if valid.any():
        for name, item in zip(answers, compared):
            methods[name] = summarise([dataclasses.replace(item, valid=valid)])
    return _at_prediction(kinetics, measured, compared[0], valid, methods, refused)


def _at_prediction(
    kinetics: Kinetics,
    measured: MeasuredFeet,
    own: Comparison,
    valid: np.ndarray,
    methods: dict[str, LabErrors],
    refused: dict[str, str],
) -> TrialComparison:
    """Measured forces on the prediction's clock, which is the comparison's."""
    assert np.allclose(own.time, kinetics.time_T, atol=1e-6)
    wrench = window_mean(measured.time, measured.wrench, kinetics.time_T, HALF_WINDOW)
    return TrialComparison(
        measured_TF3=wrench[:, :, :3], measured_cop_TF2=center_of_pressure(wrench, height=kinetics.floor), valid_T=valid,
        methods=methods, refused=refused, notes=measured.notes,
    )  # fmt: skip
