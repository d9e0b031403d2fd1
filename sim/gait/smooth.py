"""Smooth motion: low-passed coordinates with exact derivatives of one quintic spline, at any time.

Axis legend: T frames, K samples asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline, make_interp_spline

from dataset.low_pass import low_pass
from dataset.rotation import make_continuous
from sim.gait.kinematics import body_rate

UNEVEN = 0.1
"""Steps of time may differ by this share of their mean: a printed clock is rounded, a broken one differs by whole frames."""


@dataclass(frozen=True, kw_only=True)
class SmoothMotion:
    """A path of generalised coordinates."""

    start: float
    """First time [s]."""
    stop: float
    """Last time [s]."""
    spline: BSpline
    """Quintic spline through pelvis position, quaternion (continuous, before normalisation) and joint angles."""

    def at(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions (K, 24), velocities (K, 23) and accelerations (K, 23) at times (K,) [s].

        Pelvis velocity and acceleration in the world, angular ones in the pelvis's own axes, as MuJoCo has them.
        """
        position, rate, second = (self.spline(time, nu=order) for order in range(3))
        length = np.linalg.norm(position[:, 3:7], axis=1, keepdims=True)
        quat = position[:, 3:7] / length
        # Derivatives of the normalised path: what changes the length is taken out; the rest scales with it.
        quat_rate = rate[:, 3:7] / length
        along = (quat * quat_rate).sum(axis=1, keepdims=True)
        spin = body_rate(quat, quat_rate - along * quat)
        quat_second = second[:, 3:7] / length
        # d/dt of 2 q* dq/dt with |q| = 1 keeps only the vector part of 2 q* d²q/dt²; the change of length adds a multiple of ω.
        turning = body_rate(quat, quat_second) - 2.0 * along * spin
        qvel = np.concatenate([rate[:, :3], spin, rate[:, 7:]], axis=1)
        qacc = np.concatenate([second[:, :3], turning, second[:, 7:]], axis=1)
        return np.concatenate([position[:, :3], quat, position[:, 7:]], axis=1), qvel, qacc


def smooth_motion(time: np.ndarray, qpos: np.ndarray, cutoff: float) -> SmoothMotion:
    """Low-pass coordinates and put a spline through them.

    Args:
        time: Times [s], evenly spaced, shape (T,), T >= 10.
        qpos: Coordinates, shape (T, 24).
        cutoff: Half-power frequency of the zero-lag fourth-order Butterworth [Hz].

    Raises:
        ValueError: fewer than 10 frames or uneven times.
    """
    steps = np.diff(time)
    if len(time) < 10 or np.ptp(steps) > UNEVEN * steps.mean():
        raise ValueError(
            f"time: expected at least 10 evenly spaced frames, found {len(time)} with steps {steps.min():g} to {steps.max():g} s"
        )
    rate = (len(time) - 1) / float(time[-1] - time[0])
    time = np.linspace(time[0], time[-1], len(time))
    path = np.array(qpos)
    path[:, 3:7] = make_continuous(path[:, 3:7])
    return SmoothMotion(
        start=float(time[0]), stop=float(time[-1]), spline=make_interp_spline(time, low_pass(path, rate, cutoff), k=5)
    )
