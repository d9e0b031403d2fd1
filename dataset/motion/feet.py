"""Soles put level where the person stands: a constant of the source's foot frames, and what is left frame by frame.

Skeletons place the toe joint differently and some rest poses have pointed feet, so foot frames taken from a file can be
5 to 20 degrees off throughout. In stance (ankle slow and low) the sole is level most of the time; the offset is read
there and removed. An offset of the skeleton is the same on both sides: where the two feet disagree it is posture and
nothing is done (`foot_offset`).

What is left after that, on the subject's own feet, is small and varies; a standing foot that is tilted rests on a heel or an
edge, where no one can stand. `level_standing_feet` takes it out while the foot stands.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.motion.ground import lowest_points
from dataset.skeleton import FEET

STANCE_SPEED: Final[float] = 0.25
"""An ankle slower than this [m/s] may stand."""
STANCE_HEIGHT: Final[float] = 0.06
"""Height above the ankle's 5th percentile within which it may stand [m]."""
MIN_STANCE: Final[float] = 0.3
"""Stance of each foot needed to judge [s]."""
LARGEST_PITCH: Final[float] = np.radians(20.0)
"""A larger offset is posture (kneeling, on the toes), not a skeleton's: left alone [rad]."""
LARGEST_MIRRORED_ROLL: Final[float] = np.radians(35.0)
"""The same for the roll; no one stands on the same edge of both feet for long, so more is a skeleton's [rad]."""
LARGEST_DIFFERENCE: Final[float] = np.radians(8.0)
"""Largest difference of the two feet's offsets in pitch and in mirrored roll [rad]."""

LARGEST_TOE_UP: Final[float] = np.radians(25.0)
"""A standing foot is levelled from up to this tilt towards the heel [rad]."""
LARGEST_TOE_DOWN: Final[float] = np.radians(8.0)
"""A heel that is raised by more than this is posture [rad]."""
LARGEST_ROLL: Final[float] = np.radians(15.0)
"""A larger roll is posture [rad]."""
SOLE_HEIGHT: Final[float] = 0.05
"""The lowest point of a foot that stands is below this [m]."""
EASE: Final[float] = 0.05
"""Time over which the levelling fades in and out [s], standard deviation."""


def foot_offset(
    ankle_pos: tuple[np.ndarray, np.ndarray], ankle_quat: tuple[np.ndarray, np.ndarray], frame_rate: float
) -> tuple[float, float] | None:
    """Pitch (toe down) and roll (left foot; the right one mirrored) of the foot frames in stance [rad].

    With u = Rᵀ z the world's up in the foot frame, the pitch is atan2(-u_x, u_z) and the roll atan2(u_y, u_z). Over
    stance frames of each foot: the lower quartile of the pitch (a heel may be raised in stance, a toe is not) and the
    median of the roll; then the mean of both feet.

    Args:
        ankle_pos: Ankle joints (left, right) in the world [m], shape (T, 3) each.
        ankle_quat: Foot to world quaternions (left, right), shape (T, 4) each.
        frame_rate: Frames per second [Hz].

    Returns:
        (pitch, roll), or None where a foot stands too briefly, the feet disagree, or an offset is above `LARGEST_PITCH` or
        `LARGEST_MIRRORED_ROLL`.
    """
    found = []
    for side, position, quat in zip((1.0, -1.0), ankle_pos, ankle_quat):
        if len(position) < 3:
            return None
        speed = np.linalg.norm(np.gradient(position, 1.0 / frame_rate, axis=0), axis=-1)
        low = position[:, 2] < np.percentile(position[:, 2], 5.0) + STANCE_HEIGHT
        stands = (speed < STANCE_SPEED) & low
        if stands.sum() < MIN_STANCE * frame_rate:
            return None
        up = rotation.rotate(rotation.conjugate(quat[stands]), np.array([0.0, 0.0, 1.0]))
        pitch = np.percentile(np.arctan2(-up[:, 0], up[:, 2]), 25.0)
        found.append((float(pitch), side * float(np.median(np.arctan2(up[:, 1], up[:, 2])))))
    (left_pitch, left_roll), (right_pitch, right_roll) = found
    if max(abs(left_pitch - right_pitch), abs(left_roll - right_roll)) > LARGEST_DIFFERENCE:
        return None
    pitch, roll = 0.5 * (left_pitch + right_pitch), 0.5 * (left_roll + right_roll)
    return None if abs(pitch) > LARGEST_PITCH or abs(roll) > LARGEST_MIRRORED_ROLL else (pitch, roll)


def levelling_turn(pitch: float, roll: float) -> np.ndarray:
    """Quaternion that levels, from the right, a foot frame that stands with this pitch and roll [rad].

    It takes z to u = (-tan pitch, tan roll, 1), where the world's up was seen in the old foot frame.
    """
    return rotation.between_vectors(np.array([0.0, 0.0, 1.0]), np.array([-np.tan(pitch), np.tan(roll), 1.0]))


def level_standing_feet(body: BodyModel, root_pos: np.ndarray, quat: np.ndarray, frame_rate: float) -> np.ndarray:
    """Rotations with both ankles turned so that the sole of a standing foot is level, shape (T, N, 4).

    A foot stands while its ankle is slower than `STANCE_SPEED` and its lowest point is below `SOLE_HEIGHT`; a tilt beyond
    `LARGEST_TOE_UP`, `LARGEST_TOE_DOWN` or `LARGEST_ROLL` is left alone. Pitch and roll to remove fade in and out over `EASE`.

    Args:
        body: Body model; a foot without shapes is left alone.
        root_pos: Pelvis joint, with the floor at z = 0 [m], shape (T, 3).
        quat: Pelvis to world, child to parent, shape (T, N, 4).
        frame_rate: Frames per second [Hz].
    """
    from scipy.ndimage import gaussian_filter1d

    body_pos, body_quat = forward_kinematics(body.offset, root_pos, quat)
    result = quat.copy()
    for ankle, toe in FEET:
        shapes = [shape for shape in body.shapes if shape.body in (ankle, toe)]
        if not shapes or len(quat) < 3:
            continue
        speed = np.linalg.norm(np.gradient(body_pos[:, ankle], 1.0 / frame_rate, axis=0), axis=-1)
        low = lowest_points(shapes, body_pos, body_quat).min(axis=1)
        up = rotation.rotate(rotation.conjugate(body_quat[:, ankle]), np.array([0.0, 0.0, 1.0]))
        pitch, roll = np.arctan2(-up[:, 0], up[:, 2]), np.arctan2(up[:, 1], up[:, 2])
        is_small = (pitch > -LARGEST_TOE_UP) & (pitch < LARGEST_TOE_DOWN) & (np.abs(roll) < LARGEST_ROLL)
        pitch = np.minimum(pitch, 0.0)
        stands = (speed < STANCE_SPEED) & (low < SOLE_HEIGHT) & is_small
        tilt = np.where(stands[:, None], np.stack([pitch, roll], axis=-1), 0.0)
        tilt = gaussian_filter1d(tilt, EASE * frame_rate, axis=0, mode="nearest")
        turn = rotation.between_vectors(
            np.broadcast_to([0.0, 0.0, 1.0], (len(quat), 3)),
            np.stack([-np.tan(tilt[:, 0]), np.tan(tilt[:, 1]), np.ones(len(quat))], axis=-1),
        )
        result[:, ankle] = rotation.multiply(result[:, ankle], turn)
    return result
