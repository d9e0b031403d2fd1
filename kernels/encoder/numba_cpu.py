"""The folded pooling encoder compiled, float32: inference as a whole, training with its pooling.

Parameters are folded by `kernels.encoder.folded`. Where no gradient is wanted the stack runs in `compiled_stack`; else it is
that of `folded_stack`, with gradients written out in torch, around the compiled pooling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels.encoder.compiled_pooling import COMPILED, LEAST_FEATURES
from kernels.encoder.compiled_stack import encode_compiled
from kernels.encoder.folded import fold
from kernels.encoder.folded_stack import encode_stack
from kernels.encoder.pooling import TORCH
from kernels.encoder.reference import PooledWeights


def encode(groups: Sequence[tuple[Tensor, Tensor]], weights: PooledWeights, *, dropout: float = 0.0) -> Tensor:
    """Same contract as `kernels.encoder.folded.encode`, float32 only.

    Raises:
        ValueError: `dropout` is not 0, or the dtype is not float32.
    """
    if dropout != 0.0:
        raise ValueError(
            f"dropout: expected 0 for the compiled encoder, got {dropout}; backend='reference' has dropout"
        )
    if weights.embed_weight.dtype != torch.float32:
        raise ValueError(
            f"weights: expected torch.float32 for backend='numba', got {weights.embed_weight.dtype}; 'folded' takes any"
        )
    folded = fold(weights)
    has_room = weights.embed_weight.shape[1] >= LEAST_FEATURES
    leaves = (folded.start, folded.read, *folded.maps.tensors(), *(tokens for tokens, _ in groups))
    if has_room and not (torch.is_grad_enabled() and any(value.requires_grad for value in leaves)):
        return encode_compiled(groups, folded)
    pooling = COMPILED if has_room else TORCH
    return encode_stack(groups, folded.start, folded.read, folded.maps, folded.num_heads, pooling)
