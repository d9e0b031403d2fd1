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


class RandomParameters:
    """Seeded parameter tensors in the order of the calls.

    Args:
        seed: Seed of the generator.
        dtype: Type of the tensors; they are drawn in float64.
        device: Where they go.
    """

    def __init__(self, seed: int, dtype: torch.dtype, device: str) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._dtype, self._device = dtype, device

    def normal(self, *shape: int, scale: float, mean: float = 0.0) -> Tensor:
        """Normal numbers of this shape, standard deviation and mean."""
        drawn = torch.randn(*shape, generator=self._generator, dtype=torch.float64)
        return (drawn * scale + mean).to(self._device, self._dtype)

    def matrix(self, rows: int, columns: int) -> Tensor:
        """A map (rows, columns) that keeps the size of what goes through it."""
        return self.normal(rows, columns, scale=1.0 / math.sqrt(columns))


def make_weights(case: Case, seed: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu") -> PooledWeights:
    """Random parameters with the spread of a trained network: no symmetric or zero blocks that would hide an error."""
    draw = RandomParameters(seed, dtype, device)
    normal, matrix = draw.normal, draw.matrix
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
    """Tokens (B, M, F) and mask (B, M) of a case."""
    return random_tokens(case.batch, case.markers, case.features, case.is_ragged, seed, dtype, device)


def random_tokens(
    batch: int, count: int, features: int, is_ragged: bool, seed: int, dtype: torch.dtype, device: str
) -> tuple[Tensor, Tensor]:
    """Tokens (B, M, F) and mask (B, M); ragged, each window still has a token and absent ones hold large values."""
    generator = torch.Generator().manual_seed(seed + 1)
    tokens = torch.randn(batch, count, features, generator=generator, dtype=torch.float64)
    mask = torch.ones(batch, count, dtype=torch.bool)
    if is_ragged:
        order = torch.rand(batch, count, generator=generator).argsort(dim=1)
        mask = order < torch.randint(1, count + 1, (batch, 1), generator=generator)
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
