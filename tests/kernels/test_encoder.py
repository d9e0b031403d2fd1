"""The encoder kernel: reference against PyTorch's decoder, folded against reference, gradients, boundaries."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from kernels.encoder import PooledWeights, compiled_stack, encode, encode_groups, folded, reference
from kernels.encoder.cases import CASES, TEST_CASES, Case, make_tokens, make_weights, parameters, with_parameters

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Largest absolute difference between backends: outputs are layer-normalised, so of order one; a few hundred
roundings."""

TINY = next(case for case in CASES if case.name == "tiny")


def _decoder(case: Case, weights: PooledWeights) -> nn.TransformerDecoder:
    """PyTorch's own decoder holding the same parameters; maps that cannot matter (see below) are left random."""
    layer = nn.TransformerDecoderLayer(
        case.width, case.heads, case.ff, dropout=0.0, batch_first=True, dtype=torch.float64
    )
    decoder = nn.TransformerDecoder(layer, case.layers, nn.LayerNorm(case.width, dtype=torch.float64))
    d = case.width
    with torch.no_grad():
        for own, module in zip(weights.layers, decoder.layers, strict=True):
            theirs = cast(Any, module)
            # Rows 0..2d (query and key of the self-attention) and the key bias keep their random initial values:
            # agreement then shows that the reference is right to have no such parameters.
            theirs.self_attn.in_proj_bias.normal_()
            theirs.self_attn.in_proj_weight[2 * d :] = own.self_value_weight
            theirs.self_attn.in_proj_bias[2 * d :] = own.self_value_bias
            theirs.self_attn.out_proj.weight.copy_(own.self_out_weight)
            theirs.self_attn.out_proj.bias.copy_(own.self_out_bias)
            theirs.multihead_attn.in_proj_bias.normal_()
            theirs.multihead_attn.in_proj_weight.copy_(torch.cat([own.query_weight, own.key_weight, own.value_weight]))
            theirs.multihead_attn.in_proj_bias[:d] = own.query_bias
            theirs.multihead_attn.in_proj_bias[2 * d :] = own.value_bias
            theirs.multihead_attn.out_proj.weight.copy_(own.out_weight)
            theirs.multihead_attn.out_proj.bias.copy_(own.out_bias)
            theirs.linear1.weight.copy_(own.ff_in_weight)
            theirs.linear1.bias.copy_(own.ff_in_bias)
            theirs.linear2.weight.copy_(own.ff_out_weight)
            theirs.linear2.bias.copy_(own.ff_out_bias)
            for index, norm in enumerate((theirs.norm1, theirs.norm2, theirs.norm3)):
                norm.weight.copy_(own.norm_weight[index])
                norm.bias.copy_(own.norm_bias[index])
        last = cast(nn.LayerNorm, decoder.norm)
        last.weight.copy_(weights.norm_weight)
        last.bias.copy_(weights.norm_bias)
    return decoder


