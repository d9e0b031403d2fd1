"""Forces of the ground on both feet of a trial: what every predictor of this package returns.

Axis legend: T frames, F = 2 feet (left, right).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class FootForces:
    """Ground reaction of both feet over time."""

    time_T: np.ndarray
    """Time [s] on the trial's clock, shape (T,)."""
    grf_TF3: np.ndarray
    """Force of the ground on each foot [N], world (z up), shape (T, F, 3); NaN where it could not be computed."""
    cop_TF2: np.ndarray
    """Centre of pressure on the floor [m], world, shape (T, F, 2); NaN for an unloaded foot."""
    contact_TF: np.ndarray
    """True where the predictor takes the foot to be on the ground, shape (T, F)."""
    mass: float
    """Body mass the forces were computed with [kg]."""
    floor: float = 0.0
    """Height of the floor that the centres of pressure lie on [m], world."""
    notes: tuple[str, ...] = ()
    """What had to be assumed, one sentence each."""

    def __post_init__(self) -> None:
        frames = len(self.time_T)
        for name, shape in (("grf_TF3", (frames, 2, 3)), ("cop_TF2", (frames, 2, 2)), ("contact_TF", (frames, 2))):
            if getattr(self, name).shape != shape:
                raise ValueError(f"FootForces.{name}: expected shape {shape}, got {getattr(self, name).shape}")
        if not self.mass > 0:
            raise ValueError(f"FootForces.mass: expected a positive mass in kg, got {self.mass}")

    @property
    def rate(self) -> float:
        """Frames per second [Hz]."""
        return (len(self.time_T) - 1) / float(self.time_T[-1] - self.time_T[0])
