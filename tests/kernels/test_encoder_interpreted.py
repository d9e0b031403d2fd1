"""The fused encoders under Triton's interpreter, in values and in every gradient, beside the float64 references.

Whether a kernel is interpreted is settled when Triton is imported, so that a process of its own takes all cases of a design.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed: the fused encoders cannot be interpreted")

from kernels.encoder import cases as pooled_cases
from kernels.encoder.attention import cases as attention_cases

pytestmark = pytest.mark.thorough

CASES = [("pooled", case.name) for case in pooled_cases.TEST_CASES]
CASES += [("attention", case.name) for case in attention_cases.TEST_CASES]

TOLERANCE = {"float32": (1e-5, 1e-5), "bfloat16": (0.05, 0.25)}
"""Largest output error (outputs are layer-normalised, of order one) and relative error of a gradient tensor.

float32: some hundred roundings. bfloat16 has 8 bits: an output is rounded by up to 0.008 and a stored activation as much;
a gradient tensor that is a difference of large terms loses most, as it does in eager bfloat16."""


@functools.cache
def _errors(design: str) -> dict[str, dict[str, tuple[float, float]]]:
    script = Path(__file__).parent / "interpreted_encoder.py"
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, script, design], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


# The first case of a design waits for all of them: 10 ms a block of code, half a minute in all, more on a busy machine.
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("design", "name"), CASES, ids=lambda value: value)
def test_fused_equals_reference_in_value_and_in_every_gradient(design: str, name: str) -> None:
    found = _errors(design)[name]
    assert set(found) <= set(TOLERANCE) and "float32" in found
    for dtype, (output_error, gradient_error) in found.items():
        assert output_error <= TOLERANCE[dtype][0], dtype
        assert gradient_error <= TOLERANCE[dtype][1], dtype


@pytest.mark.timeout(900)
@pytest.mark.parametrize("design", ["pooled", "attention"])
def test_bfloat16_is_compared_too(design: str) -> None:
    assert sum("bfloat16" in found for found in _errors(design).values()) >= 3
