"""Total ground reaction of a body from the motion of its segments (Newton and Euler for the whole person).

Axis legend: T frames, S segments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.lab.trajectories import derivative, finite_runs
from dataset.low_pass import low_pass
from dataset.skeleton import GRAVITY
from model.physics.segments import SegmentMotion

DEFAULT_CUTOFF = 6.0
"""Cut-off of the segment paths [Hz]: with 10 to 14 Hz smoothed markers gain nothing and raw ones lose."""


@dataclass(frozen=True, kw_only=True)
class TotalReaction:
    """Force and moment of the ground on the whole body."""

    force_T3: np.ndarray
    """Force [N], world, shape (T, 3); NaN outside complete stretches."""
    moment_T3: np.ndarray
    """Moment about the world origin [N·m], world, shape (T, 3)."""
    com_T3: np.ndarray
    """Filtered centre of mass of the body [m], world, shape (T, 3)."""
    zmp_T2: np.ndarray
    """Zero-moment point on the floor: the centre of pressure of the whole body [m], shape (T, 2)."""


def total_reaction(
    segments: SegmentMotion, rate: float, mass: float, *, cutoff: float = DEFAULT_CUTOFF, floor: float = 0.0
) -> TotalReaction:
    """Force m·(a + g) and moment Σ [m_s r_s × (a_s + g) + d/dt(I ω)_s] that the ground must exert.

    Segments turn as slender rods: I ω = m (k L)² u × u̇ with unit long axis u; spin about the long axis is neglected.

    Args:
        segments: Segment motion; frames with NaN are left out.
        rate: Frames per second [Hz].
        mass: Body mass [kg].
        cutoff: Zero-lag fourth-order low-pass of all paths [Hz].
        floor: Height of the floor [m].

    Returns:
        Reaction; the zero-moment point is NaN where the vertical force is below 5 % of body weight.
    """
    frames = len(segments.com_TS3)
    force, moment, center = (np.full((frames, 3), np.nan) for _ in range(3))
    masses = mass * segments.fraction_S
    gravity = np.array([0.0, 0.0, GRAVITY])
    for start, stop in finite_runs(np.concatenate([segments.com_TS3, segments.axis_TS3], axis=1)):
        if stop - start < 12:
            continue
        com = low_pass(segments.com_TS3[start:stop], rate, cutoff)
        load = masses[:, None] * (derivative(com, rate, 2) + gravity)
        length = np.linalg.norm(segments.axis_TS3[start:stop], axis=2, keepdims=True)
        unit = low_pass(segments.axis_TS3[start:stop] / np.maximum(length, 1e-9), rate, cutoff)
        rod = masses * (segments.gyration_S * np.median(length[:, :, 0], axis=0)) ** 2
        turning = rod[:, None] * np.cross(unit, derivative(unit, rate, 2))
        force[start:stop] = load.sum(axis=1)
        moment[start:stop] = (np.cross(com, load) + turning).sum(axis=1)
        center[start:stop] = (com * segments.fraction_S[:, None]).sum(axis=1)
    lift = np.where(force[:, 2] > 0.05 * mass * GRAVITY, force[:, 2], np.nan)
    zmp = np.stack([(floor * force[:, 0] - moment[:, 1]) / lift, (floor * force[:, 1] + moment[:, 0]) / lift], axis=1)
    return TotalReaction(force_T3=force, moment_T3=moment, com_T3=center, zmp_T2=zmp)
