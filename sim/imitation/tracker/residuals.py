"""What separates simulated roll-outs from the reference, as one vector whose square is the cost; compiled.

At checkpoints c of a horizon, with p body positions, q joint rotations, C and V the whole-body centre of mass and its
velocity, L the angular momentum about it, all against the reference's:

    cost = mean_c [ w_pose·Σ_j w_j·|log(q_ref* q)|² + w_root·sin²(θ_root/2) + w_pos·mean_b|Δp|² + w_com·|ΔC|² + w_vcom·|ΔV|²
                    + w_mom·|ΔL|² + w_feet·mean_feet|Δ(p_foot - C)|² + w_range·Σ excess² + w_clear·Σ depth² ]
           + w_soft·mean_t (ΔF_z over 20 ms / body weight)²

(the search adds w_size·mean (offset/σ)² + w_rate·mean (Δoffset/σ)², which need no roll-out). Every term is a square, so a
Gauss-Newton step can use each of the 3000 residuals where a search by the cost alone would see one number.

Axis legend: B samples, K substeps of the horizon, C checkpoints, N = 24 bodies, M residuals.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dataset.skeleton import NUM_BODIES
from sim.imitation.tracker.clearance import penetration_depths
from sim.imitation.tracker.whole_body import Array, multiply, rotation_log, whole_body_state

POSE, ROOT, POSITION, COM, COM_VEL, MOMENTUM, FEET, SOFT, RANGE, CLEAR = range(10)
"""Places of the weights in the weight vector."""
_FIXED = 6 * (NUM_BODIES - 1) + 3 + 3 * NUM_BODIES + 9
LOST = 100.0
"""Every residual of a roll-out whose state is no longer finite, or that the engine gave up."""


def num_residuals(checkpoints: int, feet: int, pairs: int, substeps: int, soft_lag: int) -> int:
    """Length M of the vector that `rollout_residuals` fills."""
    return checkpoints * (_FIXED + 3 * feet + pairs) + max(substeps - soft_lag, 0)


@njit(cache=True, error_model="numpy", nogil=True)
def rollout_residuals(
    states: Array,
    ground_force_z: Array,
    checkpoints: Array,
    soft_lag: int,
    weights: Array,
    joint_weights: Array,
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
    out: Array,
) -> None:
    """Residuals of each rolled-out sample; see the module docstring.

    Args:
        states: Full physics states after each substep (time, qpos, qvel), shape (B, K, 175).
        ground_force_z: Vertical ground force on the whole body at each substep [N], shape (B, K).
        checkpoints: Substep indices of the checkpoints, shape (C,).
        soft_lag: Substeps in 20 ms.
        weights: Weight vector, see the constants of this module, shape (10,).
        joint_weights: Weights w_j of the joint rotations, sum 1, shape (N,), 0 for the pelvis.
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
        out: Output, shape (B, M) with M from `num_residuals`.
    """
    pos, rot, summary = np.zeros((NUM_BODIES, 3)), np.zeros((NUM_BODIES, 4)), np.zeros(9)
    depth, relative, log, back = np.zeros(pairs.shape[0]), np.zeros(4), np.zeros(3), np.zeros(4)
    share = 1.0 / np.sqrt(checkpoints.shape[0])
    for b in range(states.shape[0]):
        last = states[b, states.shape[1] - 1]
        is_finite = True
        for i in range(last.shape[0]):
            if not np.isfinite(last[i]):
                is_finite = False
        if not is_finite:
            out[b, :] = LOST
            continue
        n = 0
        for c in range(checkpoints.shape[0]):
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
                multiply(back, qpos[a : a + 4], relative)
                rotation_log(relative, log)
                factor = np.sqrt(weights[POSE] * joint_weights[j]) * share
                for i in range(3):
                    out[b, n + i] = factor * log[i]
                rotation_log(qpos[a : a + 4], log)
                factor = np.sqrt(weights[RANGE]) * share
                for i in range(3):
                    excess = max(0.0, log[i] - range_high[c, j - 1, i], range_low[c, j - 1, i] - log[i])
                    out[b, n + 3 + i] = factor * excess
                n += 6
            back[0], back[1], back[2], back[3] = (
                ref_rot[c, 0, 0],
                -ref_rot[c, 0, 1],
                -ref_rot[c, 0, 2],
                -ref_rot[c, 0, 3],
            )
            multiply(back, rot[0], relative)
            factor = np.sqrt(weights[ROOT]) * share * (1.0 if relative[0] >= 0.0 else -1.0)
            for i in range(3):
                out[b, n + i] = factor * relative[1 + i]
            n += 3
            factor = np.sqrt(weights[POSITION] / NUM_BODIES) * share
            for j in range(NUM_BODIES):
                for i in range(3):
                    out[b, n + i] = factor * (pos[j, i] - ref_pos[c, j, i])
                n += 3
            for i in range(3):
                out[b, n] = np.sqrt(weights[COM]) * share * (summary[i] - ref_summary[c, i])
                out[b, n + 1] = np.sqrt(weights[COM_VEL]) * share * (summary[3 + i] - ref_summary[c, 3 + i])
                out[b, n + 2] = np.sqrt(weights[MOMENTUM]) * share * (summary[6 + i] - ref_summary[c, 6 + i])
                n += 3
            factor = np.sqrt(weights[FEET] / feet.shape[0]) * share
            for f in range(feet.shape[0]):
                for i in range(3):
                    gap = pos[feet[f], i] - summary[i] - ref_pos[c, feet[f], i] + ref_summary[c, i]
                    out[b, n + i] = factor * gap
                n += 3
            penetration_depths(pos, rot, ends, radius, pairs, depth)
            factor = np.sqrt(weights[CLEAR]) * share
            for i in range(pairs.shape[0]):
                out[b, n + i] = factor * max(0.0, depth[i] - ref_depth[c, i])
            n += pairs.shape[0]
        steps = ground_force_z.shape[1] - soft_lag
        factor = np.sqrt(weights[SOFT] / max(steps, 1)) / body_weight
        for k in range(steps):
            out[b, n + k] = factor * (ground_force_z[b, k + soft_lag] - ground_force_z[b, k])
