"""Pieces of Triton device code that both fused encoders are made of: layer norm, linear maps, weight gradients.

Everything is computed in float32 registers; only the operands of matrix products are cast, to `DOT` (bfloat16 tensors:
bfloat16; float32 tensors: float32, multiplied as `PRECISION` says). A tile is padded to powers of two, and padding is
zero everywhere a value could reach a sum.
"""

from __future__ import annotations

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

EPS = tl.constexpr(1e-5)


@triton.jit
def dot(a, b, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """Product of two tiles in float32, operands cast to `DOT`."""
    return tl.dot(a.to(DOT), b.to(DOT), input_precision=PRECISION)


@triton.jit
def load_vector(pointer, index, size):
    """`pointer[index]` in float32, zero beyond `size`."""
    return tl.load(pointer + index, mask=index < size, other=0.0).to(tl.float32)


@triton.jit
def load_matrix(pointer, row, column, rows, columns, stride):
    """`pointer[row, column]` of a row-major matrix as a tile, zero beyond its sizes."""
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    return tl.load(pointer + row[:, None] * stride + column[None, :], mask=inside, other=0.0)


@triton.jit
def load_turned(pointer, row, column, rows, columns, stride):
    """The transpose of `load_matrix`: tile (column, row), to multiply from the right with a weight stored (out, in)."""
    inside = (row[None, :] < rows) & (column[:, None] < columns)
    return tl.load(pointer + row[None, :] * stride + column[:, None], mask=inside, other=0.0)


@triton.jit
def norm_parts(x, d, D: tl.constexpr):
    """Normalised rows and their 1 / sigma; padding columns of `x` are zero and stay zero."""
    mean = tl.sum(x, axis=1) / D
    centred = tl.where(d[None, :] < D, x - mean[:, None], 0.0)
    inverse = tl.rsqrt(tl.sum(centred * centred, axis=1) / D + EPS)
    return centred * inverse[:, None], inverse


@triton.jit
def norm(x, weight, bias, d, D: tl.constexpr):
    """Layer norm of the rows of `x` with gain and bias read from memory."""
    normal, _ = norm_parts(x, d, D)  # pyright: ignore[reportGeneralTypeIssues]  (a jitted function, called by another)
    return normal * load_vector(weight, d, D)[None, :] + load_vector(bias, d, D)[None, :]


@triton.jit
def norm_backward(grad, normal, inverse, weight, d, D: tl.constexpr):
    """Gradient of the input of a layer norm from that of its output: (h - mean h - n mean(h n)) / sigma, h = g w."""
    scaled = grad * load_vector(weight, d, D)[None, :]
    along = tl.sum(scaled * normal, axis=1) / D
    mean = tl.sum(scaled, axis=1) / D
    return tl.where(d[None, :] < D, scaled - mean[:, None] - normal * along[:, None], 0.0) * inverse[:, None]


@triton.jit
def feed_forward(
    x,
    w1,
    b1,
    w2,
    b2,
    d,
    D: tl.constexpr,
    FF: tl.constexpr,
    FC: tl.constexpr,
    DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """x + W_2 relu(W_1 x + b_1) + b_2, the hidden units in chunks of FC."""
    total = x + load_vector(b2, d, D)[None, :]
    for start in range(0, FF, FC):
        j = start + tl.arange(0, FC)
        hidden = dot(x, load_turned(w1, j, d, FF, D, D), DOT, PRECISION) + load_vector(b1, j, FF)[None, :]
        total += dot(tl.maximum(hidden, 0.0), load_turned(w2, d, j, D, FF, FF), DOT, PRECISION)
    return total
