"""Encoder kernel: marker tokens of a window to one feature vector, forward and backward.

Backends: `reference` (eager, every token projected) and `folded` (the same function, tokens never projected).
"""

from __future__ import annotations

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
    features = weights.embed_weight.shape[1]
    bind_axes(tokens=(tokens, f"B M {features}"), mask=(mask, "B M"))
    if tokens.dtype != weights.embed_weight.dtype:
        raise ValueError(f"tokens: expected dtype {weights.embed_weight.dtype} of the weights, got {tokens.dtype}")
    if mask.dtype != torch.bool:
        raise ValueError(f"mask: expected dtype torch.bool, got {mask.dtype}")
    if validate:
        if not bool(mask.any(dim=1).all()):
            window = int((~mask.any(dim=1)).nonzero()[0, 0])
            raise ValueError(f"mask: window {window} has no present marker; drop it before encoding")
        if not bool(tokens.isfinite().all()):
            window, marker = (int(i) for i in (~tokens.isfinite()).nonzero()[0, :2])
            raise ValueError(f"tokens: window {window}, marker {marker} is not finite; mask gaps and write zeros there")
    return pick("kernels.encoder", BACKENDS, backend, tokens.device.type).encode(tokens, mask, weights)


__all__ = ["BACKENDS", "LayerWeights", "PooledWeights", "encode"]
