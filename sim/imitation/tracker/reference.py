"""Smooth reference trajectory of a motion in the humanoid's coordinates, at the physics rate.

The 30 Hz motion is interpolated (cubic splines on sign-continuous quaternions and on the root path), smoothed by a Gaussian
with odd reflection at both ends (reflection by value would take away the initial velocity), and differentiated:
ω = 2·Im(q* ⊗ q̇) in the child frame, accelerations by central differences.

Axis legend: K physics substeps of the clip (one every h seconds), N = 24 bodies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.interpolate import CubicSpline

from dataset import rotation
from dataset.schema import Motion
from sim.humanoid import NUM_QPOS, NUM_QVEL, Humanoid
from sim.imitation.tracker.whole_body import Array

STATE_QUANTUM = 2.0**-20
"""Start states are whole multiples of this [m, rad, m/s, rad/s]."""


@dataclass(frozen=True, eq=False)
class ReferenceTrajectory:
    """What the tracker follows, sampled every physics substep."""

    qpos: np.ndarray
    """Generalised positions, shape (K, 99)."""
    qvel: np.ndarray
    """Generalised velocities (root linear in world, root and joints angular in body frame), shape (K, 75)."""
    qacc: np.ndarray
    """Generalised accelerations, shape (K, 75)."""
    substep: float
    """Time between samples h [s]."""

    def start(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """State from which a stretch starts: qpos (99,) and qvel (75,), rounded to `STATE_QUANTUM`."""
        return (
            np.round(self.qpos[sample] / STATE_QUANTUM) * STATE_QUANTUM + 0.0,
            np.round(self.qvel[sample] / STATE_QUANTUM) * STATE_QUANTUM + 0.0,
        )

    @property
    def num_samples(self) -> int:
        """Number of samples K."""
        return self.qpos.shape[0]


def _odd_reflected(values: np.ndarray, pad: int) -> np.ndarray:
    """Values with `pad` more rows on both sides, reflected through the first and the last one, shape (K + 2 pad, ...)."""
    head = 2.0 * values[:1] - values[pad:0:-1]
    tail = 2.0 * values[-1:] - values[-2 : -pad - 2 : -1]
    return np.concatenate([head, values, tail])


@njit(cache=True, error_model="numpy")
def _symmetric_filter(values: Array, weights: Array, out: Array) -> None:
    """out[k] = w[r] v[k + r] + Σ_{j < r} (v[k + j] + v[k + 2 r - j]) w[j], in the order of `scipy.ndimage.correlate1d`.

    All columns of a row at once, which keeps vector registers full; scipy goes column by column.

    Args:
        values: Padded with r rows on both sides, shape (K + 2 r, D).
        weights: The first half of the symmetric filter and its centre, shape (r + 1,).
        out: Output, shape (K, D).
    """
    reach = weights.shape[0] - 1
    for k in range(out.shape[0]):
        row = out[k]
        centre = values[k + reach]
        for d in range(row.shape[0]):
            row[d] = centre[d] * weights[reach]
        for j in range(reach):
            before, after, weight = values[k + j], values[k + 2 * reach - j], weights[j]
            for d in range(row.shape[0]):
                row[d] += (before[d] + after[d]) * weight


@njit(cache=True, error_model="numpy")
def _to_unit_length(quat: Array) -> None:
    """Divides quaternions, shape (..., 4), by their length in place: as `numpy.linalg.norm` has it, in a tenth of the time."""
    rows = quat.reshape(-1, 4)
    for k in range(rows.shape[0]):
        w, x, y, z = rows[k]
        length = np.sqrt(w * w + x * x + y * y + z * z)
        for i in range(4):
            rows[k, i] /= length


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian along axis 0, cut at 4 sigma, odd reflection at the ends (short motions: then the end values); in samples."""
    reach = int(4.0 * sigma + 0.5)
    place = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * place**2)
    weights = (weights / weights.sum())[: reach + 1]
    padded = _odd_reflected(values, min(reach, values.shape[0] - 1))
    missing = reach - min(reach, values.shape[0] - 1)
    padded = np.pad(padded, [(missing, missing), *[(0, 0)] * (values.ndim - 1)], mode="edge")
    out = np.empty(values.shape)
    _symmetric_filter(padded.reshape(len(padded), -1), weights, out.reshape(len(out), -1))
    return out


@njit(cache=True, error_model="numpy")
def _body_rates(quat: Array, step: float) -> Array:
    """Angular velocity in the child frame [rad/s], 2·Im(q* ⊗ q̇), shape (K, N, 3); q̇ by central differences."""
    last = quat.shape[0] - 1
    out, rate = np.empty((quat.shape[0], quat.shape[1], 3)), np.empty(4)
    for k in range(quat.shape[0]):
        before, after = max(k - 1, 0), min(k + 1, last)
        span = (after - before) * step
        for b in range(quat.shape[1]):
            w, x, y, z = quat[k, b]
            for i in range(4):
                rate[i] = (quat[after, b, i] - quat[before, b, i]) / span
            out[k, b, 0] = 2.0 * (w * rate[1] - rate[0] * x - (y * rate[3] - z * rate[2]))
            out[k, b, 1] = 2.0 * (w * rate[2] - rate[0] * y - (z * rate[1] - x * rate[3]))
            out[k, b, 2] = 2.0 * (w * rate[3] - rate[0] * z - (x * rate[2] - y * rate[1]))
    return out


def make_reference(humanoid: Humanoid, motion: Motion, *, smoothing: float = 0.03) -> ReferenceTrajectory:
    """Build the reference trajectory of a motion that is already retargeted to the humanoid's body.

    Args:
        humanoid: The humanoid that will follow.
        motion: Retargeted motion, at least 0.3 s long.
        smoothing: Standard deviation of the Gaussian [s].

    Raises:
        ValueError: Motion too short.
    """
    if motion.duration < 0.3:
        raise ValueError(f"motion {motion.source}/{motion.name}: expected at least 0.3 s, got {motion.duration:.2f} s")
    step = humanoid.config.substep
    source_time = np.arange(motion.num_frames) / motion.frame_rate
    time = np.arange(int(np.floor(source_time[-1] / step + 1e-9)) + 1) * step
    root = _smooth(CubicSpline(source_time, motion.root_pos)(time), smoothing / step)
    quat = CubicSpline(source_time, rotation.make_continuous(motion.quat))(time)
    _to_unit_length(quat)
    quat = _smooth(quat, smoothing / step)
    _to_unit_length(quat)

    qpos = np.zeros((len(time), NUM_QPOS))
    qpos[:, :3] = root
    qpos[:, humanoid.quat_columns] = quat
    qvel = np.zeros((len(time), NUM_QVEL))
    qvel[:, :3] = np.gradient(root, step, axis=0)
    qvel[:, humanoid.omega_columns] = _body_rates(quat, step)
    return ReferenceTrajectory(qpos, qvel, np.asarray(np.gradient(qvel, step, axis=0)), step)
