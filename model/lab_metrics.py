"""Error of predicted foot forces against force plates on laboratory trials.

Per-foot GRF error [N/kg]: mean over frames and feet of |F_predicted − F_plate|₂ / mass at 30 Hz, forces averaged over
± 1/60 s, each foot by itself; rows for all, loaded (plate above 20 N) and double-support frames of the valid frames of
`dataset.lab.plates`. As shipped, and beside it with the plates shifted by one constant per subject that fits best (an
optimistic bound: the constant is fitted on the measured forces).

Axis legend: T frames at 30 Hz, F = 2 feet (left, right).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dataset.lab.plates import LOAD_THRESHOLD, MeasuredFeet, center_of_pressure, window_mean
from dataset.schema import FRAME_RATE, LabTrial
from dataset.skeleton import GRAVITY
from model.physics.forces import FootForces

HALF_WINDOW = 1.0 / 60.0
"""Half width of the averaging window [s]."""
OFFSETS = np.arange(-0.02, 0.0401, 0.0025)
"""Delays of the plates that are tried for the time-synchronised row [s]."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Predicted and measured forces of one trial on a common 30 Hz clock."""

    time: np.ndarray
    """Times [s], shape (T,)."""
    predicted: np.ndarray
    """Predicted force over mass [N/kg], world, shape (T, F, 3)."""
    measured: np.ndarray
    """Plate force over mass [N/kg], world, shape (T, F, 3)."""
    predicted_cop: np.ndarray
    """Predicted centre of pressure [m], shape (T, F, 2)."""
    measured_cop: np.ndarray
    """Measured centre of pressure [m], shape (T, F, 2); NaN below 20 N."""
    loaded: np.ndarray
    """Plate force above 20 N, shape (T, F)."""
    valid: np.ndarray
    """Frames that count, shape (T,)."""


@dataclass(frozen=True, kw_only=True)
class LabErrors:
    """Errors over the pooled valid frames of a set of trials."""

    num_frames: int
    """Valid 30 Hz frames."""
    double_support_share: float
    """Fraction of them in double support (true gait: 0.20 to 0.23)."""
    all_frames: float
    """Per-foot GRF error over all valid frames [N/kg]."""
    loaded: float
    """Per-foot GRF error over feet above 20 N [N/kg]."""
    double_support: float
    """Per-foot GRF error over frames with both feet above 20 N [N/kg]; NaN without such frames."""
    loaded_vertical: float
    """Mean |vertical error| over feet above 20 N [N/kg]."""
    vertical_correlation: float
    """Pearson correlation of the vertical force over all valid frames and feet."""
    vertical_correlation_loaded: float
    """The same over feet above 20 N: swing does not help here."""
    vertical_nrmse: float
    """RMS vertical error over the range of the measured vertical force, mean over trials [%]."""
    body_weight_error: float
    """(Mean predicted − mean measured total vertical force) / (mass · g) [% of body weight]."""
    total_vector: float
    """Mean |total predicted − total measured force| / mass [N/kg]."""
    cop_single_support: float
    """Mean distance of the centres of pressure in single support [mm]; NaN where not predicted."""


def forces_at(forces: FootForces, times: np.ndarray) -> np.ndarray:
    """Predicted forces at given times, averaged like the plates.

    The mean over ± 1/60 s where the prediction is faster than 60 Hz, its linear interpolation else.

    Args:
        forces: Prediction on its own clock.
        times: Times [s], shape (T,).

    Returns:
        Forces [N], shape (T, F, 3); NaN outside the prediction's clock or in its gaps.
    """
    flat = forces.grf_TF3.reshape(len(forces.time_T), 6)
    if forces.rate > 60.0:
        mean = window_mean(forces.time_T, flat, times, HALF_WINDOW)
    else:
        mean = np.column_stack([np.interp(times, forces.time_T, column) for column in flat.T])
    gap = np.interp(times, forces.time_T, (~np.isfinite(flat).all(axis=1)).astype(float)) > 0
    mean[gap | (times < forces.time_T[0]) | (times > forces.time_T[-1])] = np.nan
    return mean.reshape(len(times), 2, 3)


