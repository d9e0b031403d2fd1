"""A laboratory trial's markers made ready for the solver: 30 Hz, gaps bridged, low-passed, over ground that stands still.

The solver was trained on markers at 30 Hz, half of them low-passed like these (`model.batches.Augmentation`). There the
filter runs at 30 Hz and here at the file's rate, before the resampling: the gain is the same up to the cut-off, and on walks
at 100 Hz the two ways round differ by 1 to 3 % of the markers' acceleration.

Axis legend: L marker frames of the file, T frames at 30 Hz, M markers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import make_interp_spline

from dataset.lab.contact import FootContact, detect_contact
from dataset.lab.trajectories import fill_gaps, finite_runs
from dataset.low_pass import low_pass
from dataset.schema import FRAME_RATE, LabTrial
from dataset.windows import WINDOW
from model.physics.estimate import floor_height

CUTOFF = 6.0
"""Zero-lag low-pass of the markers [Hz]: that of the low-passed copies the solver was trained on."""
FASTEST = 25.0
"""A marker that moves faster between two frames [m/s] was mistaken for another there (a kicking foot reaches 20 m/s)."""
LEAST_SEEN = 0.1
"""Markers seen in a smaller share of the frames are left out."""
RARE_MARKERS = 0.5
"""Markers seen in less than this share are named in the notes."""


@dataclass(frozen=True, kw_only=True)
class TrialMarkers:
    """Markers of a trial as the solver needs them."""

    time_T: np.ndarray
    """Time on the trial's own clock [s], 30 Hz from its first frame, shape (T,)."""
    names: tuple[str, ...]
    """Labels, length M."""
    markers_TM3: np.ndarray
    """Positions [m], world (z up, floor at z = 0), carried along by a treadmill's belt, shape (T, M, 3); NaN in gaps."""
    belt_velocity: np.ndarray
    """Horizontal velocity of the belt that was taken out [m/s], shape (2,); zero overground."""
    floor: float
    """Height of the floor in the file's world axes [m]."""
    left_out: tuple[tuple[str, str], ...]
    """(label, reason) of markers that are not used."""
    notes: tuple[str, ...]
    """What was decided or repaired, one sentence each."""

    def belt_shift(self) -> np.ndarray:
        """What was added to positions to make the belt stand still [m], shape (T, 2); subtract it from results."""
        return -(self.time_T - self.time_T[0])[:, None] * self.belt_velocity


def prepare_markers(trial: LabTrial, *, cutoff: float = CUTOFF) -> TrialMarkers:
    """Bridge gaps up to 0.25 s, remove jumps, low-pass, resample to 30 Hz and let a treadmill's belt stand still.

    On a treadmill x → x − v_belt · t: by Galileo's principle the forces are those of walking over ground, which is what
    the solver knows.

    Args:
        trial: Trial as read.
        cutoff: Low-pass [Hz]; at or above 0.45 of the file's rate nothing is filtered.

    Raises:
        ValueError: shorter than one window of six frames at 30 Hz, or no marker seen for long enough.
    """
    duration = float(trial.time[-1] - trial.time[0])
    count = int(np.floor(duration * FRAME_RATE + 1e-6)) + 1
    if count < WINDOW:
        raise ValueError(
            f"{trial.path}: frames: expected at least {(WINDOW - 1) / FRAME_RATE:.2f} s of motion, found {duration:.3f} s "
            f"({trial.num_frames} frames); give a longer trial"
        )
    notes: list[str] = []
    if trial.marker_rate < FRAME_RATE - 0.5:
        notes.append(f"The file runs at {trial.marker_rate:g} Hz, slower than the solver's 30 Hz: interpolated.")
    tracks, left_out = _usable_tracks(trial, notes)
    names = tuple(label for label in trial.marker_names if label not in dict(left_out))
    keep = [trial.marker_names.index(label) for label in names]
    feet, missing = _feet(trial)
    belt = np.zeros(2) if feet is None else np.asarray(feet.belt_velocity, dtype=float)
    floor = 0.0 if feet is None else floor_height(feet)
    if missing:
        notes.append(f"Treadmill and floor height could not be told: {missing}; level ground at z = 0 assumed.")
    if belt.any():
        notes.append(f"Treadmill: belt at {np.linalg.norm(belt):.2f} m/s; positions follow the belt.")
    if floor:
        notes.append(f"The heels say that the floor lies at {1000 * floor:.0f} mm: heights count from there.")
    clock = trial.time - trial.time[0]
    shifted = tracks[:, keep] - np.array([0.0, 0.0, floor])
    shifted[:, :, :2] -= clock[:, None, None] * belt
    grid = np.arange(count) / FRAME_RATE
    resampled = np.stack(
        [_resample(shifted[:, m], clock, grid, trial.marker_rate, cutoff) for m in range(len(keep))], axis=1
    )
    return TrialMarkers(
        time_T=trial.time[0] + grid,
        names=names,
        markers_TM3=resampled,
        belt_velocity=belt,
        floor=floor,
        left_out=left_out,
        notes=tuple(notes),
    )


