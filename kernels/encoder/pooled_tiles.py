"""Triton device code of the pooling encoder, folded: a tile of windows a program, the whole stack in one launch.

The equations are those of `kernels.encoder.folded`; a layer is read from one flat array in the order of
`kernels.encoder.triton_gpu.Sizes.layer_parts`. A program keeps the state of BW windows in registers through all layers
and reads the tokens of its windows once a layer in chunks of MC, with a running softmax, so that any number of tokens
fits. Scores and pooled features of all heads are one batched product each: windows x (tokens, features) x (features,
heads).

Axis legend: w windows of a tile, m tokens of a chunk, f features, h heads, d width, j feed-forward units; the same
letters in capitals with P are sizes padded to powers of two.
"""

from __future__ import annotations

# One argument a line would double this file.
# fmt: off
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

from kernels.encoder.tile_math import (
    dot,
    feed_forward,
    load_matrix,
    load_turned,
    load_vector,
    norm,
    norm_backward,
    norm_parts,
)


@triton.jit
def _load_tokens(tokens, mask, w, m, f, B, M, F: tl.constexpr):
    """Chunk (w, m, f) of the tokens, zero where absent, and which tokens are present (w, m). Absent ones are not read."""
    inside = (w[:, None] < B) & (m[None, :] < M)
    row = w[:, None].to(tl.int64) * M + m[None, :]
    present = inside & (tl.load(mask + row, mask=inside, other=0) != 0)
    read = present[:, :, None] & (f[None, None, :] < F)
    return tl.load(tokens + row[:, :, None] * F + f[None, None, :], mask=read, other=0.0), present


@triton.jit
def _by_head(x, map_pointer, bias_pointer, f, h, d, D: tl.constexpr, F: tl.constexpr, H: tl.constexpr,
             HP: tl.constexpr, HAS_BIAS: tl.constexpr, IS_WRITE: tl.constexpr, DOT: tl.constexpr,
             PRECISION: tl.constexpr):
    """(w, d) times a folded map to (w, f, h): the read map U (H F, D), or the write map G (D, H F) turned."""
    out = tl.zeros((x.shape[0], f.shape[0], HP), dtype=tl.float32)
    for head in tl.static_range(H):
        if IS_WRITE:
            table = load_matrix(map_pointer + head * F, d, f, D, F, H * F)
        else:
            table = load_turned(map_pointer + head * F * D, f, d, F, D, D)
        one = dot(x, table, DOT, PRECISION)
        if HAS_BIAS:
            one += load_vector(bias_pointer + head * F, f, F)[None, :]
        out += tl.where(h[None, None, :] == head, one[:, :, None], 0.0)
    return out


@triton.jit
def _one_head(x, head: tl.constexpr, h):
    """(w, f) of one head out of (w, f, h)."""
    return tl.sum(tl.where(h[None, None, :] == head, x, 0.0), axis=2)


@triton.jit
def _pool(read, tokens, mask, w, f, B, M, F: tl.constexpr, MC: tl.constexpr, NC: tl.constexpr, HP: tl.constexpr,
          DOT: tl.constexpr, PRECISION: tl.constexpr):
    """Pooled features (w, f, h) and log-sum-exp of the scores (w, h); NaN for a window without a token."""
    highest = tl.full((read.shape[0], HP), float("-inf"), dtype=tl.float32)
    total = tl.zeros((read.shape[0], HP), dtype=tl.float32)
    pooled = tl.zeros(read.shape, dtype=tl.float32)
    for chunk in range(NC):
        x, present = _load_tokens(tokens, mask, w, chunk * MC + tl.arange(0, MC), f, B, M, F)
        score = tl.where(present[:, :, None], dot(x, read, DOT, PRECISION), float("-inf"))
        now = tl.maximum(highest, tl.max(score, axis=1))
        # A window whose tokens so far are all absent has the maximum -inf: -inf - -inf would be NaN.
        base = tl.where(now == float("-inf"), 0.0, now)
        shrink = tl.exp(highest - base)
        weight = tl.exp(score - base[:, None, :])
        total = total * shrink + tl.sum(weight, axis=1)
        pooled = pooled * shrink[:, None, :] + dot(tl.permute(x, (0, 2, 1)), weight, DOT, PRECISION)
        highest = now
    return pooled / total[:, None, :], highest + tl.log(total)


