"""The nearest motion that floor contacts can bring about (a dynamics filter, after Yamane and Nakamura 2003).

A motion that was measured on one body and put on another falls faster than gravity, turns in the air, leans where nothing
pushes: no controller can follow it, and a search with a short horizon finds out too late. So the motion itself is changed
first, as little as possible. Each frame may shift by δ and turn by θ about its mass centre; with

    b = [ m(c̈ + δ̈ - g) ;  L̇ + I·θ̈ + δ × F ]        (F = m(c̈ - g), L about the mass centre c, I of the whole body)

the force and moment the floor must supply, and f ≥ 0 the forces it can supply on friction-pyramid edges A at low points,

    min over δ, θ, f of  Σ_t |b - A f|² + Σ ρ² f² + w_δ |δ|² + w_θ |θ|²      (body weights, metres, radians).

Eliminating f on its active set leaves bᵀ(1 + A_a ρ⁻² A_aᵀ)⁻¹ b, so that each Newton step is one banded solve for all frames.
Inverse kinematics then moves trunk and arms with δ and θ while what is near the floor stays; in flight everything moves.

Axis legend: T frames, P points, E = 4 pyramid edges, N = 24 bodies.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import mujoco
import numpy as np
from numba import njit
from scipy.linalg import solveh_banded

from dataset.schema import Motion
from dataset.skeleton import GRAVITY, NUM_BODIES
from sim.humanoid import Humanoid
from sim.imitation.tracker.contacts import contact_candidates, pyramid_edges
from sim.imitation.tracker.reference import ReferenceTrajectory, make_reference
from sim.imitation.tracker.whole_body import Array

SHIFT_WEIGHT = 1.0
"""Weight of a shift [1/m²]; a residual of one body weight in one frame weighs 1."""
TURN_WEIGHT = 0.5
"""Weight of a turn [1/rad²]."""
MOMENT_SCALE = 3.0
"""A moment of 1 body weight · metre counts as this many body weights."""
REACH = 0.05
"""Points lower than this may carry force [m]."""
RIDGE = 0.03
"""Weight of a contact force's own size [-]."""
RIDGE_HEIGHT = 0.015
"""Height at which a point's ridge has doubled [m]."""
NEWTON_STEPS = 6
"""Newton steps over the active sets of all frames."""
PASSES = 2
"""Times that the motion is changed and judged again."""
SWEEPS = 200
"""Largest number of sweeps of the contact-force solver."""
FREE_HEIGHT = 0.1
"""Height of the lowest point from which all parts move together, as in flight [m]."""
POSE_WEIGHT = 0.05
"""Weight of a joint rotation beside body positions in the inverse kinematics [m²/rad²]."""
ROOT_WEIGHT = 0.3
"""Weight of the pelvis' orientation there [m²/rad²]."""


@dataclass(frozen=True, eq=False)
class Demand:
    """What a motion asks of the floor, in body weights and metres."""

    force: np.ndarray
    """Force F / (m·g), shape (T, 3)."""
    moment: np.ndarray
    """Moment L̇ about the mass centre times `MOMENT_SCALE` / (m·g), shape (T, 3)."""
    inertia: np.ndarray
    """Inertia of the whole body about its mass centre times `MOMENT_SCALE` / (m·g) [s²], shape (T, 3, 3)."""
    com: np.ndarray
    """Mass centre [m], shape (T, 3)."""
    columns: list[np.ndarray]
    """Wrenches of unit forces on the pyramid edges of the low points, (6, P·E) a frame."""
    ridges: list[np.ndarray]
    """Their ridges ρ², (P·E,) a frame."""


@njit(cache=True)
def ridge_nonnegative(columns: Array, ridge: Array, wanted: Array, force: Array, sweeps: int, tolerance: float) -> None:
    """Forces f >= 0 that minimise |wanted - columns·f|² + Σ ridge·f², by coordinate descent; unique thanks to the ridge.

    Args:
        columns: Wrenches of unit forces, shape (6, n).
        ridge: Weights ρ² > 0, shape (n,).
        wanted: Wrench to supply, shape (6,).
        force: Start, and the result, shape (n,).
        sweeps: Largest number of sweeps.
        tolerance: Change of all forces in one sweep at which it ends.
    """
    count = columns.shape[1]
    rest = wanted.copy()
    square = np.zeros(count)
    for i in range(count):
        for r in range(6):
            square[i] += columns[r, i] ** 2
            rest[r] -= columns[r, i] * force[i]
    for _ in range(sweeps):
        change = 0.0
        for i in range(count):
            gradient = -ridge[i] * force[i]
            for r in range(6):
                gradient += columns[r, i] * rest[r]
            new = max(0.0, force[i] + gradient / (square[i] + ridge[i]))
            step = new - force[i]
            if step != 0.0:
                for r in range(6):
                    rest[r] -= columns[r, i] * step
                force[i] = new
                change = max(change, abs(step))
        if change < tolerance:
            break