@pytest.mark.parametrize("case", TEST_CASES, ids=lambda case: case.name)
def test_reference_equals_pytorchs_transformer_decoder_with_the_same_weights(case: Case) -> None:
    """The hand-written layers are nn.TransformerDecoder over one query, whose own self-attention softmax is trivial."""
    weights = make_weights(case, dtype=torch.float64)
    tokens, mask = make_tokens(case, dtype=torch.float64)
    memory = nn.functional.linear(tokens, weights.embed_weight, weights.embed_bias)
    query = weights.query.expand(case.batch, 1, case.width)
    expected = _decoder(case, weights)(query, memory, memory_key_padding_mask=~mask)[:, 0]
    assert (reference.encode([(tokens, mask)], weights) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", TEST_CASES, ids=lambda case: case.name)
def test_folded_equals_reference_in_value_and_in_every_gradient(case: Case, dtype: torch.dtype) -> None:
    """Folding is exact: outputs, parameter gradients and token gradients agree up to rounding, masked tokens
    included."""
    weights = make_weights(case, dtype=dtype)
    tokens, mask = make_tokens(case, dtype=dtype)
    direction = torch.randn(case.batch, case.width, generator=torch.Generator().manual_seed(3), dtype=dtype)
    outputs, gradients = [], []
    for module in (reference, folded):
        leaves = [value.clone().requires_grad_() for value in [tokens, *parameters(weights)]]
        output = module.encode([(leaves[0], mask)], with_parameters(weights, leaves[1:]))
        outputs.append(output.detach())
        gradients.append(torch.autograd.grad((output * direction).sum(), leaves))
    assert (outputs[0] - outputs[1]).abs().max() <= TOLERANCE[dtype]
    for expected, actual in zip(*gradients, strict=True):
        scale = max(1.0, float(expected.abs().max()))
        assert (expected - actual).abs().max() <= 10 * TOLERANCE[dtype] * scale


@pytest.mark.parametrize("heads", [1, 3, 4, 6])
@pytest.mark.parametrize("features", [5, 8, 13])
@pytest.mark.parametrize("is_masked", [False, True])
def test_the_compiled_encoder_equals_the_reference_at_any_size(heads: int, features: int, is_masked: bool) -> None:
    """Inference, features and gradients of training with and without those of the tokens; rows that fill no register."""
    case = Case(
        name="odd", batch=5, markers=6 + heads % 2, features=features, width=12 * (1 + heads % 2), heads=heads, ff=21,
        layers=2, is_ragged=is_masked,
    )  # fmt: skip
    weights, (tokens, mask) = make_weights(case), make_tokens(case)
    direction = torch.randn(case.batch, case.width, generator=torch.Generator().manual_seed(3))

    def everything(backend: str, has_token_grad: bool) -> list[Tensor]:
        leaves = [value.clone().requires_grad_() for value in parameters(weights)]
        x = tokens.clone().requires_grad_(has_token_grad)
        output = encode(x, mask, with_parameters(weights, leaves), backend=backend)
        return [output.detach(), *torch.autograd.grad((output * direction).sum(), [*leaves, *[x] * has_token_grad])]

    for has_token_grad in (False, True):
        for expected, actual in zip(
            everything("reference", has_token_grad), everything("numba", has_token_grad), strict=True
        ):
            assert (expected - actual).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max()))
    expected = encode(tokens, mask, weights, backend="reference")
    assert (encode(tokens, mask, weights, backend="numba") - expected).abs().max() <= 1e-5


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's, where compilation is off
def test_the_compiled_encoder_gives_nan_for_nan_and_only_there() -> None:
    """A window without a token, and one whose present token is NaN; what an absent token holds has no influence."""
    case = next(case for case in CASES if case.name == "prime")
    weights, (tokens, mask) = make_weights(case), make_tokens(case)
    expected = encode(tokens, mask, weights, backend="reference")
    mask[2], mask[4, 0], mask[5, 1] = False, True, False
    tokens[4, 0, 3], tokens[5, 1] = torch.nan, 1e30
    missing = encode(tokens, mask, weights, backend="reference")
    for weights_ in (weights, _leaves(weights)):
        found = encode(tokens, mask, weights_, backend="numba").detach()
        assert found[[2, 4]].isnan().all()
        rest = [window for window in range(case.batch) if window not in (2, 4)]
        assert (found[rest] - missing[rest]).abs().max() < 1e-5
    assert not expected.isnan().any()


def _leaves(weights: PooledWeights) -> PooledWeights:
    return with_parameters(weights, [value.clone().requires_grad_() for value in parameters(weights)])


