"""Triton device code of the self-attention encoder: tiles of whole windows, the stack in one launch each way.

A tile has R rows and holds W = R // T windows of T = M + 1 rows, class token first; a row attends to the rows of its own
window, so that windows of few tokens share a matrix product. The forward keeps a tile in registers through all layers.
The backward stores nothing of the forward: a program computes the layer inputs of its tiles again, then goes down the
layers, in each three passes over its tiles; between them it keeps the weight gradients of that part of the layer in
registers, so that they are written once a program and not once a tile.

Axis legend: r, c rows of a tile, d width, k head width, j feed-forward units, f features.
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
def _rows(tile, mask, B, M, W, R: tl.constexpr):
    """Window, slot (0 is the class token) and validity of each row, and which rows may be attended to (r, c)."""
    r = tl.arange(0, R)
    local = r // (M + 1)
    window = tile * W + local
    slot = r % (M + 1)
    is_valid = (local < W) & (window < B)
    has_token = is_valid & (slot > 0)
    present = tl.load(mask + window.to(tl.int64) * M + slot - 1, mask=has_token, other=1) != 0
    # Rows beyond the batch attend to each other, so that nothing of them is NaN; they are never stored.
    return window, slot, is_valid, has_token & present, (local[:, None] == local[None, :]) & present[None, :]


@triton.jit
def _embed(tokens, params, position, window, slot, is_valid, is_read, d, M, F: tl.constexpr,
           D: tl.constexpr, FK: tl.constexpr, HAS_POSITION: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """First state (r, d): class token or embedded token. Absent tokens are not read: they are embedded as zeros."""
    state = tl.zeros((slot.shape[0], d.shape[0]), dtype=tl.float32) + load_vector(params + D * F, d, D)[None, :]
    source = tokens + (window.to(tl.int64) * M + slot - 1) * F
    for start in range(0, F, FK):
        f = start + tl.arange(0, FK)
        x = tl.load(source[:, None] + f[None, :], mask=is_read[:, None] & (f[None, :] < F), other=0.0)
        state += dot(x, load_turned(params, d, f, D, F, F), DOT, PRECISION)
    if HAS_POSITION:
        inside = (is_valid & (slot > 0))[:, None] & (d[None, :] < D)
        state += tl.load(position + (slot - 1)[:, None] * D + d[None, :], mask=inside, other=0.0).to(tl.float32)
    query = load_vector(params + D * F + D, d, D)
    return tl.where(is_valid[:, None], tl.where((slot == 0)[:, None], query[None, :], state), 0.0)


@triton.jit
def _head(x, layer, head, allowed, d, k, D: tl.constexpr, K: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """Scaled query, key, value (r, k) and attention weights (r, c) of one head."""
    SCALE: tl.constexpr = 1.0 / (K**0.5)
    weight, bias = layer + head * K * D, layer + 3 * D * D + head * K
    query = dot(x, load_turned(weight, k, d, K, D, D), DOT, PRECISION) + load_vector(bias, k, K)[None, :]
    key = dot(x, load_turned(weight + D * D, k, d, K, D, D), DOT, PRECISION) + load_vector(bias + D, k, K)[None, :]
    value = dot(x, load_turned(weight + 2 * D * D, k, d, K, D, D), DOT, PRECISION)
    value += load_vector(bias + 2 * D, k, K)[None, :]
    query *= SCALE
    score = tl.where(allowed, dot(query, tl.trans(key), DOT, PRECISION), float("-inf"))
    weight_rc = tl.exp(score - tl.max(score, axis=1)[:, None])
    return query, key, value, weight_rc / tl.sum(weight_rc, axis=1)[:, None]


@triton.jit
def _attend(x, layer, allowed, d, k, D: tl.constexpr, H: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """x + W_o concat_h (weights values) + b_o."""
    K: tl.constexpr = D // H
    OUT: tl.constexpr = 3 * D * D + 3 * D
    total = x + load_vector(layer + OUT + D * D, d, D)[None, :]
    for head in range(H):
        _, _, value, weight = _head(x, layer, head, allowed, d, k, D, K, DOT, PRECISION)
        read = dot(weight, value, DOT, PRECISION)
        total += dot(read, load_turned(layer + OUT + head * K, d, k, D, K, D), DOT, PRECISION)
    return total


@triton.jit(do_not_specialize=["B", "M", "W"])
def attention_forward_kernel(
    tokens, mask, params, position, out, B, M, W,
    F: tl.constexpr, D: tl.constexpr, FF: tl.constexpr, H: tl.constexpr, L: tl.constexpr,
    DP: tl.constexpr, KP: tl.constexpr, R: tl.constexpr, FK: tl.constexpr, FC: tl.constexpr,
    HAS_POSITION: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):
    """Features (B, D): the class tokens after all layers; a tile of windows a program, nothing else is written."""
    W1: tl.constexpr = 4 * D * D + 4 * D
    B1: tl.constexpr = W1 + FF * D
    W2: tl.constexpr = B1 + FF
    B2: tl.constexpr = W2 + D * FF
    N_W: tl.constexpr = B2 + D
    N_B: tl.constexpr = N_W + 2 * D
    SIZE: tl.constexpr = N_B + 2 * D
    d, k = tl.arange(0, DP), tl.arange(0, KP)
    window, slot, is_valid, is_read, allowed = _rows(tl.program_id(0), mask, B, M, W, R)  # pyright: ignore[reportGeneralTypeIssues]  (a jitted function, called by another)
    x = _embed(tokens, params, position, window, slot, is_valid, is_read, d, M, F, D, FK, HAS_POSITION, DOT, PRECISION)
    layers = params + D * F + 2 * D
    for index in range(L):
        layer = layers + index * SIZE
        x = norm(_attend(x, layer, allowed, d, k, D, H, DOT, PRECISION), layer + N_W, layer + N_B, d, D)
        x = feed_forward(x, layer + W1, layer + B1, layer + W2, layer + B2, d, D, FF, FC, DOT, PRECISION)
        x = norm(x, layer + N_W + D, layer + N_B + D, d, D)
    last = layers + L * SIZE
    x = norm(x, last, last + D, d, D)
    inside = (is_valid & (slot == 0))[:, None] & (d[None, :] < D)
    tl.store(out + window.to(tl.int64)[:, None] * D + d[None, :], x.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _plane(tile, r, d, DP: tl.constexpr, R: tl.constexpr):
    """Offsets of a tile in one plane of the scratch memory."""
    return tile.to(tl.int64) * (R * DP) + r[:, None] * DP + d[None, :]


@triton.jit
def _head_backward(x, grad, layer, head, allowed, d, k, D: tl.constexpr, H: tl.constexpr, DOT: tl.constexpr,
                   PRECISION: tl.constexpr):
    """Gradients (r, k) of query, key and value of one head before their maps' biases, and what the head read."""
    K: tl.constexpr = D // H
    OUT: tl.constexpr = 3 * D * D + 3 * D
    query, key, value, weight = _head(x, layer, head, allowed, d, k, D, K, DOT, PRECISION)  # pyright: ignore[reportGeneralTypeIssues]  (a jitted function, called by another)
    read = dot(weight, value, DOT, PRECISION)
    read_grad = dot(grad, load_matrix(layer + OUT + head * K, d, k, D, K, D), DOT, PRECISION)
    slope = dot(read_grad, tl.trans(value), DOT, PRECISION)
    slope = weight * (slope - tl.sum(slope * weight, axis=1)[:, None])
    value_grad = dot(tl.trans(weight), read_grad, DOT, PRECISION)
    SCALE: tl.constexpr = 1.0 / (K**0.5)
    query_grad = dot(slope, key, DOT, PRECISION) * SCALE
    key_grad = dot(tl.trans(slope), query, DOT, PRECISION)
    return query_grad, key_grad, value_grad, read


