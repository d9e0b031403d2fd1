"""A trial of markers as the gait model sees it: a body of its lengths, its markers on the segments, and the poses that fit them.

Axis legend: T frames, P markers on segments.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from dataset.lab.landmarks import find_landmarks
from dataset.lab.read import read_trial
from dataset.lab.static_mass import static_mass
from dataset.lab.trajectories import fill_gaps, finite_runs
from dataset.schema import LabTrial
from sim.gait.body import GaitBody
from sim.gait.de_leva import body_of_lengths
from sim.gait.fit_pose import PoseFit, fit_poses, segment_rms
from sim.gait.kinematics import place
from sim.gait.marker_segments import SEGMENT_LANDMARKS, MarkerSegments, marker_segments, measure_lengths
from sim.gait.plug_in_gait import plug_in_gait_moments
from sim.gait.sources import Measured, shipped_moments

ROUNDS = 4
"""Times that poses and the markers' places on the segments are found in turn."""


def measure_from_markers(
    motion: Path, forces: Path | None, static: Path | None, moments: Path | None, mass: float | None
) -> Measured:
    """A trial of markers with forces.

    The body's lengths come from the static trial (or the trial itself), its mass from the argument, the file, or the plates of
    the static trial.

    Raises:
        ValueError: no mass, missing markers, no forces, or whatever readers and fit refuse.
    """
    trial = read_trial(motion, forces)
    if not trial.plates and trial.foot_wrench is None:
        raise ValueError(
            f"{motion}: forces: expected force plates in the file, found none; name the file with the forces: --forces"
        )
    standing = trial if static is None else read_trial(static)
    frames = marker_segments(standing)
    mass = _mass(trial, standing, static is not None) if mass is None else mass
    body = body_of_lengths(
        measure_lengths(frames, standing.path), mass=mass, stature=trial.height or standing.height, name=motion.stem
    )
    columns, segment, local = _markers_on_segments(standing, frames, body, trial)
    points = np.stack([fill_gaps(trial.markers[:, column], trial.marker_rate) for column in columns], axis=1)
    trial, points, notes = _longest_part(trial, points)
    local, fit = calibrate(body, segment, local, points)
    shipped, time, by = _shipped(motion, moments, mass)
    return Measured(
        name=f"{motion.parent.name}/{motion.stem}", body=body, trial=trial, qpos=fit.qpos,
        segment_error=segment_rms(fit, segment), error=fit.rms, shipped=shipped, shipped_time=time, shipped_by=by,
        notes=(*trial.notes, *frames.notes, *body.notes, *notes),
    )  # fmt: skip


def calibrate(body: GaitBody, segment: np.ndarray, local: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, PoseFit]:
    """Find poses and the markers' places on the segments in turn, beginning with anatomical places.

    Returns:
        Places (P, 3) [m] and the last fit.
    """
    fit = fit_poses(body, segment, local, points)
    for _ in range(ROUNDS - 1):
        placement = place(body, fit.qpos)
        inner = np.einsum("tpji,tpj->tpi", placement.rot[:, segment], points - placement.origin[:, segment])
        local = np.nanmean(inner, axis=0)
        fit = fit_poses(body, segment, local, points, start=fit.qpos)
    return local, fit


def _mass(trial: LabTrial, standing: LabTrial, has_static: bool) -> float:
    if trial.mass or standing.mass:
        return float(trial.mass or standing.mass or 0.0)
    if has_static and (standing.plates or standing.foot_wrench is not None):
        return static_mass(standing)
    raise ValueError(
        f"{trial.path}: mass: expected it in the file or from the plates of a static trial, found neither; give --mass"
    )


def _markers_on_segments(
    standing: LabTrial, frames: MarkerSegments, body: GaitBody, trial: LabTrial
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Columns of the trial's markers that sit on segments, their segments, and their places in them [m]."""
    known, moving = find_landmarks(standing.marker_names), find_landmarks(trial.marker_names)
    frames.origin[:, 1] = frames.origin[:, 0] + frames.rot[:, 0] @ body.joint_pos[1]
    columns, segments, places = [], [], []
    for segment, names in SEGMENT_LANDMARKS.items():
        for name in names:
            if name in known and name in moving:
                path = standing.markers[:, known[name]] - frames.origin[:, segment]
                columns.append(moving[name])
                segments.append(segment)
                places.append(np.nanmedian(np.einsum("tji,tj->ti", frames.rot[:, segment], path), axis=0))
    return columns, np.array(segments), np.stack(places)


def _longest_part(trial: LabTrial, points: np.ndarray) -> tuple[LabTrial, np.ndarray, tuple[str, ...]]:
    """The longest stretch in which every segment has three markers (shank and trunk: two), and a note if it is not all."""
    runs = finite_runs(np.where(np.isfinite(points).all(axis=2).mean(axis=1) > 0.8, 0.0, np.nan))
    if not runs:
        raise ValueError(f"{trial.path}: markers: expected frames with four of five markers, found none; fill the gaps")
    first, last = max(runs, key=lambda run: run[1] - run[0])
    if last - first == trial.num_frames:
        return trial, points, ()
    note = f"Frames {first} to {last - 1} of {trial.num_frames} used: the others lack more than a fifth of the markers."
    cut = dataclasses.replace(trial, time=trial.time[first:last], markers=trial.markers[first:last])
    return cut, points[first:last], (note,)


def _shipped(motion: Path, moments: Path | None, mass: float) -> tuple[dict[str, np.ndarray], np.ndarray, str]:
    if moments is not None:
        found, time = shipped_moments(moments)
        return found, time, moments.name
    if motion.suffix.lower() == ".c3d":
        found, time = plug_in_gait_moments(motion, mass)
        return found, time, "Plug-in Gait moments in the C3D" if found else ""
    return {}, np.zeros(0), ""
