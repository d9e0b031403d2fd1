"""Toes and hands bent so that they lie on the floor instead of going through it.

Many sources have a rigid foot, and no hand at all. When the heel rises, the toe part of a foot with a toe joint must stay
flat on the floor (metatarsophalangeal extension); when a straight arm supports the body, the hand must lie on its palm
(wrist extension) or on its back. At rest their tips would be several cm below the floor and the whole body would be lifted.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.motion.ground import lowest_point, lowest_points
from dataset.skeleton import BODY_INDEX, FEET, PARENTS

LARGEST_TOE_BEND: Final[float] = np.radians(60.0)
"""Largest extension of the toes [rad]."""
LARGEST_WRIST_BEND: Final[float] = np.radians(90.0)
"""Largest extension or flexion of the wrist added [rad]."""
HANDS: Final = (
    (BODY_INDEX["L_Wrist"], BODY_INDEX["L_Hand"]),
    (BODY_INDEX["R_Wrist"], BODY_INDEX["R_Hand"]),
)
"""Bodies of each hand; the first one's joint bends."""
_STEPS = 12
_TRIED = 12
_TOE_UP = (0.0, -1.0, 0.0)
_WRIST_AXIS = (1.0, 0.0, 0.0)


def bend_extremities(body: BodyModel, root_pos: np.ndarray, quat: np.ndarray) -> np.ndarray:
    """Rotations with toes and hands turned by the smallest angle that brings their lowest point to the floor z = 0.

    Toes turn up about their lateral axis, up to `LARGEST_TOE_BEND`; hands turn at the wrist about the axis of flexion and
    extension, either way up to `LARGEST_WRIST_BEND`. Where no angle reaches the floor (a foot under it), the angle that
    comes nearest is taken.

    Args:
        body: Body model; a toe or hand without shapes is left alone.
        root_pos: Pelvis joint, at the height that the floor is judged from [m], shape (T, 3).
        quat: Pelvis to world, child to parent, shape (T, N, 4).
    """
    result = quat.copy()
    for _, toe in FEET:
        result[:, toe] = _bent(body, root_pos, result, (toe,), _TOE_UP, LARGEST_TOE_BEND, both_ways=False)
    for hand in HANDS:
        result[:, hand[0]] = _bent(body, root_pos, result, hand, _WRIST_AXIS, LARGEST_WRIST_BEND, both_ways=True)
    return result


def _bent(
    body: BodyModel,
    root_pos: np.ndarray,
    quat: np.ndarray,
    bodies: Sequence[int],
    axis: tuple[float, float, float],
    largest: float,
    *,
    both_ways: bool,
) -> np.ndarray:
    """Rotations of joint `bodies[0]`, turned about its child-frame axis where its shapes are below the floor, (T, 4)."""
    shapes = [shape for shape in body.shapes if shape.body in bodies]
    joint = bodies[0]
    if not shapes:
        return quat[:, joint]
    body_pos, body_quat = forward_kinematics(body.offset, root_pos, quat)
    below = np.flatnonzero(lowest_points(shapes, body_pos, body_quat).min(axis=1) < 0.0)
    if not len(below):
        return quat[:, joint]
    local = quat[below]
    parent_quat = body_quat[below, PARENTS[joint]]

    def height(angle: np.ndarray) -> np.ndarray:
        """Lowest height of the shapes [m] with the joint turned by angles of shape (..., frames); what hangs on it moves too."""
        turned = rotation.multiply(local[:, joint], rotation.from_axis_angle(axis, angle))
        place = {joint: (body_pos[below, joint], rotation.multiply(parent_quat, turned))}
        for child in bodies[1:]:
            position, outer = place[PARENTS[child]]
            turned = rotation.multiply(outer, local[:, child])
            place[child] = position + rotation.rotate(outer, body.offset[child]), turned
        return np.min([lowest_point(shape, *place[shape.body]) for shape in shapes], axis=0)

    angles, heights = [], []
    for sign in (1.0, -1.0) if both_ways else (1.0,):
        steps = sign * largest * np.arange(1, _TRIED + 1) / _TRIED
        tried = height(np.repeat(steps[:, None], len(below), axis=1))
        reaches = tried >= 0.0
        first = np.where(reaches.any(axis=0), reaches.argmax(axis=0), tried.argmax(axis=0))
        high = largest * (first + 1.0) / _TRIED
        low = high - largest / _TRIED
        for _ in range(_STEPS):
            middle = 0.5 * (low + high)
            enough = height(sign * middle) >= 0.0
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        angles.append(sign * high)
        heights.append(np.minimum(height(sign * high), 0.0))
    angle = angles[0]
    if both_ways:
        # One direction for as long as the hand stays below the floor: what it cannot lift counts as a large angle.
        cost = [np.abs(a) - 20.0 * h for a, h in zip(angles, heights, strict=True)]
        for run in np.split(np.arange(len(below)), np.flatnonzero(np.diff(below) > 1) + 1):
            if cost[1][run].sum() < cost[0][run].sum():
                angle[run] = angles[1][run]
    result = quat[:, joint].copy()
    result[below] = rotation.multiply(result[below], rotation.from_axis_angle(axis, angle))
    return result
