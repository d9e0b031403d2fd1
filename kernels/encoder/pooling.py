"""How the folded stack reads a window's tokens, forward and backward: the interface, and its form in plain torch.

    p_h = sum_m softmax_m(r_h . x_m + bias_m) x_m

Axis legend: B windows, M marker tokens, F features a token, H heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Pooling(NamedTuple):
    """A forward and its backward."""

    forward: Callable[[Tensor, Tensor, Tensor | None, bool], tuple[Tensor, Tensor]]
    """Read vectors (B, H, F), tokens (B, M, F), bias (B, 1, M) or None, True where a backward follows; gives what that needs
    of the softmax, and sums (B, H, F)."""
    backward: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None], Tensor]
    """Gradient of the sums (B, H, F), tokens, what the forward kept, read vectors, gradient of the tokens to be added to where
    they need one; gives that of the read vectors (B, H, F)."""


def _pool(read_BHF: Tensor, tokens_BMF: Tensor, bias_B1M: Tensor | None, is_kept: bool) -> tuple[Tensor, Tensor]:
    turned_BFM = tokens_BMF.transpose(1, 2)
    if bias_B1M is None:
        score_BHM = torch.bmm(read_BHF, turned_BFM)
    else:
        score_BHM = torch.baddbmm(bias_B1M, read_BHF, turned_BFM)
    weight_BHM = torch.softmax(score_BHM, dim=-1)
    return weight_BHM, torch.bmm(weight_BHM, tokens_BMF)


def _pool_backward(
    grad_BHF: Tensor, tokens_BMF: Tensor, weight_BHM: Tensor, read_BHF: Tensor, token_grad: Tensor | None
) -> Tensor:
    """Given dp: da_hm = dp_h . x_m, ds = the softmax's gradient of da, dr_h = sum_m ds_hm x_m.

    Only where the tokens need one: dx_m += sum_h (a_hm dp_h + ds_hm r_h).
    """
    slope_BHM = torch.bmm(grad_BHF, tokens_BMF.transpose(1, 2))
    slope_BHM = torch.ops.aten._softmax_backward_data(slope_BHM, weight_BHM, -1, slope_BHM.dtype)
    if token_grad is not None:
        token_grad.baddbmm_(weight_BHM.transpose(1, 2), grad_BHF)
        token_grad.baddbmm_(slope_BHM.transpose(1, 2), read_BHF)
    return torch.bmm(slope_BHM, tokens_BMF)


TORCH = Pooling(_pool, _pool_backward)
