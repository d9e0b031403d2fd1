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

SHIFT_WEIGHT = 1.0
TURN_WEIGHT = 0.5
MOMENT_SCALE = 3.0
"""A moment of 1 body weight · metre counts as this many body weights."""
REACH = 0.05
RIDGE = 0.03
RIDGE_HEIGHT = 0.015
NEWTON_STEPS = 6
PASSES = 2


@dataclass(frozen=True, eq=False)
class _Demand:
    force: np.ndarray
    moment: np.ndarray
    inertia: np.ndarray
    com: np.ndarray
    columns: list[np.ndarray]
    ridges: list[np.ndarray]


@njit(cache=True)
def _forces(columns, ridge_square, wanted, force, sweeps, tolerance):
    """Ridge non-negative least squares by coordinate descent; `force` is the start and the result."""
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
            gradient = -ridge_square[i] * force[i]
            for r in range(6):
                gradient += columns[r, i] * rest[r]
            new = max(0.0, force[i] + gradient / (square[i] + ridge_square[i]))
            step = new - force[i]
            if step != 0.0:
                for r in range(6):
                    rest[r] -= columns[r, i] * step
                force[i] = new
                change = max(change, abs(step))
        if change < tolerance:
            break


def _demand(humanoid: Humanoid, reference: ReferenceTrajectory, samples: np.ndarray) -> _Demand:
    model, data = humanoid.model, mujoco.MjData(humanoid.model)
    weight = humanoid.body.mass.sum() * GRAVITY
    ids, points = contact_candidates(humanoid)
    edges = pyramid_edges()
    count = len(samples)
    force, moment, com, inertia = np.zeros((count, 3)), np.zeros((count, 3)), np.zeros((count, 3)), np.zeros((count, 3, 3))
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
        inertia[t] = own + np.einsum("b,bi,bi->", mass, arms, arms) * np.eye(3) - np.einsum("b,bi,bj->ij", mass, arms, arms)
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
    return _Demand(force / weight, MOMENT_SCALE * moment / weight, MOMENT_SCALE * inertia / weight, com, columns, ridges)


def _cross_matrix(vectors: np.ndarray) -> np.ndarray:
    """Matrices X with X·δ = δ × v, shape (T, 3, 3)."""
    out = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = z, -y, x
    out[:, 1, 0], out[:, 2, 0], out[:, 2, 1] = -z, y, -x
    return out


def solve_shift(demand: _Demand, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shift and turn of every frame, and the force and moment left over, each (T, 3), (T, 3), (T, 6)."""
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
    size = 6 * (count + 2)
    rest = np.zeros((count, 6))
    for step in range(NEWTON_STEPS + 1):
        window = np.concatenate([x[:-2], x[1:-1], x[2:]], axis=1)
        b = base + np.einsum("tij,tj->ti", blocks, window)
        matrix = np.zeros((18, size))
        right = np.zeros(size)
        for t in range(count):
            columns, ridge = demand.columns[t], demand.ridges[t]
            shape = np.eye(6)
            rest[t] = b[t]
            if columns.shape[1]:
                _forces(columns, ridge, b[t], forces[t], 200, 1e-7)
                rest[t] -= columns @ forces[t]
                active = forces[t] > 0.0
                shape = np.linalg.inv(shape + (columns[:, active] / ridge[active]) @ columns[:, active].T)
            if step < NEWTON_STEPS:
                hess = blocks[t].T @ shape @ blocks[t]
                first = 6 * t
                for d in range(18):
                    matrix[17 - d, first + d : first + 18] += np.diagonal(hess, d)
                right[first : first + 18] -= blocks[t].T @ (shape @ base[t])
        if step == NEWTON_STEPS:
            break
        matrix[17] += np.tile(np.repeat([SHIFT_WEIGHT, TURN_WEIGHT], 3), count + 2)
        x = x + (solveh_banded(matrix, right).reshape(-1, 6) - x)
    rest[:, 3:] /= MOMENT_SCALE
    return x[1:-1, :3], x[1:-1, 3:], rest


def _pose(humanoid: Humanoid, reference: ReferenceTrajectory, samples, com, shift, turn):
    """Generalised positions whose trunk is shifted and turned, and whose low parts stay; shape (T, 99)."""
    model, data = humanoid.model, mujoco.MjData(humanoid.model)
    ids, points = contact_candidates(humanoid)
    mass = humanoid.body.mass / humanoid.body.mass.sum()
    out = np.zeros((len(samples), model.nq))
    jac = np.zeros((3, model.nv))
    jrot = np.zeros((3, model.nv))
    for t, sample in enumerate(samples):
        q = reference.qpos[sample].copy()
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        pos = data.xpos[humanoid.body_id].copy()
        world = data.xpos[ids] + np.einsum("pij,pj->pi", data.xmat[ids].reshape(-1, 3, 3), points[:, :3])
        lowest = float((world[:, 2] - points[:, 3]).min())
        share = np.clip(pos[:, 2] / max(com[t, 2], 0.1), 0.0, 1.0)
        aloft = np.clip(lowest / 0.1, 0.0, 1.0)
        share = share + (1.0 - share) * aloft * aloft * (3.0 - 2.0 * aloft)
        target = pos + share[:, None] * (shift[t] + np.cross(turn[t], pos - com[t])) / max(float(mass @ share), 0.5)
        start = q.copy()
        axis = data.xmat[humanoid.body_id[0]].reshape(3, 3).T @ turn[t]
        for it in range(2):
            normal, right = np.zeros((model.nv, model.nv)), np.zeros(model.nv)
            for b in range(NUM_BODIES):
                mujoco.mj_jacBody(model, data, jac, jrot if b == 0 else None, humanoid.body_id[b])
                normal += jac.T @ jac
                right += jac.T @ (target[b] - data.xpos[humanoid.body_id[b]])
            # pose: stay near the start
            back = np.zeros(model.nv)
            mujoco.mj_differentiatePos(model, back, 1.0, q, start)
            weight = np.full(model.nv, 0.05)
            weight[:3] = 1e-6
            weight[3:6] = 0.3
            back[3:6] += axis
            normal[np.diag_indices(model.nv)] += weight
            right += weight * back
            mujoco.mj_integratePos(model, q, np.linalg.solve(normal, right), 1.0)
            data.qpos[:] = q
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
        out[t] = q
    return out


def filter_motion(humanoid: Humanoid, motion: Motion, passes: int = PASSES, log=None) -> Motion:
    """The motion, shifted and turned as little as possible so that the floor can bring it about."""
    current = motion
    stride = round(1.0 / (motion.frame_rate * humanoid.config.substep))
    for p in range(passes + (log is not None)):
        reference = make_reference(humanoid, current)
        samples = np.minimum(np.arange(motion.num_frames) * stride, reference.num_samples - 1)
        demand = _demand(humanoid, reference, samples)
        shift, turn, rest = solve_shift(demand, motion.frame_rate)
        if log is not None:
            log.append((shift, turn, rest))
            if p == passes:
                break
        qpos = np.zeros((motion.num_frames, 99))
        qpos[:, :3] = current.root_pos
        qpos[:, humanoid.quat_columns] = current.quat
        plain = ReferenceTrajectory(qpos, np.zeros(0), np.zeros(0), 1.0)
        moved = _pose(humanoid, plain, np.arange(motion.num_frames), demand.com, shift, turn)
        current = dataclasses.replace(current, root_pos=moved[:, :3], quat=moved[:, humanoid.quat_columns])
    return current
