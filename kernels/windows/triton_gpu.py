"""Flat frames to canonical windows on a GPU in one launch: a program makes some tokens of one window.

Same numbers as `reference` in the markers' dtype. Positions at a place and at its two neighbours are gathered three times,
twice of it from the first-level cache, and tokens are written once: nothing between goes through memory. Nothing waits for
the device, so a training step with its windows can be captured in one CUDA graph.

Axis legend: m tokens of a program, q places of the window; B windows, M tokens, P markers a frame, Q = 2 W + 2 frames.
"""

from __future__ import annotations

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

from kernels.windows.reference import Disturbance

TOKENS = 16
"""Tokens of a program: with eight places padded from six, a tile of one warp's four numbers a thread."""
WARPS = 1


@triton.jit
def _seen(
    marker_pos, table, order, row, marker, is_marker, q, c, s, side, x0, y0, z0, entry, offset_size, jitter_size, P,
    QP: tl.constexpr, HAS_NOISE: tl.constexpr, HAS_ORDER: tl.constexpr,
):  # fmt: skip
    """The three coordinates (m, q) of tokens at places q in the window's own frame; NaN where there is no marker."""
    frame = row + (tl.load(order + q).to(tl.int64) if HAS_ORDER else q.to(tl.int64))
    at = marker_pos + (frame[None, :] * P + marker[:, None]) * 3
    inside = is_marker[:, None] & (q >= 0)[None, :]
    x = tl.load(at, mask=inside, other=float("nan")) - x0
    y = tl.load(at + 1, mask=inside, other=float("nan")) - y0
    z = tl.load(at + 2, mask=inside, other=float("nan")) - z0
    if HAS_NOISE:
        constant = table + entry[:, None]
        drawn = constant + 3 * (1 + q)[None, :]
        x += offset_size * tl.load(constant, mask=inside, other=0.0) + jitter_size * tl.load(
            drawn, mask=inside, other=0.0
        )
        y += offset_size * tl.load(constant + 1, mask=inside, other=0.0)
        y += jitter_size * tl.load(drawn + 1, mask=inside, other=0.0)
        z += offset_size * tl.load(constant + 2, mask=inside, other=0.0)
        z += jitter_size * tl.load(drawn + 2, mask=inside, other=0.0)
    return c * x + s * y, side * (c * y - s * x), z


@triton.jit
def _finite(x):
    """True for numbers: a comparison with NaN is false."""
    return tl.abs(x) < float("inf")


@triton.jit(do_not_specialize=["M", "P"])
def windows_kernel(
    marker_pos, frame, index, origin, heading, is_mirrored, table, start, offset_size, jitter_size, order, tokens, mask,
    M, P,
    W: tl.constexpr, RATE: tl.constexpr, Q: tl.constexpr, QP: tl.constexpr, MC: tl.constexpr, HAS_NOISE: tl.constexpr,
    HAS_ORDER: tl.constexpr,
):  # fmt: skip
    """Tokens (B, M, 6 Q) and mask (B, M); program (b, n) makes the tokens n MC ... of window b."""
    b = tl.program_id(0).to(tl.int64)
    m = tl.program_id(1) * MC + tl.arange(0, MC)
    q = tl.minimum(tl.arange(0, QP), Q - 1)
    kind = marker_pos.dtype.element_ty
    marker = tl.load(index + b * M + m, mask=m < M, other=-1).to(tl.int64)
    is_marker = marker >= 0
    angle = tl.load(heading + b)
    c, s = tl.cos(angle).to(kind), tl.sin(angle).to(kind)
    side = tl.where(tl.load(is_mirrored + b) != 0, -1.0, 1.0).to(kind)
    x0, y0 = tl.load(origin + 3 * b).to(kind), tl.load(origin + 3 * b + 1).to(kind)
    z0 = tl.load(origin + 3 * b + 2).to(kind)
    row = tl.load(frame + b).to(tl.int64) - W
    places = order + b * Q
    entry = m.to(tl.int64) * (3 * (Q + 1))
    constant, drawn = x0, x0
    if HAS_NOISE:
        entry += tl.load(start + b).to(tl.int64)
        constant, drawn = tl.load(offset_size + b).to(kind), tl.load(jitter_size + b).to(kind)
    x, y, z = _seen(  # pyright: ignore[reportGeneralTypeIssues]  (a jitted function, called by another)
        marker_pos, table, places, row, marker, is_marker, q, c, s, side, x0, y0, z0, entry, constant, drawn, P, QP,
        HAS_NOISE, HAS_ORDER,
    )  # fmt: skip
    after, before = tl.minimum(q + 1, Q - 1), tl.maximum(q - 1, 0)
    x1, y1, z1 = _seen(marker_pos, table, places, row, marker, is_marker, after, c, s, side, x0, y0, z0, entry, constant,
                       drawn, P, QP, HAS_NOISE, HAS_ORDER)  # fmt: skip
    x2, y2, z2 = _seen(marker_pos, table, places, row, marker, is_marker, before, c, s, side, x0, y0, z0, entry, constant,
                       drawn, P, QP, HAS_NOISE, HAS_ORDER)  # fmt: skip
    # Two frames apart inside, one at the ends.
    per_second = tl.where(after - before == 2, 0.5, 1.0).to(kind)[None, :] * RATE
    # The padding repeats the last place, so that it changes nothing here.
    present = tl.min((_finite(x) & _finite(y) & _finite(z)).to(tl.int32), axis=1) != 0
    keep = present[:, None]
    place = tl.arange(0, QP)
    inside = (m < M)[:, None] & (place < Q)[None, :]
    out = tokens + ((b * M + m)[:, None] * Q + place[None, :]) * 6
    tl.store(out, tl.where(keep, x, 0.0), mask=inside)
    tl.store(out + 1, tl.where(keep, y, 0.0), mask=inside)
    tl.store(out + 2, tl.where(keep, z, 0.0), mask=inside)
    tl.store(out + 3, tl.where(keep, (x1 - x2) * per_second, 0.0), mask=inside)
    tl.store(out + 4, tl.where(keep, (y1 - y2) * per_second, 0.0), mask=inside)
    tl.store(out + 5, tl.where(keep, (z1 - z2) * per_second, 0.0), mask=inside)
    tl.store(mask + b * M + m, present.to(tl.uint8), mask=m < M)


