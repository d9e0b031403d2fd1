"""Attention-pooling encoder of the released ImDy solver: one learned query reads a set of marker tokens.

Written to be read: every token is projected, every key and value is formed. `kernels.encoder.folded` computes the same
function without ever projecting a token. Parameters live in plain records, so that the same call serves training
(`torch.nn.Parameter`), float64 gradient checks and weights read from a file.

Axis legend: B windows, M marker tokens, F features a token, D model width, H heads, K = D / H head width, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """Parameters of one decoder layer; every `_weight` is (out, in) as in `torch.nn.Linear`."""

    self_value_weight: Tensor
    """Value map of the self-attention, (D, D). Over one query its softmax is 1, so query and key maps do not exist."""
    self_value_bias: Tensor
    """(D,)."""
    self_out_weight: Tensor
    """Output map of the self-attention, (D, D)."""
    self_out_bias: Tensor
    """(D,)."""
    query_weight: Tensor
    """Query map of the cross-attention, (D, D)."""
    query_bias: Tensor
    """(D,)."""
    key_weight: Tensor
    """Key map of the cross-attention, (D, D). It has no bias: a constant added to all scores cancels in the softmax."""
    value_weight: Tensor
    """Value map of the cross-attention, (D, D)."""
    value_bias: Tensor
    """(D,)."""
    out_weight: Tensor
    """Output map of the cross-attention, (D, D)."""
    out_bias: Tensor
    """(D,)."""
    ff_in_weight: Tensor
    """First map of the feed-forward block, (ff, D)."""
    ff_in_bias: Tensor
    """(ff,)."""
    ff_out_weight: Tensor
    """Second map of the feed-forward block, (D, ff)."""
    ff_out_bias: Tensor
    """(D,)."""
    norm_weight: Tensor
    """Gains of the layer norms after self-attention, cross-attention and feed-forward, (3, D)."""
    norm_bias: Tensor
    """Biases of the same, (3, D)."""


@dataclass(frozen=True, kw_only=True)
class PooledWeights:
    """Parameters of the pooling encoder."""

    embed_weight: Tensor
    """Input map of a token, (D, F)."""
    embed_bias: Tensor
    """(D,)."""
    query: Tensor
    """The learned query, (D,)."""
    layers: tuple[LayerWeights, ...]
    """Decoder layers, length L."""
    norm_weight: Tensor
    """Gain of the final layer norm, (D,)."""
    norm_bias: Tensor
    """(D,)."""
    num_heads: int
    """Attention heads H; divides D."""


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Layer norm over the last axis, eps 1e-5."""
    return functional.layer_norm(x, (x.shape[-1],), weight, bias, LAYER_NORM_EPS)


def self_attention_block(state: Tensor, layer: LayerWeights, dropout: float = 0.0) -> Tensor:
    """`norm(z + W_o (W_v z + b_v) + b_o)`: self-attention over a single query, shape (B, D).

    Dropout acts on the update only: the one attention weight, 1, is kept.
    """
    value = functional.linear(state, layer.self_value_weight, layer.self_value_bias)
    update = functional.linear(value, layer.self_out_weight, layer.self_out_bias)
    return layer_norm(state + functional.dropout(update, dropout), layer.norm_weight[0], layer.norm_bias[0])


def feed_forward_block(state: Tensor, layer: LayerWeights, dropout: float = 0.0) -> Tensor:
    """`norm(z + W_2 relu(W_1 z + b_1) + b_2)`, shape (B, D)."""
    hidden = functional.relu(functional.linear(state, layer.ff_in_weight, layer.ff_in_bias))
    update = functional.linear(functional.dropout(hidden, dropout), layer.ff_out_weight, layer.ff_out_bias)
    return layer_norm(state + functional.dropout(update, dropout), layer.norm_weight[2], layer.norm_bias[2])


def _cross_attention(
    state: Tensor, memory_BMD: Tensor, mask_BM: Tensor, layer: LayerWeights, heads: int, dropout: float
) -> Tensor:
    batch, markers, width = memory_BMD.shape
    head = width // heads
    query_BHK = functional.linear(state, layer.query_weight, layer.query_bias).view(batch, heads, head)
    key_BMHK = functional.linear(memory_BMD, layer.key_weight).view(batch, markers, heads, head)
    value_BMHK = functional.linear(memory_BMD, layer.value_weight, layer.value_bias).view(batch, markers, heads, head)
    score_BHM = torch.einsum("bhk,bmhk->bhm", query_BHK, key_BMHK) / math.sqrt(head)
    weight_BHM = score_BHM.masked_fill(~mask_BM[:, None, :], -math.inf).softmax(dim=-1)
    read_BD = torch.einsum("bhm,bmhk->bhk", functional.dropout(weight_BHM, dropout), value_BMHK).reshape(batch, width)
    return functional.linear(read_BD, layer.out_weight, layer.out_bias)


def encode(groups: Sequence[tuple[Tensor, Tensor]], weights: PooledWeights, *, dropout: float = 0.0) -> Tensor:
    """Feature of each window: a learned query that reads its marker tokens through L post-norm decoder layers.

    With `e_m = W_e x_m + b_e`, each layer computes
    `z <- norm(z + selfattn(z))`, `z <- norm(z + W_o concat_h sum_m a_hm (W_v e_m + b_v)_h + b_o)`,
    `z <- norm(z + W_2 relu(W_1 z + b_1) + b_2)` with `a_h = softmax_m((W_q z + b_q)_h . (W_k e_m)_h / sqrt(K))` over
    the tokens that are present; a final layer norm follows. The result does not depend on the order of the tokens nor
    on what absent tokens hold, as long as it is finite. A window without a present token gives NaN.

    Args:
        groups: Windows with equal numbers of tokens: tokens (B_g, M_g, F), floating point, and mask (B_g, M_g), bool,
            True where the token is present.
        weights: Parameters, same dtype and device as the tokens.
        dropout: Probability of a zero in the cross-attention weights, the feed-forward units and the three updates.

    Returns:
        Features of all windows in the order of the groups, shape (B, D), B = sum of B_g.

    Source: Liu et al. 2025 (ImDy, ICLR), section 4.2; the single query, the layer count and the sizes as in the
    released code, which differs from the paper's text (self-attention encoder).
    """
    return torch.cat([_encode_group(tokens, mask, weights, dropout) for tokens, mask in groups])


def _encode_group(tokens: Tensor, mask: Tensor, weights: PooledWeights, dropout: float) -> Tensor:
    memory_BMD = functional.linear(tokens, weights.embed_weight, weights.embed_bias)
    state_BD = weights.query.expand(tokens.shape[0], -1)
    for layer in weights.layers:
        state_BD = self_attention_block(state_BD, layer, dropout)
        update = _cross_attention(state_BD, memory_BMD, mask, layer, weights.num_heads, dropout)
        state_BD = layer_norm(state_BD + functional.dropout(update, dropout), layer.norm_weight[1], layer.norm_bias[1])
        state_BD = feed_forward_block(state_BD, layer, dropout)
    return layer_norm(state_BD, weights.norm_weight, weights.norm_bias)
