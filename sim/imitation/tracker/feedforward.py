"""Servo targets that would drive the reference if nothing went wrong: position, velocity compensation, inverse dynamics.

    u = rotvec_ref + (kv / kp) · ω_ref + τ_ff / kp

τ_ff is the joint torque of the inverse dynamics of the reference, M·a + c − Jᵀf, where the contact forces f at points of the
collision shapes near the floor are the ridge-regularised non-negative least-squares solution of the six root rows on the
edges of a friction pyramid. The ridge grows with a point's height, which makes the solution unique (the same on any machine
to rounding) and lets a foot take load gradually. What the contacts cannot supply is dropped, never applied: no residual
force acts.

Targets and start states are rounded, so that machines whose arithmetic differs in the last bits get the same ones.

Axis legend: K substeps, B MuJoCo bodies, 69 servos.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dataset.rotation import to_rotation_vector
from sim.humanoid import Humanoid
from sim.imitation.tracker.contact_forces import ridge_nonnegative_exact
from sim.imitation.tracker.contacts import contact_candidates, pyramid_edges
from sim.imitation.tracker.inverse_dynamics import candidate_points, needed_forces
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
def _support(
    point: Array,
    body: Array,
    pos: Array,
    frame: Array,
    parents: Array,
    omega_address: Array,
    edges: Array,
    force: Array,
) -> bool:
    """Takes from generalised forces what the floor's forces at low points do in their place: force -= Jᵀf.

    Args:
        point: Low points in the world [m], shape (n, 3).
        body: The body that each belongs to, shape (n,).
        pos: Joint positions in the world [m], shape (B, 3).
        frame: Body frames in the world, shape (B, 3, 3).
        parents: Parent of each body, 0 for the world, shape (B,).
        omega_address: First velocity of each body's rotation in its own frame, shape (B,).
        edges: Forces on the edges of the friction pyramid, shape (E, 3).
        force: M·a + c [N, N·m], changed, shape (V,).

    Returns:
        Whether contact forces were found.
    """
    points, count, root = point.shape[0], edges.shape[0], 1
    columns, ridge, share = np.empty((points * count, 6)), np.empty(points * count), np.zeros(points * count)
    arm, push = np.zeros(3), np.zeros(3)
    for p in range(points):
        weight = (RIDGE * (1.0 + (max(point[p, 2], 0.0) / RIDGE_HEIGHT) ** 2)) ** 2
        for i in range(3):
            arm[i] = point[p, i] - pos[root, i]
        for e in range(count):
            ridge[p * count + e] = weight
            row = columns[p * count + e]
            row[:3] = edges[e]
            _moment_in_frame(arm, edges[e], frame[root], row[3:])
            for v in range(6):
                row[v] *= ROOT_WEIGHT[v]
    if not ridge_nonnegative_exact(columns, ridge, force[:6] * ROOT_WEIGHT, share):
        return False
    turn = np.zeros(3)
    for p in range(points):
        push[:] = 0.0
        for e in range(count):
            for i in range(3):
                push[i] += share[p * count + e] * edges[e, i]
        for i in range(3):
            force[i] -= push[i]
        b = body[p]
        while b > 0:
            for i in range(3):
                arm[i] = point[p, i] - pos[b, i]
            _moment_in_frame(arm, push, frame[b], turn)
            for i in range(3):
                force[omega_address[b] + i] -= turn[i]
            b = parents[b]
    return True


@njit(cache=True, error_model="numpy")
def _moment_in_frame(arm: Array, push: Array, frame: Array, out: Array) -> None:
    """Moment arm × push of the world in the axes of `frame`."""
    x = arm[1] * push[2] - arm[2] * push[1]
    y = arm[2] * push[0] - arm[0] * push[2]
    z = arm[0] * push[1] - arm[1] * push[0]
    for i in range(3):
        out[i] = frame[0, i] * x + frame[1, i] * y + frame[2, i] * z


@njit(cache=True, error_model="numpy")
def _support_all(
    world: Array, ids: Array, pos: Array, frame: Array, parents: Array, omega_address: Array, edges: Array, force: Array
) -> int:
    """`_support` of every frame by its points under `CONTACT_HEIGHT`; the first frame without a solution, or -1."""
    for t in range(world.shape[0]):
        near = np.flatnonzero(world[t, :, 2] < CONTACT_HEIGHT)
        if near.size == 0:
            continue
        is_finite = np.all(np.isfinite(force[t]))
        if not is_finite or not _support(
            world[t][near], ids[near], pos[t], frame[t], parents, omega_address, edges, force[t]
        ):
            return t
    return -1


def feedforward_torque(humanoid: Humanoid, reference: ReferenceTrajectory) -> np.ndarray:
    """Joint torques of the reference motion under its most plausible contacts.

    Returns:
        Torque on the child [N·m], child frame, servo order, shape (K, 69), limited to ±TORQUE_CLIP (scaled by mass).

    Raises:
        ValueError: The motion's accelerations are not finite, or no contact forces were found.
    """
    model, (ids, _) = humanoid.model, contact_candidates(humanoid)
    stride = max(1, round(1.0 / (SAMPLE_RATE * reference.substep)))
    samples = np.arange(0, reference.num_samples, stride)
    needed = needed_forces(humanoid, reference, samples)
    force, world = needed.force, candidate_points(humanoid, needed)
    rotation = model.body_dofadr + model.body_dofnum - 3  # of a free joint as of a ball joint
    missing = _support_all(world, ids, needed.pos, needed.frame, model.body_parentid, rotation, pyramid_edges(), force)
    if missing >= 0:
        raise ValueError(
            f"reference at {samples[missing] * reference.substep:.2f} s: expected a motion whose inverse dynamics the floor's"
            f" forces can be fitted to, got root force {force[missing, :6]} [N, N·m]; cut the motion there"
        )
    clip = TORQUE_CLIP * humanoid.body.subject.mass / 70.0
    torque = np.clip(force[:, humanoid.ctrl_dof], -clip, clip)
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