# The type checker sees the plain function that Triton makes launchable.
_launch: Any = windows_kernel


def compile_time(half_width: int, rate: float, *, has_noise: bool, has_order: bool) -> dict[str, Any]:
    """Compile-time arguments of a launch."""
    frames = 2 * half_width + 2
    return {
        "W": half_width, "RATE": rate, "Q": frames, "QP": triton.next_power_of_2(frames), "MC": TOKENS,
        "HAS_NOISE": has_noise, "HAS_ORDER": has_order,
    }  # fmt: skip


def make_tokens(
    marker_pos: Tensor,
    frame: Tensor,
    index: Tensor,
    origin: Tensor,
    heading: Tensor,
    is_mirrored: Tensor,
    disturbance: Disturbance | None,
    order: Tensor | None,
    half_width: int,
    rate: float,
) -> tuple[Tensor, Tensor]:
    """Same contract as reference, returning tokens and mask.

    Raises:
        ValueError: The markers are neither float32 nor float64, or they or the noise table are not contiguous.
    """
    if marker_pos.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"marker_pos: expected dtype float32 or float64, got {marker_pos.dtype}")
    table = marker_pos if disturbance is None else disturbance.table
    for name, value in (("marker_pos", marker_pos), ("disturbance.table", table)):
        if not value.is_contiguous():
            raise ValueError(f"{name}: expected a contiguous tensor, got strides {value.stride()}; copy it first")
    batch, count = index.shape
    options = compile_time(half_width, rate, has_noise=disturbance is not None, has_order=order is not None)
    tokens = marker_pos.new_empty(batch, count, 6 * options["Q"])
    mask = torch.empty(batch, count, dtype=torch.bool, device=index.device)
    if not mask.numel():
        return tokens, mask
    # Without noise and order their pointers are passed on to nobody.
    noise = [frame] * 3 if disturbance is None else [
        disturbance.start, disturbance.offset_size, disturbance.jitter_size
    ]  # fmt: skip
    small = [frame, index, origin, heading, is_mirrored, *noise, frame if order is None else order]
    frame, index, origin, heading, is_mirrored, *noise, order = (value.contiguous() for value in small)
    _launch[(batch, triton.cdiv(count, TOKENS))](
        marker_pos, frame, index, origin, heading, is_mirrored.view(torch.uint8), table, *noise, order, tokens,
        mask.view(torch.uint8), count, marker_pos.shape[1], **options, num_warps=WARPS,
    )  # fmt: skip
    return tokens, mask
