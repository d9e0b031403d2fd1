"""What a motion asks of the floor: the force and moment about its mass centre, and where the floor could push.

Axis legend: T frames, E = 4 friction-pyramid edges, n forces of a frame (ragged over frames through offsets), N = 24 bodies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.skeleton import GRAVITY
from sim.humanoid import Humanoid
from sim.imitation.tracker.contacts import pyramid_edges
from sim.imitation.tracker.inverse_dynamics import candidate_points, needed_forces
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
    needed = needed_forces(humanoid, reference, samples)
    bodies, root, com = humanoid.body_id, humanoid.body_id[0], needed.com
    force = needed.force[:, :3].copy()
    turned = np.matmul(needed.frame[:, root], needed.force[:, 3:6, None])[..., 0]
    moment = turned + np.cross(needed.pos[:, root] - com, force)
    arms, axes = needed.inertial_pos[:, bodies] - com[:, None], needed.inertial_frame[:, bodies]
    mass = humanoid.body.mass
    own = np.matmul(axes * humanoid.model.body_inertia[bodies][:, None], axes.swapaxes(2, 3)).sum(axis=1)
    spread = np.matmul(arms.swapaxes(1, 2) * mass, arms)
    inertia = own + np.trace(spread, axis1=1, axis2=2)[:, None, None] * np.eye(3) - spread

    world = candidate_points(humanoid, needed)
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
        len(edges) * np.concatenate([[0], np.cumsum(np.bincount(frames, minlength=len(samples)))]),
    )
