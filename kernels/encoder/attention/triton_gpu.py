"""The self-attention encoder on a GPU: one launch forward; one backward, and a sum of the programs' weight gradients.

bfloat16 and float32 tensors; sums, layer norms and softmax are float32 in both. The backward computes the forward again
instead of reading stored activations. Dropout does not exist here.

Axis legend: B windows, M tokens, F features a token, D model width, H heads, L layers, R rows of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.encoder.attention.reference import AttentionLayer, AttentionWeights
from kernels.encoder.attention.tiles import attention_backward_kernel, attention_forward_kernel
from kernels.encoder.boundary import FUSED_DTYPES
from kernels.encoder.triton_gpu import product_options

# The type checker sees the plain functions that Triton makes launchable.
_forward: Any = attention_forward_kernel
_backward: Any = attention_backward_kernel
MAX_TOKENS = 255
"""With the class token a window must fit one tile of rows."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How the kernels are cut into programs."""

    rows: int = 64
    """Least rows R of a tile, a power of two; more where one window needs them."""
    features: int = 64
    """Raw features of a chunk, at most."""
    units: int = 64
    """Feed-forward units of a chunk, at most."""
    programs: int = 0
    """Programs of the backward, each with its own weight gradients; 0: one a multiprocessor."""
    forward_warps: int = 4
    """Warps of a forward program."""
    backward_warps: int = 8
    """Warps of a backward program."""


LAUNCH = Launch()
"""Chosen by the compiler's register counts (README); not yet tuned on a device."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Parameters in one vector, ready for any number of calls."""

    params: Tensor
    """Input map, its bias, class token, the layers in the order of `AttentionLayer`, gain and bias of the last norm."""
    position: Tensor | None
    """(M, D) or None."""
    features: int
    width: int
    ff: int
    heads: int
    layers: int

    @property
    def layer_size(self) -> int:
        """Numbers of a layer."""
        d, ff = self.width, self.ff
        return 4 * d * d + 9 * d + 2 * ff * d + ff


def pack(weights: AttentionWeights) -> Packed:
    """Parameters one behind the other: one launch, and its backward is views of one gradient."""
    layer_tensors = [getattr(layer, item.name) for layer in weights.layers for item in fields(AttentionLayer)]
    tensors = [weights.embed_weight, weights.embed_bias, weights.query, *layer_tensors, weights.norm_weight]
    width, features = weights.embed_weight.shape
    return Packed(
        params=torch.cat([value.reshape(-1) for value in [*tensors, weights.norm_bias]]), position=weights.position,
        features=features, width=width, ff=weights.layers[0].ff_in_weight.shape[0], heads=weights.num_heads,
        layers=len(weights.layers),
    )  # fmt: skip