def _feet(trial: LabTrial) -> tuple[FootContact | None, str]:
    """Foot markers and contacts, or the reason why there are none."""
    try:
        return detect_contact(trial), ""
    except ValueError as error:
        return None, str(error).removeprefix(f"{trial.path}: ")


def _usable_tracks(trial: LabTrial, notes: list[str]) -> tuple[np.ndarray, tuple[tuple[str, str], ...]]:
    """Tracks (L, M, 3) without jumps and short gaps, and the markers that are hardly ever seen."""
    tracks = np.array(trial.markers, dtype=np.float64)
    hidden = np.array((~np.isfinite(tracks)).any(axis=2))
    tracks[hidden] = np.nan
    left_out, rare, jumps = [], [], 0
    step = 1.0 / trial.marker_rate
    for m, label in enumerate(trial.marker_names):
        share = 1.0 - float(hidden[:, m].mean())
        if share < LEAST_SEEN:
            left_out.append((label, f"seen in {100 * share:.0f} % of the frames"))
            continue
        speed = np.linalg.norm(np.diff(tracks[:, m], axis=0), axis=1) / step
        fast = np.flatnonzero(np.nan_to_num(speed) > FASTEST)
        if len(fast):
            jumps += len(fast)
            tracks[np.union1d(fast, fast + 1), m] = np.nan
        if share < RARE_MARKERS:
            rare.append(label)
        tracks[:, m] = fill_gaps(tracks[:, m], trial.marker_rate)
    if len(left_out) == len(trial.marker_names):
        raise ValueError(
            f"{trial.path}: marker positions: expected markers that are seen for more than {100 * LEAST_SEEN:.0f} % of the "
            f"trial, found none among {len(left_out)}; export the gap-filled trajectories"
        )
    if hidden.any():
        seen = [m for m, label in enumerate(trial.marker_names) if label not in dict(left_out)]
        before, after = hidden[:, seen].mean(), (~np.isfinite(tracks[:, seen]).all(axis=2)).mean()
        notes.append(
            f"Gaps: {100 * before:.1f} % of the samples of the markers in use are missing, {100 * after:.1f} % after bridging "
            "gaps of up to 0.25 s" + (f" (mostly missing: {', '.join(rare)})." if rare else ".")
        )
    if jumps:
        notes.append(
            f"Removed {jumps} jumps of more than {FASTEST:g} m/s between two frames (markers mistaken for another)."
        )
    return tracks, tuple(left_out)


def _resample(path: np.ndarray, clock: np.ndarray, grid: np.ndarray, rate: float, cutoff: float) -> np.ndarray:
    """Low-passed cubic interpolation of one marker (L, 3) at the grid's times; NaN where it was not seen."""
    result = np.full((len(grid), 3), np.nan)
    for start, stop in finite_runs(path):
        inside = np.flatnonzero((grid >= clock[start] - 1e-9) & (grid <= clock[stop - 1] + 1e-9))
        if stop - start < 4 or not len(inside):
            continue
        smooth = low_pass(path[start:stop], rate, cutoff)
        at = np.clip(grid[inside], clock[start], clock[stop - 1])
        result[inside] = make_interp_spline(clock[start:stop], smooth, k=3, axis=0)(at)
    return result
