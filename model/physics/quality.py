"""Does a predicted force agree with Newton? The total against m·(a + g) of the centre of mass that the markers show.

The markers' own total is good to about 0.05 body weights against force plates (0.08 in fast walking, 6 Hz), so smaller
differences say nothing, and larger ones say that prediction, markers or mass are wrong without saying which.

Axis legend: L marker frames, T frames at 30 Hz, N bodies, F = 2 feet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.lab.trajectories import derivative, finite_runs
from dataset.low_pass import low_pass
from dataset.schema import FRAME_RATE, LabTrial, Motion
from dataset.skeleton import GRAVITY
from model.physics.newton import DEFAULT_CUTOFF, total_reaction
from model.physics.segments import body_segments

GREEN, AMBER, RED, UNKNOWN = 0, 1, 2, 3
QUALITY_NAMES = ("green", "amber", "red", "unknown")
"""Meaning of the flags: agrees, doubtful, contradicts, could not be checked."""
GREEN_BELOW, RED_ABOVE = 0.10, 0.25
"""Difference from Newton [body weights]: twice the markers' own error; what no walking step of the trials reached."""


@dataclass(frozen=True, kw_only=True)
class MarkerNewton:
    """What Newton's second law says that the ground must do, per kilogram, on the 30 Hz clock."""

    force_T3: np.ndarray
    """a + g of the centre of mass [N/kg], world, low-passed at 6 Hz, shape (T, 3); NaN where markers are missing."""
    com_T3: np.ndarray
    """Centre of mass [m], world, shape (T, 3)."""
    source: str
    """Where the centre of mass comes from: `segments` (markers alone) or `fitted body`."""
    notes: tuple[str, ...] = ()
    """What was assumed."""


def newton_from_segments(trial: LabTrial, times: np.ndarray) -> MarkerNewton:
    """a + g of the centre of mass of the segments that the markers show, at given times.

    Raises:
        ValueError: landmarks of a segment missing, or no stretch of 12 complete frames.
    """
    segments = body_segments(trial)
    total = total_reaction(segments, trial.marker_rate, 1.0)
    if not np.isfinite(total.force_T3).any():
        raise ValueError(f"{trial.path}: markers: expected 12 frames in a row with all segments, found none")
    return MarkerNewton(
        force_T3=_at(times, trial.time, total.force_T3),
        com_T3=_at(times, trial.time, total.com_T3),
        source="segments",
        notes=segments.notes,
    )


def newton_from_body(body: BodyModel, motion: Motion, is_fitted_T: np.ndarray) -> MarkerNewton:
    """a + g of the centre of mass of a fitted body.

    Args:
        body: Fitted body.
        motion: Its pose at 30 Hz.
        is_fitted_T: Frames whose pose the markers tell, shape (T,).
    """
    position, orientation = forward_kinematics(body.offset, motion.root_pos, motion.quat)
    com = ((position + rotation.rotate(orientation, body.com)) * body.mass[:, None]).sum(axis=1) / body.mass.sum()
    com = np.where(is_fitted_T[:, None], com, np.nan)
    force = np.full_like(com, np.nan)
    for start, stop in finite_runs(com):
        if stop - start >= 12:
            com[start:stop] = low_pass(com[start:stop], FRAME_RATE, DEFAULT_CUTOFF)
            force[start:stop] = derivative(com[start:stop], FRAME_RATE, 2) + np.array([0.0, 0.0, GRAVITY])
    return MarkerNewton(force_T3=force, com_T3=com, source="fitted body")


def _at(times: np.ndarray, clock: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Linear interpolation of values (L, 3) with gaps; NaN in gaps and outside the clock."""
    missing = np.asarray(~np.all(np.isfinite(values), axis=1))
    filled = np.where(missing[:, None], 0.0, values)
    result = np.stack([np.interp(times, clock, column) for column in filled.T], axis=1)
    gap = np.interp(times, clock, missing.astype(float)) > 1e-9
    result[gap | (times < clock[0] - 1e-9) | (times > clock[-1] + 1e-9)] = np.nan
    return result


def slow_part(force_T3: np.ndarray, cutoff: float = DEFAULT_CUTOFF) -> np.ndarray:
    """The part of a 30 Hz signal (T, ...) that Newton from low-passed markers can show; NaN stays."""
    result = np.full_like(force_T3, np.nan)
    for start, stop in finite_runs(force_T3):
        result[start:stop] = low_pass(force_T3[start:stop], FRAME_RATE, cutoff)
    return result


def newton_difference(total_T3: np.ndarray, newton_T3: np.ndarray) -> np.ndarray:
    """|ΣF − m (a + g)| / (m g) [body weights], both low-passed at 6 Hz, shape (T,); NaN where either is unknown.

    Args:
        total_T3: Predicted force on all bodies together [N/kg], world, shape (T, 3).
        newton_T3: `MarkerNewton.force_T3`.
    """
    return np.linalg.norm(slow_part(total_T3) - newton_T3, axis=1) / GRAVITY


def quality_flags(difference_T: np.ndarray, is_doubtful_T: np.ndarray) -> np.ndarray:
    """Flag of each frame: green below 0.10 body weights, red above 0.25, amber between and where otherwise doubtful.

    Args:
        difference_T: `newton_difference`, NaN where it could not be checked.
        is_doubtful_T: Frames that are doubtful for another reason (ends of the trial, few markers).

    Returns:
        `GREEN`, `AMBER`, `RED` or `UNKNOWN`, shape (T,), uint8.
    """
    flags = np.full(len(difference_T), AMBER, dtype=np.uint8)
    flags[(difference_T < GREEN_BELOW) & ~is_doubtful_T] = GREEN
    flags[difference_T > RED_ABOVE] = RED
    flags[~np.isfinite(difference_T)] = UNKNOWN
    return flags