def floor_demand(humanoid: Humanoid, reference: ReferenceTrajectory, samples: np.ndarray) -> Demand:
    """Force and moment that the floor must supply for the motion to happen, and the low points it may push at.

    Args:
        humanoid: Body and masses.
        reference: The motion with its velocities and accelerations.
        samples: Samples of it to judge, shape (T,).
    """
    model, data = humanoid.model, mujoco.MjData(humanoid.model)
    weight = humanoid.body.mass.sum() * GRAVITY
    ids, points = contact_candidates(humanoid)
    edges = pyramid_edges()
    count = len(samples)
    force, moment, com = np.zeros((3, count, 3))
    inertia = np.zeros((count, 3, 3))
    columns, ridges = [], []
    for t, sample in enumerate(samples):
        data.qpos[:], data.qvel[:] = reference.qpos[sample], reference.qvel[sample]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_crb(model, data)
        mujoco.mj_comVel(model, data)
        bias, inertial = np.zeros(model.nv), np.zeros(model.nv)
        mujoco.mj_rne(model, data, 0, bias)
        mujoco.mj_mulM(model, data, inertial, reference.qacc[sample])
        needed = bias + inertial
        root = humanoid.body_id[0]
        center = data.subtree_com[root].copy()
        com[t] = center
        force[t] = needed[:3]
        moment[t] = data.xmat[root].reshape(3, 3) @ needed[3:6] + np.cross(data.xpos[root] - center, needed[:3])
        arms = data.xipos[humanoid.body_id] - center
        turn = data.ximat[humanoid.body_id].reshape(-1, 3, 3)
        own = np.einsum("bij,bj,bkj->ik", turn, model.body_inertia[humanoid.body_id], turn)
        mass = humanoid.body.mass
        spread = np.einsum("b,bi,bj->ij", mass, arms, arms)
        inertia[t] = own + np.trace(spread) * np.eye(3) - spread
        world = data.xpos[ids] + np.einsum("pij,pj->pi", data.xmat[ids].reshape(-1, 3, 3), points[:, :3])
        world[:, 2] -= points[:, 3]
        near = np.flatnonzero(world[:, 2] < REACH)
        arm = world[near] - center
        arm[:, 2] = np.minimum(world[near, 2], 0.0) - center[2]
        pair = np.broadcast_to(edges, (len(near), 4, 3))
        turning = MOMENT_SCALE * np.cross(arm[:, None], pair)
        columns.append(np.ascontiguousarray(np.concatenate([pair, turning], axis=-1).reshape(-1, 6).T))
        ridge = RIDGE * (1.0 + (np.maximum(world[near, 2], 0.0) / RIDGE_HEIGHT) ** 2)
        ridges.append(np.repeat(ridge, 4) ** 2)
    return Demand(force / weight, MOMENT_SCALE * moment / weight, MOMENT_SCALE * inertia / weight, com, columns, ridges)


def _cross_matrix(vectors: np.ndarray) -> np.ndarray:
    """Matrices X with X·δ = δ × v, shape (T, 3, 3)."""
    out = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = z, -y, x
    out[:, 1, 0], out[:, 2, 0], out[:, 2, 1] = -z, y, -x
    return out


