"""Forces and torques of a real trial: `python -m model.predict trial.c3d --out DIR [--mass KG] [--compare]`.

Writes `kinetics.npz` (`model.kinetics`), `grf.mot` (OpenSim external loads, Y up) and `report.html`, one file that shows
what came out, what was done to the data and how far it can be trusted.

Axis legend: T frames at 30 Hz, F = 2 feet (left, right), J joints, S marker subsets.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from dataset.lab.external_loads import write_grf_mot
from dataset.lab.plates import measure_feet
from dataset.lab.read import read_trial
from dataset.lab.static_mass import static_mass
from dataset.schema import FRAME_RATE, LabTrial
from dataset.skeleton import FEET, NUM_BODIES
from model.imdys import ImDyS
from model.kinetics import Kinetics, write_kinetics
from model.physics.anchor import anchor_to_newton
from model.physics.mass import mass_from_forces
from model.physics.quality import (
    MarkerNewton,
    newton_difference,
    newton_from_body,
    newton_from_segments,
    quality_flags,
)
from model.spread import SMALLEST_SUBSET, SpreadCalibration, load_calibration, spread, subsets
from model.trial_markers import TrialMarkers, prepare_markers
from model.trial_pose import TrialPose, find_pose
from model.weights import DEFAULT_WEIGHTS, load_solver
from model.window_forces import LEAST_MARKERS, WindowForces, edge_frames, solve_windows

Method = Literal["imdys", "imdys+physics"]
GATE = 0.5
"""Contact probability below which a body's force is taken as zero (`model.evaluate`)."""
LEAST_LOAD = 0.015
"""Vertical force below which a foot has no centre of pressure [N/kg]: about 1 N."""
MASS_RANGE = (5.0, 300.0)
"""Body masses that are believed [kg]."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Predict ground reaction forces and joint torques of a trial from its markers."""

    trial: tyro.conf.Positional[Path]
    """Marker file: C3D or TRC."""
    out: Path = Path("prediction")
    """Folder for kinetics.npz, grf.mot and report.html."""
    mass: float | None = None
    """Body mass [kg]; default: that of the static trial or of the file."""
    static: Path | None = None
    """Trial of quiet standing on the plates to take the mass from."""
    mass_from_forces: bool = False
    """Take the mass from this trial's own force plates (then the prediction is not from markers alone)."""
    height: float | None = None
    """Standing height [m]; default: that of the file, else found from the markers."""
    forces: Path | None = None
    """MOT or STO file with measured forces, for --compare."""
    compare: bool = False
    """Overlay the measured forces and show the errors of this prediction and of the baselines."""
    weights: Path = DEFAULT_WEIGHTS
    """Trained solver."""
    method: Method = "imdys+physics"
    """`imdys`: the solver alone; `imdys+physics`: its slow total replaced by Newton's (`model.physics.anchor`)."""


@dataclass(frozen=True, kw_only=True)
class TrainedSolver:
    """A solver ready to predict."""

    model: ImDyS
    """The network."""
    name: str
    """Where it came from."""
    calibration: SpreadCalibration | None = None
    """Calibration of its uncertainty, if there is one beside the weights."""


@dataclass(frozen=True, kw_only=True)
class PredictResult:
    """What a prediction made."""

    kinetics: Kinetics
    """The prediction."""
    files: tuple[Path, ...]
    """Files written."""
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    """Errors against measured forces by method (with --compare)."""


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
    method: Method = "imdys+physics",
    mass_source: str = "given",
) -> Kinetics:
    """Ground reaction of both feet and joint torques of a trial from its markers.

    Args:
        trial: Trial as read; its plates are not looked at.
        mass: Body mass [kg].
        solver: Trained solver; the shipped one if None.
        height: Standing height [m]; the trial's own if None, found from the markers if that is None too.
        method: `imdys` or `imdys+physics`.
        mass_source: Where the mass comes from, for the record.

    Returns:
        Kinetics at 30 Hz from the trial's first frame on, world frame.

    Raises:
        ValueError: mass not plausible, trial too short, no pelvis to be found, too few markers in every frame, or no
            weights.
    """
    if not (np.isfinite(mass) and MASS_RANGE[0] <= mass <= MASS_RANGE[1]):
        raise ValueError(
            f"{trial.path}: mass: expected {MASS_RANGE[0]:g} to {MASS_RANGE[1]:g} kg, got {mass:g}; pass --mass in kg"
        )
    solver = solver or load_trained()
    height = height or trial.height
    markers = prepare_markers(trial)
    try:
        pose = find_pose(markers, mass=mass, height=height, name=trial.name)
    except ValueError as error:
        raise ValueError(f"{trial.path}: {error}") from None
    used = [m for m, label in enumerate(markers.names) if label not in dict(pose.left_out)]
    tracks = markers.markers_TM3[:, used]
    answer = solve_windows(solver.model, tracks, pose.pelvis_T3, pose.heading_T)
    _refuse_silence(trial, answer)
    contacts = _contacts(answer)
    deviation, meaning = _deviation(solver, tracks, pose)
    newton, newton_note = _newton(trial, markers, pose)
    difference = np.full(len(tracks), np.nan)
    notes = [*trial.notes, *markers.notes, *pose.notes]
    if newton is not None:
        difference = newton_difference(contacts.sum(axis=1), newton.force_T3)
        notes += newton.notes
    else:
        notes.append(newton_note)
    if method == "imdys+physics" and newton is not None:
        contacts = anchor_to_newton(contacts, newton.force_T3)
    is_edge = edge_frames(len(tracks))
    few = answer.num_markers_T < SMALLEST_SUBSET
    if few.any():
        notes.append(
            f"{int(few.sum())} of {len(few)} frames show fewer than the {SMALLEST_SUBSET} markers of the smallest training "
            "subset: expect larger errors there."
        )
    silent = int(np.isnan(contacts[:, 0, 0]).sum())
    if silent:
        notes.append(f"{silent} of {len(few)} frames have no answer (NaN): pelvis or more than a few markers are missing.")
    return _assemble(
        trial, markers, pose, answer, contacts, mass=mass, mass_source=mass_source, used=used,
        deviation=deviation, uncertainty=meaning, difference=difference,
        quality=quality_flags(difference, is_edge | few), is_edge=is_edge, newton=newton,
        method=method if newton is not None else "imdys", weights=solver.name, notes=tuple(notes),
    )  # fmt: skip


