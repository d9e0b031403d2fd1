"""The centre of pressure along the foot: from the anatomical heel, along the sole's direction on the ground.

Axis legend: T frames, F = 2 feet (left, right).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.gait.body import GaitBody
from sim.gait.kinematics import Placement
from sim.gait.segments import FEET


@dataclass(frozen=True, kw_only=True)
class FootLine:
    """Heel and direction of both feet on the ground."""

    heel: np.ndarray
    """Anatomical heel above the ground plane [m], world, shape (T, F, 2)."""
    ahead: np.ndarray
    """Unit direction of the sole, horizontal, shape (T, F, 2)."""

    def along(self, point: np.ndarray) -> np.ndarray:
        """Distance of horizontal points (T, F, 2) ahead of the heel along the foot [m], shape (T, F)."""
        return ((point - self.heel) * self.ahead).sum(axis=-1)


def foot_line(body: GaitBody, placement: Placement) -> FootLine:
    """Heel and direction of the feet of placed segments."""
    heels, directions = [], []
    for foot, segment in enumerate(FEET):
        sole, rot = body.soles[foot], placement.rot[:, segment]
        local = sole.center + sole.heel * sole.rot_fs[:, 0]
        heels.append((placement.origin[:, segment] + rot @ local)[:, :2])
        axis = (rot @ sole.rot_fs[:, 0])[:, :2]
        directions.append(axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9))
    return FootLine(heel=np.stack(heels, axis=1), ahead=np.stack(directions, axis=1))
