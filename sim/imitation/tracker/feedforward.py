"""Servo targets that would drive the reference if nothing went wrong: position, velocity compensation, inverse dynamics.

    u = rotvec_ref + (kv / kp) · ω_ref + τ_ff / kp

τ_ff is the joint torque of the inverse dynamics of the reference, M·a + c − Jᵀf, where the contact forces f at points of the
collision shapes near the floor are the ridge-regularised non-negative least-squares solution of the six root rows on the
edges of a friction pyramid. The ridge grows with a point's height, which makes the solution unique (the same on any machine
to rounding) and lets a foot take load gradually. What the contacts cannot supply is dropped, never applied: no residual
force acts.

Targets and start states are rounded, so that machines whose arithmetic differs in the last bits get the same ones.

Axis legend: K substeps, P candidate contact points, 69 servos.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numba import njit

from dataset.rotation import to_rotation_vector
from sim.humanoid import Humanoid
from sim.imitation.tracker.contact_forces import ridge_nonnegative_exact
from sim.imitation.tracker.contacts import contact_candidates, pyramid_edges
from sim.imitation.tracker.reference import ReferenceTrajectory
from sim.imitation.tracker.whole_body import Array

CONTACT_HEIGHT = 0.03
"""Points of the body lower than this may carry force [m]."""
RIDGE = 0.03
"""Weight of a contact force's own size beside the root residual it is there to remove."""
RIDGE_HEIGHT = 0.01
"""Height at which a point's ridge has doubled [m]."""
TARGET_QUANTUM = 2.0**-13
"""Base targets are whole multiples of this [rad]."""
TORQUE_CLIP = 200.0
"""Feed-forward torque is limited to this [N·m] at 70 kg."""
ROOT_WEIGHT = np.array([1.0, 1.0, 1.0, 3.0, 3.0, 3.0])
"""Weights of the root's force and moment rows."""
SAMPLE_RATE = 60.0
"""Rate at which the inverse dynamics is solved [Hz]; linear in between."""


@njit(cache=True, error_model="numpy")
def _support(jacobian: Array, height: Array, edges: Array, force: Array) -> bool:
    """Takes from generalised forces what the floor's forces at low points do in their place: force -= Jᵀf.

    Args:
        jacobian: Of each low point's position, shape (n, 3, V).
        height: Of each low point [m], shape (n,).
        edges: Forces on the edges of the friction pyramid, shape (E, 3).
        force: M·a + c [N, N·m], changed, shape (V,).

    Returns:
        Whether contact forces were found.
    """
    points, count = height.shape[0], edges.shape[0]
    columns, ridge, share = np.empty((points * count, 6)), np.empty(points * count), np.zeros(points * count)
    for p in range(points):
        weight = (RIDGE * (1.0 + (max(height[p], 0.0) / RIDGE_HEIGHT) ** 2)) ** 2
        for e in range(count):
            ridge[p * count + e] = weight
            for v in range(6):
                along = 0.0
                for i in range(3):
                    along += edges[e, i] * jacobian[p, i, v]
                columns[p * count + e, v] = along * ROOT_WEIGHT[v]
    if not ridge_nonnegative_exact(columns, ridge, force[:6] * ROOT_WEIGHT, share):
        return False
    for p in range(points):
        for i in range(3):
            push = 0.0
            for e in range(count):
                push += share[p * count + e] * edges[e, i]
            for v in range(force.shape[0]):
                force[v] -= push * jacobian[p, i, v]
    return True


def feedforward_torque(humanoid: Humanoid, reference: ReferenceTrajectory) -> np.ndarray:
    """Joint torques of the reference motion under its most plausible contacts.

    Returns:
        Torque on the child [N·m], child frame, servo order, shape (K, 69), limited to ±TORQUE_CLIP (scaled by mass).

    Raises:
        ValueError: The motion's accelerations are not finite, or no contact forces were found.
    """
    model, data = humanoid.model, mujoco.MjData(humanoid.model)
    ids, points = contact_candidates(humanoid)
    edges = pyramid_edges()
    stride = max(1, round(1.0 / (SAMPLE_RATE * reference.substep)))
    samples = np.arange(0, reference.num_samples, stride)
    torque = np.zeros((len(samples), humanoid.model.nu))
    jacobian, force, bias = np.zeros((len(ids), 3, model.nv)), np.zeros(model.nv), np.zeros(model.nv)
    clip = TORQUE_CLIP * humanoid.body.subject.mass / 70.0
    for row, sample in enumerate(samples):
        data.qpos[:], data.qvel[:] = reference.qpos[sample], reference.qvel[sample]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_crb(model, data)
        mujoco.mj_comVel(model, data)
        mujoco.mj_rne(model, data, 0, bias)
        mujoco.mj_mulM(model, data, force, reference.qacc[sample])
        force += bias
        world = data.xpos[ids] + np.matmul(data.xmat[ids].reshape(-1, 3, 3), points[:, :3, None])[..., 0]
        world[:, 2] -= points[:, 3]
        near = np.flatnonzero(world[:, 2] < CONTACT_HEIGHT)
        for i, point in enumerate(near):
            mujoco.mj_jac(model, data, jacobian[i], None, world[point], ids[point])
        if near.size:
            is_found = np.all(np.isfinite(force)) and _support(jacobian[: near.size], world[near, 2], edges, force)
            if not is_found:
                raise ValueError(
                    f"reference at {sample * reference.substep:.2f} s: expected a motion whose inverse dynamics the floor's"
                    f" forces can be fitted to, got root force {force[:6]} [N, N·m]; cut the motion there"
                )
        torque[row] = np.clip(force[humanoid.ctrl_dof], -clip, clip)
    time = np.arange(reference.num_samples)
    return np.stack([np.interp(time, samples, torque[:, servo]) for servo in range(model.nu)], axis=1)


def base_targets(humanoid: Humanoid, reference: ReferenceTrajectory, torque: np.ndarray) -> np.ndarray:
    """Servo targets u = rotvec_ref + (kv/kp)·ω_ref + τ_ff/kp [rad], shape (K, 69).

    Args:
        humanoid: Gains come from it.
        reference: Reference trajectory.
        torque: Feed-forward torque from `feedforward_torque` [N·m], shape (K, 69).
    """
    rotvec = to_rotation_vector(reference.qpos[:, humanoid.quat_columns[1:]]).reshape(reference.num_samples, -1)
    omega = reference.qvel[:, humanoid.ctrl_dof]
    targets = rotvec + humanoid.damping / humanoid.stiffness * omega + torque / humanoid.stiffness
    return np.round(targets / TARGET_QUANTUM) * TARGET_QUANTUM + 0.0
