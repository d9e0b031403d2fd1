"""The quantities in which a walk and the expert are compared, computed in the same way for both.

- Angles: joint angles at the frames.
- Moments: of a walk the torque that acted at each hinge (servo force with its damping, never the command), mean over one control
  interval about each frame; of the expert inverse dynamics of the measured motion and forces on the same model at that frame.
- Forces: means over each control step.
- Centre of pressure: of those means, ahead of the anatomical heel along the foot, which is taken midway between the step's ends.

Axis legend: T frames, N = T - 1 control steps, F = 2 feet (left, right).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from dataset.lab.plates import center_of_pressure
from dataset.skeleton import GRAVITY
from sim.gait.body import GaitBody
from sim.gait.evaluate import Walk
from sim.gait.expert_file import Expert
from sim.gait.foot_line import FootLine, foot_line
from sim.gait.kinematics import place
from sim.gait.segments import COORDINATES
from sim.gait.study_metrics import frame_means

JOINTS: Final = {
    "hip_flexion": ("hip_flexion_l", "hip_flexion_r"), "knee_flexion": ("knee_angle_l", "knee_angle_r"),
    "ankle_flexion": ("ankle_angle_l", "ankle_angle_r"), "hip_adduction": ("hip_adduction_l", "hip_adduction_r"),
    "hip_rotation": ("hip_rotation_l", "hip_rotation_r"), "ankle_inversion": ("ankle_inversion_l", "ankle_inversion_r"),
    "ankle_rotation": ("ankle_rotation_l", "ankle_rotation_r"), "trunk_extension": ("trunk_extension",),
    "trunk_bending": ("trunk_bending",), "trunk_rotation": ("trunk_rotation",),
}  # fmt: skip
"""Joints of the results and the coordinates (left, right, or one) that each pools."""
MAIN_JOINTS: Final = ("hip_flexion", "knee_flexion", "ankle_flexion")
"""The joints of the paper's figures 5 and 7."""
FEWEST_CYCLES: Final = 2
"""Cycles without which nothing can be compared cycle by cycle."""


def columns(joint: str) -> list[int]:
    """Indices of the coordinates that a joint pools."""
    return [COORDINATES.index(name) for name in JOINTS[joint]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Signals:
    """A walk, simulated or measured."""

    angle: np.ndarray
    """Joint angles [deg], shape (T, 17)."""
    moment: np.ndarray
    """Joint moments [N·m/kg], shape (T, 17)."""
    force: np.ndarray
    """Force of the ground on each foot, world, walking along +x [body weights], shape (N, F, 3)."""
    cop: np.ndarray
    """Centre of pressure ahead of the heel [% foot length], shape (N, F); NaN where not loaded."""
    loaded: np.ndarray
    """Feet that press more than the threshold, shape (N, F)."""

    @property
    def num_steps(self) -> int:
        """Control steps N."""
        return len(self.force)


def walk_signals(expert: Expert, walk: Walk, threshold: float) -> Signals:
    """Signals of a simulated walk of the expert's person; `threshold` [N] is the force above which a foot is loaded."""
    return _signals(expert.body, walk.qpos, frame_means(walk.torque), walk.wrench, threshold)


def expert_signals(expert: Expert, threshold: float) -> Signals:
    """Signals of the measured walk.

    Raises:
        ValueError: forces unknown in a part of the trial, or fewer than two whole cycles.
    """
    unknown = int((~np.isfinite(expert.wrench).all(axis=(1, 2))).sum())
    if unknown:
        raise ValueError(
            f"expert {expert.name}: forces: expected them in all {len(expert.wrench)} control steps, missing in {unknown}; use a "
            "trial on an instrumented treadmill"
        )
    cycles = max(len(expert.strikes[1]) - 1, 0)
    if cycles < FEWEST_CYCLES:
        raise ValueError(
            f"expert {expert.name}: cycles: expected at least {FEWEST_CYCLES} from right heel strike to right heel strike, found "
            f"{cycles}; use a longer trial"
        )
    return _signals(expert.body, expert.qpos, expert.moment, expert.wrench, threshold)


def _signals(body: GaitBody, qpos: np.ndarray, moment: np.ndarray, wrench: np.ndarray, threshold: float) -> Signals:
    line = foot_line(body, place(body, qpos))
    ahead = line.ahead[1:] + line.ahead[:-1]
    middle = FootLine(
        heel=0.5 * (line.heel[1:] + line.heel[:-1]), ahead=ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)
    )
    length = np.array([sole.foot_length for sole in body.soles])
    return Signals(
        angle=np.degrees(qpos[:, 7:]), moment=moment / body.total_mass,
        force=wrench[..., :3] / (body.total_mass * GRAVITY),
        cop=100.0 * middle.along(center_of_pressure(wrench, lowest=threshold)) / length,
        loaded=wrench[..., 2] > threshold,
    )  # fmt: skip
