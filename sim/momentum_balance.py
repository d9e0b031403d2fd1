"""Does the recorded ground force explain the motion of the centre of mass over each 30 Hz transition?

    error = |m·(v_com(t + 1) − v_com(t)) − Δt·(Σ_bodies grf_mean + m·g)| / (m·g·Δt)

The equations of motion hold to rounding at every substep (`sim.closure`), but v_com is J(q)·q̇ and q moves within a
substep, so this balance holds to the integrator's order only: its error is about h times the change of the Coriolis
part of the centre's acceleration, falls with h, and says how far 30 Hz records can be trusted.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

import numba
import numpy as np

from dataset.schema import FRAME_RATE
from dataset.skeleton import GRAVITY, PARENTS
from sim.humanoid import Humanoid

_PARENTS = np.array(PARENTS)


def com_velocity(humanoid: Humanoid, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """Velocity of the whole body's centre of mass [m/s], world.

    Args:
        humanoid: What moves.
        qpos: Generalised positions, shape (T, 99); strided views are fine.
        qvel: Generalised velocities, shape (T, 75).

    Returns:
        Velocity, shape (T, 3).
    """
    body = humanoid.body
    out = np.empty((qpos.shape[0], 3))
    _com_velocity(
        qpos, qvel, humanoid.quat_address, humanoid.omega_address, _PARENTS, body.offset, body.mass, body.com, out
    )
    return out


def momentum_error(velocity: np.ndarray, ground_force: np.ndarray, mass: float) -> np.ndarray:
    """Momentum balance of each transition in body weights.

    Args:
        velocity: Velocity of the centre of mass at the frames [m/s], shape (T, 3).
        ground_force: Mean force of the ground over each transition, all bodies together [N], shape (T - 1, 3).
        mass: Body mass [kg].

    Returns:
        |m·Δv − Δt·(F + m·g)| / (m·g·Δt), shape (T - 1,).
    """
    gain = mass * FRAME_RATE * np.diff(velocity, axis=0) - ground_force
    gain[:, 2] += mass * GRAVITY
    return np.sqrt(np.sum(gain**2, axis=1)) / (mass * GRAVITY)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _com_velocity(
    # inputs
    qpos: np.ndarray,
    qvel: np.ndarray,
    quat_address: np.ndarray,
    omega_address: np.ndarray,
    parents: np.ndarray,
    offset: np.ndarray,
    mass: np.ndarray,
    com: np.ndarray,
    # outputs
    velocity_out: np.ndarray,
) -> None:
    num_bodies = parents.shape[0]
    rot, own = np.empty((num_bodies, 3, 3)), np.empty((3, 3))
    omega, vel = np.empty((num_bodies, 3)), np.empty((num_bodies, 3))
    arm = np.empty(3)
    total = mass.sum()
    for t in range(qpos.shape[0]):
        velocity_out[t] = 0.0
        for b in range(num_bodies):
            _rotation(qpos[t, quat_address[b] : quat_address[b] + 4], own)
            p = parents[b]
            if p < 0:
                rot[b] = own
                omega[b] = 0.0
                vel[b] = qvel[t, :3]
            else:
                for i in range(3):
                    for j in range(3):
                        rot[b, i, j] = rot[p, i, 0] * own[0, j] + rot[p, i, 1] * own[1, j] + rot[p, i, 2] * own[2, j]
                omega[b] = omega[p]
                _apply(rot[p], offset[b], arm)
                vel[b] = vel[p]
                _add_cross(omega[p], arm, 1.0, vel[b])
            _apply(rot[b], qvel[t, omega_address[b] : omega_address[b] + 3], arm)
            for i in range(3):
                omega[b, i] += arm[i]
            _apply(rot[b], com[b], arm)
            share = mass[b] / total
            for i in range(3):
                velocity_out[t, i] += share * vel[b, i]
            _add_cross(omega[b], arm, share, velocity_out[t])


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _rotation(quat: np.ndarray, rot_out: np.ndarray) -> None:
    w, x, y, z = quat
    s = 2.0 / (w * w + x * x + y * y + z * z)
    rot_out[0, 0], rot_out[0, 1], rot_out[0, 2] = 1.0 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)
    rot_out[1, 0], rot_out[1, 1], rot_out[1, 2] = s * (x * y + w * z), 1.0 - s * (x * x + z * z), s * (y * z - w * x)
    rot_out[2, 0], rot_out[2, 1], rot_out[2, 2] = s * (x * z - w * y), s * (y * z + w * x), 1.0 - s * (x * x + y * y)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _apply(rot: np.ndarray, vector: np.ndarray, out: np.ndarray) -> None:
    for i in range(3):
        out[i] = rot[i, 0] * vector[0] + rot[i, 1] * vector[1] + rot[i, 2] * vector[2]


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _add_cross(left: np.ndarray, right: np.ndarray, scale: float, out: np.ndarray) -> None:
    out[0] += scale * (left[1] * right[2] - left[2] * right[1])
    out[1] += scale * (left[2] * right[0] - left[0] * right[2])
    out[2] += scale * (left[0] * right[1] - left[1] * right[0])
