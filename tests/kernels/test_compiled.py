"""The Triton kernels compiled ahead of time for sm_80 and sm_90: they fit, and need what the committed table says."""

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed: its kernels cannot be compiled")

import triton

from kernels import ahead_of_time

ENCODER = ("pooled_forward", "pooled_backward", "weight_grad", "attention_forward", "attention_backward")
KERNELS = [(kernel, dtype) for kernel in ENCODER for dtype in ahead_of_time.DTYPES] + [("windows", torch.float32)]
SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}
"""Bytes of shared memory a program may have, CUDA programming guide, table of compute capabilities."""


def _cases() -> list:
    """Every kernel, dtype and target; slow where the compiler takes long over what bfloat16 or sm_90 shows already."""
    cases = []
    for kernel, dtype in KERNELS:
        for target in ahead_of_time.TARGETS:
            is_slow = (
                dtype == torch.float32 and kernel != "windows" and (target == 80 or kernel == "attention_backward")
            )
            name = f"{kernel}-{str(dtype).removeprefix('torch.')}-{target}"
            cases.append(pytest.param(kernel, dtype, target, id=name, marks=[pytest.mark.slow] if is_slow else []))
    return cases


# The compiler takes 10 s for the largest kernel, 25 s where it is slow, more on a busy machine.
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kernel", "dtype", "target"), _cases())
def test_each_kernel_compiles_and_needs_what_the_table_says(kernel: str, dtype: torch.dtype, target: int) -> None:
    need = ahead_of_time.compile_one(kernel, dtype, target)
    assert 0 < need.registers <= 255
    assert need.registers * 32 * need.warps <= 65536
    assert need.shared <= SHARED_LIMIT[target]
    recorded = {(row.kernel, row.dtype, row.target): row for row in ahead_of_time.read_table()}
    row = recorded[need.kernel, need.dtype, need.target]
    if row.triton == triton.__version__:
        assert need == row, "make the table again: python -m bench.resources"


def test_the_table_and_these_tests_know_every_kernel_of_the_backends() -> None:
    launched = {(kernel, dtype) for dtype in ahead_of_time.DTYPES for kernel in ahead_of_time.launches(dtype)}
    assert launched == set(KERNELS)
    rows = {(row.kernel, row.dtype, row.target) for row in ahead_of_time.read_table()}
    assert len(rows) == len(KERNELS) * len(ahead_of_time.TARGETS)


def test_a_table_that_is_none_is_refused(tmp_path) -> None:
    path = tmp_path / "table.csv"
    row = ahead_of_time.read_table()[0]
    ahead_of_time.write_table([row], path)
    assert ahead_of_time.read_table(path) == [row]
    path.write_text(path.read_text().replace(str(row.registers), "many"))
    with pytest.raises(ValueError, match=r"table\.csv, line 2: expected .*registers"):
        ahead_of_time.read_table(path)
