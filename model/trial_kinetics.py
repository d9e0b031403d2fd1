"""From the markers of a trial to its kinetics: prepare, place, solve, check against Newton, anchor.

Axis legend: T frames at 30 Hz, F = 2 feet (left, right), C contacts: left foot, right foot, rest; J joints, N bodies.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dataset.schema import FRAME_RATE, LabTrial, Subject
from dataset.skeleton import FEET, NUM_BODIES
from model.baselines import Predictor
from model.imdys import ImDyS
from model.kinetics import Kinetics
from model.physics.anchor import anchor_to_newton
from model.physics.quality import (
    MarkerNewton,
    newton_difference,
    newton_from_body,
    newton_from_segments,
    quality_flags,
)
from model.spread import SMALLEST_SUBSET, SpreadCalibration, load_calibration, spread, subsets
from model.trial_markers import TrialMarkers, prepare_markers
from model.trial_pose import TrialPose, check_person, find_pose
from model.weights import DEFAULT_WEIGHTS, load_solver
from model.window_forces import LEAST_MARKERS, WindowForces, edge_frames, solve_windows

Method = Literal["imdys", "imdys+physics"]
GATE = 0.5
"""Contact probability below which a body's force is taken as zero (`model.evaluate`)."""
LEAST_LOAD = 0.015
"""Vertical force below which a foot has no centre of pressure [N/kg]: about 1 N."""
MASS_RANGE = (5.0, 300.0)
"""Body masses that are believed [kg]."""
_REST = [n for n in range(NUM_BODIES) if not any(n in foot for foot in FEET)]


@dataclass(frozen=True, kw_only=True)
class TrainedSolver:
    """A solver ready to predict."""

    model: ImDyS
    """The network."""
    name: str
    """Where it came from."""
    calibration: SpreadCalibration | None = None
    """Calibration of its uncertainty, if there is one beside the weights."""


def load_trained(weights: str | Path = DEFAULT_WEIGHTS) -> TrainedSolver:
    """Read weights and, where there is one, the calibration beside them.

    Raises:
        ValueError: weights missing or unreadable.
    """
    return TrainedSolver(model=load_solver(weights), name=Path(weights).stem, calibration=load_calibration(weights))


def predict_trial(
    trial: LabTrial,
    mass: float,
    *,
    solver: TrainedSolver | None = None,
    height: float | None = None,
    subject: Subject | None = None,
    method: Method = "imdys+physics",
    mass_source: str = "given",
) -> Kinetics:
    """Ground reaction of both feet and joint torques of a trial from its markers.

    Args:
        trial: Trial as read; its plates are not looked at.
        mass: Body mass [kg].
        solver: Trained solver; the shipped one if None.
        height: Standing height [m]; the trial's own if None, found from the markers if that is None too.
        subject: Fitted person from another trial (`model.trial_pose`), so that it need not be fitted again.
        method: `imdys`: the solver alone; `imdys+physics`: anchored to Newton where the markers allow it.
        mass_source: Where the mass comes from, for the record.

    Returns:
        Kinetics at 30 Hz from the trial's first frame on, world frame.

    Raises:
        ValueError: mass not plausible, person outside the body's range, trial too short, no pelvis to be found, too few
            markers in every frame, or no weights.
    """
    if not (np.isfinite(mass) and MASS_RANGE[0] <= mass <= MASS_RANGE[1]):
        raise ValueError(
            f"{trial.path}: mass: expected {MASS_RANGE[0]:g} to {MASS_RANGE[1]:g} kg, got {mass:g}; pass --mass in kg"
        )
    solver = solver or load_trained()
    height, height_source = (trial.height, "from the file") if height is None else (height, "given")
    markers = prepare_markers(trial)
    try:
        if subject is None:
            check_person(mass, height, height_source=height_source)
        pose = find_pose(markers, mass=mass, height=height, name=trial.name, subject=subject)
    except ValueError as error:
        raise ValueError(f"{trial.path}: {error}") from None
    used = [m for m, label in enumerate(markers.names) if label not in dict(pose.left_out)]
    tracks = markers.markers_TM3[:, used]
    answer = solve_windows(solver.model, tracks, pose.pelvis_T3, pose.heading_T)
    if not np.isfinite(answer.grf_TN3).any():
        raise ValueError(
            f"{trial.path}: markers: expected a stretch of 0.2 s with a pelvis and at least {LEAST_MARKERS} complete "
            f"markers, found at most {int(answer.num_markers_T.max())} markers; fill the gaps in the capture software"
        )
    newton, newton_notes = _newton(trial, markers, pose)
    notes = (*trial.notes, *markers.notes, *pose.notes, *newton_notes, *_coverage(answer))
    deviation, meaning = _deviation(solver, tracks, pose)
    kinetics = _assemble(trial, markers, pose, answer, newton, deviation, mass, used)
    kinetics = dataclasses.replace(
        kinetics, mass_source=mass_source, uncertainty=meaning, weights=solver.name, notes=notes
    )
    return anchored(kinetics) if method == "imdys+physics" else kinetics


