"""Animation of an imitation beside its reference, with the ground forces on the feet.

Axis legend: T frames (30 Hz), N = 24 bodies.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataset.kinematics import forward_kinematics
from dataset.skeleton import FEET
from dataset.viewer import Arrow, Panel, write_view
from sim.humanoid import Humanoid
from sim.imitation.tracker.reference import ReferenceTrajectory
from sim.imitation.tracker.solve import Replay


def write_track_view(path: Path, humanoid: Humanoid, reference: ReferenceTrajectory, part: Replay) -> Path:
    """Write an HTML animation: the simulated body with its ground forces, and the motion it imitates.

    The force of a foot is the mean over a transition, drawn at the force-weighted point of its bodies' contacts.
    """
    steps, trace = humanoid.substeps, part.trace
    frames = trace.num_substeps // steps
    simulated = trace.qpos[0, : frames * steps : steps]
    wanted = reference.qpos[part.first_sample :][: frames * steps : steps]
    here, there = (forward_kinematics(humanoid.body.offset, *humanoid.pose(qpos))[0] for qpos in (simulated, wanted))
    arrows = []
    for bodies, colour in zip(FEET, ("left", "right"), strict=True):
        pair = list(bodies)
        force = trace.ground_force[0, : frames * steps, pair].reshape(2, frames, steps, 3).mean(axis=2)
        point = trace.ground_point[0, : frames * steps, pair].reshape(2, frames, steps, 3)[:, :, 0]
        share = force[:, :, 2:]
        total = share.sum(axis=0)
        center = np.where(total > 1.0, (share * point).sum(axis=0) / np.maximum(total, 1.0), np.nan)
        arrows.append(Arrow(point=center, force=force.sum(axis=0), colour=colour))
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_view(
        path,
        [Panel(title="imitation", joint_pos=here, arrows=tuple(arrows)), Panel(title="reference", joint_pos=there)],
    )