def _solve_banded(hessians: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Unknowns (T + 2, 6) of Σ_t (h_t over frames t - 1, t, t + 1) plus the weights of shift and turn.

    Args:
        hessians: Shape (T, 18, 18).
        slopes: Right sides, shape (T, 18).
    """
    count = len(hessians)
    size = 6 * (count + 2)
    matrix, right = np.zeros((18, size)), np.zeros(size)
    first = 6 * np.arange(count)
    for row in range(18):
        right[first + row] += slopes[:, row]
        for column in range(row, 18):
            matrix[17 - column + row, first + column] += hessians[:, row, column]
    matrix[17] += np.tile(np.repeat([SHIFT_WEIGHT, TURN_WEIGHT], 3), count + 2)
    return solveh_banded(matrix, right).reshape(-1, 6)


def smallest_shift(demand: Demand, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shift and turn of every frame that let the floor supply what the motion demands.

    Args:
        demand: From `floor_demand`.
        rate: Frames per second [Hz].

    Returns:
        Shift [m], shape (T, 3); turn [rad], shape (T, 3); force and moment that are still missing [body weights, body
        weights · metre], shape (T, 6).
    """
    count = len(demand.force)
    base = np.concatenate([demand.force, demand.moment], axis=1)
    second = np.zeros((count, 6, 6))
    second[:, :3, :3] = np.eye(3) / GRAVITY
    second[:, 3:, 3:] = demand.inertia
    second *= rate**2
    place = np.zeros((count, 6, 6))
    place[:, 3:, :3] = MOMENT_SCALE * _cross_matrix(demand.force)
    inner = np.ones(count)
    inner[[0, -1]] = 0.0  # no acceleration from differences at the ends
    left = second * inner[:, None, None]
    blocks = np.concatenate([left, place - 2.0 * left, left], axis=2)  # (T, 6, 18) on x[t-1], x[t], x[t+1]
    x = np.zeros((count + 2, 6))
    forces = [np.zeros(c.shape[1]) for c in demand.columns]
    rest = np.zeros((count, 6))
    for step in range(NEWTON_STEPS + 1):
        window = np.concatenate([x[:-2], x[1:-1], x[2:]], axis=1)
        b = base + np.einsum("tij,tj->ti", blocks, window)
        compliance = np.tile(np.eye(6), (count, 1, 1))
        for t, (columns, ridge, force) in enumerate(zip(demand.columns, demand.ridges, forces, strict=True)):
            rest[t] = b[t]
            if columns.shape[1]:
                ridge_nonnegative(columns, ridge, b[t], force, SWEEPS, 1e-9)
                rest[t] -= columns @ force
                active = force > 0.0
                compliance[t] += (columns[:, active] / ridge[active]) @ columns[:, active].T
        if step == NEWTON_STEPS:
            break
        shape = np.linalg.inv(compliance)
        weighted = np.matmul(blocks.transpose(0, 2, 1), shape)
        x = _solve_banded(np.matmul(weighted, blocks), -np.einsum("tij,tj->ti", weighted, base))
    rest[:, 3:] /= MOMENT_SCALE
    return x[1:-1, :3], x[1:-1, 3:], rest


def _move(
    humanoid: Humanoid, data: mujoco.MjData, qpos: np.ndarray, com: np.ndarray, shift: np.ndarray, turn: np.ndarray
) -> np.ndarray:
    """One pose with its mass centre shifted and its trunk turned, while what is near the floor stays.

    Args:
        humanoid: The body.
        data: Work space of its model.
        qpos: Pose, shape (99,).
        com: Its mass centre [m], shape (3,).
        shift: Shift of the mass centre [m], shape (3,).
        turn: Rotation vector in the world [rad], shape (3,).

    Returns:
        The pose after two damped Gauss-Newton steps of inverse kinematics, shape (99,).
    """
    model = humanoid.model
    ids, points = contact_candidates(humanoid)
    mass = humanoid.body.mass / humanoid.body.mass.sum()
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    pos = data.xpos[humanoid.body_id].copy()
    world = data.xpos[ids] + np.einsum("pij,pj->pi", data.xmat[ids].reshape(-1, 3, 3), points[:, :3])
    share = np.clip(pos[:, 2] / max(com[2], 0.1), 0.0, 1.0)
    free = np.clip(float((world[:, 2] - points[:, 3]).min()) / FREE_HEIGHT, 0.0, 1.0)
    share = share + (1.0 - share) * free * free * (3.0 - 2.0 * free)
    target = pos + share[:, None] * (shift + np.cross(turn, pos - com)) / max(float(mass @ share), 0.5)
    root_turn = data.xmat[humanoid.body_id[0]].reshape(3, 3).T @ turn
    weight = np.full(model.nv, POSE_WEIGHT)
    weight[:3], weight[3:6] = 1e-6, ROOT_WEIGHT
    moved, jacobian, back = qpos.copy(), np.zeros((3, model.nv)), np.zeros(model.nv)
    for _ in range(2):
        normal, right = np.diag(weight), np.zeros(model.nv)
        for body in range(NUM_BODIES):
            mujoco.mj_jacBody(model, data, jacobian, None, humanoid.body_id[body])
            normal += jacobian.T @ jacobian
            right += jacobian.T @ (target[body] - data.xpos[humanoid.body_id[body]])
        mujoco.mj_differentiatePos(model, back, 1.0, moved, qpos)
        back[3:6] += root_turn
        step = np.asarray(np.linalg.solve(normal, right + weight * back), dtype=np.float64)
        mujoco.mj_integratePos(model, moved, step, 1.0)
        data.qpos[:] = moved
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
    return moved


def filter_motion(humanoid: Humanoid, motion: Motion) -> Motion:
    """The motion, shifted and turned as little as possible so that the floor can bring it about.

    Args:
        humanoid: Body and masses.
        motion: A motion that is already on this body.
    """
    current, data = motion, mujoco.MjData(humanoid.model)
    stride = round(1.0 / (motion.frame_rate * humanoid.config.substep))
    for _ in range(PASSES):
        reference = make_reference(humanoid, current)
        samples = np.minimum(np.arange(motion.num_frames) * stride, reference.num_samples - 1)
        demand = floor_demand(humanoid, reference, samples)
        shift, turn, _ = smallest_shift(demand, motion.frame_rate)
        qpos = np.zeros((motion.num_frames, humanoid.model.nq))
        qpos[:, :3] = current.root_pos
        qpos[:, humanoid.quat_columns] = current.quat
        moved = np.stack([_move(humanoid, data, *row) for row in zip(qpos, demand.com, shift, turn, strict=True)])
        current = dataclasses.replace(current, root_pos=moved[:, :3], quat=moved[:, humanoid.quat_columns])
    return current


def feasible_reference(humanoid: Humanoid, motion: Motion) -> ReferenceTrajectory:
    """What the tracker follows: the trajectory of the filtered motion. Errors are measured against the motion itself."""
    return make_reference(humanoid, filter_motion(humanoid, motion))
