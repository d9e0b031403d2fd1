"""Toes bent so that they roll on the floor instead of going through it.

Many sources have a rigid foot or no toe data. When the heel rises, the toe part of a foot with a toe joint must stay
flat on the floor (metatarsophalangeal extension); with the toes at rest their tips would be several cm below it and the
whole body would be lifted.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.motion.ground import lowest_points
from dataset.skeleton import FEET

LARGEST_BEND: Final[float] = np.radians(60.0)
"""Largest extension of the toes [rad]."""
_STEPS = 12
_UP_TURN = (0.0, -1.0, 0.0)


def bend_toes(body: BodyModel, root_pos: np.ndarray, quat: np.ndarray) -> np.ndarray:
    """Rotations with each toe body turned up by the smallest angle that brings its lowest point to the floor z = 0.

    The turn is about the toe's own lateral axis, from 0 to `LARGEST_BEND`, found by bisection. Where even the largest
    turn does not help (a foot under the floor), the turn that helps most of those tried is taken.

    Args:
        body: Body model with shapes on the toe bodies; without them nothing is changed.
        root_pos: Pelvis joint, at the height that the floor is judged from [m], shape (T, 3).
        quat: Pelvis to world, child to parent, shape (T, N, 4).
    """
    body_pos, body_quat = forward_kinematics(body.offset, root_pos, quat)
    shape_body = np.array([shape.body for shape in body.shapes])
    result = quat.copy()
    for _, toe in FEET:
        shapes = np.flatnonzero(shape_body == toe)
        if not len(shapes):
            continue
        low = np.zeros(len(quat))
        flat = _toe_height(body, shapes, toe, body_pos, body_quat, low)
        if not np.any(flat < 0.0):
            continue
        # the height rises with the angle until the sole is level: search below that angle
        up = rotation.rotate(body_quat[:, toe], np.array([1.0, 0.0, 0.0]))[:, 2]
        high = np.clip(np.arcsin(np.clip(-up, -1.0, 1.0)), 0.0, LARGEST_BEND)
        for _ in range(_STEPS):
            middle = 0.5 * (low + high)
            reaches = _toe_height(body, shapes, toe, body_pos, body_quat, middle) >= 0.0
            high = np.where(reaches, middle, high)
            low = np.where(reaches, low, middle)
        angle = np.where(flat < 0.0, high, 0.0)
        result[:, toe] = rotation.multiply(quat[:, toe], rotation.from_axis_angle(_UP_TURN, angle))
    return result


def _toe_height(
    body: BodyModel, shapes: np.ndarray, toe: int, body_pos: np.ndarray, body_quat: np.ndarray, angle: np.ndarray
) -> np.ndarray:
    """Lowest height of these shapes of a toe turned up by `angle` [rad], shape (T,)."""
    turned = body_quat.copy()
    turned[:, toe] = rotation.multiply(body_quat[:, toe], rotation.from_axis_angle(_UP_TURN, angle))
    return lowest_points([body.shapes[index] for index in shapes], body_pos, turned).min(axis=1)
