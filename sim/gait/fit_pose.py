"""Poses of the gait model that bring points of its segments closest to measured ones, frame by frame.

Minimises Σ_p w_p |x_p(q) − y_p|² over the 23 degrees of freedom of each frame by damped Gauss-Newton, all frames together;
points that are missing in a frame do not count there.

Axis legend: T frames, P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.rotation import from_matrix
from sim.gait.body import GaitBody
from sim.gait.kinematics import place, point_jacobian, step_along
from sim.gait.segments import NUM_QPOS, NUM_QVEL, NUM_SEGMENTS

_BATCH = 512
"""Frames solved together: bounds the memory of the derivatives."""
_DAMPING, _DECAY = 1e-3, 0.5
"""First damping relative to the mean diagonal, and what a successful step multiplies it by."""
_CONVERGED = 1e-7
"""Largest step of a coordinate [m or rad] below which the search ends."""
_PULL = 1e-8
"""Weight that holds a coordinate that no point determines at its start [m² per rad²]."""


@dataclass(frozen=True, kw_only=True)
class PoseFit:
    """Poses and how well they reach the points."""

    qpos: np.ndarray
    """Generalised positions, shape (T, 24)."""
    error: np.ndarray
    """Distance of each point [m], shape (T, P); NaN where the point is missing."""
    iterations: int
    """Most iterations that a batch of frames took."""

    @property
    def rms(self) -> float:
        """Root mean square distance over all points and frames [m]."""
        return float(np.sqrt(np.nanmean(self.error**2)))


def start_poses(body: GaitBody, segment_P: np.ndarray, local_P3: np.ndarray, points_TP3: np.ndarray) -> np.ndarray:
    """Neutral poses whose pelvis lies as its own points say (rigid fit), shape (T, 24); frames without three keep the last one.

    Raises:
        ValueError: no frame with three points on the pelvis.
    """
    mine = np.flatnonzero(np.asarray(segment_P) == 0)
    qpos = np.zeros((len(points_TP3), NUM_QPOS))
    qpos[:, 3] = 1.0
    seen = np.isfinite(points_TP3[:, mine].sum(axis=2))
    good = np.flatnonzero(seen.sum(axis=1) >= 3)
    if len(good) == 0:
        raise ValueError(
            "points: expected three points of the pelvis in some frame, found none; the pelvis cannot be placed"
        )
    for frame in good:
        local, world = local_P3[mine][seen[frame]], points_TP3[frame, mine][seen[frame]]
        rot, origin = rigid_fit(local, world)
        qpos[frame, :3], qpos[frame, 3:7] = origin, from_matrix(rot)
    nearest = good[np.clip(np.searchsorted(good, np.arange(len(qpos)), side="right") - 1, 0, None)]
    return qpos[nearest]


def rigid_fit(local: np.ndarray, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and origin (3,) that bring points (n, 3) closest to others in the least-squares sense (Kabsch 1976)."""
    inner, outer = local.mean(axis=0), world.mean(axis=0)
    left, _, right = np.linalg.svd((world - outer).T @ (local - inner))
    rot = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    return rot, outer - rot @ inner


