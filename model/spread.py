"""Uncertainty of a prediction from the spread over marker subsets, calibrated on simulated motion held out of training.

The solver answers any set of markers. Random subsets of a file's markers give different answers where the markers tell
the force badly; their spread follows the error but is smaller, since errors that all subsets share do not show. So the
spread is scaled: on held-out simulated motion, sd² = a² + b² · spread² is fitted to the squared errors, one pair (a, b)
for the horizontal and one for the vertical component. What simulation does not contain (soft tissue, a real laboratory)
is not in it.

Axis legend: T frames, F = 2 feet, S subsets.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from dataset import atomic

SUBSETS = 8
"""Marker subsets a prediction is repeated on."""
SUBSET_SHARE = 0.7
"""Share of the markers in a subset."""
SMALLEST_SUBSET = 22
"""Subsets are not made smaller than this (the smallest the solver was trained on), if there are as many markers."""


@dataclass(frozen=True, kw_only=True)
class SpreadCalibration:
    """Standard deviation of the force per kilogram from the spread over subsets: sd² = floor² + (gain · spread)²."""

    floor_horizontal: float
    """Error that no spread shows, horizontal components [N/kg]."""
    gain_horizontal: float
    """Factor on the spread, horizontal components."""
    floor_vertical: float
    """The same, vertical component [N/kg]."""
    gain_vertical: float
    """The same, vertical component."""
    data: str = ""
    """Data it was fitted on."""
    frames: int = 0
    """Frames (both feet) it was fitted on."""
    inside: float = float("nan")
    """Share of held-out errors, all components, within one standard deviation (68 % for a normal error)."""

    def deviation(self, spread_TF3: np.ndarray) -> np.ndarray:
        """Standard deviation [N/kg] from the spread [N/kg], shape (T, F, 3)."""
        floor = np.array([self.floor_horizontal, self.floor_horizontal, self.floor_vertical])
        gain = np.array([self.gain_horizontal, self.gain_horizontal, self.gain_vertical])
        return np.sqrt(floor**2 + (gain * spread_TF3) ** 2)


def subsets(num_markers: int, *, count: int = SUBSETS, seed: int = 0) -> list[np.ndarray]:
    """Random marker subsets, ascending indices, the same on every call; empty where there is nothing to leave out."""
    size = max(round(SUBSET_SHARE * num_markers), min(SMALLEST_SUBSET, num_markers - 1))
    if num_markers < 4 or size >= num_markers:
        return []
    rng = np.random.default_rng(seed)
    return [np.sort(rng.choice(num_markers, size, replace=False)) for _ in range(count)]


def spread(answers_STF3: np.ndarray) -> np.ndarray:
    """Standard deviation over the subsets that have an answer (at least 3), shape (T, F, 3); NaN elsewhere."""
    known = np.isfinite(answers_STF3)
    count = known.sum(axis=0)
    values = np.where(known, answers_STF3, 0.0)
    mean = values.sum(axis=0) / np.maximum(count, 1)
    square = (np.where(known, answers_STF3 - mean, 0.0) ** 2).sum(axis=0) / np.maximum(count - 1, 1)
    return np.where(count >= 3, np.sqrt(square), np.nan)


def fit_calibration(error_TF3: np.ndarray, spread_TF3: np.ndarray, *, data: str = "") -> SpreadCalibration:
    """Floor and gain that explain squared errors, by least squares over ten bins of the spread.

    Args:
        error_TF3: Predicted minus true force [N/kg], shape (T, F, 3).
        spread_TF3: Spread over subsets [N/kg], shape (T, F, 3).
        data: Data the errors are from.

    Raises:
        ValueError: fewer than 100 known frames.
    """
    known = np.isfinite(error_TF3).all(axis=2) & np.isfinite(spread_TF3).all(axis=2)
    if known.sum() < 100:
        raise ValueError(f"error_TF3: expected at least 100 known frames to calibrate on, found {int(known.sum())}")
    error, width = error_TF3[known], spread_TF3[known]
    pairs = {}
    for name, axes in (("horizontal", [0, 1]), ("vertical", [2])):
        pairs[name] = _floor_and_gain(error[:, axes].ravel() ** 2, width[:, axes].ravel() ** 2)
    made = SpreadCalibration(
        floor_horizontal=pairs["horizontal"][0], gain_horizontal=pairs["horizontal"][1],
        floor_vertical=pairs["vertical"][0], gain_vertical=pairs["vertical"][1], data=data, frames=int(known.sum()),
    )  # fmt: skip
    inside = float((np.abs(error) <= made.deviation(width)).mean())
    return replace(made, inside=inside)


def _floor_and_gain(error2: np.ndarray, spread2: np.ndarray) -> tuple[float, float]:
    """Non-negative (floor, gain) with mean error² ≈ floor² + gain² · spread² over ten bins of equal size."""
    from scipy.optimize import nnls

    parts = np.array_split(np.argsort(spread2), 10)
    bins = np.array([[spread2[part].mean(), error2[part].mean()] for part in parts])
    weight = 1.0 / np.maximum(bins[:, 1], 1e-6)  # relative errors count, or the widest bin alone would decide
    solution, _ = nnls(np.column_stack([np.ones(10), bins[:, 0]]) * weight[:, None], bins[:, 1] * weight)
    return float(np.sqrt(solution[0])), float(np.sqrt(solution[1]))


def calibration_path(weights: str | Path) -> Path:
    """Where the calibration of weights lies: beside them, `NAME.spread.json`."""
    return Path(weights).with_suffix(".spread.json")


def save_calibration(weights: str | Path, calibration: SpreadCalibration) -> Path:
    """Write a calibration beside its weights."""
    path = calibration_path(weights)
    atomic.write_json(path, asdict(calibration))
    return path


def load_calibration(weights: str | Path) -> SpreadCalibration | None:
    """The calibration beside weights, or None where there is none.

    Raises:
        ValueError: the file is not a calibration.
    """
    path = calibration_path(weights)
    if not path.is_file():
        return None
    try:
        return SpreadCalibration(**json.loads(path.read_text()))
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path}: expected a spread calibration, found {error}; delete the file") from error
