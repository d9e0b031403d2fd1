"""Inverse kinematics of the dynamics filter: the mass centre shifts, the trunk turns, what is near the floor stays.

Axis legend: T frames, N = 24 bodies, V = 75 velocities.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numba import njit

from dataset.skeleton import PARENTS
from sim.humanoid import Humanoid
from sim.imitation.tracker.contacts import contact_candidates
from sim.imitation.tracker.whole_body import Array

FREE_HEIGHT = 0.1
"""Height of the lowest point from which all parts move together, as in flight [m]."""
POSE_WEIGHT = 0.05
"""Weight of a joint rotation beside body positions in the inverse kinematics [m²/rad²]."""
ROOT_WEIGHT = 0.3
"""Weight of the pelvis' orientation there [m²/rad²]."""
GAUSS_NEWTON_STEPS = 2
"""Steps of the inverse kinematics."""


@njit(cache=True, error_model="numpy")
def normal_equations(
    pos: Array, axes: Array, parents: Array, omega_address: Array, target: Array, normal: Array, right: Array
) -> None:
    """Adds Σ_b J_bᵀ J_b and Σ_b J_bᵀ (target_b - p_b) over all bodies, J_b the Jacobian of a body's position.

    Args:
        pos: Joint positions in the world [m], shape (N, 3).
        axes: Body frames in the world, shape (N, 3, 3).
        parents: Parent of each body, shape (N,).
        omega_address: First velocity of each body's rotation in its own frame, after its parent's, shape (N,); the root also
            has 0 to 2.
        target: Wanted positions [m], shape (N, 3).
        normal: Output, added to, shape (V, V); its lower triangle only.
        right: Output, added to, shape (V,).
    """
    chain = np.zeros(normal.shape[0], dtype=np.int64)
    columns = np.zeros((normal.shape[0], 3))
    for i in range(3):
        chain[i] = i
        columns[i, i] = 1.0
    for b in range(pos.shape[0]):
        length = 3
        a = parents[b]  # a body's own joint turns it about its own position
        while a >= 0:
            length += 3
            a = parents[a]
        place = length
        a = parents[b]
        while a >= 0:  # from the end, so that the chain rises
            place -= 3
            for i in range(3):
                chain[place + i] = omega_address[a] + i
                for k in range(3):
                    m, n = (k + 1) % 3, (k + 2) % 3
                    columns[place + i, k] = axes[a, m, i] * (pos[b, n] - pos[a, n]) - axes[a, n, i] * (
                        pos[b, m] - pos[a, m]
                    )
            a = parents[a]
        for i in range(length):
            row = normal[chain[i]]
            x, y, z = columns[i]
            right[chain[i]] += (
                x * (target[b, 0] - pos[b, 0]) + y * (target[b, 1] - pos[b, 1]) + z * (target[b, 2] - pos[b, 2])
            )
            for j in range(i + 1):
                row[chain[j]] += x * columns[j, 0] + y * columns[j, 1] + z * columns[j, 2]


@njit(cache=True, error_model="numpy")
def solve_on_tree(matrix: Array, parents: Array, right: Array) -> None:
    """Solves A x = b for a symmetric A that couples a velocity with its ancestors and descendants only.

    A = Lᵀ D L without fill-in, from the leaves to the root (Featherstone 2008, Rigid Body Dynamics Algorithms, section 6.5).

    Args:
        matrix: A, positive definite, lower triangle, shape (V, V); destroyed.
        parents: Parent of each velocity in the tree, -1 for the first, smaller than the velocity itself, shape (V,).
        right: b, becomes x, shape (V,).
    """
    size = right.shape[0]
    for k in range(size - 1, -1, -1):
        row = matrix[k]
        i = parents[k]
        while i >= 0:
            share = row[i] / row[k]
            j = i
            while j >= 0:
                matrix[i, j] -= share * row[j]
                j = parents[j]
            row[i] = share
            i = parents[i]
    for k in range(size - 1, -1, -1):
        i = parents[k]
        while i >= 0:
            right[i] -= matrix[k, i] * right[k]
            i = parents[i]
    for k in range(size):
        right[k] /= matrix[k, k]
        i = parents[k]
        while i >= 0:
            right[k] -= matrix[k, i] * right[i]
            i = parents[i]


