"""The folded stack over blocks of windows, with its gradient written out.

A block is some hundred windows: it goes through all layers, forward or backward, before the thread that has it touches
the next one, so that its tokens come from memory once and then from a cache (every layer reads them twice forward and
twice backward). Gradients of the maps are formed block by block and added up in the order of the blocks.

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

from kernels.encoder.block_threads import over_blocks
from kernels.encoder.pooling import TORCH, Pooling
from kernels.encoder.reference import LAYER_NORM_EPS

BLOCK_BYTES = 5 << 20
"""Most tokens of a block on a CPU; elsewhere a group is one block."""
_BLOCKS_AT_ONCE = 4
"""A group larger than a block is cut into a multiple of these, so that so many threads end together."""


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

    def layers(self) -> list[_Maps]:
        """The layers one by one."""
        stacked = self.tensors()[: len(_Maps._fields)]
        return [_Maps(*parts) for parts in zip(*(value.unbind() for value in stacked))]


class _Maps(NamedTuple):
    """The maps of one layer, fields as in `StackMaps`."""

    self_map: Tensor
    self_bias: Tensor
    read_map: Tensor
    read_bias: Tensor
    write_map: Tensor
    ff_in_weight: Tensor
    ff_in_bias: Tensor
    ff_out_weight: Tensor
    norm_weight: Tensor
    norm_bias: Tensor


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
    """Softmax weights, as the pooling keeps them."""
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
    groups: Sequence[tuple[Tensor, Tensor]],
    start: Tensor,
    read: Tensor,
    maps: StackMaps,
    num_heads: int,
    pooling: Pooling = TORCH,
) -> Tensor:
    """Features of all windows in the order of the groups, shape (B, D); once differentiable.

    Args:
        groups: Tokens (B_g, M_g, F) and mask (B_g, M_g) of each group.
        start: State of every window at the first cross-attention, (D,).
        read: Read vectors of every window there, (H·F,).
        maps: The rest of the stack.
        num_heads: Attention heads H.
        pooling: How tokens are read.
    """
    tokens, masks = [group[0] for group in groups], [group[1] for group in groups]
    inputs = (start, read, *maps.tensors(), *tokens)
    if torch.is_grad_enabled() and any(value.requires_grad for value in inputs):
        return _Stack.apply(masks, num_heads, pooling, *inputs)
    layers = maps.layers()
    blocks = _blocks(tokens, masks)

    def work(block: tuple[Tensor, Tensor | None]) -> Tensor:
        return _forward(*block, start, read, maps, layers, num_heads, pooling, None)[0]

    return _joined(over_blocks(work, blocks))


def _joined(features: list[Tensor]) -> Tensor:
    return features[0] if len(features) == 1 else torch.cat(features)


def _cut(group: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
    """An array of the windows of a group with these tokens, block by block."""
    wanted = -(-tokens.numel() * tokens.element_size() // BLOCK_BYTES)
    if tokens.device.type != "cpu" or wanted == 1:
        return (group,)
    return group.tensor_split(min(-(-wanted // _BLOCKS_AT_ONCE) * _BLOCKS_AT_ONCE, len(tokens)))


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
    layers: Sequence[_Maps],
    num_heads: int,
    pooling: Pooling,
    saved: list[_Layer] | None,
) -> tuple[Tensor, _Last]:
    """Features (B, D) of a block and its last norm; what else its backward needs is appended to `saved`."""
    batch, _, features = tokens_BMF.shape
    state, read_BHF = start.expand(batch, -1), read.view(num_heads, features).expand(batch, -1, -1)
    for index, layer in enumerate(layers):
        gain, offset = layer.norm_weight.unbind(), layer.norm_bias.unbind()
        before, first, first_mean, first_inverse = state, state, start, start
        if index:
            first = torch.addmm(layer.self_bias, state, layer.self_map.T)
            state, first_mean, first_inverse = _norm(first, gain[0], offset[0])
            read_BHF = torch.addmm(layer.read_bias, state, layer.read_map.T).view(batch, num_heads, features)
        kept, pooled = pooling.forward(read_BHF, tokens_BMF, bias_B1M, saved is not None)
        pooled = pooled.view(batch, -1)
        second = torch.addmm(state, pooled, layer.write_map.T)
        middle, second_mean, second_inverse = _norm(second, gain[1], offset[1])
        hidden = torch.addmm(layer.ff_in_bias, middle, layer.ff_in_weight.T).relu_()
        third = torch.addmm(middle, hidden, layer.ff_out_weight.T)
        out, third_mean, third_inverse = _norm(third, gain[2], offset[2])
        if saved is not None:
            saved.append(_Layer(before, first, first_mean, first_inverse, state, read_BHF, kept, pooled, second,
                                second_mean, second_inverse, middle, hidden, third, third_mean, third_inverse))  # fmt: skip
        state = out
    out, mean, inverse = _norm(state, maps.last_weight, maps.last_bias)
    return out, _Last(state, mean, inverse)


class _Stack(torch.autograd.Function):
    """All blocks of all groups."""

    @staticmethod
    def forward(ctx: Any, masks: Sequence[Tensor], num_heads: int, pooling: Pooling, *inputs: Tensor) -> Tensor:
        start, read, maps, tokens = _parts(inputs)
        layers = maps.layers()

        def work(block: tuple[Tensor, Tensor | None]) -> tuple[Tensor, list[Tensor]]:
            saved: list[_Layer] = []
            features, last = _forward(*block, start, read, maps, layers, num_heads, pooling, saved)
            return features, [value for record in (*saved, last) for value in record]

        done = over_blocks(work, _blocks(tokens, masks))
        ctx.save_for_backward(*inputs, *(value for _, saved in done for value in saved))
        ctx.num_inputs, ctx.pooling = len(inputs), pooling
        return _joined([features for features, _ in done])

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
        first_tokens = len(inputs) - len(tokens)
        needed = ctx.needs_input_grad[3 + first_tokens :]
        token_grads = [torch.zeros_like(x) if is_needed else None for x, is_needed in zip(tokens, needed)]
        blocks, at = [], 0
        for group, group_grad in zip(tokens, token_grads):
            pieces = _cut(group, group)
            targets = (None,) * len(pieces) if group_grad is None else _cut(group_grad, group)
            for x, target in zip(pieces, targets):
                layers = [_Layer(*itertools.islice(saved, len(_Layer._fields))) for _ in maps.self_map]
                last = _Last(*itertools.islice(saved, len(_Last._fields)))
                blocks.append((grad_outputs[0][at : at + len(x)], x, target, layers, last))
                at += len(x)

        def work(block: tuple[Tensor, Tensor, Tensor | None, list[_Layer], _Last]) -> list[Tensor]:
            grads = [torch.zeros_like(value) for value in inputs[:first_tokens]]
            _backward(*block, ctx.pooling, maps, *_parts(grads)[:3])
            return grads

        first, *rest = over_blocks(work, blocks)
        for grads in rest:
            for total, value in zip(first, grads):
                total.add_(value)
        return None, None, None, *first, *token_grads


def _parts(inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, StackMaps, Sequence[Tensor]]:
    """First state, first read vectors, maps and tokens out of one sequence."""
    names = [item.name for item in dataclasses.fields(StackMaps)]
    return inputs[0], inputs[1], StackMaps(**dict(zip(names, inputs[2:]))), inputs[2 + len(names) :]


def _backward(
    grad: Tensor,
    tokens_BMF: Tensor,
    token_grad: Tensor | None,
    saved: list[_Layer],
    last: _Last,
    pooling: Pooling,
    maps: StackMaps,
    start_grad: Tensor,
    read_grad: Tensor,
    grads: StackMaps,
) -> None:
    """Write a block's gradients into `start_grad`, `read_grad`, `grads`; `grad` is that of its features, (B, D).

    Where the tokens need one, theirs is added to `token_grad`, (B, M, F).
    """
    shape = (len(tokens_BMF), *saved[0].read.shape[1:])
    grad, *shares = _norm_backward(grad.contiguous(), last, maps.last_weight, maps.last_bias)
    grads.last_weight.copy_(shares[0])
    grads.last_bias.copy_(shares[1])
    for index, kept, own, out in reversed(list(zip(itertools.count(), saved, maps.layers(), grads.layers()))):

        def through_norm(which: int, grad: Tensor, *moments: Tensor, own: _Maps = own, out: _Maps = out) -> Tensor:
            grad, *shares = _norm_backward(grad, moments, own.norm_weight[which], own.norm_bias[which])
            out.norm_weight[which].copy_(shares[0])
            out.norm_bias[which].copy_(shares[1])
            return grad

        grad = through_norm(2, grad, kept.third, kept.third_mean, kept.third_inverse)
        torch.mm(grad.T, kept.hidden, out=out.ff_out_weight)
        hidden_grad = torch.ops.aten.threshold_backward(torch.mm(grad, own.ff_out_weight), kept.hidden, 0)
        torch.mm(hidden_grad.T, kept.middle, out=out.ff_in_weight)
        torch.sum(hidden_grad, dim=0, out=out.ff_in_bias)
        grad = through_norm(
            1, torch.addmm(grad, hidden_grad, own.ff_in_weight), kept.second, kept.second_mean, kept.second_inverse
        )
        torch.mm(grad.T, kept.pooled, out=out.write_map)
        pooled_grad = torch.mm(grad, own.write_map).view(shape)
        looked = pooling.backward(pooled_grad, tokens_BMF, kept.weight, kept.read, token_grad).view(shape[0], -1)
        if index == 0:
            torch.sum(grad, dim=0, out=start_grad)
            torch.sum(looked, dim=0, out=read_grad)
            return
        torch.mm(looked.T, kept.query, out=out.read_map)
        torch.sum(looked, dim=0, out=out.read_bias)
        grad = through_norm(0, torch.addmm(grad, looked, own.read_map), kept.first, kept.first_mean, kept.first_inverse)
        torch.mm(grad.T, kept.before, out=out.self_map)
        torch.sum(grad, dim=0, out=out.self_bias)
        grad = torch.mm(grad, own.self_map)


def _norm_backward(
    grad: Tensor, kept: tuple[Tensor, ...], weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the input, the gain and the bias of a layer norm with this input, mean and 1 / sigma."""
    total, mean, inverse = kept
    return torch.ops.aten.native_layer_norm_backward(
        grad, total, (total.shape[1],), mean, inverse, weight, bias, (True, True, True)
    )
