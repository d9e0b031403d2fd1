"""From a measured trial to an expert: filters, ground frame, soles, inverse dynamics, cycles.

Axis legend: T frames of the trial, N frames at 30 Hz, F = 2 feet (left, right).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataset.lab.plates import LOAD_THRESHOLD, center_of_pressure, window_mean
from dataset.lab.trajectories import finite_runs
from dataset.skeleton import GRAVITY
from sim.gait.config import PhysicsConfig
from sim.gait.cycles import gait_phase, mean_and_spread, normalise_cycles
from sim.gait.expert_file import Expert
from sim.gait.foot_line import foot_line
from sim.gait.forces import FootForces, foot_forces
from sim.gait.inverse_dynamics import InverseDynamics, inverse_dynamics
from sim.gait.kinematics import place
from sim.gait.model import GaitModel, make_gait_model
from sim.gait.overground import Overground, find_overground
from sim.gait.segments import COORDINATES, SEGMENTS
from sim.gait.smooth import SmoothMotion, smooth_motion
from sim.gait.soles import level_soles
from sim.gait.sources import Measured

SHORTEST = 0.5
"""Walking with known forces that an expert needs [s]."""

CARRIED = (0.75, 1.25)
"""Mean vertical force of whole steps in body weights that is believed."""


@dataclass(frozen=True, kw_only=True)
class ExpertConfig:
    """How an expert is processed (paper: section IV.A)."""

    motion_cutoff: float = 6.0
    """Half-power frequency of the zero-lag fourth-order Butterworth on the coordinates [Hz] (paper)."""
    force_cutoff: float = 10.0
    """The same on the forces [Hz] (paper)."""
    cycles: int = 30
    """Cycles kept, the last ones (paper); fewer where the trial has fewer."""
    rate: float = 30.0
    """Frames per second of the expert: the control rate [Hz] (paper)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Analysis:
    """Inverse dynamics of a whole trial at its own rate."""

    gait: GaitModel
    """The person with levelled soles."""
    ground: Overground
    """Laboratory to ground."""
    motion: SmoothMotion
    """Low-passed motion over ground."""
    forces: FootForces
    """Forces of the feet over ground."""
    time: np.ndarray
    """Frames of the trial [s], shape (T,)."""
    qpos: np.ndarray
    """Poses at the frames, shape (T, 24)."""
    wrench: np.ndarray
    """Wrenches at the frames, shape (T, F, 6)."""
    dynamics: InverseDynamics
    """Moments and residuals at the frames."""


def analyse(measured: Measured, config: ExpertConfig, physics: PhysicsConfig | None = None) -> Analysis:
    """Filter a trial, put it on the ground, level the soles and compute the joint moments.

    Raises:
        ValueError: no usable forces, forces that do not carry the person's weight, feet that never rest, or no walking.
    """
    trial = measured.trial
    forces = foot_forces(trial, config.force_cutoff)
    if not forces.valid.any():
        raise ValueError(
            f"{trial.path}: forces: expected frames in which the force on both feet is known, found none "
            f"({'; '.join(forces.notes[:3]) or 'the plates see no complete step'}); give a trial with whole steps on plates"
        )
    ground = find_overground(trial.time, measured.qpos[:, :3], forces.belt_velocity)
    forces = dataclasses.replace(forces, wrench=ground.wrenches(forces.time, forces.wrench))
    motion = smooth_motion(trial.time, ground.poses(trial.time, measured.qpos), config.motion_cutoff)
    qpos, qvel, qacc = motion.at(trial.time)
    wrench = np.where(forces.valid[:, None, None], forces.at(trial.time), np.nan)
    _refuse_other_weight(measured, wrench)
    body = level_soles(measured.body, qpos, trial.marker_rate, wrench)
    gait = make_gait_model(body, physics)
    dynamics = inverse_dynamics(gait, qpos, qvel, qacc, wrench)
    return Analysis(
        gait=gait,
        ground=ground,
        motion=motion,
        forces=forces,
        time=trial.time,
        qpos=qpos,
        wrench=wrench,
        dynamics=dynamics,
    )


def _refuse_other_weight(measured: Measured, wrench: np.ndarray) -> None:
    """Refuse forces that cannot carry this person: another unit, another mass, or a plate that is missing."""
    known = np.isfinite(wrench).all(axis=(1, 2))
    carried = float(wrench[known, :, 2].sum(axis=1).mean() / (measured.body.total_mass * GRAVITY))
    if not CARRIED[0] <= carried <= CARRIED[1]:
        raise ValueError(
            f"{measured.trial.path}: forces: expected a mean vertical force of {CARRIED[0]} to {CARRIED[1]} body weights of a "
            f"person of {measured.body.total_mass:.1f} kg, found {carried:.3g}; check the unit of the forces (N), the mass, and "
            "that no plate is missing"
        )


