"""Rotations as unit quaternions wxyz in NumPy: the one place of this algebra.

`rot_ab` takes components in frame b to components in frame a; products chain left to right, `rot_ac = rot_ab ⊗ rot_bc`
(Hamilton product). All functions broadcast over leading axes and compute in float64. Formulas: Solà 2017,
"Quaternion kinematics for the error-state Kalman filter", arXiv 1711.02508, sections 1 to 4.
"""

from __future__ import annotations

from typing import Final

import numpy as np

IDENTITY: Final[np.ndarray] = np.array([1.0, 0.0, 0.0, 0.0])
"""The rotation by nothing."""

_SMALL_ANGLE = 1e-8


def _expect_last(array: np.ndarray, size: int) -> None:
    if array.shape[-1] != size:
        raise ValueError(f"rotation: expected a last axis of {size}, got an array of shape {array.shape}")


def multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Hamilton product `left ⊗ right`, shapes (..., 4) broadcast."""
    left, right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    for array in (left, right):
        _expect_last(array, 4)
    aw, ax, ay, az = left[..., 0], left[..., 1], left[..., 2], left[..., 3]
    bw, bx, by, bz = right[..., 0], right[..., 1], right[..., 2], right[..., 3]
    w = aw * bw - ax * bx - ay * by - az * bz
    product = np.empty((*np.shape(w), 4))
    product[..., 0] = w
    product[..., 1] = aw * bx + ax * bw + ay * bz - az * by
    product[..., 2] = aw * by - ax * bz + ay * bw + az * bx
    product[..., 3] = aw * bz + ax * by - ay * bx + az * bw
    return product


def cross(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cross product of 3-vectors, shapes (..., 3) broadcast: `numpy.cross` to the last bit, without moving axes about."""
    left, right = np.asarray(left), np.asarray(right)
    for array in (left, right):
        _expect_last(array, 3)
    ax, ay, az = left[..., 0], left[..., 1], left[..., 2]
    bx, by, bz = right[..., 0], right[..., 1], right[..., 2]
    x = ay * bz - az * by
    product = np.empty((*np.shape(x), 3))
    product[..., 0] = x
    product[..., 1] = az * bx - ax * bz
    product[..., 2] = ax * by - ay * bx
    return product


def conjugate(quat: np.ndarray) -> np.ndarray:
    """Inverse of a unit quaternion, shape (..., 4)."""
    return np.asarray(quat, dtype=np.float64) * np.array([1.0, -1.0, -1.0, -1.0])


def normalize(quat: np.ndarray) -> np.ndarray:
    """Quaternion of unit length, shape (..., 4).

    Raises:
        ValueError: If a quaternion is not finite or shorter than 1e-6.
    """
    quat = np.asarray(quat, dtype=np.float64)
    length = np.linalg.norm(quat, axis=-1, keepdims=True)
    if not np.all(length > 1e-6):  # also false for NaN
        raise ValueError("quaternion: expected finite values and a length above 1e-6, found zero or NaN")
    return quat / length


