"""The solver's two encoders: marker tokens of a window to one feature vector.

`pooled` is what the released ImDy code does (one learned query reads the tokens), `encoder` what the paper's text says
(self-attention over the tokens; its readout is not described, a learned class token is used here). Neither has marker
identities or positions: both are functions of the set of tokens.

Axis legend: B windows, M marker tokens, F raw features a token, R scaled features, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kernels.encoder import LayerWeights, PooledWeights, encode_groups

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
    """Post-norm self-attention layers over a class token and the marker tokens; the class token is the feature."""

    def __init__(self, *, width: int, heads: int, layers: int, ff: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width) / math.sqrt(width))
        layer = nn.TransformerEncoderLayer(width, heads, ff, dropout=0.0, activation="relu", batch_first=True)
        self.stack = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, groups: Groups, embed: Embed, backend: str = "auto") -> Tensor:
        """Features of all windows in order, (B, D). Only eager torch exists: `backend` is `auto` or `reference`."""
        if backend not in ("auto", "reference"):
            raise ValueError(f"backend: the self-attention encoder has only 'reference', got {backend!r}")
        return torch.cat([self._encode(tokens, mask, embed) for tokens, mask in groups])

    def _encode(self, tokens: Tensor, mask: Tensor, embed: Embed) -> Tensor:
        memory = nn.functional.linear(tokens, *embed)
        batch = tokens.shape[0]
        sequence = torch.cat([self.query.expand(batch, 1, -1), memory], dim=1)
        absent = torch.cat([mask.new_zeros(batch, 1), ~mask], dim=1)
        return self.stack(sequence, src_key_padding_mask=absent)[:, 0]
