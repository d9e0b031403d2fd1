"""Encoder kernel: marker tokens of a window to one feature vector, forward and backward.

Backends: `reference` (eager, every token projected) and `folded` (the same function, tokens never projected).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from kernels.encoder.folded import encode_folded
from kernels.encoder.reference import LayerWeights, PooledWeights, encode_reference

Backend = Literal["auto", "reference", "folded"]

_BACKENDS = {"reference": encode_reference, "folded": encode_folded}


def encode(
    tokens: Tensor, mask: Tensor, weights: PooledWeights, *, backend: Backend = "auto", validate: bool = False
) -> Tensor:
    """Feature of each window: a learned query that reads its marker tokens (`encode_reference` has the equations).

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
    """
    features = weights.embed_weight.shape[1]
    if tokens.ndim != 3 or tokens.shape[2] != features:
        raise ValueError(f"tokens: expected shape (B, M, {features}), got {tuple(tokens.shape)}; B, M free")
    if tokens.dtype != weights.embed_weight.dtype:
        raise ValueError(f"tokens: expected dtype {weights.embed_weight.dtype} of the weights, got {tokens.dtype}")
    if mask.shape != tokens.shape[:2] or str(mask.dtype) != "torch.bool":
        raise ValueError(f"mask: expected bool of shape {tuple(tokens.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}")
    if validate:
        if not bool(mask.any(dim=1).all()):
            window = int((~mask.any(dim=1)).nonzero()[0, 0])
            raise ValueError(f"mask: window {window} has no present marker; drop it before encoding")
        if not bool(tokens.isfinite().all()):
            window, marker = (int(i) for i in (~tokens.isfinite()).nonzero()[0, :2])
            raise ValueError(f"tokens: window {window}, marker {marker} is not finite; mask gaps and write zeros into them")
    name = "folded" if backend == "auto" else backend
    if name not in _BACKENDS:
        raise ValueError(f"backend: expected one of {['auto', *_BACKENDS]}, got {backend!r}")
    return _BACKENDS[name](tokens, mask, weights)


__all__ = ["Backend", "LayerWeights", "PooledWeights", "encode", "encode_folded", "encode_reference"]
