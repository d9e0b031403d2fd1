"""Named shapes and seeded inputs of the self-attention encoder, used alike by its tests and its benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.encoder.attention.reference import AttentionLayer, AttentionWeights
from kernels.encoder.cases import RandomParameters, random_tokens


@dataclass(frozen=True, kw_only=True)
class Case:
    """One shape of the encoder."""

    name: str
    """Identifier in test ids and benchmark rows."""
    batch: int
    """Windows B."""
    tokens: int
    """Tokens M beside the class token."""
    features: int
    """Features a token F."""
    width: int = 64
    """Model width D."""
    ff: int = 256
    """Width of the feed-forward block."""
    heads: int = 4
    """Attention heads H."""
    layers: int = 3
    """Encoder layers L."""
    has_position: bool = False
    """Tokens have an order: frames."""
    is_ragged: bool = True
    """False: every token is present."""

    @property
    def flops(self) -> int:
        """Floating-point operations of a forward: 2 a multiply-add of every matrix product, class token included."""
        rows, d = self.tokens + 1, self.width
        layer = rows * (8 * d * d + 4 * d * self.ff + 4 * rows * d)
        return self.batch * (2 * self.tokens * self.features * d + self.layers * layer)

    @property
    def num_params(self) -> int:
        """Numbers that the weights hold."""
        d = self.width
        layer = 4 * d * d + 9 * d + 2 * self.ff * d + self.ff
        return d * (self.features + 4) + self.layers * layer + self.has_position * self.tokens * d


CASES: tuple[Case, ...] = (
    Case(name="one_token", batch=1, tokens=1, features=36, ff=64, layers=1),
    Case(name="tiny", batch=3, tokens=5, features=4, width=8, ff=6, heads=2, layers=2),
    # 12 windows share a tile of 64 rows, 2 tiles; features over two chunks, the last one of 13.
    Case(name="frames", batch=13, tokens=4, features=77, ff=96, has_position=True, layers=1),
    Case(name="prime", batch=7, tokens=31, features=36, ff=128, layers=1),
    # A width that is no power of two, a head width below 16, a feed-forward block below a chunk.
    Case(name="odd_sizes", batch=5, tokens=13, features=7, width=24, ff=20, heads=3, layers=1, has_position=True),
    Case(name="one_head", batch=5, tokens=12, features=6, width=32, ff=64, heads=1, layers=1),
    # More rows than the least tile.
    Case(name="long", batch=3, tokens=70, features=6, width=16, ff=32, heads=2, layers=1),
    Case(name="paper_frames", batch=2400, tokens=5, features=318, has_position=True, is_ragged=False),
    Case(name="paper_markers", batch=2400, tokens=53, features=36, is_ragged=False),
    Case(name="train_markers", batch=2400, tokens=96, features=36),
)
"""`paper_*` and `train_*` are for benchmarks."""

TEST_CASES: tuple[Case, ...] = tuple(case for case in CASES if case.batch < 100)
"""Cases small enough to run in a test."""


def make_weights(
    case: Case, seed: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> AttentionWeights:
    """Random parameters with the spread of a trained network: no symmetric or zero blocks that would hide an error."""
    draw = RandomParameters(seed, dtype, device)
    normal, matrix = draw.normal, draw.matrix
    d, ff = case.width, case.ff
    layers = tuple(
        AttentionLayer(
            in_weight=matrix(3 * d, d), in_bias=normal(3 * d, scale=0.1),
            out_weight=matrix(d, d), out_bias=normal(d, scale=0.1),
            ff_in_weight=matrix(ff, d), ff_in_bias=normal(ff, scale=0.1),
            ff_out_weight=matrix(d, ff), ff_out_bias=normal(d, scale=0.1),
            norm_weight=normal(2, d, scale=0.1, mean=1.0), norm_bias=normal(2, d, scale=0.1),
        )
        for _ in range(case.layers)
    )  # fmt: skip
    return AttentionWeights(
        embed_weight=matrix(d, case.features), embed_bias=normal(d, scale=0.1), query=normal(d, scale=1.0),
        position=normal(case.tokens, d, scale=0.5) if case.has_position else None, layers=layers,
        norm_weight=normal(d, scale=0.1, mean=1.0), norm_bias=normal(d, scale=0.1), num_heads=case.heads,
    )  # fmt: skip


def make_tokens(
    case: Case, seed: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Tokens (B, M, F) and mask (B, M) of a case."""
    return random_tokens(case.batch, case.tokens, case.features, case.is_ragged, seed, dtype, device)
