"""Self-attention encoder of the ImDy paper: a class token and the tokens of a window through post-norm layers.

Written to be read, eager torch; every state of every token is formed. A token is a marker over the frames of a window or
a frame with all its markers; which of the two is the caller's layout. Parameters live in plain records.

Axis legend: B windows, M tokens, T = M + 1 tokens with the class token, F features a token, D model width, H heads,
K = D / H head width, L layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kernels.encoder.reference import layer_norm


@dataclass(frozen=True, kw_only=True)
class AttentionLayer:
    """Parameters of one layer; every `_weight` is (out, in), the names follow `torch.nn.TransformerEncoderLayer`."""

    in_weight: Tensor
    """Query, key and value maps one below the other, (3 D, D)."""
    in_bias: Tensor
    """(3 D,)."""
    out_weight: Tensor
    """Output map of the attention, (D, D)."""
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
    """Gains of the layer norms after attention and feed-forward, (2, D)."""
    norm_bias: Tensor
    """Biases of the same, (2, D)."""


@dataclass(frozen=True, kw_only=True)
class AttentionWeights:
    """Parameters of the self-attention encoder."""

    embed_weight: Tensor
    """Input map of a token, (D, F)."""
    embed_bias: Tensor
    """(D,)."""
    query: Tensor
    """The class token, (D,)."""
    position: Tensor | None
    """Added to the embedded tokens, (M, D), where their order means something (frames); None for a set (markers)."""
    layers: tuple[AttentionLayer, ...]
    """Encoder layers, length L."""
    norm_weight: Tensor
    """Gain of the final layer norm, (D,)."""
    norm_bias: Tensor
    """(D,)."""
    num_heads: int
    """Attention heads H; divides D."""


def _attend(state_BTD: Tensor, absent_BT: Tensor, layer: AttentionLayer, heads: int, dropout: float) -> Tensor:
    batch, tokens, width = state_BTD.shape
    joined = functional.linear(state_BTD, layer.in_weight, layer.in_bias).view(batch, tokens, 3, heads, width // heads)
    query, key, value = joined.permute(2, 0, 3, 1, 4)
    score_BHTT = query @ key.transpose(2, 3) / math.sqrt(width // heads)
    weight = score_BHTT.masked_fill(absent_BT[:, None, None, :], -math.inf).softmax(dim=-1)
    read = functional.dropout(weight, dropout) @ value
    return functional.linear(read.transpose(1, 2).reshape(batch, tokens, width), layer.out_weight, layer.out_bias)


def encode(tokens: Tensor, mask: Tensor, weights: AttentionWeights, *, dropout: float = 0.0) -> Tensor:
    """Feature of each window: the class token after L layers of self-attention over it and the present tokens.

    With `x = [c, W_e x_m + b_e + p_m]`, each layer computes `x <- norm(x + W_o concat_h softmax(q_h k_h^T / sqrt(K)) v_h +
    b_o)` over the class token and the present tokens, then `x <- norm(x + W_2 relu(W_1 x + b_1) + b_2)`; the feature is the
    class token's row after a final layer norm. What absent tokens hold does not matter as long as it is finite. A window
    without a present token gives what the class token alone gives.

    Args:
        tokens: Tokens, shape (B, M, F), floating point.
        mask: True where the token is present, shape (B, M), bool.
        weights: Parameters, same dtype and device as the tokens.
        dropout: Probability of a zero in attention weights, feed-forward units and both updates, as PyTorch's layer.

    Returns:
        Features, shape (B, D).

    Source: Liu et al. 2025 (ImDy, ICLR), section 4.2: a transformer encoder of 3 layers, width 64, ReLU, layer norm.
    The paper does not describe the readout; a class token is this project's choice.
    """
    batch = tokens.shape[0]
    embedded = functional.linear(tokens, weights.embed_weight, weights.embed_bias)
    if weights.position is not None:
        embedded = embedded + weights.position
    state = torch.cat([weights.query.expand(batch, 1, -1), embedded], dim=1)
    absent = torch.cat([mask.new_zeros(batch, 1), ~mask], dim=1)
    for layer in weights.layers:
        update = _attend(state, absent, layer, weights.num_heads, dropout)
        state = layer_norm(state + functional.dropout(update, dropout), layer.norm_weight[0], layer.norm_bias[0])
        hidden = functional.relu(functional.linear(state, layer.ff_in_weight, layer.ff_in_bias))
        update = functional.linear(functional.dropout(hidden, dropout), layer.ff_out_weight, layer.ff_out_bias)
        state = layer_norm(state + functional.dropout(update, dropout), layer.norm_weight[1], layer.norm_bias[1])
    return layer_norm(state[:, 0], weights.norm_weight, weights.norm_bias)