@triton.jit
def _store(pointer, w, column, value, B, columns, stride):
    """Rows of windows into a row-major table at `pointer`, inside the batch only."""
    inside = (w[:, None] < B) & (column[None, :] < columns)
    address = pointer + w[:, None].to(tl.int64) * stride + column[None, :]
    tl.store(address, value.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def _load(pointer, w, column, B, columns, stride):
    """What `_store` wrote, in float32."""
    inside = (w[:, None] < B) & (column[None, :] < columns)
    return tl.load(pointer + w[:, None].to(tl.int64) * stride + column[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["B", "M"])
def pooled_forward_kernel(
    tokens, mask, params, out, saved, B, M,
    F: tl.constexpr, D: tl.constexpr, FF: tl.constexpr, H: tl.constexpr, L: tl.constexpr,
    FP: tl.constexpr, DP: tl.constexpr, HP: tl.constexpr, BW: tl.constexpr, MC: tl.constexpr, NC: tl.constexpr, FC: tl.constexpr,
    HAS_SAVED: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):
    """Features (B, D) of all windows; with HAS_SAVED also what the backward needs.

    That is a row a layer and window: the three sums before the layer norms (3 D), the pooled features (H F), the
    log-sum-exp of the scores (H).
    """
    HF: tl.constexpr = H * F
    S_B: tl.constexpr = D * D
    U: tl.constexpr = S_B + D
    U_B: tl.constexpr = U + HF * D
    G: tl.constexpr = U_B + HF
    G_B: tl.constexpr = G + D * HF
    W1: tl.constexpr = G_B + D
    B1: tl.constexpr = W1 + FF * D
    W2: tl.constexpr = B1 + FF
    B2: tl.constexpr = W2 + D * FF
    N_W: tl.constexpr = B2 + D
    N_B: tl.constexpr = N_W + 3 * D
    SIZE: tl.constexpr = N_B + 3 * D
    ROW: tl.constexpr = 3 * D + HF + H
    w = tl.program_id(0) * BW + tl.arange(0, BW)
    d, f, h = tl.arange(0, DP), tl.arange(0, FP), tl.arange(0, HP)
    tail = params + L * SIZE
    z = tl.zeros((BW, DP), dtype=tl.float32) + load_vector(tail + 2 * D, d, D)[None, :]
    for index in range(L):
        layer = params + index * SIZE
        row = saved + index * B.to(tl.int64) * ROW
        first = z + load_vector(layer + S_B, d, D)[None, :]
        first += dot(z, load_turned(layer, d, d, D, D, D), DOT, PRECISION)
        z = norm(first, layer + N_W, layer + N_B, d, D)
        read = _by_head(z, layer + U, layer + U_B, f, h, d, D, F, H, HP, True, False, DOT, PRECISION)
        pooled, lse = _pool(read, tokens, mask, w, f, B, M, F, MC, NC, HP, DOT, PRECISION)
        second = z + load_vector(layer + G_B, d, D)[None, :]
        for head in tl.static_range(H):
            one = _one_head(pooled, head, h)
            second += dot(one, load_turned(layer + G + head * F, d, f, D, F, HF), DOT, PRECISION)
            if HAS_SAVED:
                _store(row + 3 * D + head * F, w, f, one, B, F, ROW)
        z = norm(second, layer + N_W + D, layer + N_B + D, d, D)
        third = feed_forward(z, layer + W1, layer + B1, layer + W2, layer + B2, d, D, FF, FC, DOT, PRECISION)
        z = norm(third, layer + N_W + 2 * D, layer + N_B + 2 * D, d, D)
        if HAS_SAVED:
            _store(row, w, d, first, B, D, ROW)
            _store(row + D, w, d, second, B, D, ROW)
            _store(row + 2 * D, w, d, third, B, D, ROW)
            _store(row + 3 * D + HF, w, h, lse, B, H, ROW)
    _store(out, w, d, norm(z, tail, tail + D, d, D), B, D, D)


@triton.jit
def _scores_backward(
    tokens, mask, token_grad, read, grad, lse, shift, step, w, f, B, M, F: tl.constexpr, MC: tl.constexpr, NC: tl.constexpr,
    NEEDS_TOKENS: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):
    """Gradient (w, f, h) of the read vectors; adds the tokens' share to `token_grad` (writes it at step 0)."""
    out = tl.zeros(read.shape, dtype=tl.float32)
    for chunk in range(NC):
        m = chunk * MC + tl.arange(0, MC)
        x, present = _load_tokens(tokens, mask, w, m, f, B, M, F)
        score = tl.where(present[:, :, None], dot(x, read, DOT, PRECISION), float("-inf"))
        weight = tl.exp(score - lse[:, None, :])
        slope = weight * (dot(x, grad, DOT, PRECISION) - shift[:, None, :])
        out += dot(tl.permute(x, (0, 2, 1)), slope, DOT, PRECISION)
        if NEEDS_TOKENS:
            share = dot(weight, tl.permute(grad, (0, 2, 1)), DOT, PRECISION)
            share += dot(slope, tl.permute(read, (0, 2, 1)), DOT, PRECISION)
            inside = (w[:, None] < B) & (m[None, :] < M)
            address = token_grad + (w[:, None].to(tl.int64) * M + m[None, :])[:, :, None] * F + f[None, None, :]
            write = inside[:, :, None] & (f[None, None, :] < F)
            share += tl.load(address, mask=write & (step > 0), other=0.0)
            tl.store(address, share, mask=write)
    return out


@triton.jit(do_not_specialize=["B", "M"])
def pooled_backward_kernel(
    tokens, mask, params, saved, grad_out, rows, norm_grad, token_grad, B, M,
    F: tl.constexpr, D: tl.constexpr, FF: tl.constexpr, H: tl.constexpr, L: tl.constexpr,
    FP: tl.constexpr, DP: tl.constexpr, HP: tl.constexpr, BW: tl.constexpr, MC: tl.constexpr, NC: tl.constexpr, FC: tl.constexpr,
    NEEDS_TOKENS: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):
    """All layers backwards.

    Writes per window and layer the factors of every weight gradient into `rows`, in the order of
    `kernels.encoder.triton_gpu.Sizes.row_parts` (a second launch multiplies them), and per program the norms' gradients.
    """
    HF: tl.constexpr = H * F
    S_B: tl.constexpr = D * D
    U: tl.constexpr = S_B + D
    U_B: tl.constexpr = U + HF * D
    G: tl.constexpr = U_B + HF
    G_B: tl.constexpr = G + D * HF
    W1: tl.constexpr = G_B + D
    B1: tl.constexpr = W1 + FF * D
    W2: tl.constexpr = B1 + FF
    B2: tl.constexpr = W2 + D * FF
    N_W: tl.constexpr = B2 + D
    N_B: tl.constexpr = N_W + 3 * D
    SIZE: tl.constexpr = N_B + 3 * D
    ROW: tl.constexpr = 3 * D + HF + H
    # Columns of `rows`: gradients first, then what they multiply.
    R_READ: tl.constexpr = D
    R_SECOND: tl.constexpr = R_READ + HF
    R_HIDDEN: tl.constexpr = R_SECOND + D
    R_THIRD: tl.constexpr = R_HIDDEN + FF
    R_IN: tl.constexpr = R_THIRD + D
    R_QUERY: tl.constexpr = R_IN + D
    R_POOLED: tl.constexpr = R_QUERY + D
    R_FF: tl.constexpr = R_POOLED + HF
    R_UNITS: tl.constexpr = R_FF + D
    RS: tl.constexpr = R_UNITS + FF
    w = tl.program_id(0) * BW + tl.arange(0, BW)
    d, f, h = tl.arange(0, DP), tl.arange(0, FP), tl.arange(0, HP)
    tail = params + L * SIZE
    norms = norm_grad + tl.program_id(0) * (L * 6 * D + 3 * D)
    # Rows beyond the batch load as zero; their gradient is zero too, so they add nothing to any sum.
    layer = params + (L - 1) * SIZE
    third = _load(saved + (L - 1) * B.to(tl.int64) * ROW + 2 * D, w, d, B, D, ROW)
    last = norm(third, layer + N_W + 2 * D, layer + N_B + 2 * D, d, D)
    normal, inverse = norm_parts(last, d, D)
    grad = _load(grad_out, w, d, B, D, D)
    tl.store(norms + L * 6 * D + d, tl.sum(grad * normal, axis=0), mask=d < D)
    tl.store(norms + L * 6 * D + D + d, tl.sum(grad, axis=0), mask=d < D)
    grad = norm_backward(grad, normal, inverse, tail, d, D)
    for step in range(L):
        index = L - 1 - step
        layer = params + index * SIZE
        stored = saved + index * B.to(tl.int64) * ROW
        row = rows + index * B.to(tl.int64) * RS
        mine = norms + index * 6 * D
        first = _load(stored, w, d, B, D, ROW)
        second = _load(stored + D, w, d, B, D, ROW)
        third = _load(stored + 2 * D, w, d, B, D, ROW)
        # Feed-forward.
        normal, inverse = norm_parts(third, d, D)
        tl.store(mine + 2 * D + d, tl.sum(grad * normal, axis=0), mask=d < D)
        tl.store(mine + 5 * D + d, tl.sum(grad, axis=0), mask=d < D)
        grad = norm_backward(grad, normal, inverse, layer + N_W + 2 * D, d, D)
        _store(row + R_THIRD, w, d, grad, B, D, RS)
        z = norm(second, layer + N_W + D, layer + N_B + D, d, D)
        _store(row + R_FF, w, d, z, B, D, RS)
        back = grad
        for start in range(0, FF, FC):
            j = start + tl.arange(0, FC)
            up = load_matrix(layer + W1, j, d, FF, D, D)
            hidden = dot(z, tl.trans(up), DOT, PRECISION) + load_vector(layer + B1, j, FF)[None, :]
            slope = dot(grad, load_matrix(layer + W2, d, j, D, FF, FF), DOT, PRECISION)
            slope = tl.where(hidden > 0, slope, 0.0)
            _store(row + R_UNITS, w, j, tl.maximum(hidden, 0.0), B, FF, RS)
            _store(row + R_HIDDEN, w, j, slope, B, FF, RS)
            back += dot(slope, up, DOT, PRECISION)
        # Cross-attention.
        normal, inverse = norm_parts(second, d, D)
        tl.store(mine + D + d, tl.sum(back * normal, axis=0), mask=d < D)
        tl.store(mine + 4 * D + d, tl.sum(back, axis=0), mask=d < D)
        grad = norm_backward(back, normal, inverse, layer + N_W + D, d, D)
        _store(row + R_SECOND, w, d, grad, B, D, RS)
        z = norm(first, layer + N_W, layer + N_B, d, D)
        _store(row + R_QUERY, w, d, z, B, D, RS)
        read = _by_head(z, layer + U, layer + U_B, f, h, d, D, F, H, HP, True, False, DOT, PRECISION)
        pooled_grad = _by_head(grad, layer + G, layer, f, h, d, D, F, H, HP, False, True, DOT, PRECISION)
        lse = _load(stored + 3 * D + HF, w, h, B, H, ROW)
        shift = tl.zeros((BW, HP), dtype=tl.float32)
        for head in tl.static_range(H):
            pooled = _load(stored + 3 * D + head * F, w, f, B, F, ROW)
            _store(row + R_POOLED + head * F, w, f, pooled, B, F, RS)
            along = tl.sum(pooled * _one_head(pooled_grad, head, h), axis=1)
            shift += tl.where(h[None, :] == head, along[:, None], 0.0)
        if NEEDS_TOKENS:
            # The tokens' gradient is read again in each layer, perhaps by other lanes than those that wrote it.
            tl.debug_barrier()
        read_grad = _scores_backward(tokens, mask, token_grad, read, pooled_grad, lse, shift, step, w, f, B, M, F, MC, NC,
                                     NEEDS_TOKENS, DOT, PRECISION)
        back = grad
        for head in tl.static_range(H):
            one = _one_head(read_grad, head, h)
            _store(row + R_READ + head * F, w, f, one, B, F, RS)
            back += dot(one, load_matrix(layer + U + head * F * D, f, d, F, D, D), DOT, PRECISION)
        # Self-attention over the one query: a linear map.
        normal, inverse = norm_parts(first, d, D)
        tl.store(mine + d, tl.sum(back * normal, axis=0), mask=d < D)
        tl.store(mine + 3 * D + d, tl.sum(back, axis=0), mask=d < D)
        grad = norm_backward(back, normal, inverse, layer + N_W, d, D)
        _store(row, w, d, grad, B, D, RS)
        z = tl.zeros((BW, DP), dtype=tl.float32) + load_vector(tail + 2 * D, d, D)[None, :]
        if index > 0:
            below = _load(stored - B.to(tl.int64) * ROW + 2 * D, w, d, B, D, ROW)
            z = norm(below, layer - SIZE + N_W + 2 * D, layer - SIZE + N_B + 2 * D, d, D)
        _store(row + R_IN, w, d, z, B, D, RS)
        grad += dot(grad, load_matrix(layer, d, d, D, D, D), DOT, PRECISION)
    tl.store(norms + L * 6 * D + 2 * D + d, tl.sum(grad, axis=0), mask=d < D)


@triton.jit(do_not_specialize=["B"])
def weight_grad_kernel(
    rows, table, out, B, ROW: tl.constexpr, TI: tl.constexpr, TJ: tl.constexpr, BR: tl.constexpr, NR: tl.constexpr,
    DOT: tl.constexpr, PRECISION: tl.constexpr,
):
    """One tile (TI, TJ) of one weight gradient: sum over all rows of left[i] right[j].

    The first tile of a line of tiles also sums its left side, the bias gradient. One program owns each element, so that
    the sum is the same in every run.
    """
    entry = table + tl.program_id(0) * 9
    layer, left, right = tl.load(entry), tl.load(entry + 1), tl.load(entry + 2)
    row_start, column_start = tl.load(entry + 3), tl.load(entry + 4)
    num_rows, num_columns = tl.load(entry + 5), tl.load(entry + 6)
    weight, bias = tl.load(entry + 7), tl.load(entry + 8)
    i, j = row_start + tl.arange(0, TI), column_start + tl.arange(0, TJ)
    source = rows + layer.to(tl.int64) * B * ROW
    total = tl.zeros((TI, TJ), dtype=tl.float32)
    line = tl.zeros((TI,), dtype=tl.float32)
    for step in range(NR):
        b = (step * BR + tl.arange(0, BR)).to(tl.int64)
        x = load_turned(source + left, b, i, B, num_rows, ROW)
        y = load_matrix(source + right, b, j, B, num_columns, ROW)
        total += dot(x, y, DOT, PRECISION)
        line += tl.sum(x.to(tl.float32), axis=1)
    inside = (i[:, None] < num_rows) & (j[None, :] < num_columns)
    tl.store(out + weight + i[:, None] * num_columns + j[None, :], total, mask=inside)
    if column_start == 0:
        tl.store(out + bias + i, line, mask=i < num_rows)
