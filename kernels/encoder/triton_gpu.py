"""The folded pooling encoder on a GPU: one launch forward, one backward and one for all weight gradients together.

Parameters are folded by torch (differentiably, all layers at once) into one flat array; for inference `fold` it once and
call `encode_folded`. bfloat16 and float32 tensors; sums, layer norms and softmax are float32 in both. Dropout does not
exist here.

Axis legend: B windows, M marker tokens, F features a token, D model width, H heads, L layers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.encoder.boundary import FUSED_DTYPES
from kernels.encoder.folded import FoldedLayers, fold_layers
from kernels.encoder.pooled_tiles import pooled_backward_kernel, pooled_forward_kernel, weight_grad_kernel
from kernels.encoder.reference import LayerWeights, PooledWeights


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes that a kernel is compiled for."""

    features: int
    width: int
    ff: int
    heads: int
    layers: int

    def layer_parts(self) -> tuple[tuple[str, int], ...]:
        """A layer in the flat array, name and length in order: self-attention S, read map U, write map G, ..."""
        d, hf, ff = self.width, self.heads * self.features, self.ff
        return (("self", d * d), ("self_bias", d), ("read", hf * d), ("read_bias", hf), ("write", d * hf),
                ("write_bias", d), ("ff_in", ff * d), ("ff_in_bias", ff), ("ff_out", d * ff), ("ff_out_bias", d),
                ("norm_weight", 3 * d), ("norm_bias", 3 * d))  # fmt: skip

    def row_parts(self) -> tuple[tuple[str, int], ...]:
        """A window's factors of the weight gradients of a layer: left sides first, then the right sides."""
        d, hf, ff = self.width, self.heads * self.features, self.ff
        return (("first", d), ("read", hf), ("second", d), ("hidden", ff), ("third", d),
                ("state", d), ("query", d), ("pooled", hf), ("ff", d), ("units", ff))  # fmt: skip

    def block(self) -> dict[str, int]:
        """Compile-time sizes of the kernels."""
        return {"F": self.features, "D": self.width, "FF": self.ff, "H": self.heads, "L": self.layers,
                "FP": _padded(self.features), "DP": _padded(self.width)}  # fmt: skip


# The type checker sees the plain functions that Triton makes launchable.
_forward: Any = pooled_forward_kernel
_backward: Any = pooled_backward_kernel
_weight_grad: Any = weight_grad_kernel
_PRODUCTS = (("self", "first", "state"), ("read", "read", "query"), ("write", "second", "pooled"),
             ("ff_in", "hidden", "ff"), ("ff_out", "third", "units"))  # fmt: skip
"""Weight gradient = sum over windows of left x right; its bias gradient is the sum of the left side."""
_TILE = 32
"""Edge of a weight-gradient tile: small, so that there are as many programs as multiprocessors."""


def _padded(size: int, least: int = 16) -> int:
    return max(least, int(triton.next_power_of_2(size)))


def _starts(parts: tuple[tuple[str, int], ...]) -> dict[str, int]:
    starts, at = {}, 0
    for name, length in parts:
        starts[name] = at
        at += length
    return starts


def _total(parts: tuple[tuple[str, int], ...]) -> int:
    return sum(length for _, length in parts)


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Folded parameters, ready for any number of calls."""

    params: Tensor
    """All layers, then gain and bias of the last norm and the query; one contiguous vector."""
    sizes: Sizes


def fold(weights: PooledWeights) -> Folded:
    """Form U, u_0, G, g of all layers and the product of the two self-attention maps; differentiable.

    Products are formed in float32 or better and rounded once to the dtype of the weights.
    """
    dtype = weights.embed_weight.dtype
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    layers = fold_layers(weights, exact)
    parts = [getattr(layers, item.name).flatten(1) for item in fields(FoldedLayers)]
    tail = [weights.norm_weight, weights.norm_bias, weights.query]
    params = torch.cat([torch.cat(parts, dim=1).flatten(), *(value.to(exact) for value in tail)]).to(dtype)
    (width, features), ff = weights.embed_weight.shape, weights.layers[0].ff_in_weight.shape[0]
    sizes = Sizes(features=features, width=width, ff=ff, heads=weights.num_heads, layers=len(weights.layers))
    return Folded(params=params, sizes=sizes)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a kernel is cut into programs."""

    windows: int = 8
    """Windows of a program."""
    tokens: int = 32
    """Tokens of a chunk."""
    units: int = 64
    """Feed-forward units of a chunk."""
    warps: int = 8
    """Warps of a program."""