def test_no_bit_of_the_compiled_encoder_depends_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor on which windows stand beside each other."""
    case = Case(name="long", batch=75, markers=3, features=9, width=8, ff=16, layers=2)
    monkeypatch.setattr(compiled_stack, "_PIECE", 32)
    once, (tokens, mask) = folded.fold(make_weights(case)), make_tokens(case)  # folding has torch's own threads
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(compiled_stack.encode_compiled([(tokens, mask)], once))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
    alone = compiled_stack.encode_compiled([(tokens[:33], mask[:33]), (tokens[60:], mask[60:])], once)
    assert torch.equal(alone, torch.cat([found[0][:33], found[0][60:]]))


def test_the_compiled_encoder_is_for_float32() -> None:
    """A named backend refuses what it cannot do; `auto` takes another."""
    weights = make_weights(TINY, dtype=torch.float64)
    tokens, mask = make_tokens(TINY, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"weights: expected torch\.float32 for backend='numba', got torch\.float64"):
        encode(tokens, mask, weights, backend="numba")
    with pytest.raises(ValueError, match=r"dropout: expected 0 for the compiled encoder, got 0\.1"):
        encode(tokens, mask, weights, backend="numba", dropout=0.1)
    assert encode(tokens, mask, weights).dtype == torch.float64


@pytest.mark.parametrize("module", [reference, folded], ids=["reference", "folded"])
def test_gradients_pass_the_finite_difference_check(module: ModuleType) -> None:
    """float64 gradcheck through tokens and all parameters."""
    weights = make_weights(TINY, dtype=torch.float64)
    tokens, mask = make_tokens(TINY, dtype=torch.float64)
    # Absent tokens hold values around 50: their zero gradient must come from the mask, not from small numbers.
    leaves = [value.clone().requires_grad_() for value in [tokens, *parameters(weights)]]

    def run(*values: Tensor) -> Tensor:
        return module.encode([(values[0], mask)], with_parameters(weights, list(values[1:])))

    assert torch.autograd.gradcheck(run, leaves, eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["reference", "folded"])
def test_order_of_tokens_and_content_of_absent_tokens_do_not_matter(backend: str) -> None:
    """The encoder is a function of a set of label-free markers."""
    case = next(case for case in CASES if case.name == "prime")
    weights = make_weights(case, dtype=torch.float64)
    tokens, mask = make_tokens(case, dtype=torch.float64)
    expected = encode(tokens, mask, weights, backend=backend)
    order = torch.randperm(case.markers, generator=torch.Generator().manual_seed(5))
    changed = torch.where(mask[..., None], tokens, -1e3)
    actual = encode(changed[:, order], mask[:, order], weights, backend=backend)
    assert (actual - expected).abs().max() < 1e-12


def test_a_subset_equals_a_shorter_set() -> None:
    """Masking a token gives what leaving it out gives, bit pattern of the padding aside."""
    weights = make_weights(TINY, dtype=torch.float64)
    tokens, _ = make_tokens(TINY, dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False, False]]).expand(TINY.batch, -1)
    full = torch.ones(TINY.batch, 3, dtype=torch.bool)
    assert (encode(tokens, mask, weights) - encode(tokens[:, :3], full, weights)).abs().max() < 1e-12


@pytest.mark.parametrize("backend", ["reference", "folded"])
def test_groups_of_windows_give_what_each_gives_alone_and_share_gradients(backend: str) -> None:
    """Groups with 5, 3 and 1 tokens in one call: same features, and the parameter gradients are the sums."""
    weights = make_weights(TINY, dtype=torch.float64)
    tokens, _ = make_tokens(TINY, dtype=torch.float64)
    groups = [(tokens[:, :count], torch.ones(TINY.batch, count, dtype=torch.bool)) for count in (5, 3, 1)]
    leaves = [value.clone().requires_grad_() for value in parameters(weights)]
    together = encode_groups(groups, with_parameters(weights, leaves), backend=backend)
    alone = torch.cat([encode(*group, with_parameters(weights, leaves), backend=backend) for group in groups])
    assert (together - alone).abs().max() < 1e-12
    gradients = [torch.autograd.grad(value.square().sum(), leaves) for value in (together, alone)]
    assert all((a - b).abs().max() < 1e-10 for a, b in zip(*gradients, strict=True))


def test_boundary_errors_name_the_argument_and_what_was_expected() -> None:
    """What a caller can get wrong raises ValueError before any arithmetic."""
    weights = make_weights(TINY)
    tokens, mask = make_tokens(TINY)
    with pytest.raises(ValueError, match=r"tokens: expected shape \(B, M, 4\)"):
        encode(tokens[..., :3], mask, weights)
    with pytest.raises(ValueError, match=r"tokens: expected dtype torch\.float32"):
        encode(tokens.double(), mask, weights)
    with pytest.raises(ValueError, match=r"mask: expected dtype torch\.bool"):
        encode(tokens, mask.float(), weights)
    with pytest.raises(ValueError, match="expected backend 'auto' or one of"):
        encode(tokens, mask, weights, backend="fast")
    with pytest.raises(ValueError, match="groups: expected at least one"):
        encode_groups([], weights)
    with pytest.raises(ValueError, match="tokens: expected at least one window and one token"):
        encode(tokens[:0], mask[:0], weights)
    with pytest.raises(ValueError, match="dropout: expected a probability in"):
        encode(tokens, mask, weights, dropout=-0.1)
    with pytest.raises(ValueError, match=r"dropout: expected 0 for the folded encoder, got 0\.1"):
        encode(tokens, mask, weights, backend="folded", dropout=0.1)
    with pytest.raises(ValueError, match=r"weights\.query: expected shape \(8,\), got \(7,\)"):
        encode(tokens, mask, dataclasses.replace(weights, query=torch.zeros(7)))
    empty = mask.clone()
    empty[1] = False
    with pytest.raises(ValueError, match="window 1 has no present marker"):
        encode(tokens, empty, weights, validate=True)
    broken = tokens.clone()
    broken[2, 4, 0] = torch.nan
    with pytest.raises(ValueError, match="window 2, marker 4 is not finite"):
        encode(broken, mask, weights, validate=True)


def test_auto_with_dropout_is_the_reference() -> None:
    """Dropout exists only there; the same seed drops the same units."""
    weights = make_weights(TINY)
    tokens, mask = make_tokens(TINY)
    results = []
    for backend in ("auto", "reference"):
        torch.manual_seed(1)
        results.append(encode(tokens, mask, weights, backend=backend, dropout=0.2))
    assert torch.equal(*results)
    assert (results[0] - encode(tokens, mask, weights)).abs().max() > 1e-3
