"""Checks at the boundary of both encoders: shapes, dtypes, devices, weights, and on request every element."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from kernels._check import bind_axes
from kernels._dispatch import Backend

FUSED_DTYPES = (torch.float32, torch.bfloat16)
"""What the fused GPU kernels take."""
_DTYPES = {"triton": FUSED_DTYPES, "numba": (torch.float32,)}
"""Of backends that do not take every dtype; `auto` leaves them out for another one."""


def able_backends(backends: tuple[Backend, ...], name: str, dtype: torch.dtype, dropout: float) -> tuple[Backend, ...]:
    """What `auto` may choose from: backends that have the asked dtype and dropout. A named one is kept and refuses."""
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout: expected a probability in [0, 1), got {dropout}")
    if name != "auto":
        return backends
    able = [b for b in backends if dropout == 0.0 or b.name == "reference"]
    return tuple(b for b in able if dtype in _DTYPES.get(b.name, (dtype,)))


def check_tokens(tokens: Tensor, mask: Tensor, like: Tensor, features: int, *, validate: bool) -> None:
    """Refuse tokens (B, M, F) and mask (B, M) that an encoder cannot take; with `validate` read every element.

    Raises:
        ValueError: Shape, dtype or device is wrong, the batch is empty; with `validate`, a window has no token or a
            present token is not finite.
    """
    bind_axes(tokens=(tokens, f"B M {features}"), mask=(mask, "B M"))
    if tokens.dtype != like.dtype:
        raise ValueError(f"tokens: expected dtype {like.dtype} of the weights, got {tokens.dtype}")
    if mask.dtype != torch.bool:
        raise ValueError(f"mask: expected dtype torch.bool, got {mask.dtype}")
    for name, value in (("tokens", tokens), ("mask", mask)):
        if value.device != like.device:
            raise ValueError(f"{name}: expected device {like.device} of the weights, got {value.device}")
    if not mask.numel():
        raise ValueError(f"tokens: expected at least one window and one token, got shape {tuple(tokens.shape)}")
    if validate:
        _check_values(tokens, mask)


def _check_values(tokens: Tensor, mask: Tensor) -> None:
    if not bool(mask.any(dim=1).all()):
        window = int((~mask.any(dim=1)).nonzero()[0, 0])
        raise ValueError(f"mask: window {window} has no present marker; drop it before encoding")
    if not bool(tokens.isfinite().all()):
        window, marker = (int(i) for i in (~tokens.isfinite()).nonzero()[0, :2])
        raise ValueError(f"tokens: window {window}, marker {marker} is not finite; mask gaps and write zeros there")


def check_layers(layers: tuple[Any, ...], expected: dict[str, tuple[int, ...]], like: Tensor) -> None:
    """Refuse layers whose tensors have not the shape, dtype and device that the kernels will read them with.

    Raises:
        ValueError: There is no layer, or a tensor differs; names layer and field.
    """
    if not layers:
        raise ValueError("weights.layers: expected at least one layer, got none")
    for index, layer in enumerate(layers):
        for item in fields(layer):
            check_like(f"weights.layers[{index}].{item.name}", getattr(layer, item.name), expected[item.name], like)


def check_like(name: str, value: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    """Refuse a parameter of another shape, dtype or device.

    Raises:
        ValueError: It differs.
    """
    if value.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(value.shape)}")
    if value.dtype != like.dtype or value.device != like.device:
        raise ValueError(f"{name}: expected {like.dtype} on {like.device}, got {value.dtype} on {value.device}")


def check_heads(heads: int, width: int) -> None:
    """Refuse a number of heads that does not divide the width.

    Raises:
        ValueError: It does not.
    """
    if heads < 1 or width % heads:
        raise ValueError(f"weights.num_heads: expected a divisor of the width {width}, got {heads}")
