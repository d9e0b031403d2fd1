"""Soles put level where the person stands: the constant by which a source's foot frames are off.

Skeletons place the toe joint differently and some rest poses have pointed feet, so foot frames taken from a file can be
5 to 20 degrees off throughout. In stance (ankle slow and low) the sole is level most of the time; the offset is read
there and removed. An offset of the skeleton is the same on both sides: where the two feet disagree it is posture and
nothing is done.

Axis legend: T frames.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dataset import rotation

STANCE_SPEED: Final[float] = 0.25
"""An ankle slower than this [m/s] may stand."""
STANCE_HEIGHT: Final[float] = 0.06
"""Height above the ankle's 5th percentile within which it may stand [m]."""
MIN_STANCE: Final[float] = 0.3
"""Stance of each foot needed to judge [s]."""
LARGEST: Final[float] = np.radians(20.0)
"""A larger offset is posture (kneeling, on the toes), not a skeleton's: left alone [rad]."""
LARGEST_DIFFERENCE: Final[float] = np.radians(8.0)
"""Largest difference of the two feet's offsets in pitch and in mirrored roll [rad]."""


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
        (pitch, roll), or None where a foot stands too briefly, the feet disagree, or the offset is above `LARGEST`.
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
    return None if max(abs(pitch), abs(roll)) > LARGEST else (pitch, roll)


def levelling_turn(pitch: float, roll: float) -> np.ndarray:
    """Quaternion that levels, from the right, a foot frame that stands with this pitch and roll [rad].

    It takes z to u = (-tan pitch, tan roll, 1), where the world's up was seen in the old foot frame.
    """
    return rotation.between_vectors(np.array([0.0, 0.0, 1.0]), np.array([-np.tan(pitch), np.tan(roll), 1.0]))
