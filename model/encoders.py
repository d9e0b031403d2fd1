"""The solver's two encoders: marker tokens of a window to one feature vector.

`pooled` is what the released ImDy code does (one learned query reads the tokens), `encoder` what the paper's text says
(self-attention over the tokens; its readout is not described, a learned class token is used here). Neither has marker
identities or positions: both are functions of the set of tokens.

Axis legend: B windows, M marker tokens, F raw features a token, R scaled features, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from kernels.encoder import LayerWeights, PooledWeights, attention, encode_groups
from kernels.encoder.attention import AttentionLayer, AttentionWeights

Groups = Sequence[tuple[Tensor, Tensor]]
"""Groups of windows with equal numbers of tokens: tokens (B_g, M_g, F) and mask (B_g, M_g) of each."""
Embed = tuple[Tensor, Tensor]
"""Input map of raw features: weight (D, F) and bias (D,), scaling included."""


class PooledEncoder(nn.Module):
    """One learned query through post-norm layers of cross-attention to the tokens (`kernels.encoder`)."""

    def __init__(self, *, width: int, heads: int, layers: int, ff: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.norm_weight = nn.Parameter(torch.ones(width))
        self.norm_bias = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(_PooledLayer(width, ff) for _ in range(layers))

    def forward(self, groups: Groups, embed: Embed, backend: str = "auto") -> Tensor:
        """Features of the windows of all groups in order, shape (B, D)."""
        return encode_groups(groups, self.weights(embed), backend=backend)

    def weights(self, embed: Embed) -> PooledWeights:
        """The parameters as the kernel takes them."""
        return PooledWeights(
            embed_weight=embed[0], embed_bias=embed[1], query=self.query, norm_weight=self.norm_weight,
            norm_bias=self.norm_bias, num_heads=self.heads,
            layers=tuple(LayerWeights(**dict(layer.named_parameters())) for layer in self.layers),
        )  # fmt: skip


class _PooledLayer(nn.Module):
    def __init__(self, width: int, ff: int) -> None:
        super().__init__()
        shapes = {
            "self_value": (width, width), "self_out": (width, width), "query": (width, width), "key": (width, width),
            "value": (width, width), "out": (width, width), "ff_in": (ff, width), "ff_out": (width, ff),
        }  # fmt: skip
        for name, shape in shapes.items():
            weight = nn.Parameter(torch.empty(shape))
            nn.init.xavier_uniform_(weight)
            self.register_parameter(f"{name}_weight", weight)
            if name != "key":
                self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(shape[0])))
        self.norm_weight = nn.Parameter(torch.ones(3, width))
        self.norm_bias = nn.Parameter(torch.zeros(3, width))


class SelfAttentionEncoder(nn.Module):
    """Post-norm self-attention layers over a class token and the tokens (`kernels.encoder.attention`)."""

    def __init__(self, *, width: int, heads: int, layers: int, ff: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.norm_weight = nn.Parameter(torch.ones(width))
        self.norm_bias = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(_AttentionLayer(width, ff) for _ in range(layers))
        self.register_load_state_dict_pre_hook(_rename_transformer_encoder)

    def forward(self, groups: Groups, embed: Embed, backend: str = "auto") -> Tensor:
        """Features of the windows of all groups in order, shape (B, D)."""
        weights = self.weights(embed)
        return torch.cat([attention.encode(tokens, mask, weights, backend=backend) for tokens, mask in groups])

    def weights(self, embed: Embed) -> AttentionWeights:
        """The parameters as the kernel takes them: a set of tokens, without positions."""
        return AttentionWeights(
            embed_weight=embed[0], embed_bias=embed[1], query=self.query, position=None, norm_weight=self.norm_weight,
            norm_bias=self.norm_bias, num_heads=self.heads,
            layers=tuple(AttentionLayer(**dict(layer.named_parameters())) for layer in self.layers),
        )  # fmt: skip


class _AttentionLayer(nn.Module):
    def __init__(self, width: int, ff: int) -> None:
        super().__init__()
        shapes = {"in": (3 * width, width), "out": (width, width), "ff_in": (ff, width), "ff_out": (width, ff)}
        for name, shape in shapes.items():
            weight = nn.Parameter(torch.empty(shape))
            nn.init.xavier_uniform_(weight)
            self.register_parameter(f"{name}_weight", weight)
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(shape[0])))
        self.norm_weight = nn.Parameter(torch.ones(2, width))
        self.norm_bias = nn.Parameter(torch.zeros(2, width))


_TRANSFORMER_NAMES = {
    "in_": "self_attn.in_proj_", "out_": "self_attn.out_proj.", "ff_in_": "linear1.", "ff_out_": "linear2.",
}  # fmt: skip
"""Our names in a layer -> those in a layer of `nn.TransformerEncoder`."""


def _rename_transformer_encoder(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Take a state whose layers are an `nn.TransformerEncoder` named `stack`, as files had it before.

    What such a state lacks is left out here too, and reported by whoever loads it.
    """
    stack = f"{prefix}stack."

    def move(name: str, *theirs: str) -> None:
        if all(item in state for item in theirs):
            values = [state.pop(item) for item in theirs]
            state[name] = values[0] if len(values) == 1 else torch.stack(values)

    for part in ("weight", "bias"):
        move(f"{prefix}norm_{part}", f"{stack}norm.{part}")
        for index in range(len(cast(SelfAttentionEncoder, module).layers)):
            ours, theirs = f"{prefix}layers.{index}.", f"{stack}layers.{index}."
            for name, old in _TRANSFORMER_NAMES.items():
                move(f"{ours}{name}{part}", f"{theirs}{old}{part}")
            move(f"{ours}norm_{part}", f"{theirs}norm1.{part}", f"{theirs}norm2.{part}")