def _contacts(answer: WindowForces) -> np.ndarray:
    """Force on left foot, right foot and the rest of the body [N/kg], shape (T, 3, 3)."""
    grf = answer.gated(GATE)
    rest = [n for n in range(NUM_BODIES) if not any(n in foot for foot in FEET)]
    return np.stack([grf[:, list(bodies)].sum(axis=1) for bodies in (*FEET, rest)], axis=1)


def _refuse_silence(trial: LabTrial, answer: WindowForces) -> None:
    if np.isfinite(answer.grf_TN3).any():
        return
    raise ValueError(
        f"{trial.path}: markers: expected a stretch of 0.2 s with a pelvis and at least {LEAST_MARKERS} complete markers, "
        f"found at most {int(answer.num_markers_T.max())} markers; fill the gaps in the capture software"
    )


def _deviation(solver: TrainedSolver, tracks: np.ndarray, pose: TrialPose) -> tuple[np.ndarray, str]:
    """Standard deviation of the foot forces [N/kg], shape (T, F, 3), and what it means."""
    chosen = subsets(tracks.shape[1])
    if not chosen:
        return np.full((len(tracks), 2, 3), np.nan), "not estimated: too few markers to leave some out"
    answers = [solve_windows(solver.model, tracks, pose.pelvis_T3, pose.heading_T, subset=part) for part in chosen]
    width = spread(np.stack([_contacts(item)[:, :2] for item in answers]))
    if solver.calibration is None:
        return width, (
            f"spread over {len(chosen)} random subsets of {len(chosen[0])} markers, not calibrated: smaller than the error"
        )
    return solver.calibration.deviation(width), (
        f"spread over {len(chosen)} random subsets of {len(chosen[0])} markers, scaled to the errors on held-out simulated "
        "motion; what simulation does not contain is not in it"
    )


def _newton(trial: LabTrial, markers: TrialMarkers, pose: TrialPose) -> tuple[MarkerNewton | None, str]:
    """Newton's total from the segments, else from the fitted body, else the reason why there is none."""
    try:
        return newton_from_segments(trial, markers.time_T), ""
    except ValueError as error:
        reason = str(error).removeprefix(f"{trial.path}: ")
    if pose.body is not None and pose.motion is not None and pose.is_fitted_T is not None:
        return newton_from_body(pose.body, pose.motion, pose.is_fitted_T), ""
    return None, f"No check against Newton and no anchoring: {reason}."


