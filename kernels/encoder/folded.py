"""The pooling encoder with input map, keys and values folded into the query: no token is ever projected.

With one query the attention is linear in the raw features on both sides of its softmax,

    score_hm = (W_q z + b_q)_h . (W_k (W_e x_m + b_e))_h / sqrt(K) = u_h . x_m + const,   u = U z + u_0,
    W_o concat_h sum_m a_hm (W_v (W_e x_m + b_e) + b_v)_h + b_o    = G concat_h p_h + g,  p_h = sum_m a_hm x_m,

since the constant cancels in the softmax and the weights a_h sum to 1; over one query the self-attention is the linear
map S = W_o W_v. U (H F, D), u_0, G (D, H F), g and S are products of the parameters, formed once a call for all layers
together, so that gradients reach every parameter through them.

Axis legend: B windows, M marker tokens, F features a token, D model width, H heads, K = D / H head width, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.encoder.folded_stack import StackMaps, encode_stack
from kernels.encoder.reference import PooledWeights, layer_norm


@dataclass(frozen=True, kw_only=True)
class FoldedLayers:
    """The folded maps of all layers, one behind the other along the first axis."""

    self_map: Tensor
    """S = W_o W_v of the self-attention, (L, D, D)."""
    self_bias: Tensor
    """(L, D)."""
    read_map: Tensor
    """U, scaled by 1 / sqrt(K), (L, H·F, D)."""
    read_bias: Tensor
    """u_0, (L, H·F)."""
    write_map: Tensor
    """G, (L, D, H·F)."""
    write_bias: Tensor
    """g, (L, D)."""
    ff_in_weight: Tensor
    """(L, ff, D)."""
    ff_in_bias: Tensor
    """(L, ff)."""
    ff_out_weight: Tensor
    """(L, D, ff)."""
    ff_out_bias: Tensor
    """(L, D)."""
    norm_weight: Tensor
    """Gains of the norms after self-attention, cross-attention and feed-forward, (L, 3, D)."""
    norm_bias: Tensor
    """(L, 3, D)."""


def fold_layers(weights: PooledWeights, dtype: torch.dtype | None = None) -> FoldedLayers:
    """Folded maps of all layers, differentiable; products are formed in `dtype`, by default that of the weights."""
    exact = dtype or weights.embed_weight.dtype

    def stack(name: str) -> Tensor:
        return torch.stack([getattr(layer, name) for layer in weights.layers]).to(exact)

    width, features = weights.embed_weight.shape
    layers, heads = len(weights.layers), weights.num_heads
    head = width // heads
    embed, embed_bias = weights.embed_weight.to(exact), weights.embed_bias.to(exact)
    self_out, out, value = stack("self_out_weight"), stack("out_weight"), stack("value_weight")
    # Query bias as one more column of the query map: both are folded by the same product.
    query = torch.cat([stack("query_weight"), stack("query_bias")[..., None]], dim=2) / math.sqrt(head)
    key = (stack("key_weight") @ embed).view(layers * heads, head, features)
    read = torch.bmm(key.transpose(1, 2), query.view(layers * heads, head, width + 1)).view(layers, -1, width + 1)
    value_LHKF = (value @ embed).view(layers, heads, head, features)
    write = (out.view(layers, width, heads, head).transpose(1, 2) @ value_LHKF).transpose(1, 2)
    constant = value @ embed_bias + stack("value_bias")
    return FoldedLayers(
        self_map=self_out @ stack("self_value_weight"),
        self_bias=(self_out @ stack("self_value_bias")[..., None])[..., 0] + stack("self_out_bias"),
        read_map=read[..., :-1], read_bias=read[..., -1], write_map=write.reshape(layers, width, heads * features),
        write_bias=(out @ constant[..., None])[..., 0] + stack("out_bias"),
        **{name: stack(name) for name in (
            "ff_in_weight", "ff_in_bias", "ff_out_weight", "ff_out_bias", "norm_weight", "norm_bias",
        )},
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Parameters folded for any number of calls."""

    start: Tensor
    """State of every window before the first cross-attention, which only the tokens can tell apart, (D,)."""
    read: Tensor
    """First read vectors, (H·F,)."""
    maps: StackMaps
    """The rest of the stack."""
    num_heads: int


def fold(weights: PooledWeights) -> Folded:
    """Parameters as `encode_folded` takes them; differentiable.

    Three additions a layer disappear into the maps: z + S z = (I + S) z, and the constants g and b_2 that are added after
    a layer norm ride on its bias, with what the next map would make of them taken off: U z + u_0 = U (z + g) + (u_0 - U g).
    """
    layers = fold_layers(weights)
    self_map = layers.self_map + torch.eye(layers.self_map.shape[1]).to(layers.self_map)
    norm_bias = layers.norm_bias + torch.stack(
        [layers.write_bias, layers.ff_out_bias, torch.zeros_like(layers.ff_out_bias)], dim=1
    )
    read_bias = layers.read_bias - (layers.read_map @ layers.write_bias[..., None])[..., 0]
    ff_in_bias = layers.ff_in_bias - (layers.ff_in_weight @ layers.ff_out_bias[..., None])[..., 0]
    first = torch.mv(self_map[0], weights.query) + layers.self_bias[0]
    start = layer_norm(first, layers.norm_weight[0, 0], norm_bias[0, 0])
    return Folded(
        start=start, read=torch.mv(layers.read_map[0], start) + read_bias[0], num_heads=weights.num_heads,
        maps=StackMaps(
            self_map=self_map, self_bias=layers.self_bias, read_map=layers.read_map.contiguous(), read_bias=read_bias,
            write_map=layers.write_map, ff_in_weight=layers.ff_in_weight, ff_in_bias=ff_in_bias,
            ff_out_weight=layers.ff_out_weight, norm_weight=layers.norm_weight, norm_bias=norm_bias,
            last_weight=weights.norm_weight, last_bias=weights.norm_bias,
        ),
    )  # fmt: skip


def encode_folded(groups: Sequence[tuple[Tensor, Tensor]], folded: Folded) -> Tensor:
    """`encode` with parameters folded before."""
    return encode_stack(groups, folded.start, folded.read, folded.maps, folded.num_heads)


def encode(groups: Sequence[tuple[Tensor, Tensor]], weights: PooledWeights, *, dropout: float = 0.0) -> Tensor:
    """Same contract as `kernels.encoder.reference.encode`, without dropout; once differentiable.

    The parameters are folded once for all groups, and only the pooling itself runs group by group.

    Raises:
        ValueError: `dropout` is not 0.
    """
    if dropout != 0.0:
        raise ValueError(f"dropout: expected 0 for the folded encoder, got {dropout}; backend='reference' has dropout")
    return encode_folded(groups, fold(weights))


__all__ = ["Folded", "FoldedLayers", "encode", "encode_folded", "fold", "fold_layers"]
