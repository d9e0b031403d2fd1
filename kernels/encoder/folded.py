"""The pooling encoder with input map, keys and values folded into the query: no token is ever projected.

With one query the attention is linear in the raw features on both sides of its softmax,

    score_hm = (W_q z + b_q)_h . (W_k (W_e x_m + b_e))_h / sqrt(K) = u_h . x_m + const,   u = U z + u_0,
    W_o concat_h sum_m a_hm (W_v (W_e x_m + b_e) + b_v)_h + b_o    = G concat_h p_h + g,  p_h = sum_m a_hm x_m,

since the constant cancels in the softmax and the weights a_h sum to 1. U (H F, D), u_0, G (D, H F) and g are products
of the parameters, formed once a call, so that gradients reach every parameter through them.

Axis legend: B windows, M marker tokens, F features a token, D model width, H heads, K = D / H head width, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from kernels.encoder.reference import (
    LayerWeights,
    PooledWeights,
    feed_forward_block,
    layer_norm,
    self_attention_block,
)


def fold_layer(weights: PooledWeights, layer: LayerWeights) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Folded cross-attention of one layer: U (H·F, D), u_0 (H·F,), G (D, H·F), g (D,) of the module docstring."""
    width, features = weights.embed_weight.shape
    heads = weights.num_heads
    head = width // heads
    key_HKF = (layer.key_weight @ weights.embed_weight).view(heads, head, features)
    query_HKD = layer.query_weight.view(heads, head, width) / math.sqrt(head)
    query_bias_HK1 = layer.query_bias.view(heads, head, 1) / math.sqrt(head)
    key_HFK = key_HKF.transpose(1, 2)
    read_map = (key_HFK @ query_HKD).reshape(heads * features, width)
    read_bias = (key_HFK @ query_bias_HK1).reshape(heads * features)
    value_HKF = (layer.value_weight @ weights.embed_weight).view(heads, head, features)
    out_HDK = layer.out_weight.view(width, heads, head).transpose(0, 1)
    write_map = (out_HDK @ value_HKF).transpose(0, 1).reshape(width, heads * features)
    value_const = torch.mv(layer.value_weight, weights.embed_bias) + layer.value_bias
    write_bias = torch.mv(layer.out_weight, value_const) + layer.out_bias
    return read_map, read_bias, write_map, write_bias


class _Pool(torch.autograd.Function):
    """p_h = sum_m softmax_m(u_h . x_m) x_m over present tokens; its backward forms no (B, M, F) array unless asked.

    Given dp: da_hm = dp_h . x_m and ds_hm = a_hm (da_hm - dp_h . p_h), because sum_m a_hm da_hm = dp_h . p_h; then
    du_h = sum_m ds_hm x_m and, only where the tokens need a gradient, dx_m = sum_h (a_hm dp_h + ds_hm u_h).
    """

    @staticmethod
    def forward(ctx: Any, read_BHF: Tensor, tokens_BMF: Tensor, bias_B1M: Tensor) -> Tensor:
        score_BHM = torch.baddbmm(bias_B1M, read_BHF, tokens_BMF.transpose(1, 2))
        weight_BHM = torch.softmax(score_BHM, dim=-1)
        pooled_BHF = torch.bmm(weight_BHM, tokens_BMF)
        ctx.save_for_backward(read_BHF, tokens_BMF, weight_BHM, pooled_BHF)
        return pooled_BHF

    # Saved softmax weights carry no graph, so a second derivative would be wrong: the decorator refuses it. It also
    # hides the parameter names from the type checker.
    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        (grad_BHF,) = grad_outputs
        read_BHF, tokens_BMF, weight_BHM, pooled_BHF = ctx.saved_tensors
        shift_BH1 = (grad_BHF * pooled_BHF).sum(dim=-1, keepdim=True)
        score_grad_BHM = torch.bmm(grad_BHF, tokens_BMF.transpose(1, 2)).sub_(shift_BH1).mul_(weight_BHM)
        read_grad = torch.bmm(score_grad_BHM, tokens_BMF) if ctx.needs_input_grad[0] else None
        token_grad = None
        if ctx.needs_input_grad[1]:
            token_grad = torch.bmm(weight_BHM.transpose(1, 2), grad_BHF)
            token_grad.baddbmm_(score_grad_BHM.transpose(1, 2), read_BHF)
        return read_grad, token_grad, None


def encode(groups: Sequence[tuple[Tensor, Tensor]], weights: PooledWeights, *, dropout: float = 0.0) -> Tensor:
    """Same contract as `kernels.encoder.reference.encode`, without dropout; once differentiable.

    The parameters are folded once for all groups, and only the pooling itself runs group by group.

    Raises:
        ValueError: `dropout` is not 0.
    """
    if dropout != 0.0:
        raise ValueError(f"dropout: expected 0 for the folded encoder, got {dropout}; backend='reference' has dropout")
    sizes = [tokens.shape[0] for tokens, _ in groups]
    heads, features = weights.num_heads, weights.embed_weight.shape[1]
    biases = [_score_bias(tokens, mask) for tokens, mask in groups]
    # The first query is the same for every window: one row until the first cross-attention mixes in the tokens.
    state = weights.query[None]
    for layer in weights.layers:
        read_map, read_bias, write_map, write_bias = fold_layer(weights, layer)
        state = self_attention_block(state, layer)
        read_BHF = functional.linear(state, read_map, read_bias).view(-1, heads, features).expand(sum(sizes), -1, -1)
        pooled = [
            _Pool.apply(read, tokens, bias) for read, (tokens, _), bias in zip(read_BHF.split(sizes), groups, biases)
        ]
        pooled_BHF = pooled[0] if len(pooled) == 1 else torch.cat(pooled)
        update = functional.linear(pooled_BHF.view(-1, heads * features), write_map, write_bias)
        state = layer_norm(state + update, layer.norm_weight[1], layer.norm_bias[1])
        state = feed_forward_block(state, layer)
    return layer_norm(state, weights.norm_weight, weights.norm_bias)


def _score_bias(tokens: Tensor, mask: Tensor) -> Tensor:
    """0 for present and minus infinity for absent tokens, (B, 1, M)."""
    return torch.zeros(mask.shape, dtype=tokens.dtype, device=tokens.device).masked_fill_(~mask, -math.inf)[:, None]