def _assemble(
    trial: LabTrial,
    markers: TrialMarkers,
    pose: TrialPose,
    answer: WindowForces,
    contacts: np.ndarray,
    *,
    mass: float,
    mass_source: str,
    used: list[int],
    deviation: np.ndarray,
    uncertainty: str,
    difference: np.ndarray,
    quality: np.ndarray,
    is_edge: np.ndarray,
    newton: MarkerNewton | None,
    method: str,
    weights: str,
    notes: tuple[str, ...],
) -> Kinetics:
    """Forces in newtons and positions back in the file's world, off the belt and at the floor's height."""
    frames = len(contacts)
    shift = np.concatenate([-markers.belt_shift(), np.full((frames, 1), markers.floor)], axis=1)
    joints, quat = pose.joint_pos(), pose.body_quat()
    told = np.zeros(frames, dtype=bool) if pose.is_fitted_T is None else pose.is_fitted_T
    joints = np.full((frames, NUM_BODIES, 3), np.nan) if joints is None else joints + shift[:, None]
    quat = np.full((frames, NUM_BODIES, 4), np.nan) if quat is None else quat
    unloaded = ~(contacts[:, :2, 2] > LEAST_LOAD)
    cop = np.where(unloaded[:, :, None], np.nan, answer.cop_TE2 + shift[:, None, :2])
    return Kinetics(
        time_T=markers.time_T, grf_TF3=mass * contacts[:, :2], grf_sd_TF3=mass * deviation,
        rest_grf_T3=mass * contacts[:, 2], cop_TF2=cop,
        contact_TF=np.stack([answer.contact_TN[:, list(foot)].max(axis=1) for foot in FEET], axis=1),
        torque_TJ3=mass * FRAME_RATE * answer.impulse_TJ3, torque_has_frame_T=told,
        newton_difference_T=difference, quality_T=quality, is_edge_T=is_edge, num_markers_T=answer.num_markers_T,
        com_T3=np.full((frames, 3), np.nan) if newton is None else newton.com_T3,
        markers_TM3=markers.markers_TM3[:, used] + shift[:, None],
        marker_names=tuple(markers.names[m] for m in used), left_out=(*markers.left_out, *pose.left_out),
        joint_pos_TN3=np.where(told[:, None, None], joints, np.nan), body_quat_TN4=np.where(told[:, None, None], quat, np.nan),
        forward_3=_mean_forward(pose), floor=markers.floor, mass=float(mass), mass_source=mass_source, method=method, uncertainty=uncertainty,
        weights=weights, source=trial.path, name=trial.name, rot_world_lab=trial.rot_world_lab, notes=notes,
    )  # fmt: skip


def _mean_forward(pose: TrialPose) -> np.ndarray:
    """Unit horizontal direction that the pelvis faces on average, world, shape (3,)."""
    heading = pose.heading_T[np.isfinite(pose.heading_T) & np.isfinite(pose.pelvis_T3[:, 0])]
    mean = np.array([np.cos(heading).mean(), np.sin(heading).mean(), 0.0])
    length = float(np.linalg.norm(mean))
    return mean / length if length > 0.1 else np.array([1.0, 0.0, 0.0])  # who spins on the spot faces nowhere


def choose_mass(cfg: PredictConfig, trial: LabTrial) -> tuple[float, str]:
    """Body mass [kg] and where it comes from: given, static trial, this trial's plates if asked, or the file.

    Raises:
        ValueError: none of them, or the static trial or the plates do not give one.
    """
    if cfg.mass is not None:
        return cfg.mass, "given"
    if cfg.static is not None:
        return static_mass(read_trial(cfg.static, require_known=False)), f"static trial {cfg.static.name}"
    if cfg.mass_from_forces:
        return mass_from_forces(trial, measure_feet(trial)), "force plates of this trial"
    if trial.mass is not None:
        return trial.mass, "file"
    raise ValueError(
        f"{trial.path}: mass: expected the body mass in the file, found none; pass --mass KG, or --static with a trial of "
        "quiet standing on the plates" + (", or --mass-from-forces" if trial.plates or trial.foot_wrench is not None else "")
    )


def main(cfg: PredictConfig) -> PredictResult:
    """Predict a trial and write its files.

    Raises:
        ValueError: bad input: the text names file, field, expected, found and what to do.
        FileNotFoundError: a file does not exist.
    """
    from model.report import write_report

    trial = read_trial(cfg.trial, cfg.forces)
    mass, source = choose_mass(cfg, trial)
    comparison = None
    solver = load_trained(cfg.weights)
    kinetics = predict_trial(
        trial, mass, solver=solver, height=cfg.height, method=cfg.method, mass_source=source
    )  # fmt: skip
    if cfg.compare:
        from model.comparison import compare_methods

        comparison = compare_methods(trial, kinetics)
    cfg.out.mkdir(parents=True, exist_ok=True)
    files = [cfg.out / name for name in ("kinetics.npz", "grf.mot", "report.html")]
    write_kinetics(files[0], kinetics)
    write_mot(files[1], kinetics)
    write_report(files[2], kinetics, trial, comparison)
    errors = {} if comparison is None else {name: asdict(item) for name, item in comparison.methods.items()}
    return PredictResult(kinetics=kinetics, files=tuple(files), errors=errors)


def write_mot(path: Path, kinetics: Kinetics) -> None:
    """Write grf.mot for OpenSim: Y up, frames without an answer as zero force, free moment zero (it is not predicted)."""
    known = np.isfinite(kinetics.grf_TF3).all(axis=(1, 2))
    grf = np.where(known[:, None, None], kinetics.grf_TF3, 0.0)
    write_grf_mot(path, kinetics.time_T, grf, kinetics.cop_TF2, np.zeros(grf.shape[:2]))


def _cli() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    cfg = tyro.cli(PredictConfig)
    try:
        result = main(cfg)
    except (ValueError, OSError) as error:
        print("predict: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    from model.report import summary_text

    print(summary_text(result.kinetics, result.errors))
    print(*(f"wrote {path}" for path in result.files), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(_cli())
