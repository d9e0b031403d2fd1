"""The fused encoders: what they refuse, the folded layout, and agreement with the references where there is a GPU."""

import math
import sys

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed: the fused encoders cannot be imported")

from kernels.encoder import attention, encode, triton_gpu
from kernels.encoder.attention import cases as attention_cases
from kernels.encoder.attention import triton_gpu as attention_gpu
from kernels.encoder.cases import TEST_CASES, make_tokens, make_weights
from kernels.encoder.folded import fold_layers

CASES = [("pooled", case.name) for case in TEST_CASES]
CASES += [("attention", case.name) for case in attention_cases.TEST_CASES]

TOLERANCE = {"float32": 2e-5, "bfloat16": 0.1}
"""Largest difference of two roundings of features of order one; why: `test_encoder_interpreted.py`."""


def test_the_fused_backend_refuses_what_it_does_not_do() -> None:
    case = next(case for case in TEST_CASES if case.name == "tiny")
    weights, (tokens, mask) = make_weights(case), make_tokens(case)
    with pytest.raises(RuntimeError, match="backend 'triton' cannot run: runs on cuda arrays, these are on cpu"):
        encode(tokens, mask, weights, backend="triton")
    with pytest.raises(ValueError, match="dropout: expected 0 for the fused kernel, got 0"):
        triton_gpu.encode([(tokens, mask)], weights, dropout=0.1)
    double = make_weights(case, dtype=torch.float64)
    with pytest.raises(ValueError, match="tokens: expected dtype float32 or bfloat16"):
        triton_gpu.encode([(tokens.double(), mask)], double)
    turned = tokens.transpose(0, 1).contiguous().transpose(0, 1)
    with pytest.raises(ValueError, match="tokens: expected a contiguous tensor, got strides"):
        triton_gpu.encode([(turned, mask)], weights)
    turned_mask = mask.T.contiguous().T
    with pytest.raises(ValueError, match="mask: expected a contiguous tensor, got strides"):
        triton_gpu.encode([(tokens, turned_mask)], weights)


def test_the_fused_attention_refuses_what_it_does_not_do() -> None:
    case = next(case for case in attention_cases.TEST_CASES if case.name == "tiny")
    weights, (tokens, mask) = attention_cases.make_weights(case), attention_cases.make_tokens(case)
    with pytest.raises(RuntimeError, match="backend 'triton' cannot run: runs on cuda arrays, these are on cpu"):
        attention.encode(tokens, mask, weights, backend="triton")
    with pytest.raises(ValueError, match="dropout: expected 0 for the fused kernel, got 0"):
        attention_gpu.encode(tokens, mask, weights, dropout=0.5)
    long = torch.zeros(1, 256, case.features)
    with pytest.raises(ValueError, match="tokens: expected at most 255 tokens"):
        attention_gpu.encode(long, torch.ones(1, 256, dtype=torch.bool), weights)


@pytest.mark.parametrize("case", TEST_CASES, ids=lambda case: case.name)
def test_the_flat_array_holds_the_folded_layers_in_the_order_that_the_kernel_reads(case) -> None:
    weights = make_weights(case, dtype=torch.float64)
    folded, layers = triton_gpu.fold(weights), fold_layers(weights)
    parts = folded.sizes.layer_parts()
    per_layer = folded.params[: -3 * case.width].view(case.layers, -1)
    names = {"self": "self_map", "read": "read_map", "write": "write_map"}
    names |= {"ff_in": "ff_in_weight", "ff_out": "ff_out_weight"}
    for (name, _), own in zip(parts, per_layer.split([length for _, length in parts], dim=1), strict=True):
        assert torch.equal(own, getattr(layers, names.get(name, name)).flatten(1)), name


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("design", "name"), CASES, ids=lambda value: value)
def test_on_the_device_fused_equals_reference(design: str, name: str, dtype: str) -> None:
    """The forward as the public function chooses it: `auto` on a CUDA device is the fused kernel."""
    kind = getattr(torch, dtype)
    module, table = (attention, attention_cases) if design == "attention" else (sys.modules["kernels.encoder"], None)
    if table is None:
        from kernels.encoder import cases as table
    case = next(case for case in table.CASES if case.name == name)
    weights = table.make_weights(case, dtype=kind, device="cuda")
    tokens, mask = table.make_tokens(case, dtype=kind, device="cuda")
    exact = module.encode(tokens, mask, weights, backend="reference").double()
    actual = module.encode(tokens, mask, weights).double()
    assert math.isfinite(float(actual.sum()))
    assert (exact - actual).abs().max() <= TOLERANCE[dtype]
