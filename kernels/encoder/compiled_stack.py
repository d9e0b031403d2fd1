"""The folded stack compiled, forward only: some windows at a time go through all layers without leaving the second cache.

    z <- norm((I + S) z + s)         r = U z + u_0          (not in the first layer: there both are the same for all)
    p_h = sum_m softmax_m(r_h . x_m) x_m
    z <- norm(z + G p)               z <- norm(z + W_2 relu(W_1 z + b_1))

Rows of states are padded to whole panels of sixteen columns, with zeros that the maps keep zero. No operation allocates, and
threads do not meet the interpreter between the first layer and the last.

Axis legend: B windows, M marker tokens, F features a token, D model width, H heads, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from kernels._lane_memory import load_8, put, store, take
from kernels._lanes import high_half, lane, low_half, multiply_add, spread_8, where_at_least
from kernels.encoder.block_threads import over_blocks
from kernels.encoder.compiled_pooling import attend, flat
from kernels.encoder.folded import Folded
from kernels.encoder.reference import LAYER_NORM_EPS

_PANEL = 16
"""Columns whose sums are in registers together: two registers of eight, for four rows."""
_TILE = 32
"""Windows that go through the stack together: their tokens and states stay in the second cache, a multiple of four."""
_PIECE = 8 * _TILE
"""Windows of one call, so that the threads end together."""


def _padded(values: Tensor) -> Tensor:
    """Zeros behind the last axis up to whole panels."""
    return torch.nn.functional.pad(values, (0, -values.shape[-1] % _PANEL))


def _panels(maps: Tensor) -> np.ndarray:
    """Maps (L, N, K) as one row of panels: layer by layer, sixteen outputs of all K inputs after each other."""
    turned_LKN = _padded(maps.transpose(1, 2))
    return turned_LKN.unflatten(2, (-1, _PANEL)).transpose(1, 2).contiguous().numpy().reshape(-1)


def encode_compiled(groups: Sequence[tuple[Tensor, Tensor]], folded: Folded) -> Tensor:
    """Features of all windows in the order of the groups, (B, D), float32, without gradient."""
    with torch.no_grad():
        maps = folded.maps
        layers, width = maps.self_bias.shape
        ff, reads = maps.ff_in_bias.shape[1], maps.read_bias.shape[1]
        sizes = (layers, width, ff, folded.num_heads, reads // folded.num_heads)
        constants = (
            flat(_padded(folded.start)), flat(_padded(folded.read)),
            *(_panels(x) for x in (maps.self_map, maps.read_map, maps.write_map, maps.ff_in_weight, maps.ff_out_weight)),
            *(flat(_padded(x)) for x in (maps.self_bias, maps.read_bias, maps.ff_in_bias)),
            flat(_padded(torch.cat([maps.norm_weight.flatten(0, 1), maps.last_weight[None]]))),
            flat(_padded(torch.cat([maps.norm_bias.flatten(0, 1), maps.last_bias[None]]))),
            flat(_padded(torch.ones(width))),
        )  # fmt: skip
    features = torch.empty(sum(len(tokens) for tokens, _ in groups), width)
    pieces, at = [], 0
    for tokens, mask in groups:
        bias = None if bool(mask.all()) else torch.zeros(mask.shape).masked_fill_(~mask, -torch.inf)
        arrays = (
            tokens.shape[1],
            flat(tokens),
            None if bias is None else flat(bias),
            features[at : at + len(tokens)].numpy().reshape(-1),
        )
        pieces += [
            (first, min(first + _PIECE, len(tokens)), arrays) for first in range(0, len(tokens), _PIECE)
        ]  # fmt: skip
        at += len(tokens)

    def work(piece: tuple[int, int, tuple[Any, ...]]) -> None:
        first, last, arrays = piece
        arguments: list[Any] = [first, last, *sizes, *arrays, *constants]
        _encode(*arguments)

    over_blocks(work, pieces)
    return features


@numba.njit(error_model="numpy", nogil=True)
def _product(
    rows: int, inputs: int, outputs: int, given: np.ndarray, given_size: int, maps: np.ndarray, at: int,
    start: np.ndarray, start_at: int, start_size: int, least: float, out: np.ndarray,
) -> None:  # fmt: skip
    """Row by row out = max(start + map . given, least), four rows at a time; `outputs` is a multiple of a panel's columns."""
    lowest = spread_8(np.float32(least))
    for n in range(0, outputs, 16):
        panel = at + n * inputs
        for r in range(0, rows, 4):
            s, g = start_at + r * start_size + n, r * given_size
            a0, b0 = load_8(start, s), load_8(start, s + 8)
            a1, b1 = load_8(start, s + start_size), load_8(start, s + start_size + 8)
            a2, b2 = load_8(start, s + 2 * start_size), load_8(start, s + 2 * start_size + 8)
            a3, b3 = load_8(start, s + 3 * start_size), load_8(start, s + 3 * start_size + 8)
            for k in range(inputs):
                x, y = load_8(maps, panel + 16 * k), load_8(maps, panel + 16 * k + 8)
                v0, v1 = spread_8(take(given, g + k)), spread_8(take(given, g + given_size + k))
                v2, v3 = spread_8(take(given, g + 2 * given_size + k)), spread_8(take(given, g + 3 * given_size + k))
                a0, b0 = multiply_add(v0, x, a0), multiply_add(v0, y, b0)
                a1, b1 = multiply_add(v1, x, a1), multiply_add(v1, y, b1)
                a2, b2 = multiply_add(v2, x, a2), multiply_add(v2, y, b2)
                a3, b3 = multiply_add(v3, x, a3), multiply_add(v3, y, b3)
            o = r * outputs + n
            store(out, o, where_at_least(lowest, a0, lowest, a0))
            store(out, o + 8, where_at_least(lowest, b0, lowest, b0))
            store(out, o + outputs, where_at_least(lowest, a1, lowest, a1))
            store(out, o + outputs + 8, where_at_least(lowest, b1, lowest, b1))
            store(out, o + 2 * outputs, where_at_least(lowest, a2, lowest, a2))
            store(out, o + 2 * outputs + 8, where_at_least(lowest, b2, lowest, b2))
            store(out, o + 3 * outputs, where_at_least(lowest, a3, lowest, a3))
            store(out, o + 3 * outputs + 8, where_at_least(lowest, b3, lowest, b3))


