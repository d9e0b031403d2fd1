"""Named shapes and seeded inputs of the encoder, used alike by its tests and its benchmarks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kernels.encoder.reference import LayerWeights, PooledWeights


@dataclass(frozen=True, kw_only=True)
class Case:
    """One shape of the encoder."""

    name: str
    """Identifier in test ids and benchmark rows."""
    batch: int
    """Windows B."""
    markers: int
    """Tokens M; each window keeps a random number of them."""
    features: int = 36
    """Features a token F: 6 frames of position and velocity."""
    width: int = 64
    """Model width D."""
    ff: int = 128
    """Width of the feed-forward block."""
    heads: int = 4
    """Attention heads H."""
    layers: int = 3
    """Decoder layers L."""
    is_ragged: bool = True
    """False: every token is present."""


CASES: tuple[Case, ...] = (
    Case(name="one_token", batch=1, markers=1),
    Case(name="tiny", batch=3, markers=5, features=4, width=8, ff=6, heads=2, layers=2),
    Case(name="prime", batch=7, markers=31),
    Case(name="one_head", batch=5, markers=13, heads=1, layers=1),
    Case(name="stream", batch=1, markers=53, is_ragged=False),
    Case(name="paper", batch=2400, markers=53, is_ragged=False),
    Case(name="train", batch=2400, markers=96),
)
"""`paper` is the shape of the published figures, `train` the random subsets of the training run; both are for
benchmarks."""

TEST_CASES: tuple[Case, ...] = tuple(case for case in CASES if case.batch < 100)
"""Cases small enough to run in a test."""


def make_weights(case: Case, seed: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu") -> PooledWeights:
    """Random parameters with the spread of a trained network: no symmetric or zero blocks that would hide an error."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float, mean: float = 0.0) -> Tensor:
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale + mean).to(device, dtype)

    def matrix(rows: int, columns: int) -> Tensor:
        return normal(rows, columns, scale=1.0 / math.sqrt(columns))

    d, ff = case.width, case.ff
    layers = tuple(
        LayerWeights(
            self_value_weight=matrix(d, d), self_value_bias=normal(d, scale=0.1),
            self_out_weight=matrix(d, d), self_out_bias=normal(d, scale=0.1),
            query_weight=matrix(d, d), query_bias=normal(d, scale=0.1), key_weight=matrix(d, d),
            value_weight=matrix(d, d), value_bias=normal(d, scale=0.1),
            out_weight=matrix(d, d), out_bias=normal(d, scale=0.1),
            ff_in_weight=matrix(ff, d), ff_in_bias=normal(ff, scale=0.1),
            ff_out_weight=matrix(d, ff), ff_out_bias=normal(d, scale=0.1),
            norm_weight=normal(3, d, scale=0.1, mean=1.0), norm_bias=normal(3, d, scale=0.1),
        )
        for _ in range(case.layers)
    )  # fmt: skip
    return PooledWeights(
        embed_weight=matrix(d, case.features), embed_bias=normal(d, scale=0.1), query=normal(d, scale=1.0),
        layers=layers, norm_weight=normal(d, scale=0.1, mean=1.0), norm_bias=normal(d, scale=0.1), num_heads=case.heads,
    )  # fmt: skip


def make_tokens(
    case: Case, seed: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Tokens (B, M, F) and mask (B, M) of a case; each window has a token, absent tokens hold large values."""
    generator = torch.Generator().manual_seed(seed + 1)
    tokens = torch.randn(case.batch, case.markers, case.features, generator=generator, dtype=torch.float64)
    mask = torch.ones(case.batch, case.markers, dtype=torch.bool)
    if case.is_ragged:
        order = torch.rand(case.batch, case.markers, generator=generator).argsort(dim=1)
        count = torch.randint(1, case.markers + 1, (case.batch, 1), generator=generator)
        mask = order < count
        tokens = torch.where(mask[..., None], tokens, 50.0 + tokens)
    return tokens.to(device, dtype), mask.to(device)


def parameters(weights: Any) -> list[Tensor]:
    """All parameter tensors of a weights record of either design and of its layers, in a fixed order."""
    own = [getattr(weights, item.name) for item in dataclasses.fields(weights)]
    own += [getattr(layer, item.name) for layer in weights.layers for item in dataclasses.fields(layer)]
    return [value for value in own if isinstance(value, Tensor)]


def with_parameters(weights: Any, values: list[Tensor]) -> Any:
    """The same record with its tensors replaced, in the order of `parameters`."""
    queue = list(values)
    names = [item.name for item in dataclasses.fields(weights) if isinstance(getattr(weights, item.name), Tensor)]
    own = {name: queue.pop(0) for name in names}
    layers = tuple(
        dataclasses.replace(layer, **{item.name: queue.pop(0) for item in dataclasses.fields(layer)})
        for layer in weights.layers
    )
    return dataclasses.replace(weights, layers=layers, **own)
