"""Everything that the study says about one walk against the expert: by cycle, and over the whole walk.

`joint_rmse_deg`, `joint_rmse_deg_mean_cycle`, `moment_rmse_nm_kg`, `moment_r`
    by joint and cycle, both legs together on 0-100 %; `mean_cycle` against the expert's mean cycle as in the paper's figure 5.
`cop_rmse_pct_fl`
    by cycle, fore-aft, where both walk and expert press more than the threshold. `stance_missed` and `swing_touched` are the
    shares of the expert's stance and swing in which the walk's foot is not, or is, loaded.
`cpcc_magnitude`, `cpcc_phase_rad`
    by cycle: |ρ| and |arg ρ| of the sagittal ground reaction over the expert's stance, mean of the feet.
`heading_error_deg`
    over the whole walk: how far the pelvis faces elsewhere; forces are compared along the expert's direction.
`moment_rmse_nm_kg_substeps`
    by joint over the whole walk: the torque of single substeps, whose ripple means over control steps hide.

Axis legend: N control steps, C cycles, F = 2 feet (left, right).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dataset.rotation import to_matrix
from dataset.skeleton import GRAVITY
from sim.gait.evaluate import Walk
from sim.gait.expert_file import Expert
from sim.gait.segments import NUM_COORDINATES
from sim.gait.signals import JOINTS, Signals, columns
from sim.gait.study_metrics import (
    by_cycle,
    cycle_correlation,
    cycle_rmse,
    profile_rmse,
    rms,
    stance_correlations,
    stance_rmse,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Measures:
    """One walk against the expert; names as in the module's text, values by cycle of shape (C,), NaN where a cycle has none."""

    fell: bool
    """Whether the walk ended early; measures are those of the cycles before."""
    share_walked: float
    """Share of the trial that was walked."""
    cycles: Mapping[str, np.ndarray]
    """Measures by cycle."""
    joints: Mapping[str, Mapping[str, np.ndarray]]
    """Measures by joint and cycle."""
    whole: Mapping[str, float]
    """Numbers of the whole walk."""
    whole_joints: Mapping[str, Mapping[str, float]]
    """Numbers of the whole walk by joint."""


def measure_walk(expert: Expert, there: Signals, walk: Walk, mine: Signals) -> Measures:
    """Compare a walk with the expert.

    Args:
        expert: The measured walk.
        there: Its signals.
        walk: The simulated walk; at least one step.
        mine: Its signals.
    """
    steps, strikes = walk.num_steps, _strikes(expert, walk.num_steps)
    right = strikes[1]

    def each(measure: Callable[..., np.ndarray], name: str) -> dict[str, np.ndarray]:
        first, second = getattr(mine, name), getattr(there, name)[: steps + 1]
        return {joint: measure(first[:, columns(joint)], second[:, columns(joint)], right) for joint in JOINTS}

    off = np.where(mine.loaded & there.loaded[:steps], mine.cop - there.cop[:steps], np.nan)
    magnitude, phase = _reaction_correlation(mine, there, strikes)
    return Measures(
        fell=walk.fell, share_walked=steps / (expert.num_frames - 1),
        cycles={"cop_rmse_pct_fl": stance_rmse(off, right), "cpcc_magnitude": magnitude, "cpcc_phase_rad": phase},
        joints={
            "joint_rmse_deg": each(cycle_rmse, "angle"), "joint_rmse_deg_mean_cycle": each(profile_rmse, "angle"),
            "moment_rmse_nm_kg": each(cycle_rmse, "moment"), "moment_r": each(cycle_correlation, "moment"),
        },
        whole=_whole(expert, there, walk, mine), whole_joints=_whole_joints(expert, there, walk, mine),
    )  # fmt: skip


def _strikes(expert: Expert, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Heel strikes (left, right) within the walked part."""
    left, right = (at[at <= steps + 1e-9] for at in expert.strikes)
    return left, right


def _reaction_correlation(
    mine: Signals, there: Signals, strikes: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """|ρ| and |arg ρ| of the sagittal ground reaction by cycle."""
    steps = mine.num_steps
    found = [
        np.array(
            stance_correlations(
                mine.force[:, foot, ::2], there.force[:steps, foot, ::2], there.loaded[:steps, foot], strikes[foot]
            ),
            dtype=complex,
        )
        for foot in range(2)
    ]
    begun = [at[:-1] for at in strikes]
    magnitude = by_cycle([np.abs(values) for values in found], begun, strikes[1])
    return magnitude, by_cycle([np.abs(np.angle(values)) for values in found], begun, strikes[1])


def _whole(expert: Expert, there: Signals, walk: Walk, mine: Signals) -> dict[str, float]:
    steps, mass = walk.num_steps, expert.body.total_mass
    loaded, loaded_there = mine.loaded, there.loaded[:steps]
    weight = mass * GRAVITY
    force, moment = (np.linalg.norm(part, axis=1) for part in (walk.residual[:, :3], walk.residual[:, 3:]))
    error = 100.0 * rms(mine.force - there.force[:steps], axis=(0, 1))
    return {
        **{f"{name}_reward": float(walk.rewards[name].mean()) for name in ("kinematic", "grf", "cop")},
        "mean_vertical_bw": float(mine.force[..., 2].sum(axis=1).mean()),
        "grf_rmse_forward_pct_bw": float(error[0]), "grf_rmse_left_pct_bw": float(error[1]),
        "grf_rmse_up_pct_bw": float(error[2]),
        "heading_error_deg": float(np.degrees(rms(_heading(walk.qpos) - _heading(expert.qpos[: steps + 1])))),
        "stance_missed": _share(loaded_there & ~loaded, loaded_there),
        "swing_touched": _share(loaded & ~loaded_there, ~loaded_there),
        "residual_force_n": float(rms(force)), "residual_force_pct_bw": float(100.0 * rms(force) / weight),
        "residual_moment_nm": float(rms(moment)), "residual_moment_nm_kg": float(rms(moment) / mass),
    }  # fmt: skip


def _whole_joints(expert: Expert, there: Signals, walk: Walk, mine: Signals) -> dict[str, dict[str, float]]:
    steps, substeps = walk.num_steps, walk.torque.shape[1]
    torque = walk.torque / expert.body.total_mass
    wanted = _at_substeps(there.moment[: steps + 1], substeps)
    return {
        "joint_rmse_deg_trial": {
            joint: float(rms((mine.angle - there.angle[: steps + 1])[:, columns(joint)])) for joint in JOINTS
        },
        "moment_rmse_nm_kg_trial": {
            joint: float(rms((mine.moment - there.moment[: steps + 1])[:, columns(joint)])) for joint in JOINTS
        },
        "moment_rmse_nm_kg_substeps": {
            joint: float(rms((torque - wanted)[..., columns(joint)])) for joint in JOINTS
        },
    }  # fmt: skip


def _at_substeps(values: np.ndarray, substeps: int) -> np.ndarray:
    """Frames' values (N + 1, 17) at the middles of the substeps by linear interpolation, shape (N, S, 17)."""
    part = ((np.arange(substeps) + 0.5) / substeps)[None, :, None]
    return (values[:-1, None] + part * (values[1:, None] - values[:-1, None])).reshape(-1, substeps, NUM_COORDINATES)


def _heading(qpos: np.ndarray) -> np.ndarray:
    """Direction that the pelvis faces [rad], without jumps, shape (T,)."""
    facing = to_matrix(qpos[:, 3:7])[:, :, 0]
    return np.unwrap(np.arctan2(facing[:, 1], facing[:, 0]))


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else np.nan
