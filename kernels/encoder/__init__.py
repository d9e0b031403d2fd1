"""Encoder kernels: tokens of a window to one feature vector, forward and backward.

This package is the pooling encoder of the released ImDy code; `kernels.encoder.attention` is the self-attention encoder
of the paper. Backends: `reference` (eager, every token projected), `folded` (the same function, tokens never projected),
`numba` (folded, compiled for float32 on a CPU) and `triton` (folded, one launch for the whole stack).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from kernels._dispatch import Backend, pick
from kernels.encoder.boundary import able_backends, check_heads, check_layers, check_like, check_tokens
from kernels.encoder.reference import LayerWeights, PooledWeights

BACKENDS = (
    Backend(name="triton", module="triton_gpu", devices=("cuda",), requires=("triton",)),
    Backend(name="numba", module="numba_cpu", requires=("numba",)),
    Backend(name="folded", module="folded", devices=("cpu", "cuda")),
    Backend(name="reference", module="reference", devices=("cpu", "cuda")),
)
"""Implementations, best first."""


def encode(
    tokens: Tensor,
    mask: Tensor,
    weights: PooledWeights,
    *,
    backend: str = "auto",
    dropout: float = 0.0,
    validate: bool = False,
) -> Tensor:
    """Feature of each window: a learned query that reads its marker tokens (equations: `kernels.encoder.reference`).

    Args:
        tokens: Marker tokens, shape (B, M, F), the dtype and device of the weights; for `triton` float32 or bfloat16 and
            contiguous.
        mask: True where the token is present, shape (B, M), bool.
        weights: Parameters.
        backend: `auto` takes `triton` on a CUDA device and `numba` on a CPU where they take the dtype, else `folded`, all
            exact up to rounding; `reference` projects every token.
        dropout: Probability of dropout as in PyTorch's decoder layer; only `reference` has it.
        validate: Also check every element: tokens finite and at least one token present in each window.

    Returns:
        Features, shape (B, D).

    Raises:
        ValueError: A shape, dtype, device or backend name is wrong, the batch is empty, or a named backend has no dropout;
            with `validate`, a window is empty or a token not finite.
        RuntimeError: The named backend cannot run on this device.
    """
    return encode_groups([(tokens, mask)], weights, backend=backend, dropout=dropout, validate=validate)


def encode_groups(
    groups: Sequence[tuple[Tensor, Tensor]],
    weights: PooledWeights,
    *,
    backend: str = "auto",
    dropout: float = 0.0,
    validate: bool = False,
) -> Tensor:
    """`encode` of several groups of windows in one call, each with its own number of tokens: nothing is padded.

    Args:
        groups: Tokens (B_g, M_g, F) and mask (B_g, M_g) of each group, at least one group.
        weights: Parameters.
        backend: As for `encode`.
        dropout: As for `encode`.
        validate: As for `encode`.

    Returns:
        Features of all windows in the order of the groups, shape (B, D).

    Raises:
        ValueError: As for `encode`.
        RuntimeError: As for `encode`.
    """
    if not groups:
        raise ValueError("groups: expected at least one group of windows, got none")
    like = weights.embed_weight
    _check_weights(weights)
    for tokens, mask in groups:
        check_tokens(tokens, mask, like, like.shape[1], validate=validate)
    backends = able_backends(BACKENDS, backend, like.dtype, dropout)
    return pick(__name__, backends, backend, like.device.type).encode(groups, weights, dropout=dropout)


def _check_weights(weights: PooledWeights) -> None:
    like = weights.embed_weight
    width, ff = like.shape[0], weights.layers[0].ff_in_weight.shape[0] if weights.layers else 0
    check_heads(weights.num_heads, width)
    square, vector = (width, width), (width,)
    names = ("self_value", "self_out", "query", "key", "value", "out")
    expected = {f"{name}_weight": square for name in names} | {f"{name}_bias": vector for name in names}
    expected |= {"ff_in_weight": (ff, width), "ff_in_bias": (ff,), "ff_out_weight": (width, ff), "ff_out_bias": vector}
    check_layers(weights.layers, expected | {"norm_weight": (3, width), "norm_bias": (3, width)}, like)
    for name in ("embed_bias", "query", "norm_weight", "norm_bias"):
        check_like(f"weights.{name}", getattr(weights, name), vector, like)


__all__ = ["BACKENDS", "LayerWeights", "PooledWeights", "encode", "encode_groups"]
