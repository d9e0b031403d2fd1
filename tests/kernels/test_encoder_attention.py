"""The self-attention encoder: reference against PyTorch's encoder, gradients, invariants, boundaries."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from kernels.encoder.attention import AttentionWeights, encode, reference
from kernels.encoder.attention.cases import CASES, TEST_CASES, Case, make_tokens, make_weights

TINY = next(case for case in CASES if case.name == "tiny")


def _encoder(case: Case, weights: AttentionWeights) -> nn.TransformerEncoder:
    """PyTorch's own encoder holding the same parameters."""
    layer = nn.TransformerEncoderLayer(
        case.width, case.heads, case.ff, dropout=0.0, activation="relu", batch_first=True, dtype=torch.float64
    )
    norm = nn.LayerNorm(case.width, dtype=torch.float64)
    stack = nn.TransformerEncoder(layer, case.layers, norm, enable_nested_tensor=False)
    with torch.no_grad():
        for own, module in zip(weights.layers, stack.layers, strict=True):
            theirs = cast(Any, module)
            theirs.self_attn.in_proj_weight.copy_(own.in_weight)
            theirs.self_attn.in_proj_bias.copy_(own.in_bias)
            theirs.self_attn.out_proj.weight.copy_(own.out_weight)
            theirs.self_attn.out_proj.bias.copy_(own.out_bias)
            theirs.linear1.weight.copy_(own.ff_in_weight)
            theirs.linear1.bias.copy_(own.ff_in_bias)
            theirs.linear2.weight.copy_(own.ff_out_weight)
            theirs.linear2.bias.copy_(own.ff_out_bias)
            for index, one in enumerate((theirs.norm1, theirs.norm2)):
                one.weight.copy_(own.norm_weight[index])
                one.bias.copy_(own.norm_bias[index])
        norm.weight.copy_(weights.norm_weight)
        norm.bias.copy_(weights.norm_bias)
    return stack


@pytest.mark.parametrize("case", TEST_CASES, ids=lambda case: case.name)
def test_reference_equals_pytorchs_transformer_encoder_with_the_same_weights(case: Case) -> None:
    weights = make_weights(case, dtype=torch.float64)
    tokens, mask = make_tokens(case, dtype=torch.float64)
    embedded = nn.functional.linear(tokens, weights.embed_weight, weights.embed_bias)
    if weights.position is not None:
        embedded = embedded + weights.position
    sequence = torch.cat([weights.query.expand(case.batch, 1, -1), embedded], dim=1)
    absent = torch.cat([mask.new_zeros(case.batch, 1), ~mask], dim=1)
    expected = _encoder(case, weights)(sequence, src_key_padding_mask=absent)[:, 0]
    assert (reference.encode(tokens, mask, weights) - expected).abs().max() < 1e-12


def test_gradients_pass_the_finite_difference_check() -> None:
    """float64 gradcheck through tokens, positions and all parameters, absent tokens around 50 included."""
    case = dataclasses.replace(TINY, has_position=True, batch=2, tokens=3, layers=1)
    weights = make_weights(case, dtype=torch.float64)
    tokens, mask = make_tokens(case, dtype=torch.float64)
    own = {item.name: getattr(weights, item.name) for item in dataclasses.fields(weights)}
    names = [name for name, value in own.items() if isinstance(value, Tensor)]
    parts = [(index, item.name) for index in range(case.layers) for item in dataclasses.fields(weights.layers[0])]
    leaves = [tokens, *(own[name] for name in names), *(getattr(weights.layers[i], part) for i, part in parts)]

    def run(*values: Tensor) -> Tensor:
        given = dict(zip(names, values[1:]))
        rest = dict(zip(parts, values[1 + len(names) :]))
        layers = tuple(
            dataclasses.replace(layer, **{part: value for (at, part), value in rest.items() if at == index})
            for index, layer in enumerate(weights.layers)
        )
        return encode(values[0], mask, dataclasses.replace(weights, layers=layers, **cast(Any, given)))

    assert torch.autograd.gradcheck(run, [value.clone().requires_grad_() for value in leaves], eps=1e-6, atol=1e-6)


