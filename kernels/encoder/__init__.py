"""Encoder kernel: marker tokens of a window to one feature vector, forward and backward.

Backends: `reference` (eager, every token projected) and `folded` (the same function, tokens never projected).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels._check import bind_axes
from kernels._dispatch import Backend, pick
from kernels.encoder.reference import LayerWeights, PooledWeights

BACKENDS = (
    Backend(name="folded", module="folded", devices=("cpu", "cuda")),
    Backend(name="reference", module="reference", devices=("cpu", "cuda")),
)
"""Implementations, best first."""


def encode(
    tokens: Tensor, mask: Tensor, weights: PooledWeights, *, backend: str = "auto", validate: bool = False
) -> Tensor:
    """Feature of each window: a learned query that reads its marker tokens (equations: `kernels.encoder.reference`).

    Args:
        tokens: Marker tokens, shape (B, M, F), the dtype and device of the weights.
        mask: True where the token is present, shape (B, M), bool.
        weights: Parameters.
        backend: `folded` is exact up to rounding and what `auto` takes; `reference` projects every token.
        validate: Also check every element: tokens finite and at least one token present in each window.

    Returns:
        Features, shape (B, D).

    Raises:
        ValueError: A shape, dtype or backend name is wrong; with `validate`, a window is empty or a token not finite.
        RuntimeError: The named backend cannot run on this device.
    """
    return encode_groups([(tokens, mask)], weights, backend=backend, validate=validate)


def encode_groups(
    groups: Sequence[tuple[Tensor, Tensor]], weights: PooledWeights, *, backend: str = "auto", validate: bool = False
) -> Tensor:
    """`encode` of several groups of windows in one call, each with its own number of tokens: nothing is padded.

    Args:
        groups: Tokens (B_g, M_g, F) and mask (B_g, M_g) of each group, at least one group.
        weights: Parameters.
        backend: As for `encode`.
        validate: As for `encode`.

    Returns:
        Features of all windows in the order of the groups, shape (B, D).

    Raises:
        ValueError: As for `encode`.
        RuntimeError: As for `encode`.
    """
    if not groups:
        raise ValueError("groups: expected at least one group of windows, got none")
    features = weights.embed_weight.shape[1]
    for tokens, mask in groups:
        bind_axes(tokens=(tokens, f"B M {features}"), mask=(mask, "B M"))
        if tokens.dtype != weights.embed_weight.dtype:
            raise ValueError(f"tokens: expected dtype {weights.embed_weight.dtype} of the weights, got {tokens.dtype}")
        if mask.dtype != torch.bool:
            raise ValueError(f"mask: expected dtype torch.bool, got {mask.dtype}")
        if validate:
            _check_values(tokens, mask)
    return pick(__name__, BACKENDS, backend, groups[0][0].device.type).encode(groups, weights)


def _check_values(tokens: Tensor, mask: Tensor) -> None:
    if not bool(mask.any(dim=1).all()):
        window = int((~mask.any(dim=1)).nonzero()[0, 0])
        raise ValueError(f"mask: window {window} has no present marker; drop it before encoding")
    if not bool(tokens.isfinite().all()):
        window, marker = (int(i) for i in (~tokens.isfinite()).nonzero()[0, :2])
        raise ValueError(f"tokens: window {window}, marker {marker} is not finite; mask gaps and write zeros there")


__all__ = ["BACKENDS", "LayerWeights", "PooledWeights", "encode", "encode_groups"]
