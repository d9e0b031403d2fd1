"""The fused encoders: agreement with the references under Triton's interpreter, and compilation for sm_80 and sm_90."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed: the fused encoders cannot be interpreted or compiled")

from kernels.encoder import ahead_of_time, attention, encode, triton_gpu
from kernels.encoder.attention import cases as attention_cases
from kernels.encoder.attention import triton_gpu as attention_gpu
from kernels.encoder.cases import TEST_CASES, make_tokens, make_weights

CASES = [("pooled", case.name) for case in TEST_CASES]
CASES += [("attention", case.name) for case in attention_cases.TEST_CASES]

TOLERANCE = {"float32": (1e-5, 1e-5), "bfloat16": (0.05, 0.25)}
"""Largest output error (outputs are layer-normalised, of order one) and relative error of a gradient tensor.

float32: some hundred roundings. bfloat16 has 8 bits: an output is rounded by up to 0.008 and a stored activation as much;
a gradient tensor that is a difference of large terms loses most, as it does in eager bfloat16."""


# The interpreter takes 10 ms a block of code; the compiler takes 15 s for the largest kernel, more on a busy machine.
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("design", "name"), CASES, ids=lambda value: value)
def test_fused_equals_reference_in_value_and_in_every_gradient(design: str, name: str) -> None:
    script = Path(__file__).parent / "interpreted_encoder.py"
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, script, design, name], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    for dtype, (output_error, gradient_error) in json.loads(run.stdout).items():
        assert output_error <= TOLERANCE[dtype][0], dtype
        assert gradient_error <= TOLERANCE[dtype][1], dtype


KERNELS = ("pooled_forward", "pooled_backward", "weight_grad", "attention_forward", "attention_backward")
SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}
"""Bytes of shared memory a program may have, CUDA programming guide, table of compute capabilities."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("target", ahead_of_time.TARGETS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, pytest.param(torch.float32, marks=pytest.mark.slow)], ids=["bfloat16", "float32"]
)
def test_each_kernel_compiles_and_fits_a_multiprocessor(kernel: str, dtype: torch.dtype, target: int) -> None:
    need = ahead_of_time.compile_one(kernel, dtype, target)
    assert 0 < need.registers <= 255
    assert need.registers * 32 * need.warps <= 65536
    assert need.shared <= SHARED_LIMIT[target]


def test_every_kernel_of_the_backends_is_compiled_here() -> None:
    assert set(ahead_of_time.launches(torch.bfloat16)) == set(KERNELS)


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
def test_folding_all_layers_at_once_equals_folding_each(case) -> None:
    """The flat array holds what `folded.fold_layer` gives, in the order that the kernel reads."""
    from kernels.encoder.folded import fold_layer

    weights = make_weights(case, dtype=torch.float64)
    folded = triton_gpu.fold(weights)
    sizes = [length for _, length in folded.sizes.layer_parts()]
    for index, layer in enumerate(weights.layers):
        own = folded.params[index * sum(sizes) : (index + 1) * sum(sizes)].split(sizes)
        expected = fold_layer(weights, layer)
        order = [own[2].view_as(expected[0]), own[3], own[4].view_as(expected[2]), own[5]]
        assert all((left - right).abs().max() < 1e-12 for left, right in zip(order, expected, strict=True))


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
    assert (exact - actual).abs().max() <= 2 * TOLERANCE[dtype][0]
