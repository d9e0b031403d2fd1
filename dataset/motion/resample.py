"""Motions at another frame rate: cubic splines through positions and through quaternions.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dataset import rotation
from dataset.schema import Motion


def sample_poses(
    time: np.ndarray, root_pos: np.ndarray, quat: np.ndarray, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Root positions and rotations at other times.

    Positions follow a natural cubic spline. Rotations follow the cubic spline through the sign-continuous quaternion
    components, put back to unit length: between frames a turn of a apart this stays within a fraction a²/100 of the
    geodesic and has a continuous angular velocity, which slerp has not. Turns above 60 degrees a frame are slerped
    instead.

    Args:
        time: Frame times [s], increasing, shape (T,).
        root_pos: Positions [m], shape (T, 3).
        quat: Unit quaternions, shape (T, N, 4).
        at: Wanted times [s], shape (K,), within the range of `time`.

    Returns:
        Positions, shape (K, 3), and unit quaternions, shape (K, N, 4).
    """
    from scipy.interpolate import CubicSpline

    if len(time) == 1:
        return np.repeat(root_pos, len(at), axis=0), np.repeat(quat, len(at), axis=0)
    continuous = rotation.make_continuous(quat)
    position = CubicSpline(time, root_pos, bc_type="natural")(at)
    rotations = rotation.normalize(CubicSpline(time, continuous, bc_type="natural")(at))

    below = np.clip(np.searchsorted(time, at, side="right") - 1, 0, len(time) - 2)
    fraction = (at - time[below]) / (time[below + 1] - time[below])
    large = rotation.angle_between(continuous[:-1], continuous[1:])[below] > np.pi / 3
    if np.any(large):
        straight = rotation.slerp(continuous[below], continuous[below + 1], fraction[:, None])
        rotations = np.where(large[..., None], straight, rotations)
    return position, rotations


def resample(motion: Motion, frame_rate: float) -> Motion:
    """The motion at `frame_rate` [Hz]; the first frame stays, the last partial step is dropped."""
    if motion.frame_rate == frame_rate:
        return motion
    time = np.arange(motion.num_frames) / motion.frame_rate
    count = int(np.floor(motion.duration * frame_rate + 1e-6)) + 1
    at = np.minimum(np.arange(count) / frame_rate, time[-1])
    root_pos, quat = sample_poses(time, motion.root_pos, motion.quat, at)
    return dataclasses.replace(motion, frame_rate=frame_rate, root_pos=root_pos, quat=quat)
