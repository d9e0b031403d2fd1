"""The pooling compiled: scores, softmax and weighted sums in one visit to a window's tokens, forward and backward.

Torch makes three passes over the tokens of a layer, products of 4 by 36 by 53 numbers too small for a BLAS library, and as
many over the weights. Here a window's tokens come to the first cache once a layer. Four heads lie side by side: scores of
a token are one register, so that the softmax needs no sum within a register.

Axis legend: B windows, M marker tokens, F features a token, H heads, G groups of four heads.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from kernels._lane_exponential import exponential
from kernels._lane_memory import load_8, store, take
from kernels._lanes import (
    both,
    even_lanes,
    high_half,
    low_half,
    multiply_add,
    odd_lanes,
    spread_4,
    spread_8,
    where_at_least,
)
from kernels.encoder.pooling import Pooling

LEAST_FEATURES = 8
"""Features that fill a register; tokens of fewer are pooled by torch."""


def flat(tensor: Tensor) -> np.ndarray:
    """Its numbers in one row, without gradient."""
    return tensor.detach().contiguous().numpy().reshape(-1)


def _pool(read_BHF: Tensor, tokens_BMF: Tensor, bias_B1M: Tensor | None, is_kept: bool) -> tuple[Tensor, Tensor]:
    """Softmax weights as the backward wants them, (B, G, M rounded up to even, 4) or of one window, and sums (B, H, F)."""
    batch, heads, features = read_BHF.shape
    markers = tokens_BMF.shape[1]
    rows = batch if is_kept else 1
    weight = torch.empty(rows, -(-heads // 4), (markers + 1) // 2 * 2, 4)
    pooled = torch.empty(batch, heads, features)
    attend(
        batch, markers, features, heads, heads * features, flat(tokens_BMF), flat(read_BHF),
        None if bias_B1M is None else flat(bias_B1M), None, weight.numpy().reshape(-1), weight[0].numel() if is_kept else 0,
        pooled.numpy().reshape(-1),
    )  # fmt: skip
    return weight, pooled


def _pool_backward(
    grad_BHF: Tensor, tokens_BMF: Tensor, weight: Tensor, read_BHF: Tensor, token_grad: Tensor | None
) -> Tensor:
    batch, heads, features = grad_BHF.shape
    markers = tokens_BMF.shape[1]
    is_kept = token_grad is not None
    slope = torch.empty(batch if is_kept else 1, *weight.shape[1:])
    read_grad = torch.empty(batch, heads, features)
    attend(
        batch, markers, features, heads, heads * features, flat(tokens_BMF), flat(grad_BHF), None, flat(weight),
        slope.numpy().reshape(-1), slope[0].numel() if is_kept else 0, read_grad.numpy().reshape(-1),
    )  # fmt: skip
    if token_grad is not None:
        for value_BGM4, row_BHF in ((weight, grad_BHF), (slope, read_BHF)):
            value_BMH = value_BGM4.transpose(1, 2).flatten(2)[:, :markers, :heads]
            token_grad.baddbmm_(value_BMH, row_BHF)
    return read_grad


COMPILED = Pooling(_pool, _pool_backward)


@numba.njit(error_model="numpy", inline="always")
def _four_sums(a, b, c, d):  # noqa: ANN001, ANN202  compiled into its caller
    """The sums of four registers of eight in one of four."""
    ab, cd = even_lanes(a, b) + odd_lanes(a, b), even_lanes(c, d) + odd_lanes(c, d)
    total = even_lanes(ab, cd) + odd_lanes(ab, cd)
    return low_half(total) + high_half(total)


@numba.njit(error_model="numpy", inline="always")
def _twice(four):  # noqa: ANN001, ANN202  likewise
    return both(four, four)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def attend(  # noqa: PLR0915  loops in functions of their own would count references to arrays in every round
    batch: int, markers: int, features: int, heads: int, row_size: int, tokens: np.ndarray, query: np.ndarray,
    bias: np.ndarray | None, kept: np.ndarray | None, weight: np.ndarray, weight_size: int, out: np.ndarray,
) -> None:  # fmt: skip
    """out_h = sum_m w_hm x_m, where w is the softmax over m of s_hm = query_h . x_m (+ bias_m), or with `kept` its gradient.

    With the weights a of the forward in `kept` and the gradient of its sums as the query, w_hm = a_hm (s_hm - sum_n a_hn s_hn)
    and `out` is the gradient of the read vectors. `weight_size` numbers of w are kept a window; of 0 they are written over.
    Rows of the query and of `out` are `row_size` numbers apart.
    """
    f32 = np.float32
    blocks, pairs, size = -(-features // 8), (markers + 1) // 2, (markers + 1) // 2 * 8
    last = features - 8  # where the last block of eight begins; its query is zero where the one before has been
    query_8, keep = np.empty(32 * blocks, f32), np.ones(8, f32)
    for i in range(8 * blocks - features):
        keep[i] = f32(0.0)
    nothing = spread_8(f32(0.0))
    for b in range(batch):
        base = b * markers * features
        for first_head in range(0, heads, 4):
            at = b * weight_size + first_head * 2 * pairs
            for h in range(4):
                row = b * row_size + min(first_head + h, heads - 1) * features
                for v in range(blocks - 1):
                    store(query_8, 32 * v + 8 * h, load_8(query, row + 8 * v))
                store(query_8, 32 * (blocks - 1) + 8 * h, load_8(query, row + last) * load_8(keep, 0))
            for m in range(0, markers, 2):
                one, two = base + m * features, base + min(m + 1, markers - 1) * features
                a0, a1, a2, a3, c0, c1, c2, c3 = nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing
                for v in range(blocks):
                    d = min(8 * v, last)
                    x, y, q = load_8(tokens, one + d), load_8(tokens, two + d), 32 * v
                    a0, c0 = multiply_add(x, load_8(query_8, q), a0), multiply_add(y, load_8(query_8, q), c0)
                    a1, c1 = multiply_add(x, load_8(query_8, q + 8), a1), multiply_add(y, load_8(query_8, q + 8), c1)
                    a2, c2 = multiply_add(x, load_8(query_8, q + 16), a2), multiply_add(y, load_8(query_8, q + 16), c2)
                    a3, c3 = multiply_add(x, load_8(query_8, q + 24), a3), multiply_add(y, load_8(query_8, q + 24), c3)
                score, next_score = _four_sums(a0, a1, a2, a3), _four_sums(c0, c1, c2, c3)
                if bias is not None:
                    score = score + spread_4(take(bias, b * markers + m))
                    next_score = next_score + spread_4(take(bias, b * markers + min(m + 1, markers - 1)))
                store(weight, at + 4 * m, score)
                store(weight, at + 4 * m + 4, next_score)
            if kept is None:
                if markers % 2:
                    store(weight, at + 4 * markers, spread_4(f32(-np.inf)))
                highest = spread_8(f32(-np.inf))
                for i in range(at, at + size, 8):
                    highest = where_at_least(load_8(weight, i), highest, load_8(weight, i), highest)
                low, high = low_half(highest), high_half(highest)
                highest, total = _twice(where_at_least(low, high, low, high)), nothing
                for i in range(at, at + size, 8):
                    grown = exponential(load_8(weight, i) - highest)
                    total = total + grown
                    store(weight, i, grown)
                share = _twice(spread_4(f32(1.0)) / (low_half(total) + high_half(total)))
                for i in range(at, at + size, 8):
                    store(weight, i, load_8(weight, i) * share)
            else:
                mean, shift = nothing, b * size * (-(-heads // 4)) + first_head * 2 * pairs - at
                for i in range(at, at + size, 8):
                    mean = multiply_add(load_8(kept, i + shift), load_8(weight, i), mean)
                mean = _twice(low_half(mean) + high_half(mean))
                for i in range(at, at + size, 8):
                    store(weight, i, load_8(kept, i + shift) * (load_8(weight, i) - mean))
            for v in range(0, blocks, 2):
                d, e = min(8 * v, last), min(8 * v + 8, last)
                a0, a1, a2, a3, c0, c1, c2, c3 = nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing
                for m in range(markers):
                    x, y = load_8(tokens, base + m * features + d), load_8(tokens, base + m * features + e)
                    w0, w1 = spread_8(take(weight, at + 4 * m)), spread_8(take(weight, at + 4 * m + 1))
                    w2, w3 = spread_8(take(weight, at + 4 * m + 2)), spread_8(take(weight, at + 4 * m + 3))
                    a0, c0 = multiply_add(w0, x, a0), multiply_add(w0, y, c0)
                    a1, c1 = multiply_add(w1, x, a1), multiply_add(w1, y, c1)
                    a2, c2 = multiply_add(w2, x, a2), multiply_add(w2, y, c2)
                    a3, c3 = multiply_add(w3, x, a3), multiply_add(w3, y, c3)
                row = b * row_size + first_head * features
                store(out, row + d, a0)
                store(out, row + e, c0)
                if first_head + 1 < heads:
                    store(out, row + features + d, a1)
                    store(out, row + features + e, c1)
                if first_head + 2 < heads:
                    store(out, row + 2 * features + d, a2)
                    store(out, row + 2 * features + e, c2)
                if first_head + 3 < heads:
                    store(out, row + 3 * features + d, a3)
                    store(out, row + 3 * features + e, c3)