def test_a_set_has_no_order_and_a_sequence_has_one() -> None:
    """Without positions a permutation of the tokens changes nothing; with positions it does."""
    case = next(case for case in CASES if case.name == "prime")
    order = torch.randperm(case.tokens, generator=torch.Generator().manual_seed(5))
    differences = []
    for has_position in (False, True):
        varied = dataclasses.replace(case, has_position=has_position)
        weights = make_weights(varied, dtype=torch.float64)
        tokens, mask = make_tokens(varied, dtype=torch.float64)
        changed = torch.where(mask[..., None], tokens, -1e3)
        difference = encode(changed[:, order], mask[:, order], weights) - encode(tokens, mask, weights)
        differences.append(float(difference.abs().max()))
    assert differences[0] < 1e-12 and differences[1] > 1e-3


def test_a_subset_equals_a_shorter_set_and_nothing_equals_the_class_token_alone() -> None:
    weights = make_weights(TINY, dtype=torch.float64)
    tokens, _ = make_tokens(TINY, dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False, False]]).expand(TINY.batch, -1)
    full = torch.ones(TINY.batch, 3, dtype=torch.bool)
    assert (encode(tokens, mask, weights) - encode(tokens[:, :3], full, weights)).abs().max() < 1e-12
    alone = encode(tokens, torch.zeros_like(mask), weights)
    assert alone.isfinite().all() and (alone - alone[:1]).abs().max() < 1e-12


def test_dropout_is_the_references_and_leaves_the_mean_near() -> None:
    weights = make_weights(TINY, dtype=torch.float64)
    tokens, mask = make_tokens(TINY, dtype=torch.float64)
    torch.manual_seed(0)
    dropped = encode(tokens, mask, weights, dropout=0.3)
    assert (dropped - encode(tokens, mask, weights)).abs().max() > 1e-3
    torch.manual_seed(0)
    assert torch.equal(dropped, encode(tokens, mask, weights, dropout=0.3))


def test_boundary_errors_name_the_argument_and_what_was_expected() -> None:
    weights = make_weights(TINY)
    tokens, mask = make_tokens(TINY)
    with pytest.raises(ValueError, match=r"tokens: expected shape \(B, M, 4\)"):
        encode(tokens[..., :3], mask, weights)
    with pytest.raises(ValueError, match=r"tokens: expected dtype torch\.float32"):
        encode(tokens.double(), mask, weights)
    with pytest.raises(ValueError, match=r"mask: expected dtype torch\.bool"):
        encode(tokens, mask.float(), weights)
    with pytest.raises(ValueError, match="tokens: expected at least one window and one token"):
        encode(tokens[:0], mask[:0], weights)
    with pytest.raises(ValueError, match="dropout: expected a probability"):
        encode(tokens, mask, weights, dropout=1.5)
    with pytest.raises(ValueError, match=r"weights\.position: expected shape \(5, 8\), got \(4, 8\)"):
        encode(tokens, mask, dataclasses.replace(weights, position=torch.zeros(4, 8)))
    with pytest.raises(ValueError, match=r"weights\.num_heads: expected a divisor of the width 8, got 3"):
        encode(tokens, mask, dataclasses.replace(weights, num_heads=3))
    layer = dataclasses.replace(weights.layers[1], ff_out_bias=torch.zeros(7))
    with pytest.raises(ValueError, match=r"weights\.layers\[1\]\.ff_out_bias: expected shape \(8,\), got \(7,\)"):
        encode(tokens, mask, dataclasses.replace(weights, layers=(weights.layers[0], layer)))
    broken = tokens.clone()
    broken[2, 4, 0] = torch.nan
    with pytest.raises(ValueError, match="window 2, marker 4 is not finite"):
        encode(broken, mask, weights, validate=True)
    empty = mask.clone()
    empty[1] = False
    with pytest.raises(ValueError, match="window 1 has no present marker"):
        encode(tokens, empty, weights, validate=True)