def anchored(kinetics: Kinetics) -> Kinetics:
    """The same kinetics with forces anchored to Newton (`model.physics.anchor`); unchanged where Newton is unknown.

    Centres of pressure, torques, standard deviations and the check against Newton stay the solver's.
    """
    if not np.isfinite(kinetics.newton_T3).any():
        return kinetics
    contacts = np.concatenate([kinetics.grf_TF3, kinetics.rest_grf_T3[:, None]], axis=1)
    moved = kinetics.mass * anchor_to_newton(contacts / kinetics.mass, kinetics.newton_T3 / kinetics.mass)
    return dataclasses.replace(kinetics, grf_TF3=moved[:, :2], rest_grf_T3=moved[:, 2], method="imdys+physics")


def solver_predictors(solver: TrainedSolver) -> dict[str, Predictor]:
    """The solver alone and anchored, as predictors of `model.evaluate_lab`; a trial is solved once for both."""
    last: list[tuple[LabTrial, float, Kinetics]] = []

    def solve(trial: LabTrial, mass: float) -> Kinetics:
        if not (last and last[0][0] is trial and last[0][1] == mass):
            last[:] = [(trial, mass, predict_trial(trial, mass, solver=solver, method="imdys"))]
        return last[0][2]

    return {
        "imdys": lambda trial, mass: solve(trial, mass).foot_forces(),
        "imdys+physics": lambda trial, mass: anchored(solve(trial, mass)).foot_forces(),
    }


def contact_forces(answer: WindowForces) -> np.ndarray:
    """Force on left foot, right foot and the rest of the body [N/kg], gated by contact, shape (T, C, 3)."""
    grf = answer.gated(GATE)
    return np.stack([grf[:, list(bodies)].sum(axis=1) for bodies in (*FEET, _REST)], axis=1)


def _coverage(answer: WindowForces) -> list[str]:
    """Notes on frames with few markers or no answer."""
    notes, frames = [], len(answer.num_markers_T)
    few = int((answer.num_markers_T < SMALLEST_SUBSET).sum())
    if few:
        notes.append(
            f"{few} of {frames} frames show fewer than the {SMALLEST_SUBSET} markers of the smallest training subset: expect "
            "larger errors there."
        )
    silent = int(np.isnan(answer.grf_TN3[:, 0, 0]).sum())
    if silent:
        notes.append(f"{silent} of {frames} frames have no answer (NaN): the pelvis or most markers are missing.")
    return notes


def _deviation(solver: TrainedSolver, tracks: np.ndarray, pose: TrialPose) -> tuple[np.ndarray, str]:
    """Standard deviation of the foot forces [N/kg], shape (T, F, 3), and what it means."""
    chosen = subsets(tracks.shape[1])
    if not chosen:
        return np.full((len(tracks), 2, 3), np.nan), "not estimated: too few markers to leave some out"
    answers = [solve_windows(solver.model, tracks, pose.pelvis_T3, pose.heading_T, subset=part) for part in chosen]
    width = spread(np.stack([contact_forces(item)[:, :2] for item in answers]))
    text = f"spread over {len(chosen)} random subsets of {len(chosen[0])} markers, "
    if solver.calibration is None:
        return width, text + "not calibrated: smaller than the error"
    return solver.calibration.deviation(width), text + (
        "scaled to the errors on held-out simulated motion; what simulation does not contain is not in it"
    )


