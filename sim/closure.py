"""Do the recorded torques and contacts explain the recorded motion? The equations of motion, checked at every substep.

    residual = M(q)·q̇̇ + c(q, q̇) − Jᵀf_ground − Sᵀτ,   q̇̇ = (v⁺ − v) / h,

by Newton and Euler over the 24 bodies in the world frame (Featherstone 2008, Rigid Body Dynamics Algorithms, section
5.3), from the `BodyModel` alone: it shares no code with the engine that made the motion. Rows 0 to 2: force on the
pelvis, world; 3 to 5: torque on the pelvis, its own frame; then the torque of each joint, child frame.

A residual force is divided by the body weight m·g, a residual torque by body weight times standing height m·g·H, so
every row is a plain number; "closes to 1e-8 body weights" means that the largest of the 75 is below 1e-8.

Axis legend: K substeps, N = 24 bodies, J = 23 joints.
"""

from __future__ import annotations

import numba
import numpy as np

from dataset.skeleton import GRAVITY, NUM_BODIES, PARENTS
from sim.backends.contract import SubstepTrace
from sim.humanoid import NUM_QVEL, Humanoid

_PARENTS = np.array(PARENTS)


def closure_residual(
    humanoid: Humanoid, trace: SubstepTrace, torque: np.ndarray, environment: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Residual of the equations of motion in each substep of one environment.

    Args:
        humanoid: What was simulated.
        trace: States and ground contacts.
        torque: Torque that acted at each joint [N·m], child frame, shape (K, J, 3).
        environment: Which of the trace's environments.

    Returns:
        Largest scaled residual over all 75 rows, and over the 6 rows of the pelvis, each of shape (K,). NaN states give
        NaN.
    """
    weight = float(humanoid.body.mass.sum()) * GRAVITY
    scaled = np.abs(unexplained_forces(humanoid, trace, torque, environment))
    scaled[:, :3] *= 1.0 / weight
    scaled[:, 3:] *= 1.0 / (weight * humanoid.body.subject.height)
    return scaled.max(axis=1), scaled[:, :6].max(axis=1)


def unexplained_forces(humanoid: Humanoid, trace: SubstepTrace, torque: np.ndarray, environment: int = 0) -> np.ndarray:
    """The residual itself, unscaled, in each substep of one environment.

    Args:
        humanoid: What was simulated.
        trace: States and ground contacts.
        torque: Torque that acted at each joint [N·m], child frame, shape (K, J, 3).
        environment: Which of the trace's environments.

    Returns:
        Generalised forces in the engine's column order [N, N·m], shape (K, 75). The torque of a joint is the moment about it of
        every force on the bodies beyond it that the trace does not hold.
    """
    out = np.empty((trace.num_substeps, NUM_QVEL))
    body = humanoid.body
    _required_forces(
        trace.qpos[environment], trace.qvel[environment], trace.ground_force[environment],
        trace.ground_torque[environment], trace.ground_point[environment], trace.substep, humanoid.quat_address,
        humanoid.omega_address, _PARENTS, body.offset, body.mass, body.com, body.inertia, humanoid.config.armature,
        GRAVITY, out,
    )  # fmt: skip
    out[:, humanoid.ctrl_dof] -= torque.reshape(trace.num_substeps, -1)
    return out


def inverse_dynamics(humanoid: Humanoid, qpos: np.ndarray, qvel: np.ndarray, qacc: np.ndarray) -> np.ndarray:
    """Generalised forces M(q)·q̇̇ + c(q, q̇) that a motion needs without contact, by the same recursion.

    Args:
        humanoid: What moves.
        qpos: Generalised positions, shape (K, 99).
        qvel: Generalised velocities, shape (K, 75).
        qacc: Generalised accelerations, shape (K, 75).

    Returns:
        Generalised forces in the engine's column order [N, N·m], shape (K, 75).
    """
    body = humanoid.body
    out = np.empty((qpos.shape[0], NUM_QVEL))
    none = np.zeros((NUM_BODIES, 3))
    scratch = np.empty((NUM_BODIES, 30))
    for k in range(qpos.shape[0]):
        _newton_euler(
            qpos[k], qvel[k], qacc[k], none, none, none, humanoid.quat_address, humanoid.omega_address, _PARENTS,
            body.offset, body.mass, body.com, body.inertia, humanoid.config.armature, GRAVITY, scratch, out[k],
        )  # fmt: skip
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _required_forces(
    # inputs
    qpos: np.ndarray,
    qvel: np.ndarray,
    ground_force: np.ndarray,
    ground_torque: np.ndarray,
    ground_point: np.ndarray,
    step: float,
    quat_address: np.ndarray,
    omega_address: np.ndarray,
    parents: np.ndarray,
    offset: np.ndarray,
    mass: np.ndarray,
    com: np.ndarray,
    inertia: np.ndarray,
    armature: float,
    gravity: float,
    # outputs
    force_out: np.ndarray,
) -> None:
    scratch = np.empty((parents.shape[0], 30))
    qacc = np.empty(qvel.shape[1])
    force = np.empty(qvel.shape[1])
    per_step = 1.0 / step
    for k in range(force_out.shape[0]):
        for i in range(qacc.shape[0]):
            qacc[i] = (qvel[k + 1, i] - qvel[k, i]) * per_step
        _newton_euler(
            qpos[k], qvel[k], qacc, ground_force[k], ground_torque[k], ground_point[k], quat_address, omega_address,
            parents, offset, mass, com, inertia, armature, gravity, scratch, force,
        )  # fmt: skip
        force_out[k] = force


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _newton_euler(  # noqa: PLR0915 - one recursion on scalars: arrays and calls in it cost three times its run time
    # inputs
    qpos: np.ndarray,
    qvel: np.ndarray,
    qacc: np.ndarray,
    ground_force: np.ndarray,
    ground_torque: np.ndarray,
    ground_point: np.ndarray,
    quat_address: np.ndarray,
    omega_address: np.ndarray,
    parents: np.ndarray,
    offset: np.ndarray,
    mass: np.ndarray,
    com: np.ndarray,
    inertia: np.ndarray,
    armature: float,
    gravity: float,
    # scratch: rotation 0:9, position 9:12, ω 12:15, α 15:18, a 18:21, force 21:24, moment 24:27, offset in world 27:30
    w: np.ndarray,
    # outputs
    force_out: np.ndarray,
) -> None:
    num_bodies = parents.shape[0]
    for b in range(num_bodies):
        a = quat_address[b]
        q0, q1, q2, q3 = qpos[a], qpos[a + 1], qpos[a + 2], qpos[a + 3]
        s = 2.0 / (q0 * q0 + q1 * q1 + q2 * q2 + q3 * q3)  # the engine normalises quaternions too
        r00, r01, r02 = 1.0 - s * (q2 * q2 + q3 * q3), s * (q1 * q2 - q0 * q3), s * (q1 * q3 + q0 * q2)
        r10, r11, r12 = s * (q1 * q2 + q0 * q3), 1.0 - s * (q1 * q1 + q3 * q3), s * (q2 * q3 - q0 * q1)
        r20, r21, r22 = s * (q1 * q3 - q0 * q2), s * (q2 * q3 + q0 * q1), 1.0 - s * (q1 * q1 + q2 * q2)
        v = omega_address[b]
        o0, o1, o2 = qvel[v], qvel[v + 1], qvel[v + 2]
        e0, e1, e2 = qacc[v], qacc[v + 1], qacc[v + 2]
        if b == 0:
            R00, R01, R02, R10, R11, R12, R20, R21, R22 = r00, r01, r02, r10, r11, r12, r20, r21, r22
            for i in range(3):
                w[b, 9 + i] = qpos[i]
                w[b, 18 + i] = qacc[i]
                w[b, 27 + i] = 0.0
            w[b, 20] += gravity  # standing still is accelerating upwards against gravity
            p12, p13, p14, p15, p16, p17 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        else:
            p = parents[b]
            P00, P01, P02, P10, P11, P12, P20, P21, P22 = (
                w[p, 0], w[p, 1], w[p, 2], w[p, 3], w[p, 4], w[p, 5], w[p, 6], w[p, 7], w[p, 8],
            )  # fmt: skip
            R00 = P00 * r00 + P01 * r10 + P02 * r20
            R01 = P00 * r01 + P01 * r11 + P02 * r21
            R02 = P00 * r02 + P01 * r12 + P02 * r22
            R10 = P10 * r00 + P11 * r10 + P12 * r20
            R11 = P10 * r01 + P11 * r11 + P12 * r21
            R12 = P10 * r02 + P11 * r12 + P12 * r22
            R20 = P20 * r00 + P21 * r10 + P22 * r20
            R21 = P20 * r01 + P21 * r11 + P22 * r21
            R22 = P20 * r02 + P21 * r12 + P22 * r22
            d0, d1, d2 = offset[b, 0], offset[b, 1], offset[b, 2]
            x0 = P00 * d0 + P01 * d1 + P02 * d2
            x1 = P10 * d0 + P11 * d1 + P12 * d2
            x2 = P20 * d0 + P21 * d1 + P22 * d2
            p12, p13, p14, p15, p16, p17 = w[p, 12], w[p, 13], w[p, 14], w[p, 15], w[p, 16], w[p, 17]
            w[b, 9], w[b, 10], w[b, 11] = w[p, 9] + x0, w[p, 10] + x1, w[p, 11] + x2
            w[b, 27], w[b, 28], w[b, 29] = x0, x1, x2
            # a = a_p + α × x + ω × (ω × x)
            t0, t1, t2 = p13 * x2 - p14 * x1, p14 * x0 - p12 * x2, p12 * x1 - p13 * x0
            w[b, 18] = w[p, 18] + p16 * x2 - p17 * x1 + p13 * t2 - p14 * t1
            w[b, 19] = w[p, 19] + p17 * x0 - p15 * x2 + p14 * t0 - p12 * t2
            w[b, 20] = w[p, 20] + p15 * x1 - p16 * x0 + p12 * t1 - p13 * t0
        w[b, 0], w[b, 1], w[b, 2] = R00, R01, R02
        w[b, 3], w[b, 4], w[b, 5] = R10, R11, R12
        w[b, 6], w[b, 7], w[b, 8] = R20, R21, R22
        # joint velocity and acceleration in the world; the child frame turns with the child: α = α_p + R e + ω_p × R o
        g0, g1, g2 = R00 * o0 + R01 * o1 + R02 * o2, R10 * o0 + R11 * o1 + R12 * o2, R20 * o0 + R21 * o1 + R22 * o2
        w0, w1, w2 = p12 + g0, p13 + g1, p14 + g2
        a0 = p15 + R00 * e0 + R01 * e1 + R02 * e2 + p13 * g2 - p14 * g1
        a1 = p16 + R10 * e0 + R11 * e1 + R12 * e2 + p14 * g0 - p12 * g2
        a2 = p17 + R20 * e0 + R21 * e1 + R22 * e2 + p12 * g1 - p13 * g0
        w[b, 12], w[b, 13], w[b, 14], w[b, 15], w[b, 16], w[b, 17] = w0, w1, w2, a0, a1, a2
        # centre of mass from the joint, in the world
        d0, d1, d2 = com[b, 0], com[b, 1], com[b, 2]
        c0, c1, c2 = R00 * d0 + R01 * d1 + R02 * d2, R10 * d0 + R11 * d1 + R12 * d2, R20 * d0 + R21 * d1 + R22 * d2
        t0, t1, t2 = w1 * c2 - w2 * c1, w2 * c0 - w0 * c2, w0 * c1 - w1 * c0
        f0 = mass[b] * (w[b, 18] + a1 * c2 - a2 * c1 + w1 * t2 - w2 * t1)
        f1 = mass[b] * (w[b, 19] + a2 * c0 - a0 * c2 + w2 * t0 - w0 * t2)
        f2 = mass[b] * (w[b, 20] + a0 * c1 - a1 * c0 + w0 * t1 - w1 * t0)
        # Euler in the body frame: I α + ω × I ω
        u0, u1, u2 = R00 * w0 + R10 * w1 + R20 * w2, R01 * w0 + R11 * w1 + R21 * w2, R02 * w0 + R12 * w1 + R22 * w2
        y0, y1, y2 = R00 * a0 + R10 * a1 + R20 * a2, R01 * a0 + R11 * a1 + R21 * a2, R02 * a0 + R12 * a1 + R22 * a2
        I = inertia[b]
        l0 = I[0, 0] * u0 + I[0, 1] * u1 + I[0, 2] * u2
        l1 = I[1, 0] * u0 + I[1, 1] * u1 + I[1, 2] * u2
        l2 = I[2, 0] * u0 + I[2, 1] * u1 + I[2, 2] * u2
        n0 = I[0, 0] * y0 + I[0, 1] * y1 + I[0, 2] * y2 + u1 * l2 - u2 * l1
        n1 = I[1, 0] * y0 + I[1, 1] * y1 + I[1, 2] * y2 + u2 * l0 - u0 * l2
        n2 = I[2, 0] * y0 + I[2, 1] * y1 + I[2, 2] * y2 + u0 * l1 - u1 * l0
        m0 = R00 * n0 + R01 * n1 + R02 * n2 + c1 * f2 - c2 * f1
        m1 = R10 * n0 + R11 * n1 + R12 * n2 + c2 * f0 - c0 * f2
        m2 = R20 * n0 + R21 * n1 + R22 * n2 + c0 * f1 - c1 * f0
        # what the ground already supplies need not come through the joint
        h0, h1, h2 = ground_force[b, 0], ground_force[b, 1], ground_force[b, 2]
        z0, z1, z2 = ground_torque[b, 0], ground_torque[b, 1], ground_torque[b, 2]
        if h0 != 0.0 or h1 != 0.0 or h2 != 0.0 or z0 != 0.0 or z1 != 0.0 or z2 != 0.0:
            x0, x1, x2 = ground_point[b, 0] - w[b, 9], ground_point[b, 1] - w[b, 10], ground_point[b, 2] - w[b, 11]
            m0 -= z0 + x1 * h2 - x2 * h1
            m1 -= z1 + x2 * h0 - x0 * h2
            m2 -= z2 + x0 * h1 - x1 * h0
            f0 -= h0
            f1 -= h1
            f2 -= h2
        w[b, 21], w[b, 22], w[b, 23], w[b, 24], w[b, 25], w[b, 26] = f0, f1, f2, m0, m1, m2
    for b in range(num_bodies - 1, -1, -1):
        f0, f1, f2, m0, m1, m2 = w[b, 21], w[b, 22], w[b, 23], w[b, 24], w[b, 25], w[b, 26]
        v = omega_address[b]
        own = armature if b > 0 else 0.0
        force_out[v] = w[b, 0] * m0 + w[b, 3] * m1 + w[b, 6] * m2 + own * qacc[v]
        force_out[v + 1] = w[b, 1] * m0 + w[b, 4] * m1 + w[b, 7] * m2 + own * qacc[v + 1]
        force_out[v + 2] = w[b, 2] * m0 + w[b, 5] * m1 + w[b, 8] * m2 + own * qacc[v + 2]
        if b > 0:
            p = parents[b]
            x0, x1, x2 = w[b, 27], w[b, 28], w[b, 29]
            w[p, 21] += f0
            w[p, 22] += f1
            w[p, 23] += f2
            w[p, 24] += m0 + x1 * f2 - x2 * f1
            w[p, 25] += m1 + x2 * f0 - x0 * f2
            w[p, 26] += m2 + x0 * f1 - x1 * f0
        else:
            force_out[0], force_out[1], force_out[2] = f0, f1, f2
