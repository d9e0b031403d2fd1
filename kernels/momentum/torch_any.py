"""Imposed angular momentum on torch tensors of any device, differentiable in the torque; the additions of `reference`."""

from __future__ import annotations

import torch
from torch import Tensor


def integrate_torque(torque: Tensor, step: float) -> Tensor:
    """Same contract as reference, returning the impulse.

    One reading of the torques, S sweeps over sums of a transition's size. The error terms are constants to autograd: the
    gradient of the exact sum is h for every substep.
    """
    plain = torque.sum(dim=1) if torque.requires_grad else None
    with torch.no_grad():
        total = torque.new_zeros(torque.shape[0], *torque.shape[2:], dtype=torch.float64)
        error = torch.zeros_like(total)
        for term in torque.unbind(dim=1):
            first, total = total, total + term
            if torque.dtype == torch.float64:
                virtual = total - first
                error += (first - (total - virtual)) + (term - virtual)
        impulse = ((total + error + (total - total)) * step).to(torque.dtype)
    if plain is None:
        return impulse
    linear = plain * step
    return impulse + (linear - linear.detach())