def rotate(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Vector in the outer frame, `q v q*`, shapes (..., 4) and (..., 3) broadcast."""
    quat, vector = np.asarray(quat, dtype=np.float64), np.asarray(vector, dtype=np.float64)
    axial = quat[..., 1:]
    twice = 2.0 * cross(axial, vector)
    return vector + quat[..., :1] * twice + cross(axial, twice)


def from_rotation_vector(rotvec: np.ndarray) -> np.ndarray:
    """Quaternion of a rotation vector (axis times angle [rad]), shape (..., 3) to (..., 4)."""
    rotvec = np.asarray(rotvec, dtype=np.float64)
    half = 0.5 * np.linalg.norm(rotvec, axis=-1, keepdims=True)
    # sin(h)/h by numpy's sinc, exact at zero
    return np.concatenate((np.cos(half), 0.5 * np.sinc(half / np.pi) * rotvec), axis=-1)


def to_rotation_vector(quat: np.ndarray) -> np.ndarray:
    """Rotation vector [rad] of length at most pi, shape (..., 4) to (..., 3)."""
    quat = np.asarray(quat, dtype=np.float64)
    quat = np.where(quat[..., :1] < 0, -quat, quat)
    sine = np.linalg.norm(quat[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, quat[..., :1])
    scale = np.where(sine > _SMALL_ANGLE, angle / np.maximum(sine, _SMALL_ANGLE), 2.0)
    return scale * quat[..., 1:]


def from_axis_angle(axis: tuple[float, float, float] | np.ndarray, angle: np.ndarray | float) -> np.ndarray:
    """Quaternion of a turn by `angle` [rad], shape (...), about the unit vector `axis`, shape (3,)."""
    return from_rotation_vector(np.asarray(angle, dtype=np.float64)[..., None] * np.asarray(axis, dtype=np.float64))


def to_matrix(quat: np.ndarray) -> np.ndarray:
    """Rotation matrix whose columns are the inner frame's axes, shape (..., 4) to (..., 3, 3)."""
    w, x, y, z = np.moveaxis(np.asarray(quat, dtype=np.float64), -1, 0)
    rows = (
        np.stack((1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)), axis=-1),
        np.stack((2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)), axis=-1),
        np.stack((2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)), axis=-1),
    )
    return np.stack(rows, axis=-2)


def from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Quaternion of a rotation matrix, shape (..., 3, 3) to (..., 4), w >= 0.

    The largest of the four squared components is divided by, so that no case is ill conditioned (Shepperd 1978).
    """
    m = np.asarray(matrix, dtype=np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = np.stack((1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz), axis=-1)
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    table = np.stack(
        (
            np.stack((squares[..., 0], wx, wy, wz), axis=-1),
            np.stack((wx, squares[..., 1], xy, xz), axis=-1),
            np.stack((wy, xy, squares[..., 2], yz), axis=-1),
            np.stack((wz, xz, yz, squares[..., 3]), axis=-1),
        ),
        axis=-2,
    )
    best = np.argmax(squares, axis=-1)[..., None, None]
    quat = normalize(np.take_along_axis(table, best, axis=-2)[..., 0, :])
    return np.where(quat[..., :1] < 0, -quat, quat)


def slerp(start: np.ndarray, end: np.ndarray, fraction: np.ndarray | float) -> np.ndarray:
    """Rotation at `fraction` of the shortest turn from `start` to `end`, shapes (..., 4), fraction (...)."""
    turn = to_rotation_vector(multiply(conjugate(start), end))
    return multiply(start, from_rotation_vector(np.asarray(fraction, dtype=np.float64)[..., None] * turn))


def between_vectors(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Smallest rotation that takes direction `start` to direction `end`, shapes (..., 3) to (..., 4).

    Opposite directions turn by pi about an axis perpendicular to both.
    """
    start = start / np.linalg.norm(start, axis=-1, keepdims=True)
    end = end / np.linalg.norm(end, axis=-1, keepdims=True)
    start, end = np.broadcast_arrays(np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64))
    cosine = np.sum(start * end, axis=-1, keepdims=True)
    quat = np.concatenate((1.0 + cosine, cross(start, end)), axis=-1)
    axis = np.where(np.abs(start[..., :1]) < 0.9, np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    opposite = np.concatenate((np.zeros_like(cosine), cross(start, axis)), axis=-1)
    return normalize(np.where(cosine < -1.0 + 1e-12, opposite, quat))


def angle_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle of the shortest turn between two rotations [rad], shapes (..., 4) to (...)."""
    return np.linalg.norm(to_rotation_vector(multiply(conjugate(first), second)), axis=-1)


def make_continuous(quat: np.ndarray) -> np.ndarray:
    """The same rotations with the signs chosen so that successive frames (axis 0) lie in the same half space."""
    quat = np.array(quat, dtype=np.float64)
    flips = np.sum(quat[1:] * quat[:-1], axis=-1) < 0
    sign = np.where(np.cumsum(flips, axis=0) % 2 == 1, -1.0, 1.0)
    quat[1:] *= sign[..., None]
    return quat
