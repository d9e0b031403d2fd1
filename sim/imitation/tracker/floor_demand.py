"""What a motion asks of the floor: the force and moment about its mass centre, and where the floor could push.

Axis legend: T frames, E = 4 friction-pyramid edges, n forces of a frame (ragged over frames through offsets), N = 24 bodies.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from dataset.skeleton import GRAVITY, NUM_BODIES
from sim.humanoid import Humanoid
from sim.imitation.tracker.contacts import contact_candidates, pyramid_edges
from sim.imitation.tracker.reference import ReferenceTrajectory

MOMENT_SCALE = 3.0
"""A moment of 1 body weight · metre counts as this many body weights."""
REACH = 0.05
"""Points lower than this may carry force [m]."""
RIDGE = 0.03
"""Weight of a contact force's own size [-]."""
RIDGE_HEIGHT = 0.015
"""Height at which a point's ridge has doubled [m]."""


@dataclass(frozen=True, eq=False)
class Demand:
    """What a motion asks of the floor, in body weights and metres."""

    force: np.ndarray
    """Force F / (m·g), shape (T, 3)."""
    moment: np.ndarray
    """Moment L̇ about the mass centre times `MOMENT_SCALE` / (m·g), shape (T, 3)."""
    inertia: np.ndarray
    """Inertia of the whole body about its mass centre times `MOMENT_SCALE` / (m·g) [s²], shape (T, 3, 3)."""
    com: np.ndarray
    """Mass centre [m], shape (T, 3)."""
    columns: np.ndarray
    """Wrenches of unit forces on the pyramid edges of the low points of all frames, shape (offsets[-1], 6)."""
    ridges: np.ndarray
    """Their ridges ρ², shape (offsets[-1],)."""
    offsets: np.ndarray
    """Where each frame's forces begin, shape (T + 1,)."""


def floor_demand(humanoid: Humanoid, reference: ReferenceTrajectory, samples: np.ndarray) -> Demand:
    """Force and moment that the floor must supply for the motion to happen, and the low points it may push at.

    Args:
        humanoid: Body and masses.
        reference: The motion with its velocities and accelerations.
        samples: Samples of it to judge, shape (T,).
    """
    model, data = humanoid.model, mujoco.MjData(humanoid.model)
    ids, points = contact_candidates(humanoid)
    bodies, root, count = humanoid.body_id, humanoid.body_id[0], len(samples)
    needed, com, pelvis = np.zeros((count, model.nv)), np.zeros((count, 3)), np.zeros((count, 3))
    frame = np.zeros((count, model.nbody, 9))
    place, centre, principal = (
        np.zeros((count, model.nbody, 3)),
        np.zeros((count, NUM_BODIES, 3)),
        np.zeros((count, NUM_BODIES, 9)),
    )
    bias, inertial = np.zeros(model.nv), np.zeros(model.nv)
    for t, sample in enumerate(samples):
        data.qpos[:], data.qvel[:] = reference.qpos[sample], reference.qvel[sample]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_crb(model, data)
        mujoco.mj_comVel(model, data)
        mujoco.mj_rne(model, data, 0, bias)
        mujoco.mj_mulM(model, data, inertial, reference.qacc[sample])
        np.add(bias, inertial, out=needed[t])
        com[t], pelvis[t], frame[t], place[t] = data.subtree_com[root], data.xpos[root], data.xmat, data.xpos
        centre[t], principal[t] = data.xipos[bodies], data.ximat[bodies]

    force = needed[:, :3].copy()
    turned = np.einsum("tij,tj->ti", frame[:, root].reshape(-1, 3, 3), needed[:, 3:6])
    moment = turned + np.cross(pelvis - com, force)
    arms, axes = centre - com[:, None], principal.reshape(count, NUM_BODIES, 3, 3)
    mass = humanoid.body.mass
    own = np.einsum("tbij,bj,tbkj->tik", axes, model.body_inertia[bodies], axes)
    spread = np.einsum("b,tbi,tbj->tij", mass, arms, arms)
    inertia = own + np.trace(spread, axis1=1, axis2=2)[:, None, None] * np.eye(3) - spread

    world = place[:, ids] + np.einsum("tpij,pj->tpi", frame[:, ids].reshape(count, -1, 3, 3), points[:, :3])
    world[..., 2] -= points[:, 3]
    frames, near = np.nonzero(world[..., 2] < REACH)
    low = world[frames, near]
    arm = low - com[frames]
    arm[:, 2] = np.minimum(low[:, 2], 0.0) - com[frames, 2]
    edges = pyramid_edges()
    pair = np.broadcast_to(edges, (len(low), *edges.shape))
    turning = MOMENT_SCALE * np.cross(arm[:, None], pair)
    ridge = RIDGE * (1.0 + (np.maximum(low[:, 2], 0.0) / RIDGE_HEIGHT) ** 2)
    weight = mass.sum() * GRAVITY
    return Demand(
        force / weight,
        MOMENT_SCALE * moment / weight,
        MOMENT_SCALE * inertia / weight,
        com,
        np.concatenate([pair, turning], axis=-1).reshape(-1, 6),
        np.repeat(ridge, len(edges)) ** 2,
        len(edges) * np.concatenate([[0], np.cumsum(np.bincount(frames, minlength=count))]),
    )
