"""What a policy reaches on an expert's trial, in one short run of many walkers: the figures that a sweep compares.

The mean policy, without noise, walks from frames spread over the first second to the end of the trial. Whatever is compared
with the measurement is taken over all steps up to the end or a fall. (The study's own evaluation goes by cycles.)

Axis legend: N steps that counted, F = 2 feet (left, right).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dataset.lab.plates import center_of_pressure
from dataset.skeleton import GRAVITY
from sim.gait.environment import GaitEnvironment
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.expert_file import Expert
from sim.gait.foot_line import foot_line
from sim.gait.kinematics import place
from sim.gait.segments import COORDINATES

JOINTS = ("hip_flexion", "knee_angle", "ankle_angle")
"""Sagittal joints whose moments are compared."""
STANCE_FORCE = 20.0
"""Vertical force above which a foot, simulated and measured, stands [N] (the paper's heel-strike threshold)."""


@dataclass(frozen=True, kw_only=True)
class WalkScore:
    """One policy on one trial."""

    finished: float
    """Share of the walkers that reach the end of the trial."""
    seconds: float
    """Mean time before the end or a fall [s]."""
    kinematic: float
    """Mean R^k."""
    grf: float
    """Mean R^grf."""
    cop: float
    """Mean R^cop."""
    joint_rmse_deg: float
    """Largest RMSE of a joint angle, of the hip, knee and ankle flexions [deg]."""
    cop_rmse_pct_fl: float
    """RMSE of the fore-aft centre of pressure in stance, foot frame [% foot length]."""
    grf_rmse_pct_bw: float
    """RMSE of fore-aft and vertical forces, over both feet [% body weight]."""
    vertical_bw: float
    """Mean vertical ground reaction force of both feet [body weights]."""
    residual_force_pct_bw: float
    """Root mean square of the residual force's norm [% body weight]."""
    residual_moment: float
    """Root mean square of the residual moment's norm [N·m]."""
    moment_rmse_hip: float
    """RMSE of the flexion moment [N·m/kg], both sides."""
    moment_rmse_knee: float
    """RMSE of the flexion moment [N·m/kg], both sides."""
    moment_rmse_ankle: float
    """RMSE of the flexion moment [N·m/kg], both sides."""
    moment_r_hip: float
    """Pearson's r of the flexion moment, both sides; NaN where one of the two does not vary."""
    moment_r_knee: float
    """Pearson's r of the flexion moment, both sides."""
    moment_r_ankle: float
    """Pearson's r of the flexion moment, both sides."""
    drift_deg: float
    """Mean size of the heading's change over the walk [deg]."""


def score_walk(
    expert: Expert, config: EnvironmentConfig, act: Callable[[np.ndarray], np.ndarray], *, walkers: int = 8
) -> WalkScore:
    """Let a policy walk the trial.

    Args:
        expert: The measured walk, with forces in all intervals.
        config: Environment of the policy; episodes are not cut by time.
        act: Actions (B, 23) of observations (B, 46).
        walkers: Walkers B, which start at frames spread over the first second.
    """
    whole = dataclasses.replace(config, episode_steps=expert.num_frames)
    environment = GaitEnvironment(expert, whole, num_envs=walkers)
    observation = environment.reset_at(np.linspace(0, expert.rate, walkers).astype(np.int64))
    steps, alive = np.zeros(walkers, dtype=np.int64), np.ones(walkers, dtype=bool)
    finished = np.zeros(walkers, dtype=bool)
    begun = _heading(environment.qpos)
    turned = np.zeros(walkers)
    kept: dict[str, list[np.ndarray]] = {}
    while alive.any():
        observation, _, terminated, truncated, info = environment.step(act(observation))
        record = environment.last
        assert record is not None
        steps[alive] += 1
        turned[alive] = np.abs(np.angle(np.exp(1j * (_heading(record.qpos[alive, -1]) - begun[alive]))))
        row = {name: info[name] for name in ("kinematic", "grf", "cop", "residual_force", "residual_moment")}
        row |= {"wrench": record.ground.mean(axis=1), "torque": record.torque.mean(axis=1), "frame": record.frame}
        row["qpos"] = record.qpos[:, -1]
        for name, value in row.items():
            kept.setdefault(name, []).append(value[alive])
        finished |= alive & truncated
        alive &= ~(terminated | truncated)
    environment.close()
    found = {name: np.concatenate(values) for name, values in kept.items()}
    return WalkScore(
        finished=float(finished.mean()), seconds=float(steps.mean() / expert.rate),
        drift_deg=float(np.degrees(turned.mean())), **_figures(expert, found),
    )  # fmt: skip


def _heading(qpos: np.ndarray) -> np.ndarray:
    w, x, y, z = qpos[:, 3:7].T
    return np.arctan2(2.0 * (x * y + w * z), 1.0 - 2.0 * (y * y + z * z))


def _figures(expert: Expert, found: dict[str, np.ndarray]) -> dict[str, float]:
    body, at = expert.body, found["frame"]
    weight = body.total_mass * GRAVITY
    wrench, wanted = found["wrench"], expert.wrench[at - 1]
    force_error = (wrench - wanted)[..., [0, 2]] / weight
    stands = (wrench[..., 2] > STANCE_FORCE) & (wanted[..., 2] > STANCE_FORCE)
    own = foot_line(body, place(body, found["qpos"])).along(center_of_pressure(wrench, lowest=STANCE_FORCE))
    measured = foot_line(body, place(body, expert.qpos[at])).along(center_of_pressure(wanted, lowest=STANCE_FORCE))
    figures = {name: float(found[name].mean()) for name in ("kinematic", "grf", "cop")}
    figures |= {
        "cop_rmse_pct_fl": 100.0 * _rms((own - measured)[stands]) / body.foot_length,
        "grf_rmse_pct_bw": 100.0 * _rms(force_error),
        "vertical_bw": float(wrench[..., 2].sum(axis=1).mean() / weight),
        "residual_force_pct_bw": 100.0 * _rms(found["residual_force"]) / weight,
        "residual_moment": _rms(found["residual_moment"]),
    }
    angles, reference = found["qpos"][:, 7:], expert.qpos[at, 7:]
    moment = found["torque"] / body.total_mass
    expected = 0.5 * (expert.moment[at - 1] + expert.moment[at]) / body.total_mass
    worst = 0.0
    for joint in JOINTS:
        columns = [COORDINATES.index(f"{joint}_{side}") for side in "lr"]
        worst = max(worst, *(_rms((angles - reference)[:, column]) for column in columns))
        mine, theirs = moment[:, columns].ravel(), expected[:, columns].ravel()
        known = np.isfinite(theirs)
        name = joint.split("_")[0]
        figures[f"moment_rmse_{name}"] = _rms((mine - theirs)[known])
        figures[f"moment_r_{name}"] = _correlation(mine[known], theirs[known])
    return figures | {"joint_rmse_deg": float(np.degrees(worst))}


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r; NaN where one does not vary."""
    if not (np.ptp(first) > 0.0 and np.ptp(second) > 0.0):
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float("nan")
