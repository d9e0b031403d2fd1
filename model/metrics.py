"""Errors of a solver in the paper's units: mean per-joint error (mPJE) of impulse, body force and foot force.

mPJE(x) = mean over windows and joints (bodies, feet) of |x_predicted − x_true|₂, divided by body mass: N·m·s/kg for
imposed angular momentum, N/kg for forces (ImDy section 5.2). ImDy divides by one constant mass, 76.3869 kg, whoever
moves; here every figure is per the subject's own mass, and the constant-mass variant stands beside it for comparison
with the paper.

Axis legend: B windows, J joints, N bodies, U = 2 times (t, t + 1), E = 2 feet.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dataset.skeleton import FEET
from model.losses import FOOT_FORCE, MEAN_MASS, Targets

UNITS = {
    "impulse": "N·m·s/kg", "grf": "N/kg", "foot_left": "N/kg", "foot_right": "N/kg", "foot_loaded": "N/kg",
    "foot_vertical": "N/kg", "total_vertical": "N/kg", "foot_cop": "m",
}  # fmt: skip
"""Unit of each metric."""

NAMES = {
    "impulse": "imposed angular momentum, 23 joints", "grf": "force, 24 bodies", "foot_left": "force, left foot",
    "foot_right": "force, right foot", "foot_loaded": "force, feet in contact",
    "foot_vertical": "vertical force, feet in contact",
    "total_vertical": "vertical force, all bodies", "foot_cop": "centre of pressure, feet in contact",
}  # fmt: skip
"""What each metric measures."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What any method says about B windows, per kilogram; None where it says nothing."""

    impulse: Tensor | None
    """Impulse of each joint [N·m·s/kg], (B, J, 3)."""
    grf: Tensor
    """Force on each body [N/kg], heading frame, (B, U, N, 3)."""
    foot_cop: Tensor | None = None
    """Centre of pressure of each foot [m], heading frame from the window's origin, (B, U, E, 2)."""


def foot_force(grf: Tensor) -> Tensor:
    """Force on each foot: its two bodies' forces added, (..., N, 3) to (..., E, 3)."""
    return torch.stack([grf[..., list(foot), :].sum(-2) for foot in FEET], dim=-2)


def window_errors(estimate: Estimate, target: Targets) -> dict[str, tuple[Tensor, Tensor]]:
    """Errors and weights of every metric, two arrays of equal shape (B, ...); the metric is their weighted mean."""
    foot, true_foot = foot_force(estimate.grf), foot_force(target.grf)
    foot_error = (foot - true_foot).norm(dim=-1)
    is_loaded = (target.foot_load > FOOT_FORCE).to(foot.dtype)
    every = torch.ones_like(foot_error[..., 0])
    rows = {
        "grf": _even((estimate.grf - target.grf).norm(dim=-1)),
        "foot_left": (foot_error[..., 0], every),
        "foot_right": (foot_error[..., 1], every),
        "foot_loaded": (foot_error, is_loaded),
        "foot_vertical": ((foot - true_foot)[..., 2].abs(), is_loaded),
        "total_vertical": _even((estimate.grf - target.grf)[..., 2].sum(-1).abs()),
    }
    if estimate.impulse is not None:
        rows["impulse"] = _even((estimate.impulse - target.impulse).norm(dim=-1))
    if estimate.foot_cop is not None:
        rows["foot_cop"] = ((estimate.foot_cop - target.foot_cop).norm(dim=-1), is_loaded)
    return rows


def _even(values: Tensor) -> tuple[Tensor, Tensor]:
    return values, torch.ones_like(values)


@dataclass(kw_only=True)
class ErrorSums:
    """Running weighted means of `window_errors` over batches."""

    sums: dict[str, float] = field(default_factory=dict)
    """Sum of weighted errors, per the subject's own mass."""
    constant_mass_sums: dict[str, float] = field(default_factory=dict)
    """The same per `MEAN_MASS`."""
    weights: dict[str, float] = field(default_factory=dict)
    """Sum of weights."""

    def add(self, estimate: Estimate, target: Targets) -> None:
        """Count one batch."""
        for name, (value, weight) in window_errors(estimate, target).items():
            mass = target.mass.reshape(-1, *[1] * (value.ndim - 1)) / MEAN_MASS
            weighted = (value * weight).double()
            for store, amount in (
                (self.sums, weighted), (self.constant_mass_sums, weighted * mass), (self.weights, weight.double()),
            ):  # fmt: skip
                store[name] = store.get(name, 0.0) + float(amount.sum())

    def means(self) -> dict[str, float]:
        """Each metric of `UNITS`, with a `_constant_mass` variant of forces and impulses; NaN where nothing counted."""
        result: dict[str, float] = {}
        for name in NAMES:
            if name not in self.sums:
                continue
            weight = self.weights[name]
            result[name] = self.sums[name] / weight if weight else float("nan")
            if UNITS[name] != "m":
                result[f"{name}_constant_mass"] = self.constant_mass_sums[name] / weight if weight else float("nan")
        return result
