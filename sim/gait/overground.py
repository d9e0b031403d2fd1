"""A treadmill walk as the walk over ground that it is: the belt's motion added, the walking direction turned to +x.

Axis legend: T frames, K plate samples, F = 2 feet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.rotation import from_axis_angle, multiply, rotate


@dataclass(frozen=True, kw_only=True)
class Overground:
    """The change of frame from the laboratory to the ground that the person walks on.

    p_ground = R_z(-yaw) (p_lab − belt_velocity (t − start)).
    """

    start: float
    """Time at which both frames have the same origin [s]."""
    belt_velocity: np.ndarray
    """Horizontal velocity of the belt in the laboratory [m/s], shape (2,)."""
    yaw: float
    """Direction of walking in the laboratory, anticlockwise from x [rad]."""

    @property
    def quat(self) -> np.ndarray:
        """Rotation from laboratory to ground axes, wxyz."""
        return from_axis_angle(np.array([0.0, 0.0, 1.0]), -self.yaw)

    def shift(self, time: np.ndarray) -> np.ndarray:
        """What is added to laboratory positions before the turn [m], shape (len(time), 3)."""
        away = np.zeros((len(time), 3))
        away[:, :2] = -np.outer(time - self.start, self.belt_velocity)
        return away

    def poses(self, time: np.ndarray, qpos: np.ndarray) -> np.ndarray:
        """Poses over ground, shape (T, 24)."""
        moved = qpos.copy()
        moved[:, :3] = rotate(self.quat, qpos[:, :3] + self.shift(time))
        moved[:, 3:7] = multiply(self.quat, qpos[:, 3:7])
        return moved

    def wrenches(self, time: np.ndarray, wrench: np.ndarray) -> np.ndarray:
        """Wrenches about the origin of the ground frame, shape (K, F, 6): the moment follows the shifted origin."""
        force, moment = wrench[..., :3], wrench[..., 3:]
        moment = moment + np.cross(self.shift(time)[:, None], force)
        return np.concatenate([rotate(self.quat, force), rotate(self.quat, moment)], axis=-1)


def find_overground(time: np.ndarray, pelvis: np.ndarray, belt_velocity: np.ndarray) -> Overground:
    """The change of frame of a walk.

    Args:
        time: Times [s], shape (T,).
        pelvis: Pelvis positions [m], laboratory, shape (T, 3).
        belt_velocity: Horizontal velocity of the belt [m/s], shape (2,); zero overground.

    Raises:
        ValueError: a walking speed below 0.2 m/s, for which there is no direction of walking.
    """
    drift = (pelvis[-1, :2] - pelvis[0, :2]) / (time[-1] - time[0])
    walking = drift - belt_velocity
    speed = float(np.linalg.norm(walking))
    if speed < 0.2:
        raise ValueError(
            f"walking speed: expected at least 0.2 m/s relative to the ground or belt, found {speed:.2f}; give a trial of walking"
        )
    return Overground(start=float(time[0]), belt_velocity=belt_velocity, yaw=float(np.arctan2(walking[1], walking[0])))