def compile_time(packed: Packed, launch: Launch, num_tokens: int, dtype: torch.dtype) -> dict[str, Any]:
    """Compile-time arguments that forward and backward share."""

    def padded(size: int) -> int:
        return max(16, int(triton.next_power_of_2(size)))

    return {
        "F": packed.features, "D": packed.width, "FF": packed.ff, "H": packed.heads, "L": packed.layers,
        "DP": padded(packed.width), "KP": padded(packed.width // packed.heads),
        "R": max(launch.rows, padded(num_tokens + 1)), "FK": min(launch.features, padded(packed.features)),
        "FC": min(launch.units, padded(packed.ff)), "HAS_POSITION": packed.position is not None, **product_options(dtype),
    }  # fmt: skip


class _Encode(torch.autograd.Function):
    """The stack over packed parameters; saves its inputs only."""

    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, mask: Tensor, params: Tensor, position: Tensor | None, packed: Packed, launch: Launch
    ) -> Tensor:
        batch, num_tokens = mask.shape
        options = compile_time(packed, launch, num_tokens, tokens.dtype)
        windows = options["R"] // (num_tokens + 1)
        out = torch.empty(batch, packed.width, dtype=tokens.dtype, device=tokens.device)
        _forward[(triton.cdiv(batch, windows),)](
            tokens, mask.view(torch.uint8), params, params if position is None else position, out, batch, num_tokens,
            windows, **options, num_warps=launch.forward_warps,
        )  # fmt: skip
        ctx.save_for_backward(tokens, mask, params, position)
        ctx.packed, ctx.launch = packed, launch
        return out

    # The decorator refuses a second derivative. It also hides the parameter names from the type checker.
    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, None, Tensor, Tensor | None, None, None]:
        tokens, mask, params, position = ctx.saved_tensors
        packed, launch, device = ctx.packed, ctx.launch, tokens.device
        batch, num_tokens = mask.shape
        options = compile_time(packed, launch, num_tokens, tokens.dtype)
        rows, width, needs_tokens = options["R"], packed.width, ctx.needs_input_grad[0]
        windows = rows // (num_tokens + 1)
        tiles = triton.cdiv(batch, windows)
        programs = min(tiles, launch.programs or _multiprocessors(device))
        turns = triton.cdiv(tiles, programs)
        planes = (packed.layers + 9, programs * turns * rows * options["DP"])
        scratch = torch.empty(planes, dtype=tokens.dtype, device=device)
        inverses = torch.empty(programs * turns * rows, device=device)
        body, embed = packed.layers * packed.layer_size + 2 * width, width * packed.features
        partial = torch.empty(programs, body + embed + rows * width, device=device)
        # Absent tokens are not visited: their gradient is zero.
        token_grad = torch.zeros(tokens.shape if needs_tokens else (1,), dtype=tokens.dtype, device=device)
        _backward[(programs,)](
            tokens, mask.view(torch.uint8), params, params if position is None else position,
            grad_outputs[0].contiguous(), scratch, inverses, partial, token_grad, batch, num_tokens, windows, programs,
            **options, NT=turns, NEEDS_TOKENS=needs_tokens, num_warps=launch.backward_warps, num_stages=1,
        )  # fmt: skip
        total = partial.sum(dim=0)
        slots = total[body + embed :].view(rows, width)[: windows * (num_tokens + 1)]
        slots = slots.view(windows, num_tokens + 1, width).sum(dim=0)
        head = [total[body : body + embed], slots[1:].sum(dim=0), slots[0]]
        grad = torch.cat([*head, total[:body]]).to(params.dtype)
        position_grad = None if position is None else slots[1:].to(position.dtype)
        return token_grad if needs_tokens else None, None, grad, position_grad, None, None


def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        # Interpreted: few programs, so that each owns several tiles even in a small case.
        return 2
    return torch.cuda.get_device_properties(device).multi_processor_count


def encode_packed(tokens: Tensor, mask: Tensor, packed: Packed, *, launch: Launch = LAUNCH) -> Tensor:
    """`encode` with parameters packed before. Absent tokens are not read, so that they may hold anything, NaN too.

    Raises:
        ValueError: The dtype is neither float32 nor bfloat16, a tensor is not contiguous, or there are too many tokens.
    """
    if tokens.dtype not in FUSED_DTYPES:
        raise ValueError(f"tokens: expected dtype float32 or bfloat16 for the fused kernel, got {tokens.dtype}")
    if mask.shape[1] > MAX_TOKENS:
        raise ValueError(f"tokens: expected at most {MAX_TOKENS} tokens for the fused kernel, got {mask.shape[1]}")
    position = packed.position
    for name, value in (("tokens", tokens), ("mask", mask), ("position", position)):
        if value is not None and not value.is_contiguous():
            raise ValueError(f"{name}: expected a contiguous tensor, got strides {value.stride()}; copy it first")
    return _Encode.apply(tokens, mask, packed.params, position, packed, launch)


def encode(tokens: Tensor, mask: Tensor, weights: AttentionWeights, *, dropout: float = 0.0) -> Tensor:
    """Same contract as `kernels.encoder.attention.reference.encode`, without dropout; once differentiable.

    Raises:
        ValueError: As `encode_packed`; `dropout` is not 0.
    """
    if dropout != 0.0:
        raise ValueError(f"dropout: expected 0 for the fused kernel, got {dropout}; backend='reference' has dropout")
    return encode_packed(tokens, mask, pack(weights))