@numba.njit(error_model="numpy", inline="always")
def _sum(eight):  # noqa: ANN001, ANN202  compiled into its caller
    four = low_half(eight) + high_half(eight)
    return (lane(four, 0) + lane(four, 1)) + (lane(four, 2) + lane(four, 3))


@numba.njit(error_model="numpy", nogil=True)
def _norm(
    rows: int,
    width: int,
    size: int,
    state: np.ndarray,
    gain: np.ndarray,
    offset: np.ndarray,
    at: int,
    inside: np.ndarray,
) -> None:
    """Layer norm of rows of `width` numbers, `size` apart, in place; gain and offset from `at` on."""
    share = np.float32(1.0 / width)
    for row in range(0, rows * size, size):
        total = spread_8(np.float32(0.0))
        for i in range(0, size, 8):
            total = total + load_8(state, row + i)
        mean, spread = spread_8(_sum(total) * share), spread_8(np.float32(0.0))
        for i in range(0, size, 8):
            apart = (load_8(state, row + i) - mean) * load_8(inside, i)
            spread = multiply_add(apart, apart, spread)
        inverse = spread_8(np.float32(1.0 / np.sqrt(_sum(spread) * share + np.float32(LAYER_NORM_EPS))))
        for i in range(0, size, 8):
            scaled = (load_8(state, row + i) - mean) * inverse
            store(state, row + i, multiply_add(scaled, load_8(gain, at + i), load_8(offset, at + i)))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _encode(
    first: int, last: int, layers: int, width: int, ff: int, heads: int, features: int,
    markers: int, tokens: np.ndarray, bias: np.ndarray | None, out: np.ndarray,
    start: np.ndarray, first_read: np.ndarray, self_map: np.ndarray, read_map: np.ndarray, write_map: np.ndarray,
    in_map: np.ndarray, out_map: np.ndarray, self_bias: np.ndarray, read_bias: np.ndarray, in_bias: np.ndarray,
    gain: np.ndarray, offset: np.ndarray, inside: np.ndarray,
) -> None:  # fmt: skip
    f32, none = np.float32, -np.inf
    reads, size, hidden_size = heads * features, len(start), -(-ff // 16) * 16
    read_size = len(first_read)
    state, other = np.zeros(_TILE * size, f32), np.zeros(_TILE * size, f32)
    read, pooled = np.zeros(_TILE * read_size, f32), np.zeros(_TILE * read_size, f32)
    hidden = np.zeros(_TILE * hidden_size, f32)
    weight = np.empty(-(-heads // 4) * 8 * ((markers + 1) // 2), f32)
    for tile in range(first, last, _TILE):
        count = min(_TILE, last - tile)
        rows = (count + 3) // 4 * 4
        own_tokens = tokens[tile * markers * features :]
        for r in range(rows):
            for i in range(size):
                state[r * size + i] = start[i]
            for i in range(read_size):
                read[r * read_size + i] = first_read[i]
        for layer in range(layers):
            norm = 3 * layer * size
            if layer:
                _product(
                    rows,
                    width,
                    size,
                    state,
                    size,
                    self_map,
                    layer * size * width,
                    self_bias,
                    layer * size,
                    0,
                    none,
                    other,
                )
                _norm(rows, width, size, other, gain, offset, norm, inside)
                state, other = other, state
                _product(rows, width, read_size, state, size, read_map, layer * read_size * width, read_bias,
                         layer * read_size, 0, none, read)  # fmt: skip
            if bias is None:  # decided when compiling: None has a type of its own
                attend(count, markers, features, heads, read_size, own_tokens, read, None, None, weight, 0, pooled)
            else:
                own_bias = bias[tile * markers :]
                attend(count, markers, features, heads, read_size, own_tokens, read, own_bias, None, weight, 0, pooled)
            _product(rows, reads, size, pooled, read_size, write_map, layer * size * reads, state, 0, size, none, other)
            _norm(rows, width, size, other, gain, offset, norm + size, inside)
            _product(rows, width, hidden_size, other, size, in_map, layer * hidden_size * width, in_bias,
                     layer * hidden_size, 0, 0.0, hidden)  # fmt: skip
            _product(rows, ff, size, hidden, hidden_size, out_map, layer * size * ff, other, 0, size, none, state)
            _norm(rows, width, size, state, gain, offset, norm + 2 * size, inside)
        _norm(rows, width, size, state, gain, offset, 3 * layers * size, inside)
        for r in range(count):
            for i in range(width):
                put(out, (tile + r) * width + i, take(state, r * size + i))
