"""The window kernel in one launch under Triton's interpreter, beside the reference, and what it refuses."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed: the window kernel cannot be interpreted")

import torch

from kernels import windows
from kernels.windows import triton_gpu
from kernels.windows.cases import CASES

pytestmark = pytest.mark.thorough

TOLERANCE = {"float32": 1e-6, "float64": 2e-15}
"""Of the largest token: a velocity divides the rounding of two positions by the time between them."""


@functools.cache
def _found() -> dict[str, tuple[float, bool]]:
    script = Path(__file__).parent / "interpreted_windows.py"
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_launch_gives_the_references_tokens_and_mask(case) -> None:
    error, is_mask_equal = _found()[case.name]
    assert is_mask_equal
    assert error <= TOLERANCE[case.dtype]


def test_the_fused_backend_refuses_what_it_does_not_do() -> None:
    markers, frame = torch.zeros(8, 3, 3), torch.tensor([3])
    rest = {"origin": torch.zeros(1, 3), "heading": torch.zeros(1)}
    index = torch.zeros(1, 2, dtype=torch.int32)
    with pytest.raises(RuntimeError, match="backend 'triton' cannot run: runs on cuda arrays, these are on cpu"):
        windows.make_tokens(markers, frame, index, **rest, backend="triton")
    mirrored = torch.zeros(1, dtype=torch.bool)
    arguments = (frame, index, *rest.values(), mirrored, None, None, 2, 30.0)
    with pytest.raises(ValueError, match="marker_pos: expected dtype float32 or float64, got"):
        triton_gpu.make_tokens(markers.half(), *arguments)
    with pytest.raises(ValueError, match="marker_pos: expected a contiguous tensor, got strides"):
        triton_gpu.make_tokens(markers.transpose(1, 2), *arguments)