@njit(cache=True, error_model="numpy")
def _steps(
    pos: Array,
    axes: Array,
    parents: Array,
    omega_address: Array,
    tree: Array,
    target: Array,
    weight: Array,
    right: Array,
) -> None:
    """One damped Gauss-Newton step of every frame: `right`, shape (T, V), weighted differences from the poses, becomes it."""
    size = right.shape[1]
    normal = np.zeros((size, size))
    for t in range(right.shape[0]):
        for k in range(size):
            normal[k, : k + 1] = 0.0
            normal[k, k] = weight[k]
        normal_equations(pos[t], axes[t], parents, omega_address, target[t], normal, right[t])
        solve_on_tree(normal, tree, right[t])


class _Kinematics:
    """Positions and frames of all bodies of many poses."""

    def __init__(self, humanoid: Humanoid) -> None:
        self.humanoid, self.data = humanoid, mujoco.MjData(humanoid.model)

    def __call__(self, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Joint positions [m], shape (T, N, 3), and body frames, shape (T, N, 3, 3), skeleton order."""
        model, data, bodies = self.humanoid.model, self.data, self.humanoid.body_id
        pos, frame = np.zeros((len(qpos), len(bodies), 3)), np.zeros((len(qpos), len(bodies), 9))
        for t, row in enumerate(qpos):
            data.qpos[:] = row
            mujoco.mj_kinematics(model, data)
            pos[t], frame[t] = data.xpos[bodies], data.xmat[bodies]
        return pos, frame.reshape(*pos.shape, 3)


def _lowest_points(humanoid: Humanoid, pos: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Height of the lowest contact candidate of each pose [m], shape (T,)."""
    ids, points = contact_candidates(humanoid)
    bodies = np.searchsorted(humanoid.body_id, ids, sorter=np.argsort(humanoid.body_id))
    bodies = np.argsort(humanoid.body_id)[bodies]
    heights = pos[:, bodies, 2] + np.einsum("tpj,pj->tp", frame[:, bodies, 2], points[:, :3]) - points[:, 3]
    return heights.min(axis=1)


def shift_poses(
    humanoid: Humanoid, qpos: np.ndarray, com: np.ndarray, shift: np.ndarray, turn: np.ndarray
) -> np.ndarray:
    """Poses with their mass centre shifted and their trunk turned, while what is near the floor stays.

    Args:
        humanoid: The body.
        qpos: Poses, shape (T, 99).
        com: Their mass centres [m], shape (T, 3).
        shift: Shifts of the mass centre [m], shape (T, 3).
        turn: Rotation vectors in the world [rad], shape (T, 3).

    Returns:
        The poses after `GAUSS_NEWTON_STEPS` damped steps of inverse kinematics, shape (T, 99).
    """
    model, kinematics = humanoid.model, _Kinematics(humanoid)
    mass = humanoid.body.mass / humanoid.body.mass.sum()
    pos, frame = kinematics(qpos)
    share = np.clip(pos[..., 2] / np.maximum(com[:, 2:], 0.1), 0.0, 1.0)
    free = np.clip(_lowest_points(humanoid, pos, frame) / FREE_HEIGHT, 0.0, 1.0)[:, None]
    share = share + (1.0 - share) * free * free * (3.0 - 2.0 * free)
    move = shift[:, None] + np.cross(turn[:, None], pos - com[:, None])
    target = pos + share[..., None] * move / np.maximum(share @ mass, 0.5)[:, None, None]
    root_turn = np.einsum("tji,tj->ti", frame[:, 0], turn)
    weight = np.full(model.nv, POSE_WEIGHT)
    weight[:3], weight[3:6] = 1e-6, ROOT_WEIGHT
    moved, parents, back = qpos.copy(), np.array(PARENTS), np.zeros(model.nv)
    for done in range(GAUSS_NEWTON_STEPS):
        if done:
            pos, frame = kinematics(moved)
        step = np.zeros((len(qpos), model.nv))
        for t in range(len(qpos)):
            mujoco.mj_differentiatePos(model, back, 1.0, moved[t], qpos[t])
            back[3:6] += root_turn[t]
            step[t] = weight * back
        _steps(pos, frame, parents, humanoid.omega_address, model.dof_parentid, target, weight, step)
        for t in range(len(qpos)):
            mujoco.mj_integratePos(model, moved[t], step[t], 1.0)
    return moved