LAUNCH = Launch()
"""Chosen by the compiler's register counts (README); not yet tuned on a device."""


def is_interpreted() -> bool:
    """Whether kernels run under Triton's interpreter (the environment had TRITON_INTERPRET=1 at import)."""
    return not hasattr(pooled_forward_kernel, "warmup") or "Interpreted" in type(pooled_forward_kernel).__name__


def product_options(dtype: torch.dtype) -> dict[str, Any]:
    """Operand type and precision of matrix products: float32 as three TF32 products, exact to a few roundings."""
    # The interpreter keeps bfloat16 as bits and cannot multiply it.
    operand = tl.bfloat16 if dtype == torch.bfloat16 and not is_interpreted() else tl.float32
    return {"DOT": operand, "PRECISION": "tf32x3" if dtype == torch.float32 else "tf32"}


@functools.lru_cache(maxsize=32)
def _gradient_table(sizes: Sizes, device: torch.device) -> Tensor:
    """Rows (layer, left, right, row, column, rows, columns, weight, bias), one a tile of a weight gradient."""
    row, size = _starts(sizes.row_parts()), _total(sizes.layer_parts())
    length, start = dict(sizes.row_parts()), _starts(sizes.layer_parts())
    entries = [
        (layer, row[left], row[right], i, j, length[left], length[right],
         layer * size + start[name], layer * size + start[f"{name}_bias"])
        for layer in range(sizes.layers)
        for name, left, right in _PRODUCTS
        for i in range(0, length[left], _TILE)
        for j in range(0, length[right], _TILE)
    ]  # fmt: skip
    return torch.tensor(entries, dtype=torch.int32, device=device)


