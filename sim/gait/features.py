"""What rewards and observations see of a state.

Axis legend: B states, J = 7 joints, F = 2 feet (left, right).
"""

from __future__ import annotations

import numpy as np

from sim.gait.body import GaitBody
from sim.gait.foot_line import FootLine, foot_line
from sim.gait.kinematics import place
from sim.gait.rewards import MotionFeatures
from sim.gait.segments import FEET, NUM_SEGMENTS, PARENTS

OBSERVATION_SIZE = 46
"""q without horizontal position (22), heading-aligned velocities (23), phase (paper, section III.A)."""
_TRUNK = 1


def heading(rot: np.ndarray) -> np.ndarray:
    """Rotation about the vertical that a pelvis orientation (B, 3, 3) faces: of its x axis on the ground, shape (B, 3, 3)."""
    yaw = np.arctan2(rot[:, 1, 0], rot[:, 0, 0])
    turn = np.zeros((len(rot), 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(yaw)
    turn[:, 1, 0] = np.sin(yaw)
    turn[:, 0, 1] = -turn[:, 1, 0]
    turn[:, 2, 2] = 1.0
    return turn


def motion_features(body: GaitBody, qpos: np.ndarray, qvel: np.ndarray) -> tuple[MotionFeatures, FootLine, np.ndarray]:
    """Features of states, their feet on the ground and their heading (B, 3, 3).

    Args:
        body: The person.
        qpos: Generalised positions, shape (B, 24).
        qvel: Generalised velocities, shape (B, 23).
    """
    placement = place(body, qpos)
    facing = heading(placement.rot[:, 0])
    ends = [placement.points(np.array([_TRUNK]), 2.0 * body.com[_TRUNK][None])]
    ends += [placement.points(np.array([segment]), body.soles[foot].center[None]) for foot, segment in enumerate(FEET)]
    reach = np.concatenate(ends, axis=1) - placement.origin[:, :1]
    parents = list(PARENTS[1:])
    features = MotionFeatures(
        joint_rot=placement.rot[:, parents].transpose(0, 1, 3, 2) @ placement.rot[:, 1:NUM_SEGMENTS],
        end_effector=reach @ facing,
        height=placement.origin[:, 0, 2],
        tilt=facing.transpose(0, 2, 1) @ placement.rot[:, 0],
        velocity=np.einsum("bji,bj->bi", facing, qvel[:, :3]),
        spin=qvel[:, 3:6],
    )
    return features, foot_line(body, placement), facing


def observe(
    features: MotionFeatures, qpos: np.ndarray, qvel: np.ndarray, phase: np.ndarray, quat: np.ndarray
) -> np.ndarray:
    """Observations of states, shape (B, 46), float32.

    Pelvis height, orientation (wxyz, w >= 0), joint angles; pelvis velocity and angular velocity in the heading frame, joint
    velocities; phase.

    Args:
        features: Features of the states.
        qpos: Generalised positions, shape (B, 24).
        qvel: Generalised velocities, shape (B, 23).
        phase: Phase in [0, 1], shape (B,).
        quat: Orientation of the pelvis to show, wxyz, shape (B, 4).
    """
    sign = np.where(quat[:, :1] < 0, -1.0, 1.0)
    spin = np.einsum("bij,bj->bi", features.tilt, features.spin)
    return np.concatenate(
        [features.height[:, None], sign * quat, qpos[:, 7:], features.velocity, spin, qvel[:, 6:], phase[:, None]],
        axis=1,
    ).astype(np.float32)
