"""What a reference motion needs from floor and joints together: the generalised forces M·a + c at chosen samples.

Axis legend: T samples, V = 75 velocities, B MuJoCo bodies (0 is the world).
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from sim.humanoid import Humanoid
from sim.imitation.tracker.contacts import contact_candidates
from sim.imitation.tracker.reference import ReferenceTrajectory


@dataclass(frozen=True, eq=False)
class NeededForces:
    """Generalised forces of a motion that nothing touches, and where its bodies are."""

    force: np.ndarray
    """M·a + c [N, N·m], shape (T, V)."""
    com: np.ndarray
    """Mass centre of the whole body [m], shape (T, 3)."""
    pos: np.ndarray
    """Joint positions in the world [m], shape (T, B, 3)."""
    frame: np.ndarray
    """Body frames in the world, shape (T, B, 3, 3)."""
    inertial_pos: np.ndarray
    """Mass centres of the bodies in the world [m], shape (T, B, 3)."""
    inertial_frame: np.ndarray
    """Principal axes of the bodies in the world, shape (T, B, 3, 3)."""


def needed_forces(humanoid: Humanoid, reference: ReferenceTrajectory, samples: np.ndarray) -> NeededForces:
    """M·a + c by recursive Newton-Euler, the rotor inertia of the joints added.

    Args:
        humanoid: Body and masses.
        reference: The motion with its velocities and accelerations.
        samples: Samples of it, shape (T,).
    """
    model, data = humanoid.model, mujoco.MjData(humanoid.model)
    count = len(samples)
    force, com = np.zeros((count, model.nv)), np.zeros((count, 3))
    pos, frame = np.zeros((count, model.nbody, 3)), np.zeros((count, model.nbody, 9))
    inertial_pos, inertial_frame = np.zeros_like(pos), np.zeros_like(frame)
    root, qpos, qvel, qacc = humanoid.body_id[0], data.qpos, data.qvel, data.qacc
    xpos, xmat, xipos, ximat, subtree_com = data.xpos, data.xmat, data.xipos, data.ximat, data.subtree_com
    for t, sample in enumerate(samples):
        qpos[:], qvel[:], qacc[:] = reference.qpos[sample], reference.qvel[sample], reference.qacc[sample]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_comVel(model, data)
        mujoco.mj_rne(model, data, 1, force[t])
        com[t], pos[t], frame[t], inertial_pos[t], inertial_frame[t] = subtree_com[root], xpos, xmat, xipos, ximat
    force += model.dof_armature * reference.qacc[samples]
    square = (count, model.nbody, 3, 3)
    return NeededForces(force, com, pos, frame.reshape(square), inertial_pos, inertial_frame.reshape(square))


def candidate_points(humanoid: Humanoid, needed: NeededForces) -> np.ndarray:
    """Lowest points of the collision shapes' candidates in the world [m], shape (T, P, 3) (`contact_candidates`)."""
    ids, points = contact_candidates(humanoid)
    world = needed.pos[:, ids] + np.matmul(needed.frame[:, ids], points[:, :3, None])[..., 0]
    world[..., 2] -= points[:, 3]
    return world