def compare(
    trial: LabTrial, measured: MeasuredFeet, forces: FootForces, mass: float, *, delay: float = 0.0
) -> Comparison:
    """Put prediction and plates on one 30 Hz clock.

    Args:
        trial: The trial (its first marker frame starts the clock).
        measured: Measured feet and valid frames.
        forces: Prediction.
        mass: Body mass [kg] that both are divided by.
        delay: The plates are read this much later [s]: positive where measured forces lag the markers.

    Returns:
        Comparison; a frame is valid where every marker frame within 1/60 s is and the prediction is finite.
    """
    count = int(np.floor((trial.time[-1] - trial.time[0]) * FRAME_RATE + 1e-6)) + 1
    times = trial.time[0] + np.arange(count) / FRAME_RATE
    wrench = window_mean(measured.time, measured.wrench, times + delay, HALF_WINDOW)
    predicted = forces_at(forces, times) / mass
    share = window_mean(trial.time, measured.valid.astype(float), times, HALF_WINDOW)
    valid = (share > 1.0 - 1e-9) & np.isfinite(predicted).all(axis=(1, 2)) & np.isfinite(wrench).all(axis=(1, 2))
    nearest = np.clip(np.searchsorted(forces.time_T, times - 0.5 / forces.rate), 0, len(forces.time_T) - 1)
    return Comparison(
        time=times,
        predicted=predicted,
        measured=wrench[:, :, :3] / mass,
        predicted_cop=forces.cop_TF2[nearest],
        measured_cop=center_of_pressure(wrench, height=forces.floor),
        loaded=np.nan_to_num(wrench[:, :, 2]) > LOAD_THRESHOLD,
        valid=valid,
    )


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if values.size else float("nan")


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if first.size < 3 or np.std(first) < 1e-9 or np.std(second) < 1e-9:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def summarise(comparisons: Sequence[Comparison]) -> LabErrors:
    """Errors pooled over the valid frames of trials (each frame counts once; nRMSE is averaged over trials).

    Args:
        comparisons: One or more trials.

    Raises:
        ValueError: no valid frame in any of them.
    """
    used = [item for item in comparisons if item.valid.any()]
    if not used:
        raise ValueError(
            "comparisons: expected at least one trial with valid frames, found none; see MeasuredFeet.notes"
        )
    predicted = np.concatenate([item.predicted[item.valid] for item in used])
    measured = np.concatenate([item.measured[item.valid] for item in used])
    loaded = np.concatenate([item.loaded[item.valid] for item in used])
    error = np.linalg.norm(predicted - measured, axis=2)
    vertical = predicted[:, :, 2] - measured[:, :, 2]
    both: np.ndarray = loaded[:, 0] & loaded[:, 1]
    ranges = []
    for item in used:
        seen = item.measured[item.valid][:, :, 2]
        spread = np.ptp(seen)
        if spread > 0:
            rms = np.sqrt(np.mean((item.predicted[item.valid][:, :, 2] - seen) ** 2))
            ranges.append(rms / spread)
    single = loaded & ~both[:, None]
    distance = np.concatenate(
        [np.linalg.norm(item.predicted_cop - item.measured_cop, axis=2)[item.valid] for item in used]
    )
    pressed = single & np.isfinite(distance)
    total = (predicted - measured).sum(axis=1)
    return LabErrors(
        num_frames=len(error),
        double_support_share=float(both.mean()),
        all_frames=_mean(error),
        loaded=_mean(error[loaded]),
        double_support=_mean(error[both]),
        loaded_vertical=_mean(np.abs(vertical[loaded])),
        vertical_correlation=_correlation(predicted[:, :, 2].ravel(), measured[:, :, 2].ravel()),
        vertical_correlation_loaded=_correlation(predicted[:, :, 2][loaded], measured[:, :, 2][loaded]),
        vertical_nrmse=100.0 * _mean(np.array(ranges)),
        body_weight_error=100.0 * float(total[:, 2].mean()) / GRAVITY,
        total_vector=_mean(np.linalg.norm(total, axis=1)),
        cop_single_support=1000.0 * _mean(distance[pressed]),
    )


def best_delay(trials: Sequence[tuple[LabTrial, MeasuredFeet, FootForces, float]]) -> float:
    """Constant delay of the plates against the prediction that makes the mean per-foot error of a subject smallest [s].

    Args:
        trials: (trial, measured feet, prediction, mass [kg]) of one subject.

    Returns:
        One of `OFFSETS`; 0 where no frame is valid.
    """
    errors = []
    for delay in OFFSETS:
        items = [compare(trial, measured, forces, mass, delay=float(delay)) for trial, measured, forces, mass in trials]
        gaps = [np.linalg.norm(item.predicted - item.measured, axis=2)[item.valid] for item in items]
        errors.append(_mean(np.concatenate(gaps)))
    return float(OFFSETS[int(np.nanargmin(errors))]) if np.isfinite(errors).any() else 0.0
