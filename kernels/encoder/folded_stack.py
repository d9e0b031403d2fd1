"""The folded stack over blocks of windows, with its gradient written out.

A block is as many windows as have tokens of half a megabyte: it goes through all layers, forward or backward, before the
next one is touched, so that its tokens come from memory once and then from a cache (every layer reads them twice
forward and twice backward). Gradients of the maps are added up block by block in the products themselves.

    z <- norm((I + S) z + s)         r = U z + u_0          (not in the first layer: there both are the same for all)
    p_h = sum_m softmax_m(r_h . x_m) x_m
    z <- norm(z + G p)               z <- norm(z + W_2 relu(W_1 z + b_1))

The constants that are not written here ride on the norms' biases (`kernels.encoder.folded.fold`).

Axis legend: B windows of a block, M marker tokens, F features a token, D model width, H heads, L layers.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.encoder.reference import LAYER_NORM_EPS

BLOCK_BYTES = 2 << 20
"""Tokens of a block on a CPU; elsewhere a group is one block."""


@dataclass(frozen=True, kw_only=True)
class StackMaps:
    """Folded maps of the stack, layers along the first axis. Entries of the first layer that nothing reads have no gradient."""

    self_map: Tensor
    """I + S, (L, D, D)."""
    self_bias: Tensor
    """(L, D)."""
    read_map: Tensor
    """U, (L, H·F, D)."""
    read_bias: Tensor
    """(L, H·F)."""
    write_map: Tensor
    """G, (L, D, H·F)."""
    ff_in_weight: Tensor
    """(L, ff, D)."""
    ff_in_bias: Tensor
    """(L, ff)."""
    ff_out_weight: Tensor
    """(L, D, ff)."""
    norm_weight: Tensor
    """(L, 3, D)."""
    norm_bias: Tensor
    """(L, 3, D)."""
    last_weight: Tensor
    """Gain of the last norm, (D,)."""
    last_bias: Tensor
    """(D,)."""

    def tensors(self) -> list[Tensor]:
        """All of them in the order of the fields."""
        return [getattr(self, item.name) for item in dataclasses.fields(self)]


class _Layer(NamedTuple):
    """What one layer of one block leaves for the backward. Of the first layer, what comes before `read` is not used."""

    before: Tensor
    """State that enters, (B, D)."""
    first: Tensor
    """Input of the first norm, (B, D)."""
    first_mean: Tensor
    first_inverse: Tensor
    """1 / sigma."""
    query: Tensor
    """Output of the first norm, (B, D)."""
    read: Tensor
    """(B, H, F)."""
    weight: Tensor
    """Softmax weights, (B, H, M)."""
    pooled: Tensor
    """(B, H·F)."""
    second: Tensor
    second_mean: Tensor
    second_inverse: Tensor
    middle: Tensor
    """Output of the second norm, (B, D)."""
    hidden: Tensor
    """After the ReLU, (B, ff)."""
    third: Tensor
    third_mean: Tensor
    third_inverse: Tensor


class _Last(NamedTuple):
    """The last norm of one block: input (B, D) and moments."""

    total: Tensor
    mean: Tensor
    inverse: Tensor


def encode_stack(
    groups: Sequence[tuple[Tensor, Tensor]], start: Tensor, read: Tensor, maps: StackMaps, num_heads: int
) -> Tensor:
    """Features of all windows in the order of the groups, shape (B, D); once differentiable.

    Args:
        groups: Tokens (B_g, M_g, F) and mask (B_g, M_g) of each group.
        start: State of every window at the first cross-attention, (D,).
        read: Read vectors of every window there, (H·F,).
        maps: The rest of the stack.
        num_heads: Attention heads H.
    """
    tokens, masks = [group[0] for group in groups], [group[1] for group in groups]
    inputs = (start, read, *maps.tensors(), *tokens)
    if torch.is_grad_enabled() and any(value.requires_grad for value in inputs):
        return _Stack.apply(masks, num_heads, *inputs)
    done = [_forward(*block, start, read, maps, num_heads, None)[0] for block in _blocks(tokens, masks)]
    return done[0] if len(done) == 1 else torch.cat(done)


def _cut(group: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
    """An array of the windows of a group with these tokens, block by block."""
    if tokens.device.type != "cpu":
        return (group,)
    wanted = -(-tokens.numel() * tokens.element_size() // BLOCK_BYTES)
    return group.tensor_split(min(wanted, len(tokens)))


def _blocks(tokens: Sequence[Tensor], masks: Sequence[Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    """Tokens and score bias of each block: 0 where present, minus infinity where absent, None where nothing is absent."""
    blocks: list[tuple[Tensor, Tensor | None]] = []
    for group, mask in zip(tokens, masks):
        # Only on a CPU: elsewhere the answer would have to be waited for.
        if group.device.type == "cpu" and bool(mask.all()):
            blocks += [(x, None) for x in _cut(group, group)]
            continue
        bias = torch.zeros(mask.shape, dtype=group.dtype, device=group.device).masked_fill_(~mask, -torch.inf)
        blocks += list(zip(_cut(group, group), _cut(bias[:, None], group)))
    return blocks


def _norm(value: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Layer norm, mean and 1 / sigma."""
    return torch.native_layer_norm(value, (value.shape[1],), weight, bias, LAYER_NORM_EPS)


