"""The body of one walking person as eight rigid segments: joint centres, inertias and feet.

`sim.gait.osim_body` builds it from a scaled OpenSim model, `sim.gait.marker_body` from the markers of a trial.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from sim.gait.segments import HINGE_AXES, KNEES, NUM_SEGMENTS, SEGMENTS

FOOT_BREADTH = 0.055 / 0.152
"""Breadth of the foot over its length: Drillis & Contini 1966, in Winter, Biomechanics and Motor Control of Human Movement,
4th edition, figure 4.1."""


@dataclass(frozen=True, kw_only=True)
class Sole:
    """Flat sole of a foot: the rectangle whose corners are the contact points."""

    center: np.ndarray
    """Centre of the sole in the foot's frame [m], shape (3,)."""
    rot_fs: np.ndarray
    """Axes of the sole (x to the toes, z upwards out of the ground when flat) in the foot's frame, shape (3, 3)."""
    half_length: float
    """Half the length of the contact rectangle [m]."""
    half_width: float
    """Half its width [m]."""
    heel: float
    """Anatomical back end of the foot along the sole's x axis from `center` [m]."""
    foot_length: float
    """Anatomical foot length, heel to tip of the longest toe [m]."""

    @property
    def corners(self) -> np.ndarray:
        """Contact points in the foot's frame [m], order heel right, heel left, toe right, toe left, shape (4, 3)."""
        signs = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
        local = np.column_stack([signs * (self.half_length, self.half_width), np.zeros(4)])
        return self.center + local @ self.rot_fs.T


@dataclass(frozen=True, kw_only=True)
class GaitBody:
    """A person as the gait model sees one."""

    name: str
    """Who or which file."""
    joint_pos: np.ndarray
    """Proximal joint centre of each segment in its parent's frame [m], shape (8, 3); zero for the pelvis."""
    mass: np.ndarray
    """Masses [kg], shape (8,)."""
    com: np.ndarray
    """Centres of mass in the segments' frames [m], shape (8, 3)."""
    inertia: np.ndarray
    """Inertias about the centres of mass, segment frames [kg·m²], shape (8, 3, 3)."""
    soles: tuple[Sole, Sole]
    """Soles (left, right)."""
    knee_axes: np.ndarray = dataclasses.field(default_factory=lambda: HINGE_AXES[list(KNEES)].copy())
    """Unit hinge axes of the knees (left, right) in the shank's neutral frame; positive turns flex, shape (2, 3)."""
    notes: tuple[str, ...] = ()
    """Where the numbers come from."""

    def __post_init__(self) -> None:
        for field, shape in (
            ("joint_pos", (NUM_SEGMENTS, 3)), ("mass", (NUM_SEGMENTS,)), ("com", (NUM_SEGMENTS, 3)),
            ("inertia", (NUM_SEGMENTS, 3, 3)), ("knee_axes", (2, 3)),
        ):  # fmt: skip
            value = getattr(self, field)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f"GaitBody.{field}: expected finite values of shape {shape}, got {value.shape}")
        if not (self.mass > 0).all():
            at = int(self.mass.argmin())
            raise ValueError(
                f"GaitBody.mass: expected positive masses, found {self.mass[at]:g} kg for the {SEGMENTS[at]}"
            )

    @property
    def total_mass(self) -> float:
        """Mass of the person [kg]."""
        return float(self.mass.sum())

    @property
    def foot_length(self) -> float:
        """Mean anatomical length of the feet [m]."""
        return float(np.mean([sole.foot_length for sole in self.soles]))

    @property
    def hinge_axes(self) -> np.ndarray:
        """Axis of every hinge in its segment's neutral frame, shape (17, 3)."""
        axes = HINGE_AXES.copy()
        axes[list(KNEES)] = self.knee_axes
        return axes


def rescaled(body: GaitBody, mass: float) -> GaitBody:
    """The body with its masses and inertias scaled to a total mass [kg]."""
    factor = mass / body.total_mass
    return dataclasses.replace(body, mass=body.mass * factor, inertia=body.inertia * factor)