def fit_poses(
    body: GaitBody,
    segment_P: np.ndarray,
    local_P3: np.ndarray,
    points_TP3: np.ndarray,
    *,
    weight_P: np.ndarray | None = None,
    start: np.ndarray | None = None,
    max_iterations: int = 100,
) -> PoseFit:
    """Fit the model's pose to points.

    Args:
        body: The person.
        segment_P: Segment of each point.
        local_P3: Position of each point in its segment [m], shape (P, 3).
        points_TP3: Measured positions [m], world, shape (T, P, 3); NaN where missing.
        weight_P: Weight of each point; None for 1.
        start: Poses to start from, shape (T, 24); None for upright poses on the pelvis points.
        max_iterations: Bound on the iterations of a batch.

    Returns:
        Poses and distances.

    Raises:
        ValueError: shapes that do not agree, a frame without any point, or no convergence.
    """
    count = len(segment_P)
    if local_P3.shape != (count, 3) or points_TP3.shape[1:] != (count, 3):
        raise ValueError(f"points: expected shape (T, {count}, 3) as segments and offsets say, got {points_TP3.shape}")
    weights = np.ones(count) if weight_P is None else weight_P
    empty = ~np.isfinite(points_TP3.sum(axis=2)).any(axis=1)
    if empty.any():
        raise ValueError(
            f"points: expected points in every frame, found none in {int(empty.sum())}, the first {int(empty.argmax())}"
        )
    qpos = start_poses(body, segment_P, local_P3, points_TP3) if start is None else start.copy()
    most, error = 0, np.empty(points_TP3.shape[:2])
    for low in range(0, len(qpos), _BATCH):
        part = slice(low, low + _BATCH)
        qpos[part], error[part], used = _solve(
            body, segment_P, local_P3, points_TP3[part], weights, qpos[part], max_iterations
        )
        most = max(most, used)
    return PoseFit(qpos=qpos, error=error, iterations=most)


def _solve(
    body: GaitBody, segment_P: np.ndarray, local: np.ndarray, target: np.ndarray, weight: np.ndarray, qpos: np.ndarray,
    max_iterations: int,
) -> tuple[np.ndarray, np.ndarray, int]:  # fmt: skip
    """Levenberg-Marquardt with a damping of its own for every frame."""
    seen = np.isfinite(target.sum(axis=2))
    wanted, scale = np.where(seen[..., None], target, 0.0), np.sqrt(weight * seen)[..., None]

    def miss(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        placement = place(body, poses)
        points = placement.points(segment_P, local)
        residual = (scale * (wanted - points)).reshape(len(poses), -1)
        jacobian = (scale[..., None] * point_jacobian(placement, points, segment_P)).reshape(len(poses), -1, NUM_QVEL)
        return residual, jacobian, points

    damping = np.full(len(qpos), _DAMPING)
    residual, jacobian, points = miss(qpos)
    cost = (residual**2).sum(axis=1)
    used, step = 0, np.zeros((len(qpos), NUM_QVEL))
    for used in range(1, max_iterations + 1):  # noqa: B007 (returned after the loop)
        normal = jacobian.transpose(0, 2, 1) @ jacobian
        size = np.trace(normal, axis1=1, axis2=2) / NUM_QVEL
        normal[:, np.arange(NUM_QVEL), np.arange(NUM_QVEL)] += (damping * size + _PULL)[:, None]
        step = np.linalg.solve(normal, (jacobian.transpose(0, 2, 1) @ residual[..., None]))[..., 0]
        trial = step_along(qpos, step)
        new_residual, new_jacobian, new_points = miss(trial)
        new_cost = (new_residual**2).sum(axis=1)
        better = new_cost <= cost
        qpos = np.where(better[:, None], trial, qpos)
        residual = np.where(better[:, None], new_residual, residual)
        jacobian = np.where(better[:, None, None], new_jacobian, jacobian)
        points = np.where(better[:, None, None], new_points, points)
        cost = np.where(better, new_cost, cost)
        damping = np.where(better, damping * _DECAY, damping * 10.0)
        if np.abs(step).max() < _CONVERGED or (damping > 1e6).all():
            break
    else:
        raise ValueError(
            f"pose fit: expected convergence within {max_iterations} iterations, last step {np.abs(step).max():.2g}; "
            "check the marker labels and the body's dimensions"
        )
    distance = np.linalg.norm(wanted - points, axis=2)
    return qpos, np.where(seen, distance, np.nan), used


def segment_rms(fit: PoseFit, segment_P: np.ndarray) -> np.ndarray:
    """Root mean square distance of each segment's points [m], shape (8,); NaN for a segment without points."""
    return np.array(
        [
            np.sqrt(np.nanmean(fit.error[:, segment_P == s] ** 2)) if (segment_P == s).any() else np.nan
            for s in range(NUM_SEGMENTS)
        ]
    )