def _forward(
    tokens_BMF: Tensor,
    bias_B1M: Tensor | None,
    start: Tensor,
    read: Tensor,
    maps: StackMaps,
    num_heads: int,
    layers: list[_Layer] | None,
) -> tuple[Tensor, _Last]:
    """Features (B, D) of a block and its last norm; what else its backward needs goes into `layers`."""
    batch, _, features = tokens_BMF.shape
    turned_BFM = tokens_BMF.transpose(1, 2)
    state, read_BHF = start.expand(batch, -1), read.view(num_heads, features).expand(batch, -1, -1)
    for index in range(maps.self_map.shape[0]):
        gain, offset = maps.norm_weight[index], maps.norm_bias[index]
        before, first, moments = state, state, (start, start)
        if index:
            first = torch.addmm(maps.self_bias[index], state, maps.self_map[index].T)
            state, *moments = _norm(first, gain[0], offset[0])
            read_BHF = torch.addmm(maps.read_bias[index], state, maps.read_map[index].T).view(
                batch, num_heads, features
            )
        if bias_B1M is None:
            score_BHM = torch.bmm(read_BHF, turned_BFM)
        else:
            score_BHM = torch.baddbmm(bias_B1M, read_BHF, turned_BFM)
        weight_BHM = torch.softmax(score_BHM, dim=-1)
        pooled = torch.bmm(weight_BHM, tokens_BMF).view(batch, -1)
        second = torch.addmm(state, pooled, maps.write_map[index].T)
        middle, *second_moments = _norm(second, gain[1], offset[1])
        hidden = torch.addmm(maps.ff_in_bias[index], middle, maps.ff_in_weight[index].T).relu_()
        third = torch.addmm(middle, hidden, maps.ff_out_weight[index].T)
        out, *third_moments = _norm(third, gain[2], offset[2])
        if layers is not None:
            layers.append(_Layer(before, first, *moments, state, read_BHF, weight_BHM, pooled, second, *second_moments,
                                 middle, hidden, third, *third_moments))  # fmt: skip
        state = out
    out, *moments = _norm(state, maps.last_weight, maps.last_bias)
    return out, _Last(state, *moments)


class _Stack(torch.autograd.Function):
    """All blocks of all groups; the backward takes them one by one."""

    @staticmethod
    def forward(ctx: Any, masks: Sequence[Tensor], num_heads: int, *inputs: Tensor) -> Tensor:
        start, read, maps, tokens = _parts(inputs)
        done, kept = [], []
        for block in _blocks(tokens, masks):
            layers: list[_Layer] = []
            features, last = _forward(*block, start, read, maps, num_heads, layers)
            done.append(features)
            kept += [value for record in (*layers, last) for value in record]
        ctx.save_for_backward(*inputs, *kept)
        ctx.num_inputs = len(inputs)
        return done[0] if len(done) == 1 else torch.cat(done)

    # What is saved carries no graph, so a second derivative would be wrong: the decorator refuses it. It also hides the
    # parameter names from the type checker.
    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        inputs = tuple(itertools.islice(saved, ctx.num_inputs))
        _, _, maps, tokens = _parts(inputs)
        num_maps = len(inputs) - len(tokens)
        sums = [torch.zeros_like(value) for value in inputs[:num_maps]]
        needed = ctx.needs_input_grad[2 + num_maps :]
        token_grads = [torch.zeros_like(x) if is_needed else None for x, is_needed in zip(tokens, needed)]
        at = 0
        for group, group_grad in zip(tokens, token_grads):
            pieces = _cut(group, group)
            targets = (None,) * len(pieces) if group_grad is None else _cut(group_grad, group)
            for x, target in zip(pieces, targets):
                layers = [_Layer(*itertools.islice(saved, len(_Layer._fields))) for _ in maps.self_map]
                last = _Last(*itertools.islice(saved, len(_Last._fields)))
                grad = grad_outputs[0][at : at + len(x)]
                _backward(grad, x, layers, last, maps, *_parts(sums)[:3], target)
                at += len(x)
        return None, None, *sums, *token_grads


