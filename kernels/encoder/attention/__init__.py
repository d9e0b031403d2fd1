"""Self-attention encoder of the ImDy paper: tokens of a window and a class token to one feature vector.

Backends: `reference` (eager torch) and `triton` (the whole stack in one launch forward and one backward).
"""

from __future__ import annotations

from torch import Tensor

from kernels._dispatch import Backend, pick
from kernels.encoder.attention.reference import AttentionLayer, AttentionWeights
from kernels.encoder.boundary import able_backends, check_heads, check_layers, check_like, check_tokens

BACKENDS = (
    Backend(name="triton", module="triton_gpu", devices=("cuda",), requires=("triton",)),
    Backend(name="reference", module="reference", devices=("cpu", "cuda")),
)
"""Implementations, best first."""


def encode(
    tokens: Tensor,
    mask: Tensor,
    weights: AttentionWeights,
    *,
    backend: str = "auto",
    dropout: float = 0.0,
    validate: bool = False,
) -> Tensor:
    """Feature of each window: the class token after self-attention (equations: `kernels.encoder.attention.reference`).

    Args:
        tokens: Tokens, markers or frames, shape (B, M, F), the dtype and device of the weights; for `triton` float32 or
            bfloat16 and contiguous.
        mask: True where the token is present, shape (B, M), bool.
        weights: Parameters.
        backend: `auto` takes `triton` on a CUDA device and `reference` on a CPU.
        dropout: Probability of dropout as in PyTorch's encoder layer; only `reference` has it.
        validate: Also check every element: tokens finite and at least one token present in each window.

    Returns:
        Features, shape (B, D).

    Raises:
        ValueError: A shape, dtype, device or backend name is wrong, the batch is empty, or a named backend has no dropout
            or not so many tokens; with `validate`, a window is empty or a token not finite.
        RuntimeError: The named backend cannot run on this device.
    """
    like = weights.embed_weight
    _check_weights(weights, tokens.shape[1] if tokens.ndim == 3 else 0)
    check_tokens(tokens, mask, like, like.shape[1], validate=validate)
    backends = able_backends(BACKENDS, backend, like.dtype, dropout)
    return pick(__name__, backends, backend, like.device.type).encode(tokens, mask, weights, dropout=dropout)


def _check_weights(weights: AttentionWeights, num_tokens: int) -> None:
    like = weights.embed_weight
    width, ff = like.shape[0], weights.layers[0].ff_in_weight.shape[0] if weights.layers else 0
    check_heads(weights.num_heads, width)
    vector, pair = (width,), (2, width)
    expected = {
        "in_weight": (3 * width, width), "in_bias": (3 * width,), "out_weight": (width, width), "out_bias": vector,
        "ff_in_weight": (ff, width), "ff_in_bias": (ff,), "ff_out_weight": (width, ff), "ff_out_bias": vector,
        "norm_weight": pair, "norm_bias": pair,
    }  # fmt: skip
    check_layers(weights.layers, expected, like)
    for name in ("embed_bias", "query", "norm_weight", "norm_bias"):
        check_like(f"weights.{name}", getattr(weights, name), vector, like)
    if weights.position is not None:
        check_like("weights.position", weights.position, (num_tokens, width), like)


__all__ = ["BACKENDS", "AttentionLayer", "AttentionWeights", "encode"]