def _newton(trial: LabTrial, markers: TrialMarkers, pose: TrialPose) -> tuple[MarkerNewton | None, list[str]]:
    """Newton's total from the segments, else from the fitted body, else none; and what was assumed."""
    try:
        found = newton_from_segments(trial, markers.time_T)
        return found, list(found.notes)
    except ValueError as error:
        reason = str(error).removeprefix(f"{trial.path}: ")
    if pose.body is None or pose.motion is None or pose.is_fitted_T is None:
        return None, [f"No check against Newton and no anchoring: {reason}."]
    found = newton_from_body(pose.body, pose.motion, pose.is_fitted_T)
    return found, [f"The centre of mass is that of the fitted body: {reason}."]


def _assemble(
    trial: LabTrial,
    markers: TrialMarkers,
    pose: TrialPose,
    answer: WindowForces,
    newton: MarkerNewton | None,
    deviation: np.ndarray,
    mass: float,
    used: list[int],
) -> Kinetics:
    """Kinetics of the solver alone: newtons, and positions back in the file's world, off the belt, at its floor."""
    frames, contacts = len(answer.grf_TN3), contact_forces(answer)
    unknown = np.full((frames, 3), np.nan)
    difference = unknown[:, 0] if newton is None else newton_difference(contacts.sum(axis=1), newton.force_T3)
    is_edge = edge_frames(frames)
    shift = np.concatenate([-markers.belt_shift(), np.full((frames, 1), markers.floor)], axis=1)
    told = np.zeros(frames, dtype=bool) if pose.is_fitted_T is None else pose.is_fitted_T
    joints, quat = pose.joint_pos(), pose.body_quat()
    joints = np.full((frames, NUM_BODIES, 3), np.nan) if joints is None else joints + shift[:, None]
    quat = np.full((frames, NUM_BODIES, 4), np.nan) if quat is None else quat
    is_loaded = contacts[:, :2, 2] > LEAST_LOAD
    return Kinetics(
        time_T=markers.time_T,
        grf_TF3=mass * contacts[:, :2],
        grf_sd_TF3=mass * deviation,
        rest_grf_T3=mass * contacts[:, 2],
        newton_T3=unknown if newton is None else mass * newton.force_T3,
        cop_TF2=np.where(is_loaded[:, :, None], answer.cop_TE2 + shift[:, None, :2], np.nan),
        contact_TF=np.stack([answer.contact_TN[:, list(foot)].max(axis=1) for foot in FEET], axis=1),
        torque_TJ3=mass * FRAME_RATE * answer.impulse_TJ3,
        torque_has_frame_T=told,
        newton_difference_T=difference,
        quality_T=quality_flags(difference, is_edge | (answer.num_markers_T < SMALLEST_SUBSET)),
        is_edge_T=is_edge,
        num_markers_T=answer.num_markers_T,
        com_T3=unknown if newton is None else newton.com_T3 + shift * (newton.source != "segments"),
        markers_TM3=markers.markers_TM3[:, used] + shift[:, None],
        marker_names=tuple(markers.names[m] for m in used),
        left_out=(*markers.left_out, *pose.left_out),
        joint_pos_TN3=np.where(told[:, None, None], joints, np.nan),
        body_quat_TN4=np.where(told[:, None, None], quat, np.nan),
        forward_3=_mean_forward(pose),
        floor=markers.floor,
        mass=float(mass),
        mass_source="",
        method="imdys",
        uncertainty="",
        weights="",
        source=trial.path,
        name=trial.name,
        rot_world_lab=trial.rot_world_lab,
    )


def _mean_forward(pose: TrialPose) -> np.ndarray:
    """Unit horizontal direction that the pelvis faces on average, world, shape (3,)."""
    heading = pose.heading_T[np.isfinite(pose.heading_T) & np.isfinite(pose.pelvis_T3[:, 0])]
    mean = np.array([np.cos(heading).mean(), np.sin(heading).mean(), 0.0])
    length = float(np.linalg.norm(mean))
    return mean / length if length > 0.1 else np.array([1.0, 0.0, 0.0])  # who spins on the spot faces nowhere
