"""Clips that are one cycle, repeated without a jump at the seam.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dataset import rotation
from dataset.schema import Motion

SEAM_WINDOW = 0.2
"""Half width of the stretch around a seam over which the mismatch is spread [s]."""
TURN_THRESHOLD = np.radians(15.0)
"""A heading change per cycle above this is a turn and accumulates; below, it is capture error and is spread at the
seam."""


def heading(quat: np.ndarray) -> np.ndarray:
    """Angle about z of a rotation (the twist of the swing-twist split about z) [rad], shape (..., 4) to (...)."""
    return 2.0 * np.arctan2(quat[..., 3], quat[..., 0])


def repeat_cycle(motion: Motion, min_duration: float = 5.0) -> Motion:
    """The cycle repeated until it lasts at least `min_duration` seconds, the horizontal root displacement accumulated.

    The last frame is taken to be the first of the next cycle. What remains of their difference (pose, height, small
    heading changes) is spread over `SEAM_WINDOW` on both sides by a smooth weight, half each, so positions and
    velocities have no jump. A clip already long enough is returned unchanged.
    """
    if motion.duration >= min_duration or motion.num_frames < 3:
        return motion
    steps = motion.num_frames - 1
    cycles = int(np.ceil(min_duration * motion.frame_rate / steps))

    turn = heading(rotation.multiply(motion.quat[-1, 0], rotation.conjugate(motion.quat[0, 0])))
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    if abs(turn) < TURN_THRESHOLD:
        turn = 0.0
    about_z = rotation.from_axis_angle((0.0, 0.0, 1.0), turn)

    # where the next cycle's first frame would stand, beside where this cycle's last frame stands
    first_next = motion.quat[0].copy()
    first_next[0] = rotation.multiply(about_z, first_next[0])
    mismatch = rotation.to_rotation_vector(rotation.multiply(rotation.conjugate(motion.quat[-1]), first_next))
    rise = motion.root_pos[-1, 2] - motion.root_pos[0, 2]

    window = max(1, min(round(SEAM_WINDOW * motion.frame_rate), steps // 2))
    ramp = np.clip(1.0 - np.arange(steps + 1) / window, 0.0, 1.0)
    at_start = 0.5 * ramp**2 * (3.0 - 2.0 * ramp)
    at_end = at_start[::-1]
    # before the seam turn forward to half of the mismatch, after it start from the other half; mismatch is in the child
    # frame of
    # the last frame, so the correction at the start is conjugated by the mismatch itself, which leaves it unchanged
    weight = (at_end - at_start)[:, None, None]
    quat = rotation.multiply(motion.quat, rotation.from_rotation_vector(weight * mismatch))
    root_pos = motion.root_pos.copy()
    root_pos[:, 2] -= (at_end - at_start) * rise

    shift = root_pos[-1] - rotation.rotate(about_z, root_pos[0])
    shift[2] = 0.0
    pieces_pos, pieces_quat = [], []
    turned, moved = rotation.IDENTITY, np.zeros(3)
    for cycle in range(cycles):
        stop = steps + 1 if cycle == cycles - 1 else steps
        pieces_pos.append(rotation.rotate(turned, root_pos[:stop]) + moved)
        piece = quat[:stop].copy()
        piece[:, 0] = rotation.multiply(turned, piece[:, 0])
        pieces_quat.append(piece)
        moved = rotation.rotate(turned, shift) + moved
        turned = rotation.multiply(turned, about_z)
    return dataclasses.replace(motion, root_pos=np.concatenate(pieces_pos), quat=np.concatenate(pieces_quat))