class _Encode(torch.autograd.Function):
    """The stack over folded parameters; saves the sums before the norms and the pooled features, not the tokens' scores."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, mask: Tensor, params: Tensor, sizes: Sizes, launch: Launch) -> Tensor:
        batch = tokens.shape[0]
        needs_grad = ctx.needs_input_grad[0] or ctx.needs_input_grad[2]
        out = torch.empty(batch, sizes.width, dtype=tokens.dtype, device=tokens.device)
        columns = 3 * sizes.width + sizes.heads * sizes.features + sizes.heads
        shape = (sizes.layers, batch, columns) if needs_grad else (1,)
        saved = torch.empty(shape, dtype=torch.float32, device=tokens.device)
        _forward[(triton.cdiv(batch, launch.windows),)](
            tokens, mask.view(torch.uint8), params, out, saved, batch, tokens.shape[1], **sizes.block(),
            **chunks(sizes, launch, tokens.shape[1]), HP=_padded(sizes.heads, 8), HAS_SAVED=needs_grad,
            **product_options(tokens.dtype), num_warps=launch.warps,
        )  # fmt: skip
        ctx.save_for_backward(tokens, mask, params, saved)
        ctx.sizes, ctx.launch = sizes, launch
        return out

    # The decorator refuses a second derivative. It also hides the parameter names from the type checker.
    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, None, Tensor, None, None]:
        tokens, mask, params, saved = ctx.saved_tensors
        sizes, launch = ctx.sizes, ctx.launch
        batch, device, needs_tokens = tokens.shape[0], tokens.device, ctx.needs_input_grad[0]
        programs = int(triton.cdiv(batch, launch.windows))
        rows = torch.empty(sizes.layers, batch, _total(sizes.row_parts()), dtype=tokens.dtype, device=device)
        per_layer = _total(sizes.layer_parts())
        norms = torch.empty(programs, sizes.layers * 6 * sizes.width + 3 * sizes.width, device=device)
        token_grad = torch.empty(tokens.shape if needs_tokens else (1,), dtype=torch.float32, device=device)
        options = product_options(tokens.dtype)
        _backward[(programs,)](
            tokens, mask.view(torch.uint8), params, saved, grad_outputs[0].contiguous(), rows, norms, token_grad,
            batch, tokens.shape[1], **sizes.block(), **chunks(sizes, launch, tokens.shape[1]),
            # The product with the tokens' gradient sums over heads: its inner size must be 16.
            HP=_padded(sizes.heads, 16 if needs_tokens else 8), NEEDS_TOKENS=needs_tokens, **options,
            num_warps=launch.warps,
        )  # fmt: skip
        grad = torch.empty(params.shape, dtype=torch.float32, device=device)
        table = _gradient_table(sizes, device)
        _weight_grad[(table.shape[0],)](
            rows,
            table,
            grad,
            batch,
            ROW=rows.shape[2],
            TI=_TILE,
            TJ=_TILE,
            BR=64,
            NR=triton.cdiv(batch, 64),
            **options,
            num_warps=4,
        )
        split = sizes.layers * 6 * sizes.width
        total = norms.sum(dim=0)
        in_layers = grad[: sizes.layers * per_layer].view(sizes.layers, per_layer)
        in_layers[:, -6 * sizes.width :] = total[:split].view(sizes.layers, -1)
        grad[sizes.layers * per_layer :] = total[split:]
        return token_grad.to(tokens.dtype) if needs_tokens else None, None, grad.to(params.dtype), None, None


def chunks(sizes: Sizes, launch: Launch, num_tokens: int) -> dict[str, int]:
    """Compile-time cuts; the number of token chunks is one of them: a kernel for 1-32 tokens, one for 33-64, ..."""
    return {"BW": launch.windows, "MC": launch.tokens, "NC": int(triton.cdiv(num_tokens, launch.tokens)),
            "FC": min(launch.units, _padded(sizes.ff))}  # fmt: skip


def encode_folded(groups: Sequence[tuple[Tensor, Tensor]], folded: Folded, *, launch: Launch = LAUNCH) -> Tensor:
    """`encode` with parameters folded before; one launch a group of windows with equal numbers of tokens.

    Absent tokens are not read, so that they may hold anything, NaN too.

    Raises:
        ValueError: The dtype is neither float32 nor bfloat16, or a tensor is not contiguous.
    """
    for tokens, mask in groups:
        if tokens.dtype not in FUSED_DTYPES:
            raise ValueError(f"tokens: expected dtype float32 or bfloat16 for the fused kernel, got {tokens.dtype}")
        for name, value in (("tokens", tokens), ("mask", mask)):
            if not value.is_contiguous():
                raise ValueError(f"{name}: expected a contiguous tensor, got strides {value.stride()}; copy it first")
    outputs = [_Encode.apply(tokens, mask, folded.params, folded.sizes, launch) for tokens, mask in groups]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def encode(groups: Sequence[tuple[Tensor, Tensor]], weights: PooledWeights, *, dropout: float = 0.0) -> Tensor:
    """Same contract as `kernels.encoder.reference.encode`, without dropout; once differentiable.

    Raises:
        ValueError: As `encode_folded`; `dropout` is not 0.
    """
    if dropout != 0.0:
        raise ValueError(f"dropout: expected 0 for the fused kernel, got {dropout}; backend='reference' has dropout")
    return encode_folded(groups, fold(weights))


__all__ = ["Folded", "Launch", "LayerWeights", "PooledWeights", "encode", "encode_folded", "fold"]
