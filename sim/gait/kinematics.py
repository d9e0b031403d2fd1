"""Where the segments are for given coordinates, and how they move with them, for a whole trial at once.

The same kinematics as the compiled model's (`sim.gait.model`), without a simulator, so that thousands of frames are fitted
together.

Axis legend: T frames, P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from dataset.rotation import conjugate, from_rotation_vector, multiply, to_matrix
from sim.gait.body import GaitBody
from sim.gait.segments import NUM_COORDINATES, NUM_QPOS, NUM_QVEL, NUM_SEGMENTS, PARENTS, SEGMENT_OF_COORDINATE


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Segments in the world."""

    origin: np.ndarray
    """Proximal joint centres [m], world, shape (T, 8, 3)."""
    rot: np.ndarray
    """Orientations, segment to world, shape (T, 8, 3, 3)."""
    axes: np.ndarray
    """Hinge axes in the world, shape (T, 17, 3)."""

    def points(self, segment_P: np.ndarray, local_P3: np.ndarray) -> np.ndarray:
        """World positions of points fixed to segments [m], shape (T, P, 3)."""
        return self.origin[:, segment_P] + np.einsum("tpij,pj->tpi", self.rot[:, segment_P], local_P3)


def place(body: GaitBody, qpos: np.ndarray) -> Placement:
    """Forward kinematics.

    Args:
        body: The person.
        qpos: Pelvis position [m], pelvis orientation wxyz and joint angles [rad], shape (T, 24).

    Returns:
        Segments and hinge axes in the world.

    Raises:
        ValueError: wrong shape.
    """
    if qpos.ndim != 2 or qpos.shape[1] != NUM_QPOS:
        raise ValueError(f"qpos: expected shape (T, {NUM_QPOS}), got {qpos.shape}")
    frames = len(qpos)
    origin, rot = np.empty((frames, NUM_SEGMENTS, 3)), np.empty((frames, NUM_SEGMENTS, 3, 3))
    axes = np.empty((frames, NUM_COORDINATES, 3))
    rot[:, 0] = to_matrix(qpos[:, 3:7])
    _chain(
        np.ascontiguousarray(qpos, dtype=np.float64),
        body.joint_pos,
        body.hinge_axes,
        _PARENT,
        _CHILD,
        origin,
        rot,
        axes,
    )
    return Placement(origin=origin, rot=rot, axes=axes)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _chain(
    # inputs
    qpos: np.ndarray,
    joint_pos: np.ndarray,
    hinge_axes: np.ndarray,
    parent: np.ndarray,
    child: np.ndarray,
    # outputs; the pelvis's rotation is already there
    origin: np.ndarray,
    rot: np.ndarray,
    axes: np.ndarray,
) -> None:
    turn, turned = np.empty((3, 3)), np.empty((3, 3))
    for t in range(len(qpos)):
        for i in range(3):
            origin[t, 0, i] = qpos[t, i]
        k = 0
        for segment in range(1, len(parent)):
            up = parent[segment]
            for i in range(3):
                at = origin[t, up, i]
                for j in range(3):
                    at += rot[t, up, i, j] * joint_pos[segment, j]
                    rot[t, segment, i, j] = rot[t, up, i, j]
                origin[t, segment, i] = at
            while k < len(child) and child[k] == segment:
                x, y, z = hinge_axes[k]
                sine, cosine = np.sin(qpos[t, 7 + k]), np.cos(qpos[t, 7 + k])
                rest = 1.0 - cosine
                # Rodrigues' formula
                turn[0, 0], turn[0, 1], turn[0, 2] = (
                    cosine + x * x * rest,
                    x * y * rest - z * sine,
                    x * z * rest + y * sine,
                )
                turn[1, 0], turn[1, 1], turn[1, 2] = (
                    x * y * rest + z * sine,
                    cosine + y * y * rest,
                    y * z * rest - x * sine,
                )
                turn[2, 0], turn[2, 1], turn[2, 2] = (
                    x * z * rest - y * sine,
                    y * z * rest + x * sine,
                    cosine + z * z * rest,
                )
                for i in range(3):
                    r0, r1, r2 = rot[t, segment, i, 0], rot[t, segment, i, 1], rot[t, segment, i, 2]
                    axes[t, k, i] = r0 * x + r1 * y + r2 * z
                    for j in range(3):
                        turned[i, j] = r0 * turn[0, j] + r1 * turn[1, j] + r2 * turn[2, j]
                for i in range(3):
                    for j in range(3):
                        rot[t, segment, i, j] = turned[i, j]
                k += 1


_PARENT, _CHILD = np.array(PARENTS), np.array(SEGMENT_OF_COORDINATE)
_DESCENDANTS = np.zeros((NUM_COORDINATES, NUM_SEGMENTS), dtype=bool)
for _k, _child in enumerate(SEGMENT_OF_COORDINATE):
    for _segment in range(NUM_SEGMENTS):
        _at = _segment
        while _at > 0 and _at != _child:
            _at = PARENTS[_at]
        _DESCENDANTS[_k, _segment] = _at == _child


def point_jacobian(placement: Placement, points: np.ndarray, segment_P: np.ndarray) -> np.ndarray:
    """Derivative of points by the generalised velocities.

    Args:
        placement: Segments of the frames.
        points: World positions of the points [m], shape (T, P, 3).
        segment_P: Segment of each point.

    Returns:
        d(point velocity) / d(qvel), shape (T, P, 3, 23): pelvis velocity (world), pelvis angular velocity (pelvis axes), joint
        velocities, as in the compiled model.
    """
    frames, count = points.shape[:2]
    jacobian = np.zeros((frames, count, 3, NUM_QVEL))
    jacobian[..., :3] = np.eye(3)
    arm = points - placement.origin[:, :1]
    for axis in range(3):
        jacobian[..., 3 + axis] = np.cross(placement.rot[:, None, 0, :, axis], arm)
    for k, child in enumerate(SEGMENT_OF_COORDINATE):
        moved = np.flatnonzero(_DESCENDANTS[k, segment_P])
        lever = points[:, moved] - placement.origin[:, child, None]
        jacobian[:, moved, :, 6 + k : 7 + k] = np.cross(placement.axes[:, k, None], lever)[..., None]
    return jacobian


def step_along(qpos: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Coordinates after moving with a generalised velocity (T, 23) for one unit of time, shape (T, 24)."""
    moved = np.empty_like(qpos)
    moved[:, :3] = qpos[:, :3] + velocity[:, :3]
    moved[:, 3:7] = multiply(qpos[:, 3:7], from_rotation_vector(velocity[:, 3:6]))
    moved[:, 3:7] /= np.linalg.norm(moved[:, 3:7], axis=1, keepdims=True)
    moved[:, 7:] = qpos[:, 7:] + velocity[:, 6:]
    return moved


def body_rate(quat: np.ndarray, quat_rate: np.ndarray) -> np.ndarray:
    """Angular velocity in the body's own axes of a quaternion path: ω = 2 vec(q* ⊗ dq/dt), shapes (T, 4) to (T, 3)."""
    return 2.0 * multiply(conjugate(quat), quat_rate)[..., 1:]
