"""Poses of the 24-body model from marker positions: damped Gauss-Newton, frame after frame, on one core.

Per frame, over the pelvis position and the 24 rotations, the minimum of

    Σ_m ρ(|x_m − p_m(q)|² / σ_m²) + Σ_ja (log q_j)_a² P_ja + Σ_ja overrun_ja² / σ_limit² + |turn since the frame before|² P_step

with ρ Huber's loss, p_m the rigid marker on its body. A step is a right perturbation q ← q ⊗ exp(δ), so the Jacobian of a marker
with respect to body k on its chain is −[p − p_k]ₓ R_k; the 75 x 75 normal matrix has a block only where two bodies share a
chain. The Jacobian of the logarithm is taken as the identity, exact about a single axis.

Axis legend: T frames, M markers, N = 24 bodies, D = 3 + 3 N = 75 unknowns (pelvis position, then a rotation a body).
"""

from __future__ import annotations

import numba
import numpy as np

from dataset.skeleton import NUM_BODIES

_N = NUM_BODIES
_D = 3 + 3 * _N
_DAMPING = 1e-3
"""Added to the diagonal: keeps unseen unknowns where they are."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _log(quat: np.ndarray, out: np.ndarray) -> None:
    sign = 1.0 if quat[0] >= 0.0 else -1.0
    sine = np.sqrt(quat[1] ** 2 + quat[2] ** 2 + quat[3] ** 2)
    scale = sign * (2.0 * np.arctan2(sine, sign * quat[0]) / sine if sine > 1e-9 else 2.0)
    for axis in range(3):
        out[axis] = scale * quat[1 + axis]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _turn(quat: np.ndarray, step: np.ndarray) -> None:
    """quat ← quat ⊗ exp(step), renormalised."""
    half = 0.5 * np.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2)
    scale = 0.5 * np.sin(half) / half if half > 1e-9 else 0.5
    w, x, y, z = np.cos(half), scale * step[0], scale * step[1], scale * step[2]
    a, b, c, d = quat[0], quat[1], quat[2], quat[3]
    quat[0] = a * w - b * x - c * y - d * z
    quat[1] = a * x + b * w + c * z - d * y
    quat[2] = a * y - b * z + c * w + d * x
    quat[3] = a * z + b * y - c * x + d * w
    norm = np.sqrt(quat[0] ** 2 + quat[1] ** 2 + quat[2] ** 2 + quat[3] ** 2)
    for axis in range(4):
        quat[axis] /= norm


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _pose_bodies(
    offset: np.ndarray, parents: np.ndarray, root: np.ndarray, quat: np.ndarray, pos: np.ndarray, rot: np.ndarray
) -> None:
    """Joint positions (N, 3) and body-to-world matrices (N, 3, 3) of one frame."""
    local = np.empty((3, 3))
    for body in range(_N):
        w, x, y, z = quat[body, 0], quat[body, 1], quat[body, 2], quat[body, 3]
        local[0, 0], local[0, 1], local[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
        local[1, 0], local[1, 1], local[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
        local[2, 0], local[2, 1], local[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
        parent = parents[body]
        for i in range(3):
            if parent < 0:
                pos[body, i] = root[i]
                for j in range(3):
                    rot[body, i, j] = local[i, j]
            else:
                pos[body, i] = pos[parent, i]
                for j in range(3):
                    pos[body, i] += rot[parent, i, j] * offset[body, j]
                    total = 0.0
                    for k in range(3):
                        total += rot[parent, i, k] * local[k, j]
                    rot[body, i, j] = total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_marker(
    normal: np.ndarray,
    gradient: np.ndarray,
    columns: np.ndarray,
    count: int,
    jacobian: np.ndarray,
    error: np.ndarray,
    weight: float,
) -> None:
    """Adds weight · JᵀJ (lower triangle) and weight · Jᵀ error of one marker; J is (3, 3 · count) in blocks `columns`."""
    for first in range(count):
        for i in range(3):
            row = columns[first] + i
            total = 0.0
            for axis in range(3):
                total += jacobian[first, axis, i] * error[axis]
            gradient[row] += weight * total
            for second in range(count):
                if columns[second] > columns[first]:
                    continue
                for j in range(3):
                    total = 0.0
                    for axis in range(3):
                        total += jacobian[first, axis, i] * jacobian[second, axis, j]
                    normal[row, columns[second] + j] += weight * total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _solve(normal: np.ndarray, gradient: np.ndarray, step: np.ndarray) -> None:
    """Cholesky of the lower triangle in place, then step = normal⁻¹ gradient."""
    for i in range(_D):
        for j in range(i + 1):
            total = normal[i, j]
            for k in range(j):
                total -= normal[i, k] * normal[j, k]
            if i == j:
                normal[i, i] = np.sqrt(total)
            else:
                normal[i, j] = total / normal[j, j]
    for i in range(_D):
        total = gradient[i]
        for k in range(i):
            total -= normal[i, k] * step[k]
        step[i] = total / normal[i, i]
    for i in range(_D - 1, -1, -1):
        total = step[i]
        for k in range(i + 1, _D):
            total -= normal[k, i] * step[k]
        step[i] = total / normal[i, i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _assemble(
    points: np.ndarray,
    carrier: np.ndarray,
    inverse_variance: np.ndarray,
    huber: float,
    targets: np.ndarray,
    pos: np.ndarray,
    rot: np.ndarray,
    parents: np.ndarray,
    normal: np.ndarray,
    gradient: np.ndarray,
    jacobian: np.ndarray,
    columns: np.ndarray,
) -> float:
    """Normal matrix and gradient of the markers of one frame; returns their cost."""
    error = np.empty(3)
    lever = np.empty(3)
    cost = 0.0
    for marker in range(points.shape[0]):
        if np.isnan(targets[marker, 0]):
            continue
        body = carrier[marker]
        squared = 0.0
        for i in range(3):
            place = pos[body, i]
            for j in range(3):
                place += rot[body, i, j] * points[marker, j]
            error[i] = targets[marker, i] - place
            lever[i] = place
            squared += error[i] * error[i]
        weight = inverse_variance[marker]
        far = np.sqrt(squared * weight) / huber
        cost += squared * weight if far <= 1.0 else huber * huber * (2.0 * far - 1.0)
        if far > 1.0:
            weight /= far
        columns[0] = 0
        for i in range(3):
            for j in range(3):
                jacobian[0, i, j] = 1.0 if i == j else 0.0
        count = 1
        k = body
        while k >= 0:
            x, y, z = lever[0] - pos[k, 0], lever[1] - pos[k, 1], lever[2] - pos[k, 2]
            for j in range(3):
                a, b, c = rot[k, 0, j], rot[k, 1, j], rot[k, 2, j]
                # column j of −[lever]ₓ R: the turn about the body's axis j, a x lever
                jacobian[count, 0, j] = b * z - c * y
                jacobian[count, 1, j] = c * x - a * z
                jacobian[count, 2, j] = a * y - b * x
            columns[count] = 3 + 3 * k
            count += 1
            k = parents[k]
        _add_marker(normal, gradient, columns, count, jacobian, error, weight)
    return cost


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _prior(
    quat: np.ndarray,
    precision: np.ndarray,
    limits: np.ndarray,
    limit_precision: float,
    before: np.ndarray,
    step_precision: float,
    normal: np.ndarray,
    gradient: np.ndarray,
) -> float:
    """Adds the joint priors, ranges and the pull to the frame before; returns their cost."""
    turn = np.empty(3)
    back = np.empty(4)
    cost = 0.0
    for body in range(_N):
        _log(quat[body], turn)
        for axis in range(3):
            row = 3 + 3 * body + axis
            weight = precision[body, axis]
            gradient[row] -= weight * turn[axis]
            normal[row, row] += weight + _DAMPING
            cost += weight * turn[axis] ** 2
            over = max(turn[axis] - limits[body, axis, 1], 0.0) + min(turn[axis] - limits[body, axis, 0], 0.0)
            if over != 0.0:
                gradient[row] -= limit_precision * over
                normal[row, row] += limit_precision
                cost += limit_precision * over * over
        if step_precision > 0.0:
            a, b, c, d = before[body, 0], -before[body, 1], -before[body, 2], -before[body, 3]
            w, x, y, z = quat[body, 0], quat[body, 1], quat[body, 2], quat[body, 3]
            back[0] = a * w - b * x - c * y - d * z
            back[1] = a * x + b * w + c * z - d * y
            back[2] = a * y - b * z + c * w + d * x
            back[3] = a * z + b * y - c * x + d * w
            _log(back, turn)
            for axis in range(3):
                row = 3 + 3 * body + axis
                gradient[row] -= step_precision * turn[axis]
                normal[row, row] += step_precision
                cost += step_precision * turn[axis] ** 2
    for axis in range(3):
        normal[axis, axis] += _DAMPING
    return cost


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _move(root: np.ndarray, quat: np.ndarray, step: np.ndarray) -> float:
    """Takes a step, at most 40° (as far as a Gauss-Newton step is trusted); returns its largest component before that."""
    largest = 0.0
    for d in range(_D):
        largest = max(largest, abs(step[d]))
    shrink = 0.7 / largest if largest > 0.7 else 1.0
    turn = np.empty(3)
    for axis in range(3):
        root[axis] += shrink * step[axis]
    for body in range(_N):
        for axis in range(3):
            turn[axis] = shrink * step[3 + 3 * body + axis]
        _turn(quat[body], turn)
    return largest


def solve_frames(
    targets_TM3: np.ndarray,
    order_T: np.ndarray,
    points_M3: np.ndarray,
    carrier_M: np.ndarray,
    inverse_variance_M: np.ndarray,
    offset_N3: np.ndarray,
    parents_N: np.ndarray,
    precision_N3: np.ndarray,
    limits_N32: np.ndarray,
    limit_precision: float,
    step_precision: float,
    huber: float,
    iterations: int,
    tolerance: float,
    root_T3: np.ndarray,
    quat_TN4: np.ndarray,
    cost_T: np.ndarray,
) -> None:
    """Fits the frames in the given order, each from the solution of the one before it in the order.

    Args:
        targets_TM3: Marker positions [m], world; NaN where missing.
        order_T: Frames in the order of solution; the first starts from what `root_T3` and `quat_TN4` hold there.
        points_M3: Markers from their body's joint, body frame [m].
        carrier_M: Body of each marker.
        inverse_variance_M: 1/σ² [1/m²].
        offset_N3: Joint from the parent's joint [m].
        parents_N: Parent of each body, -1 for the pelvis.
        precision_N3: Prior inverse variance of the joints' rotation vectors [1/rad²].
        limits_N32: Ranges of the rotation vectors [rad].
        limit_precision: Inverse variance of exceeding them [1/rad²].
        step_precision: Inverse variance of the change of each rotation from frame to frame [1/rad²].
        huber: Error in standard deviations from which the loss is linear.
        iterations: At most, a frame.
        tolerance: Largest change [rad, m] at which a frame is finished.
        root_T3: Output, pelvis position [m].
        quat_TN4: Output, quaternions wxyz, child to parent.
        cost_T: Output, cost at the last linearisation.
    """
    normal, gradient, step = np.empty((_D, _D)), np.empty(_D), np.empty(_D)
    pos, rot = np.empty((_N, 3)), np.empty((_N, 3, 3))
    jacobian, columns = np.empty((_N + 1, 3, 3)), np.empty(_N + 1, dtype=np.int64)
    root, quat = root_T3[order_T[0]].copy(), quat_TN4[order_T[0]].copy()
    # The loops over frames and iterations stay in Python: compiled together the pieces take twice as long to compile, and the
    # calls cost a tenth of the work.
    for index, frame in enumerate(order_T):
        targets_M3, before = targets_TM3[frame], quat.copy()
        pull = step_precision if index > 0 else 0.0
        for _ in range(iterations):
            _pose_bodies(offset_N3, parents_N, root, quat, pos, rot)
            normal[:] = 0.0
            gradient[:] = 0.0
            cost = _assemble(
                points_M3, carrier_M, inverse_variance_M, huber, targets_M3, pos, rot, parents_N, normal, gradient, jacobian,
                columns,
            )  # fmt: skip
            cost_T[frame] = cost + _prior(
                quat, precision_N3, limits_N32, limit_precision, before, pull, normal, gradient
            )
            _solve(normal, gradient, step)
            largest = _move(root, quat, step)
            if largest < tolerance:
                break
        root_T3[frame] = root
        quat_TN4[frame] = quat
