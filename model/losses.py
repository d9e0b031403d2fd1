"""Training losses of the solver: every main term of ImDy except the motion prior and the forward-dynamics cycle.

All terms are means over windows and components, so weights do not depend on the batch size. The released code measures
its magnitude, pairwise and temporal terms in the data's own units (N, and N·m summed over two 60 Hz torques) with
weight 0.01; here they are per kilogram and in N·m·s, so the default weights carry the factor that keeps their share of
the total.

Axis legend: B windows, J joints, N bodies, U = 2 times (t, t + 1), E feet.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from dataset.skeleton import FEET
from model.imdys import Prediction
from model.scaling import Scaling

MEAN_MASS = 76.3869
"""The one mass by which ImDy divides its published figures [kg]."""
CONTACT_FORCE = 0.015
"""Force above which the ground counts as touching a body [N/kg]: about the 1 N below which a CoP is undefined."""
FOOT_FORCE = 0.3
"""Vertical force on a foot above which its centre of pressure is learned [N/kg]: about the 20 N of gait events."""
_RELEASED = 0.01


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weight of each term."""

    impulse_l2: float = 1.0
    """Mean squared error of the standardised impulses."""
    grf_l2: float = 1.0
    """Mean squared error of the standardised forces."""
    impulse_cosine: float = 1.0
    """1 − cosine between predicted and true impulse directions."""
    grf_cosine: float = 1.0
    """1 − cosine between predicted and true force directions, over bodies in contact."""
    impulse_magnitude: float = _RELEASED * 60.0 * MEAN_MASS
    """Absolute error of the impulse magnitudes [N·m·s/kg]."""
    grf_magnitude: float = _RELEASED * MEAN_MASS
    """Absolute error of the force magnitudes [N/kg]."""
    impulse_pairwise: float = _RELEASED * 60.0 * MEAN_MASS
    """Absolute error of the differences of impulse magnitudes between joints [N·m·s/kg]."""
    grf_pairwise: float = _RELEASED * MEAN_MASS
    """Absolute error of the differences of force magnitudes between bodies [N/kg]."""
    contact: float = 1.0
    """Binary cross-entropy of the contact logits."""
    grf_change: float = _RELEASED * MEAN_MASS
    """Absolute error of the change of force from t to t + 1 [N/kg]."""
    foot_cop: float = 5.0
    """Absolute error of each loaded foot's centre of pressure [m]; ours."""


TERMS = tuple(item.name for item in fields(LossWeights))
"""Names of the terms, in order."""


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What a window should give, per kilogram of the subject's own mass."""

    impulse: Tensor
    """Imposed angular momentum of the transition [N·m·s/kg], child frames, (B, J, 3)."""
    grf: Tensor
    """Force of the ground on each body at t and t + 1 [N/kg], heading frame, (B, U, N, 3)."""
    foot_cop: Tensor
    """Centre of pressure of each foot [m], heading frame, from the window's origin, (B, U, E, 2); any finite value if
    unloaded."""
    mass: Tensor
    """Mass of the subject [kg], (B,): only metrics in newtons need it."""

    @property
    def foot_load(self) -> Tensor:
        """Vertical force on each foot [N/kg], (B, U, E)."""
        return torch.stack([self.grf[:, :, list(foot), 2].sum(-1) for foot in FEET], dim=-1)

    def to(self, device: torch.device | str) -> Targets:
        """The same on a device."""
        return Targets(**{item.name: getattr(self, item.name).to(device) for item in fields(self)})


def cosine_loss(direction: Tensor, target: Tensor, size: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of 1 − cosine between unit vectors and targets (..., 3) of length `size` (...); `weight` (...).

    The cosine runs along the vector. (The released code normalises its force targets along the time axis; its metric does
    not.)
    """
    cosine = (direction * target).sum(-1) / size.clamp_min(1e-12)
    return ((1.0 - cosine) * weight).sum() / weight.sum().clamp_min(1.0)


def pairwise_loss(error: Tensor) -> Tensor:
    """Mean over pairs i < j of |e_i − e_j| along the last axis: L1 error of the differences between magnitudes.

    With e sorted ascending, sum_{i<j} |e_i − e_j| = sum_k (2k − n + 1) e_(k), k = 0..n−1: no (n, n) array is formed.
    """
    count = error.shape[-1]
    rank = torch.arange(count, dtype=error.dtype, device=error.device)
    coefficient = (2.0 * rank - (count - 1)) / (count * (count - 1) / 2)
    return (error.sort(dim=-1).values * coefficient).sum(-1).mean()


def term_counts(target: Targets) -> Tensor:
    """Over how many entries each term is a mean, (terms,) in the order of `TERMS`, for batches made in parts.

    A term of a whole batch is the mean of its parts' terms weighted by these counts, at least 1 each: windows, or the
    entries that the term's mask keeps.
    """
    windows = target.grf.new_tensor(float(len(target.grf)))
    masked = {"grf_cosine": _touches(target).sum(), "foot_cop": 2.0 * _is_loaded(target).sum()}
    return torch.stack([masked.get(name, windows) for name in TERMS])


def _touches(target: Targets) -> Tensor:
    """1 where the ground touches a body, else 0, (B, U, N)."""
    return (target.grf.norm(dim=-1) > CONTACT_FORCE).to(target.grf.dtype)


def _is_loaded(target: Targets) -> Tensor:
    """1 where a foot's centre of pressure is learned, else 0, (B, U, E)."""
    return (target.foot_load > FOOT_FORCE).to(target.grf.dtype)


def loss_terms(prediction: Prediction, target: Targets, scaling: Scaling) -> dict[str, Tensor]:
    """Every term, unweighted, by the names of `LossWeights`."""
    impulse_size = target.impulse.norm(dim=-1)
    grf_size = target.grf.norm(dim=-1)
    touches = _touches(target)
    grf = prediction.grf
    is_loaded = _is_loaded(target)[..., None]
    cop_error = (prediction.foot_cop - target.foot_cop).abs() * is_loaded
    impulse_error = prediction.impulse_magnitude - impulse_size
    grf_error = prediction.grf_magnitude - grf_size
    change = (grf[:, 1] - grf[:, 0]) - (target.grf[:, 1] - target.grf[:, 0])
    return {
        "impulse_l2": ((prediction.impulse - target.impulse) * (1.0 / scaling.impulse_std)).square().mean(),
        "grf_l2": ((grf - target.grf) * (1.0 / scaling.grf_std)).square().mean(),
        "impulse_cosine": cosine_loss(
            prediction.impulse_direction, target.impulse, impulse_size, torch.ones_like(impulse_size)
        ),
        "grf_cosine": cosine_loss(prediction.grf_direction, target.grf, grf_size, touches),
        "impulse_magnitude": impulse_error.abs().mean(),
        "grf_magnitude": grf_error.abs().mean(),
        "impulse_pairwise": pairwise_loss(impulse_error),
        "grf_pairwise": pairwise_loss(grf_error),
        "contact": functional.binary_cross_entropy_with_logits(prediction.contact_logit, touches),
        "grf_change": change.abs().mean(),
        "foot_cop": cop_error.sum() / (2.0 * is_loaded.sum()).clamp_min(1.0),
    }


def total_loss(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """Weighted sum of the terms; a weight of zero leaves a term out."""
    parts = [getattr(weights, item.name) * terms[item.name] for item in fields(weights) if getattr(weights, item.name)]
    return torch.stack(parts).sum()