@triton.jit
def _store_matrix(pointer, value, row, column, rows, columns, stride):
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(pointer + row[:, None] * stride + column[None, :], value, mask=inside)


@triton.jit
def _ff_pass(normals, slopes, back, layer, out, tile0, P, r, d, D: tl.constexpr, FF: tl.constexpr, DP: tl.constexpr,
             R: tl.constexpr, FC: tl.constexpr, NT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """Second pass of a layer: gradient of the feed-forward's input into `back`, of its two maps into `out`."""
    W1: tl.constexpr = 4 * D * D + 4 * D
    B1: tl.constexpr = W1 + FF * D
    W2: tl.constexpr = B1 + FF
    N_W: tl.constexpr = W2 + D * FF + D
    N_B: tl.constexpr = N_W + 2 * D
    for start in range(0, FF, FC):
        j = start + tl.arange(0, FC)
        up, down = load_matrix(layer + W1, j, d, FF, D, D), load_matrix(layer + W2, d, j, D, FF, FF)
        bias = load_vector(layer + B1, j, FF)
        up_grad = tl.zeros((FC, DP), dtype=tl.float32)
        down_grad = tl.zeros((DP, FC), dtype=tl.float32)
        bias_grad = tl.zeros((FC,), dtype=tl.float32)
        for turn in range(NT):
            at = _plane(tile0 + turn * P, r, d, DP, R)
            y = tl.load(normals + at).to(tl.float32) * load_vector(layer + N_W, d, D)[None, :]
            y += load_vector(layer + N_B, d, D)[None, :]
            grad = tl.load(slopes + at).to(tl.float32)
            hidden = dot(y, tl.trans(up), DOT, PRECISION) + bias[None, :]
            slope = tl.where(hidden > 0, dot(grad, down, DOT, PRECISION), 0.0)
            up_grad += dot(tl.trans(slope), y, DOT, PRECISION)
            down_grad += dot(tl.trans(grad), tl.maximum(hidden, 0.0), DOT, PRECISION)
            bias_grad += tl.sum(slope, axis=0)
            total = dot(slope, up, DOT, PRECISION) + tl.load(back + at).to(tl.float32)
            tl.store(back + at, total.to(back.dtype.element_ty))
        _store_matrix(out + W1, up_grad, j, d, FF, D, D)
        _store_matrix(out + W2, down_grad, d, j, D, FF, FF)
        tl.store(out + B1 + j, bias_grad, mask=j < FF)
        # The next chunk and the next pass read what other lanes of this program wrote.
        tl.debug_barrier()


@triton.jit
def _map_pass(left, right, out, bias, tile0, P, r, d, D: tl.constexpr, DP: tl.constexpr, R: tl.constexpr,
              NT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """Gradient of a map: left^T right over all rows of the program's tiles; of its bias: the sum of the left rows."""
    weight_grad = tl.zeros((DP, DP), dtype=tl.float32)
    bias_grad = tl.zeros((DP,), dtype=tl.float32)
    for turn in range(NT):
        at = _plane(tile0 + turn * P, r, d, DP, R)
        # Heads write D columns; the padding beyond is never written.
        x = tl.load(left + at, mask=(d < D)[None, :], other=0.0)
        weight_grad += dot(tl.trans(x), tl.load(right + at, mask=(d < D)[None, :], other=0.0), DOT, PRECISION)
        bias_grad += tl.sum(x.to(tl.float32), axis=0)
    _store_matrix(out, weight_grad, d, d, D, D, D)
    tl.store(bias + d, bias_grad, mask=d < D)


@triton.jit
def _attention_pass(states, normals, inverses, back, grads, heads, plane, mask, layer, out, tile0, P, B, M, W, r, d, k,
                    D: tl.constexpr, FF: tl.constexpr, H: tl.constexpr, DP: tl.constexpr, KP: tl.constexpr,
                    R: tl.constexpr, NT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """Third pass of a layer: gradient of its input into `grads`, of the attention's maps and first norm into `out`.

    The gradients of queries, keys and values and what the heads read go through `heads`, four planes of the scratch
    memory: four maps' gradients and a tile's attention do not fit the registers together.
    """
    K: tl.constexpr = D // H
    OUT: tl.constexpr = 3 * D * D + 3 * D
    N_W: tl.constexpr = 4 * D * D + 5 * D + 2 * FF * D + FF
    kind = heads.dtype.element_ty
    gain = tl.zeros((DP,), dtype=tl.float32)
    offset = tl.zeros((DP,), dtype=tl.float32)
    for turn in range(NT):
        tile = tile0 + turn * P
        at = _plane(tile, r, d, DP, R)
        _, _, _, _, allowed = _rows(tile, mask, B, M, W, R)
        x = tl.load(states + at).to(tl.float32)
        normal = tl.load(normals + at).to(tl.float32)
        grad = tl.load(back + at).to(tl.float32)
        gain += tl.sum(grad * normal, axis=0)
        offset += tl.sum(grad, axis=0)
        grad = norm_backward(grad, normal, tl.load(inverses + tile.to(tl.int64) * R + r), layer + N_W, d, D)
        tl.store(back + at, grad.to(kind))
        total = grad
        for head in range(H):
            query, key, value, read = _head_backward(x, grad, layer, head, allowed, d, k, D, H, DOT, PRECISION)
            to = heads + _plane(tile, r, k, DP, R) + head * K
            tl.store(to, query.to(kind), mask=(k < K)[None, :])
            tl.store(to + plane, key.to(kind), mask=(k < K)[None, :])
            tl.store(to + 2 * plane, value.to(kind), mask=(k < K)[None, :])
            tl.store(to + 3 * plane, read.to(kind), mask=(k < K)[None, :])
            part = layer + head * K * D
            total += dot(query, load_matrix(part, k, d, K, D, D), DOT, PRECISION)
            total += dot(key, load_matrix(part + D * D, k, d, K, D, D), DOT, PRECISION)
            total += dot(value, load_matrix(part + 2 * D * D, k, d, K, D, D), DOT, PRECISION)
        tl.store(grads + at, total.to(kind))
    tl.store(out + N_W + d, gain, mask=d < D)
    tl.store(out + N_W + 2 * D + d, offset, mask=d < D)
    tl.debug_barrier()
    for part in range(3):
        _map_pass(heads + part * plane, states, out + part * D * D, out + 3 * D * D + part * D, tile0, P, r, d, D, DP, R,
                  NT, DOT, PRECISION)
    _map_pass(back, heads + 3 * plane, out + OUT, out + OUT + D * D, tile0, P, r, d, D, DP, R, NT, DOT, PRECISION)
    tl.debug_barrier()


@triton.jit
def _embed_pass(tokens, mask, params, grads, token_grad, out, rows_out, tile0, P, B, M, W, r, d,
                F: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, R: tl.constexpr, FK: tl.constexpr,
                NT: tl.constexpr, NEEDS_TOKENS: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """Gradient of the input map into `out`; the sum over tiles of the state's gradient, row by row, into `rows_out`.

    Row r of every tile holds slot r mod T, so that the gradients of class token, bias and positions are sums of its rows.
    """
    total = tl.zeros((R, DP), dtype=tl.float32)
    for start in range(0, F, FK):
        f = start + tl.arange(0, FK)
        embed_map = tl.zeros((DP, FK), dtype=tl.float32)
        for turn in range(NT):
            tile = tile0 + turn * P
            window, slot, _, is_read, _ = _rows(tile, mask, B, M, W, R)
            grad = tl.load(grads + _plane(tile, r, d, DP, R)).to(tl.float32)
            row = (window.to(tl.int64) * M + slot - 1) * F
            inside = is_read[:, None] & (f[None, :] < F)
            x = tl.load(tokens + row[:, None] + f[None, :], mask=inside, other=0.0)
            embed_map += dot(tl.trans(grad), x, DOT, PRECISION)
            if start == 0:
                total += grad
            if NEEDS_TOKENS:
                share = dot(grad, load_matrix(params, d, f, D, F, F), DOT, PRECISION)
                tl.store(token_grad + row[:, None] + f[None, :], share.to(token_grad.dtype.element_ty), mask=inside)
        _store_matrix(out, embed_map, d, f, D, F, F)
    _store_matrix(rows_out, total, r, d, R, D, D)


@triton.jit(do_not_specialize=["B", "M", "W", "P"])
def attention_backward_kernel(
    tokens, mask, params, position, grad_out, scratch, inverses, partial, token_grad, B, M, W, P,
    F: tl.constexpr, D: tl.constexpr, FF: tl.constexpr, H: tl.constexpr, L: tl.constexpr,
    DP: tl.constexpr, KP: tl.constexpr, R: tl.constexpr, FK: tl.constexpr, FC: tl.constexpr, NT: tl.constexpr,
    HAS_POSITION: tl.constexpr, NEEDS_TOKENS: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):
    """All gradients of the stack; program p of P owns the tiles p, p + P, ..., NT of them, and one row of `partial`.

    `scratch` holds L + 9 planes of all tiles: the inputs of the layers and of the last norm, then the normal rows after
    attention, the gradients of the feed-forward's output, of its input and of the layer's input, and four of the heads. A
    row of `partial` is the layers as in `params`, gain and bias of the last norm, the input map, R rows of `_embed_pass`.
    """
    W1: tl.constexpr = 4 * D * D + 4 * D
    B1: tl.constexpr = W1 + FF * D
    W2: tl.constexpr = B1 + FF
    B2: tl.constexpr = W2 + D * FF
    N_W: tl.constexpr = B2 + D
    N_B: tl.constexpr = N_W + 2 * D
    SIZE: tl.constexpr = N_B + 2 * D
    OWN: tl.constexpr = L * SIZE + 2 * D + D * F + R * D
    tile0 = tl.program_id(0)
    r, d, k = tl.arange(0, R), tl.arange(0, DP), tl.arange(0, KP)
    plane = P.to(tl.int64) * NT * (R * DP)
    normals, slopes = scratch + (L + 1) * plane, scratch + (L + 2) * plane
    back, grads = scratch + (L + 3) * plane, scratch + (L + 4) * plane
    own = partial + tile0.to(tl.int64) * OWN
    layers = params + D * F + 2 * D
    last = layers + L * SIZE
    kind = scratch.dtype.element_ty

    gain = tl.zeros((DP,), dtype=tl.float32)
    offset = tl.zeros((DP,), dtype=tl.float32)
    for turn in range(NT):
        tile = tile0 + turn * P
        at = _plane(tile, r, d, DP, R)
        window, slot, is_valid, is_read, allowed = _rows(tile, mask, B, M, W, R)
        x = _embed(tokens, params, position, window, slot, is_valid, is_read, d, M, F, D, FK, HAS_POSITION, DOT, PRECISION)
        tl.store(scratch + at, x.to(kind))
        for index in range(L):
            layer = layers + index * SIZE
            x = norm(_attend(x, layer, allowed, d, k, D, H, DOT, PRECISION), layer + N_W, layer + N_B, d, D)
            x = feed_forward(x, layer + W1, layer + B1, layer + W2, layer + B2, d, D, FF, FC, DOT, PRECISION)
            x = norm(x, layer + N_W + D, layer + N_B + D, d, D)
            tl.store(scratch + (index + 1) * plane + at, x.to(kind))
        normal, inverse = norm_parts(x, d, D)
        inside = (is_valid & (slot == 0))[:, None] & (d[None, :] < D)
        grad = tl.load(grad_out + window.to(tl.int64)[:, None] * D + d[None, :], mask=inside, other=0.0).to(tl.float32)
        gain += tl.sum(grad * normal, axis=0)
        offset += tl.sum(grad, axis=0)
        tl.store(grads + at, norm_backward(grad, normal, inverse, last, d, D).to(kind))
    tl.store(own + L * SIZE + d, gain, mask=d < D)
    tl.store(own + L * SIZE + D + d, offset, mask=d < D)
    tl.debug_barrier()

    for step in range(L):
        index = L - 1 - step
        layer, out, states = layers + index * SIZE, own + index * SIZE, scratch + index * plane
        gain = tl.zeros((DP,), dtype=tl.float32)
        offset = tl.zeros((DP,), dtype=tl.float32)
        bias = tl.zeros((DP,), dtype=tl.float32)
        for turn in range(NT):
            tile = tile0 + turn * P
            at = _plane(tile, r, d, DP, R)
            _, _, _, _, allowed = _rows(tile, mask, B, M, W, R)
            x = tl.load(states + at).to(tl.float32)
            normal, inverse = norm_parts(_attend(x, layer, allowed, d, k, D, H, DOT, PRECISION), d, D)
            tl.store(normals + at, normal.to(kind))
            tl.store(inverses + tile.to(tl.int64) * R + r, inverse)
            y = normal * load_vector(layer + N_W, d, D)[None, :] + load_vector(layer + N_B, d, D)[None, :]
            y = feed_forward(y, layer + W1, layer + B1, layer + W2, layer + B2, d, D, FF, FC, DOT, PRECISION)
            normal, inverse = norm_parts(y, d, D)
            grad = tl.load(grads + at).to(tl.float32)
            gain += tl.sum(grad * normal, axis=0)
            offset += tl.sum(grad, axis=0)
            grad = norm_backward(grad, normal, inverse, layer + N_W + D, d, D)
            bias += tl.sum(grad, axis=0)
            tl.store(slopes + at, grad.to(kind))
            # The second pass adds to this what comes back through the feed-forward.
            tl.store(back + at, grad.to(kind))
        tl.store(out + N_W + D + d, gain, mask=d < D)
        tl.store(out + N_B + D + d, offset, mask=d < D)
        tl.store(out + B2 + d, bias, mask=d < D)
        tl.debug_barrier()
        _ff_pass(normals, slopes, back, layer, out, tile0, P, r, d, D, FF, DP, R, FC, NT, DOT, PRECISION)
        _attention_pass(states, normals, inverses, back, grads, scratch + (L + 5) * plane, plane, mask, layer, out, tile0,
                        P, B, M, W, r, d, k, D, FF, H, DP, KP, R, NT, DOT, PRECISION)
    _embed_pass(tokens, mask, params, grads, token_grad, own + L * SIZE + 2 * D, own + L * SIZE + 2 * D + D * F, tile0, P,
                B, M, W, r, d, F, D, DP, R, FK, NT, NEEDS_TOKENS, DOT, PRECISION)