def build_expert(measured: Measured, analysis: Analysis, config: ExpertConfig) -> Expert:
    """The expert of an analysed trial.

    Raises:
        ValueError: less than half a second with known forces.
    """
    forces, body = analysis.forces, analysis.gait.body
    start, stop, notes = _window(analysis, config)
    count = int(np.ceil((stop - start) * config.rate - 1e-6)) + 1  # the last strike lies between two frames
    count -= start + (count - 1) / config.rate > analysis.motion.stop
    grid = start + np.arange(count) / config.rate
    if len(grid) < SHORTEST * config.rate:
        raise ValueError(
            f"{measured.trial.path}: forces: expected at least {SHORTEST} s of walking with known forces, "
            f"found {len(grid) / config.rate:.2f} s; give a longer trial or one with more plates"
        )
    qpos, qvel, qacc = analysis.motion.at(grid)
    known = np.interp(grid, analysis.time, forces.valid.astype(float)) > 0.999
    middle = 0.5 * (grid[1:] + grid[:-1])
    wrench = window_mean(forces.time, forces.wrench, middle, 0.5 / config.rate)
    wrench[~(known[1:] & known[:-1])] = np.nan
    at_frames = np.where(known[:, None, None], forces.at(grid), np.nan)
    dynamics = inverse_dynamics(analysis.gait, qpos, qvel, qacc, at_frames)
    left, right = ((times - start) * config.rate for times in forces.heel_strikes)
    strikes = tuple(at[(at >= -1e-6) & (at <= len(grid) - 1 + 1e-6)].clip(0.0, len(grid) - 1.0) for at in (left, right))
    if len(strikes[1]) >= 2:
        phase = gait_phase(strikes[1], len(grid))
    else:
        phase = np.arange(len(grid)) / len(grid)
        notes.append("Fewer than two right heel strikes on plates: the phase runs over the clip, there are no cycles.")
    return Expert(
        name=measured.name, body=body, rate=config.rate, qpos=qpos, qvel=qvel, wrench=wrench, moment=dynamics.moment,
        phase=phase, strikes=(strikes[0], strikes[1]), cycles=cycle_statistics(analysis, start, stop),
        facts=_facts(measured, analysis, config, notes),
    )  # fmt: skip


def _window(analysis: Analysis, config: ExpertConfig) -> tuple[float, float, list[str]]:
    """First and last time of the expert [s] and notes: the last cycles of the right foot, or the longest known stretch."""
    time, valid = analysis.time, analysis.forces.valid
    runs = finite_runs(np.where(valid, 0.0, np.nan))
    first, last = max(runs, key=lambda run: run[1] - run[0])
    low, high = float(time[first]), float(time[last - 1])
    inside = [at for at in analysis.forces.heel_strikes[1] if low <= at <= high]
    if len(inside) < 2:
        return low, high, []
    kept = inside[-(config.cycles + 1) :]
    notes = (
        []
        if len(kept) == config.cycles + 1
        else [f"{len(kept) - 1} cycles with known forces where {config.cycles} were asked for."]
    )
    return kept[0], kept[-1], notes


def cycle_statistics(analysis: Analysis, start: float, stop: float) -> dict[str, np.ndarray]:
    """Mean and standard deviation over the cycles between two times, at the trial's own rate.

    `angle` [rad] and `moment` [N·m/kg] (101, 17), `grf` [body weights] (101, F, 3), `cop` along the foot from the heel [m]
    (101, F), each with `_sd`, and `count` (left, right). Quantities of a side run from that side's heel strike, others from
    the right's.
    """
    body, rate = analysis.gait.body, (len(analysis.time) - 1) / float(analysis.time[-1] - analysis.time[0])
    strikes = [
        (times[(times >= start - 1e-6) & (times <= stop + 1e-6)] - analysis.time[0]) * rate
        for times in analysis.forces.heel_strikes
    ]
    cop = center_of_pressure(analysis.wrench, lowest=LOAD_THRESHOLD)
    along = foot_line(body, place(body, analysis.qpos)).along(cop)
    out: dict[str, np.ndarray] = {"count": np.array([max(len(at) - 1, 0) for at in strikes])}
    of_coordinate = [0 if name.endswith("_l") else 1 for name in COORDINATES]
    for name, values, sides in (
        ("angle", analysis.qpos[:, 7:], of_coordinate),
        ("moment", analysis.dynamics.moment / body.total_mass, of_coordinate),
        ("grf", analysis.wrench[:, :, :3] / (body.total_mass * GRAVITY), [0, 1]),
        ("cop", along, [0, 1]),
    ):
        both = [mean_and_spread(normalise_cycles(values, at)) for at in strikes]
        for suffix, which in (("", 0), ("_sd", 1)):
            out[name + suffix] = np.stack([both[side][which][:, k] for k, side in enumerate(sides)], axis=1)
    return out


def _facts(measured: Measured, analysis: Analysis, config: ExpertConfig, notes: list[str]) -> dict[str, Any]:
    known = np.isfinite(analysis.wrench).all(axis=(1, 2))
    weight = analysis.gait.weight
    force, moment = analysis.dynamics.residual_force[known], analysis.dynamics.residual_moment[known]
    return {
        "config": dataclasses.asdict(config),
        "trial": measured.trial.path.rsplit("/", 1)[-1],
        "fit_error_mm": round(1e3 * measured.error, 3),
        "fit_error_mm_by_segment": {
            name: round(float(1e3 * value), 3)
            for name, value in zip(SEGMENTS, measured.segment_error)
            if np.isfinite(value)
        },
        "belt_speed": float(np.linalg.norm(analysis.ground.belt_velocity)),
        "walking_speed": analysis.forces.walking_speed,
        "seconds_known": float(known.mean() * (analysis.time[-1] - analysis.time[0])),
        "mean_vertical_bw": float(analysis.wrench[known, :, 2].sum(axis=1).mean() / weight),
        "residual_force_bw": (np.sqrt((force**2).mean(axis=0)) / weight).tolist(),
        "residual_moment_nm_kg": (np.sqrt((moment**2).mean(axis=0)) / analysis.gait.body.total_mass).tolist(),
        "notes": [*measured.notes, *analysis.forces.notes, *notes],
    }
