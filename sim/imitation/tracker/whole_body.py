"""Positions, orientations, momentum of the whole body from generalised coordinates, compiled.

The search needs them at a dozen instants of every roll-out, a hundred times faster than a simulator's forward pass.

Axis legend: N = 24 bodies. Quaternions are wxyz.
"""

from __future__ import annotations

import numpy as np
from numba import njit

Array = np.ndarray
"""Any array; the docstrings say which."""


@njit(cache=True, error_model="numpy")
def rotate(q: Array, v: Array, out: Array) -> None:
    """Vector v turned by the unit quaternion q."""
    w, x, y, z = q[0], q[1], q[2], q[3]
    tx, ty, tz = 2.0 * (y * v[2] - z * v[1]), 2.0 * (z * v[0] - x * v[2]), 2.0 * (x * v[1] - y * v[0])
    out[0] = v[0] + w * tx + y * tz - z * ty
    out[1] = v[1] + w * ty + z * tx - x * tz
    out[2] = v[2] + w * tz + x * ty - y * tx


@njit(cache=True, error_model="numpy")
def multiply(a: Array, b: Array, out: Array) -> None:
    """Quaternion product a ⊗ b."""
    out[0] = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3]
    out[1] = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2]
    out[2] = a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1]
    out[3] = a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0]


@njit(cache=True, error_model="numpy")
def whole_body_state(
    qpos: Array,
    qvel: Array,
    quat_address: Array,
    omega_address: Array,
    parents: Array,
    offset: Array,
    mass: Array,
    com: Array,
    inertia: Array,
    pos: Array,
    rot: Array,
    summary: Array,
) -> None:
    """Positions and orientations of all bodies, and the whole body's mass centre, its velocity and angular momentum.

    Args:
        qpos: Generalised positions, shape (99,).
        qvel: Generalised velocities, shape (75,).
        quat_address: First qpos index of each body's quaternion, shape (N,).
        omega_address: First qvel index of each body's angular velocity, shape (N,).
        parents: Parent of each body, shape (N,).
        offset: Joint centre from parent joint centre [m], shape (N, 3).
        mass: Body masses [kg], shape (N,).
        com: Body mass centres in the body frame [m], shape (N, 3).
        inertia: Body inertias about their mass centres, body frame [kg·m²], shape (N, 3, 3).
        pos: Output, joint positions in the world [m], shape (N, 3).
        rot: Output, body orientations wxyz, shape (N, 4).
        summary: Output, mass centre [m], its velocity [m/s], angular momentum about it [kg·m²/s], shape (9,).
    """
    count = parents.shape[0]
    vel, omega = np.zeros((count, 3)), np.zeros((count, 3))
    center, center_vel = np.zeros((count, 3)), np.zeros((count, 3))
    arm, local, turned = np.zeros(3), np.zeros(3), np.zeros(3)
    summary[:] = 0.0
    total = 0.0
    for b in range(count):
        a, d = quat_address[b], omega_address[b]
        if b == 0:
            norm = np.sqrt(qpos[3] ** 2 + qpos[4] ** 2 + qpos[5] ** 2 + qpos[6] ** 2)
            for i in range(4):
                rot[0, i] = qpos[3 + i] / norm
            for i in range(3):
                pos[0, i], vel[0, i], local[i] = qpos[i], qvel[i], qvel[3 + i]
            rotate(rot[0], local, omega[0])
        else:
            p = parents[b]
            multiply(rot[p], qpos[a : a + 4], rot[b])
            rotate(rot[p], offset[b], arm)
            for i in range(3):
                local[i] = qvel[d + i]
            rotate(rot[b], local, turned)
            for i in range(3):
                j, k = (i + 1) % 3, (i + 2) % 3
                pos[b, i] = pos[p, i] + arm[i]
                vel[b, i] = vel[p, i] + omega[p, j] * arm[k] - omega[p, k] * arm[j]
                omega[b, i] = omega[p, i] + turned[i]
        rotate(rot[b], com[b], arm)
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            center[b, i] = pos[b, i] + arm[i]
            center_vel[b, i] = vel[b, i] + omega[b, j] * arm[k] - omega[b, k] * arm[j]
            summary[i] += mass[b] * center[b, i]
            summary[3 + i] += mass[b] * center_vel[b, i]
        total += mass[b]
    for i in range(6):
        summary[i] /= total
    back = np.zeros(4)
    for b in range(count):
        back[0], back[1], back[2], back[3] = rot[b, 0], -rot[b, 1], -rot[b, 2], -rot[b, 3]
        rotate(back, omega[b], local)
        for i in range(3):
            arm[i] = inertia[b, i, 0] * local[0] + inertia[b, i, 1] * local[1] + inertia[b, i, 2] * local[2]
        rotate(rot[b], arm, turned)
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            rj, rk = center[b, j] - summary[j], center[b, k] - summary[k]
            vj, vk = center_vel[b, j] - summary[3 + j], center_vel[b, k] - summary[3 + k]
            summary[6 + i] += mass[b] * (rj * vk - rk * vj) + turned[i]


@njit(cache=True, error_model="numpy")
def rotation_log(q: Array, out: Array) -> None:
    """Rotation vector of a unit quaternion, at most π long [rad]."""
    sign = -1.0 if q[0] < 0.0 else 1.0
    sine = np.sqrt(q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    scale = 2.0 * sign if sine < 1e-9 else sign * 2.0 * np.arctan2(sine, sign * q[0]) / sine
    for i in range(3):
        out[i] = scale * q[i + 1]