def _parts(inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, StackMaps, Sequence[Tensor]]:
    """First state, first read vectors, maps and tokens out of one sequence."""
    names = [item.name for item in dataclasses.fields(StackMaps)]
    return inputs[0], inputs[1], StackMaps(**dict(zip(names, inputs[2:]))), inputs[2 + len(names) :]


def _backward(
    grad: Tensor,
    tokens_BMF: Tensor,
    layers: list[_Layer],
    last: _Last,
    maps: StackMaps,
    start_sum: Tensor,
    read_sum: Tensor,
    sums: StackMaps,
    token_grad: Tensor | None,
) -> None:
    """Add a block's gradients to `sums` and, where asked, to `token_grad`; `grad` is that of its features, (B, D)."""
    shape = (len(tokens_BMF), *layers[0].read.shape[1:])
    grad, *shares = _norm_backward(grad.contiguous(), last, maps.last_weight, maps.last_bias)
    sums.last_weight.add_(shares[0])
    sums.last_bias.add_(shares[1])

    def through_norm(grad: Tensor, kept: tuple[Tensor, Tensor, Tensor], index: int, which: int) -> Tensor:
        gain, offset = maps.norm_weight[index, which], maps.norm_bias[index, which]
        grad, *shares = _norm_backward(grad, kept, gain, offset)
        sums.norm_weight[index, which].add_(shares[0])
        sums.norm_bias[index, which].add_(shares[1])
        return grad

    for index in reversed(range(len(layers))):
        layer = layers[index]
        grad = through_norm(grad, (layer.third, layer.third_mean, layer.third_inverse), index, 2)
        sums.ff_out_weight[index].addmm_(grad.T, layer.hidden)
        hidden_grad = torch.mm(grad, maps.ff_out_weight[index])
        hidden_grad = torch.ops.aten.threshold_backward(hidden_grad, layer.hidden, 0)
        sums.ff_in_weight[index].addmm_(hidden_grad.T, layer.middle)
        sums.ff_in_bias[index].add_(hidden_grad.sum(dim=0))
        grad = torch.addmm(grad, hidden_grad, maps.ff_in_weight[index])
        grad = through_norm(grad, (layer.second, layer.second_mean, layer.second_inverse), index, 1)
        sums.write_map[index].addmm_(grad.T, layer.pooled)
        pooled_grad = torch.mm(grad, maps.write_map[index]).view(shape)
        read_grad = _pool_backward(pooled_grad, tokens_BMF, layer, token_grad).view(shape[0], -1)
        if index == 0:
            start_sum.add_(grad.sum(dim=0))
            read_sum.add_(read_grad.sum(dim=0))
            return
        sums.read_map[index].addmm_(read_grad.T, layer.query)
        sums.read_bias[index].add_(read_grad.sum(dim=0))
        grad = torch.addmm(grad, read_grad, maps.read_map[index])
        grad = through_norm(grad, (layer.first, layer.first_mean, layer.first_inverse), index, 0)
        sums.self_map[index].addmm_(grad.T, layer.before)
        sums.self_bias[index].add_(grad.sum(dim=0))
        grad = torch.mm(grad, maps.self_map[index])


def _norm_backward(
    grad: Tensor, kept: tuple[Tensor, Tensor, Tensor], weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the input, the gain and the bias of a layer norm."""
    total, mean, inverse = kept
    return torch.ops.aten.native_layer_norm_backward(
        grad, total, (total.shape[1],), mean, inverse, weight, bias, (True, True, True)
    )


def _pool_backward(grad_BHF: Tensor, tokens_BMF: Tensor, layer: _Layer, token_grad: Tensor | None) -> Tensor:
    """Gradient (B, H, F) of the read vectors.

    Given dp: da_hm = dp_h . x_m, ds = the softmax's gradient of da, dr_h = sum_m ds_hm x_m and, only where the tokens
    need one, dx_m += sum_h (a_hm dp_h + ds_hm r_h).
    """
    slope_BHM = torch.bmm(grad_BHF, tokens_BMF.transpose(1, 2))
    slope_BHM = torch.ops.aten._softmax_backward_data(slope_BHM, layer.weight, -1, slope_BHM.dtype)
    if token_grad is not None:
        token_grad.baddbmm_(layer.weight.transpose(1, 2), grad_BHF)
        token_grad.baddbmm_(slope_BHM.transpose(1, 2), layer.read)
    return torch.bmm(slope_BHM, tokens_BMF)
