"""Forward kinematics of the 24-body tree.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

import numpy as np

from dataset import rotation
from dataset.skeleton import NUM_BODIES, PARENTS

_PARENTS = np.array(PARENTS)


def forward_kinematics(offset: np.ndarray, root_pos: np.ndarray, quat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and orientations of all bodies in the world: R_b = R_parent ⊗ q_b, p_b = p_parent + R_parent offset_b.

    Args:
        offset: Joint of each body from its parent's joint, parent frame [m], shape (N, 3); row 0 is not used.
        root_pos: Pelvis joint in the world [m], shape (T, 3).
        quat: Unit quaternions wxyz, pelvis to world then child to parent, shape (T, N, 4).

    Returns:
        Joint positions [m], world, shape (T, N, 3), and body-to-world quaternions wxyz, shape (T, N, 4), both float64.

    Raises:
        ValueError: Another shape.
    """
    from dataset.compiled_kinematics import chain_positions

    if offset.shape != (NUM_BODIES, 3) or root_pos.shape != (quat.shape[0], 3):
        raise ValueError(
            f"forward_kinematics: expected offset ({NUM_BODIES}, 3) and root_pos ({quat.shape[0]}, 3) beside quat"
            f" {quat.shape}, got {offset.shape} and {root_pos.shape}"
        )
    body_quat = global_from_local(quat)
    body_pos = np.empty((root_pos.shape[0], NUM_BODIES, 3))
    body_pos[:, 0] = root_pos
    chain_positions(_PARENTS, np.ascontiguousarray(offset, np.float64), body_quat, body_pos)
    return body_pos, body_quat


def global_from_local(quat: np.ndarray) -> np.ndarray:
    """Body-to-world quaternions from child-to-parent ones, shape (T, N, 4).

    Raises:
        ValueError: Another shape.
    """
    from dataset.compiled_kinematics import chain_rotations

    if quat.ndim != 3 or quat.shape[1:] != (NUM_BODIES, 4):
        raise ValueError(f"quat: expected shape (T, {NUM_BODIES}, 4), got {quat.shape}")
    body_quat = np.empty(quat.shape)
    chain_rotations(_PARENTS, np.ascontiguousarray(quat, np.float64), body_quat)
    return body_quat


def local_from_global(body_quat: np.ndarray) -> np.ndarray:
    """Child-to-parent quaternions from body-to-world ones (row 0 stays pelvis to world), shape (T, N, 4)."""
    quat = np.array(body_quat, dtype=np.float64)
    parents = np.array(PARENTS[1:])
    quat[:, 1:] = rotation.multiply(rotation.conjugate(body_quat[:, parents]), body_quat[:, 1:])
    return quat
