"""Cost of simulated roll-outs against the reference, compiled.

At checkpoints c of a horizon, with p body positions, q joint rotations, C and V the whole-body centre of mass and its
velocity, L the angular momentum about it, all against the reference's:

    cost = mean_c [ w_pose·Σ_j w_j·|log(q_ref* q)|² + w_root·sin²(θ_root/2) + w_pos·mean_b|Δp|² + w_com·|ΔC|² + w_vcom·|ΔV|²
                    + w_mom·|ΔL|² + w_feet·mean_feet|Δ(p_foot − C)|² + w_range·Σ excess² + w_clear·Σ depth² ]
           + w_soft·mean_t (ΔF_z over 20 ms / body weight)² + w_size·mean (offset/σ)² + w_rate·mean (Δoffset/σ)²

Axis legend: B samples, K substeps of the horizon, C checkpoints, N = 24 bodies, D searched degrees of freedom.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dataset.skeleton import NUM_BODIES

Array = np.ndarray
"""Any array; the docstrings say which."""

POSE, ROOT, POSITION, COM, COM_VEL, MOMENTUM, FEET, SOFT, SIZE, RATE, RANGE, CLEAR = range(12)
"""Places of the weights in the weight vector."""


@njit(cache=True, error_model="numpy")
def _rotate(q: Array, v: Array, out: Array) -> None:
    w, x, y, z = q[0], q[1], q[2], q[3]
    tx, ty, tz = 2.0 * (y * v[2] - z * v[1]), 2.0 * (z * v[0] - x * v[2]), 2.0 * (x * v[1] - y * v[0])
    out[0] = v[0] + w * tx + y * tz - z * ty
    out[1] = v[1] + w * ty + z * tx - x * tz
    out[2] = v[2] + w * tz + x * ty - y * tx


@njit(cache=True, error_model="numpy")
def _multiply(a: Array, b: Array, out: Array) -> None:
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
            _rotate(rot[0], local, omega[0])
        else:
            p = parents[b]
            _multiply(rot[p], qpos[a : a + 4], rot[b])
            _rotate(rot[p], offset[b], arm)
            for i in range(3):
                local[i] = qvel[d + i]
            _rotate(rot[b], local, turned)
            for i in range(3):
                j, k = (i + 1) % 3, (i + 2) % 3
                pos[b, i] = pos[p, i] + arm[i]
                vel[b, i] = vel[p, i] + omega[p, j] * arm[k] - omega[p, k] * arm[j]
                omega[b, i] = omega[p, i] + turned[i]
        _rotate(rot[b], com[b], arm)
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
        _rotate(back, omega[b], local)
        for i in range(3):
            arm[i] = inertia[b, i, 0] * local[0] + inertia[b, i, 1] * local[1] + inertia[b, i, 2] * local[2]
        _rotate(rot[b], arm, turned)
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            rj, rk = center[b, j] - summary[j], center[b, k] - summary[k]
            vj, vk = center_vel[b, j] - summary[3 + j], center_vel[b, k] - summary[3 + k]
            summary[6 + i] += mass[b] * (rj * vk - rk * vj) + turned[i]


@njit(cache=True, error_model="numpy")
def _segment_distance(a0: Array, a1: Array, b0: Array, b1: Array) -> float:
    """Distance between two line segments [m] (Ericson, Real-Time Collision Detection, section 5.1.9)."""
    dd1 = dd2 = dr1 = dr2 = dd12 = 0.0
    for i in range(3):
        u, v, r = a1[i] - a0[i], b1[i] - b0[i], a0[i] - b0[i]
        dd1 += u * u
        dd2 += v * v
        dr1 += u * r
        dr2 += v * r
        dd12 += u * v
    dd1, dd2 = max(dd1, 1e-12), max(dd2, 1e-12)
    denominator = dd1 * dd2 - dd12 * dd12
    s = min(max((dd12 * dr2 - dr1 * dd2) / denominator, 0.0), 1.0) if denominator > 1e-15 else 0.0
    t = (dd12 * s + dr2) / dd2
    if t < 0.0:
        t, s = 0.0, min(max(-dr1 / dd1, 0.0), 1.0)
    elif t > 1.0:
        t, s = 1.0, min(max((dd12 - dr1) / dd1, 0.0), 1.0)
    square = 0.0
    for i in range(3):
        gap = a0[i] + s * (a1[i] - a0[i]) - b0[i] - t * (b1[i] - b0[i])
        square += gap * gap
    return np.sqrt(square)


@njit(cache=True, error_model="numpy")
def penetration_depths(pos: Array, rot: Array, ends: Array, radius: Array, pairs: Array, out: Array) -> None:
    """Depth by which the capsules of each body pair overlap [m], zero where they do not; out has shape (P,)."""
    point = np.zeros((4, 3))
    for i in range(pairs.shape[0]):
        for side in range(2):
            b = pairs[i, side]
            for end in range(2):
                _rotate(rot[b], ends[b, end], point[2 * side + end])
                for k in range(3):
                    point[2 * side + end, k] += pos[b, k]
        gap = _segment_distance(point[0], point[1], point[2], point[3]) - radius[pairs[i, 0]] - radius[pairs[i, 1]]
        out[i] = max(0.0, -gap)


@njit(cache=True, error_model="numpy")
def _rotvec(q: Array, out: Array) -> None:
    sign = -1.0 if q[0] < 0.0 else 1.0
    sine = np.sqrt(q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    scale = 2.0 * sign if sine < 1e-9 else sign * 2.0 * np.arctan2(sine, sign * q[0]) / sine
    for i in range(3):
        out[i] = scale * q[i + 1]


@njit(cache=True, error_model="numpy", nogil=True)
def rollout_costs(
    states: Array,
    ground_force_z: Array,
    offsets: Array,
    checkpoints: Array,
    soft_lag: int,
    weights: Array,
    joint_weights: Array,
    sigma: Array,
    body_weight: float,
    feet: Array,
    quat_address: Array,
    omega_address: Array,
    parents: Array,
    offset: Array,
    mass: Array,
    com: Array,
    inertia: Array,
    range_low: Array,
    range_high: Array,
    ends: Array,
    radius: Array,
    pairs: Array,
    ref_pos: Array,
    ref_rot: Array,
    ref_quat: Array,
    ref_summary: Array,
    ref_depth: Array,
    cost_out: Array,
) -> None:
    """Cost of each rolled-out sample; see the module docstring. A sample with a non-finite state costs 1e9.

    Args:
        states: Full physics states after each substep (time, qpos, qvel), shape (B, K, 175).
        ground_force_z: Vertical ground force on the whole body at each substep [N], shape (B, K).
        offsets: Servo-target offsets at the knots, first row the knot already fixed [rad], shape (B, knots + 1, D).
        checkpoints: Substep indices of the checkpoints, shape (C,).
        soft_lag: Substeps in 20 ms.
        weights: Weight vector, see the constants of this module, shape (12,).
        joint_weights: Weights w_j of the joint rotations, sum 1, shape (N,), 0 for the pelvis.
        sigma: Search width of each degree of freedom [rad], shape (D,).
        body_weight: m·g [N].
        feet: Body indices of the foot pieces, shape (4,).
        quat_address: See `whole_body_state`, as the next six.
        omega_address: First qvel index of each body's angular velocity, shape (N,).
        parents: Parent of each body, shape (N,).
        offset: Joint centres from parent joint centres [m], shape (N, 3).
        mass: Body masses [kg], shape (N,).
        com: Body mass centres in the body frame [m], shape (N, 3).
        inertia: Body inertias [kg·m²], shape (N, 3, 3).
        range_low: Lower bounds of the joint rotation vectors at each checkpoint [rad], shape (C, J, 3).
        range_high: Upper bounds, shape (C, J, 3).
        ends: Capsule ends in the body frames [m], shape (N, 2, 3).
        radius: Capsule radii [m], shape (N,).
        pairs: Body pairs to keep apart, shape (P, 2).
        ref_pos: Reference body positions at the checkpoints [m], shape (C, N, 3).
        ref_rot: Reference body orientations, shape (C, N, 4).
        ref_quat: Reference joint rotations, shape (C, N, 4).
        ref_summary: Reference centre of mass, velocity, angular momentum, shape (C, 9).
        ref_depth: Overlap that the reference itself has [m], shape (C, P).
        cost_out: Output, shape (B,).
    """
    pos, rot, summary = np.zeros((NUM_BODIES, 3)), np.zeros((NUM_BODIES, 4)), np.zeros(9)
    depth, relative, log = np.zeros(pairs.shape[0]), np.zeros(4), np.zeros(3)
    back = np.zeros(4)
    num_checks = checkpoints.shape[0]
    for b in range(states.shape[0]):
        last = states[b, states.shape[1] - 1]
        is_finite = True
        for i in range(last.shape[0]):
            if not np.isfinite(last[i]):
                is_finite = False
        if not is_finite:
            cost_out[b] = 1e9
            continue
        total = 0.0
        for c in range(num_checks):
            qpos = states[b, checkpoints[c], 1:100]
            qvel = states[b, checkpoints[c], 100:175]
            whole_body_state(
                qpos, qvel, quat_address, omega_address, parents, offset, mass, com, inertia, pos, rot, summary
            )
            for j in range(1, NUM_BODIES):
                a = quat_address[j]
                back[0], back[1], back[2], back[3] = (
                    ref_quat[c, j, 0], -ref_quat[c, j, 1], -ref_quat[c, j, 2], -ref_quat[c, j, 3],
                )  # fmt: skip
                _multiply(back, qpos[a : a + 4], relative)
                _rotvec(relative, log)
                total += weights[POSE] * joint_weights[j] * (log[0] ** 2 + log[1] ** 2 + log[2] ** 2)
                _rotvec(qpos[a : a + 4], log)
                for i in range(3):
                    excess = max(0.0, log[i] - range_high[c, j - 1, i], range_low[c, j - 1, i] - log[i])
                    total += weights[RANGE] * excess * excess
            cosine = 0.0
            for i in range(4):
                cosine += rot[0, i] * ref_rot[c, 0, i]
            total += weights[ROOT] * max(0.0, 1.0 - cosine * cosine)
            for j in range(NUM_BODIES):
                for i in range(3):
                    total += weights[POSITION] / NUM_BODIES * (pos[j, i] - ref_pos[c, j, i]) ** 2
            for i in range(3):
                total += weights[COM] * (summary[i] - ref_summary[c, i]) ** 2
                total += weights[COM_VEL] * (summary[3 + i] - ref_summary[c, 3 + i]) ** 2
                total += weights[MOMENTUM] * (summary[6 + i] - ref_summary[c, 6 + i]) ** 2
                for f in range(feet.shape[0]):
                    gap = pos[feet[f], i] - summary[i] - ref_pos[c, feet[f], i] + ref_summary[c, i]
                    total += weights[FEET] / feet.shape[0] * gap * gap
            penetration_depths(pos, rot, ends, radius, pairs, depth)
            for i in range(pairs.shape[0]):
                total += weights[CLEAR] * max(0.0, depth[i] - ref_depth[c, i]) ** 2
        total /= num_checks
        soft = 0.0
        steps = ground_force_z.shape[1] - soft_lag
        for k in range(steps):
            soft += ((ground_force_z[b, k + soft_lag] - ground_force_z[b, k]) / body_weight) ** 2
        total += weights[SOFT] * soft / max(steps, 1)
        size = rate = 0.0
        for k in range(1, offsets.shape[1]):
            for i in range(offsets.shape[2]):
                size += (offsets[b, k, i] / sigma[i]) ** 2
                rate += ((offsets[b, k, i] - offsets[b, k - 1, i]) / sigma[i]) ** 2
        count = max(1, (offsets.shape[1] - 1) * offsets.shape[2])
        cost_out[b] = total + (weights[SIZE] * size + weights[RATE] * rate) / count


@njit(cache=True, error_model="numpy", nogil=True)
def fill_controls(base: Array, offsets: Array, columns: Array, knot_steps: int, out: Array) -> None:
    """Servo targets of each substep: base targets plus linearly interpolated knot offsets.

    Args:
        base: Base targets over the horizon [rad], shape (K, 69).
        offsets: Knot offsets, first row in force now, shape (B, knots + 1, D).
        columns: Servo of each searched degree of freedom, shape (D,).
        knot_steps: Substeps between knots.
        out: Output, shape (B, K, 69).
    """
    for b in range(offsets.shape[0]):
        out[b] = base
        for k in range(base.shape[0]):
            knot = min(k // knot_steps, offsets.shape[1] - 2)
            share = (k + 1 - knot * knot_steps) / knot_steps
            for i in range(columns.shape[0]):
                out[b, k, columns[i]] += offsets[b, knot, i] * (1.0 - share) + offsets[b, knot + 1, i] * share
