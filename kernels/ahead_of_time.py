"""Compiles the fused kernels for GPUs that are not here, and reads what the compiler made of them.

Registers, stack (where spilled registers live) and shared memory decide whether a launch fits, and how many programs a
multiprocessor holds; they need no device. The launches are those that the backends use for the paper's sizes.
"""

from __future__ import annotations

import csv
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
from triton.backends.compiler import GPUTarget  # pyright: ignore[reportMissingImports]
from triton.compiler import ASTSource  # pyright: ignore[reportMissingImports]

from kernels.encoder import pooled_tiles, triton_gpu
from kernels.encoder.attention import tiles as attention_tiles
from kernels.encoder.attention import triton_gpu as attention_gpu
from kernels.encoder.attention.cases import CASES as ATTENTION_CASES
from kernels.encoder.attention.cases import make_weights as make_attention_weights
from kernels.windows import triton_gpu as windows_gpu

TABLE = Path(__file__).parents[1] / "docs" / "results" / "kernel_resources.csv"
"""What `python -m bench.resources` found; the tests hold the kernels to it."""
TARGETS = (80, 90)
"""Compute capabilities: A100, H100 and H200."""
DTYPES = (torch.bfloat16, torch.float32)
"""Tensors the kernels are compiled for."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one compiled kernel needs."""

    kernel: str
    dtype: str
    target: int
    """Compute capability times ten."""
    warps: int
    """Warps of a program, 32 threads each."""
    registers: int
    """Of a thread; 255 at most."""
    stack: int
    """Bytes of a thread in local memory: spilled registers."""
    shared: int
    """Bytes of a program, dynamic."""
    triton: str
    """Version of the compiler."""


@dataclass(frozen=True, kw_only=True)
class Launched:
    """One kernel with the compile-time arguments of a launch."""

    function: Any
    constants: dict[str, Any]
    options: dict[str, int]
    """Warps and stages."""


def launches(dtype: torch.dtype) -> dict[str, Launched]:
    """Every kernel at the paper's sizes: 53 markers of 36 features for both designs.

    Windows are made of float32 markers whatever the encoder's dtype, so they are listed with it only.
    """
    pooled = triton_gpu.Sizes(features=36, width=64, ff=128, heads=4, layers=3)
    cut, how = triton_gpu.LAUNCH, triton_gpu.product_options(dtype)
    shared = {**pooled.block(), **triton_gpu.chunks(pooled, cut, 53), **how, "HP": 8}
    case = next(case for case in ATTENTION_CASES if case.name == "paper_markers")
    packed = attention_gpu.pack(make_attention_weights(case))
    attention = attention_gpu.LAUNCH
    sizes = attention_gpu.compile_time(packed, attention, case.tokens, dtype)
    backward = {"NT": 19, "NEEDS_TOKENS": False}
    gradient = {"ROW": 1000, "TI": 32, "TJ": 32, "BR": 64, "NR": 38, **how}
    window = {} if dtype != torch.float32 else {
        "windows": Launched(
            function=windows_gpu.windows_kernel, options={"num_warps": windows_gpu.WARPS},
            constants=windows_gpu.compile_time(2, 30.0, has_noise=True, has_order=True),
        ),
    }  # fmt: skip
    return {
        **window,
        "pooled_forward": Launched(function=pooled_tiles.pooled_forward_kernel,
                                   constants=shared | {"HAS_SAVED": False}, options={"num_warps": cut.warps}),
        "pooled_backward": Launched(function=pooled_tiles.pooled_backward_kernel,
                                    constants=shared | {"NEEDS_TOKENS": False}, options={"num_warps": cut.warps}),
        "weight_grad": Launched(function=pooled_tiles.weight_grad_kernel, constants=gradient, options={"num_warps": 4}),
        "attention_forward": Launched(function=attention_tiles.attention_forward_kernel, constants=sizes,
                                      options={"num_warps": attention.forward_warps}),
        "attention_backward": Launched(function=attention_tiles.attention_backward_kernel, constants=sizes | backward,
                                       options={"num_warps": attention.backward_warps, "num_stages": 1}),
    }  # fmt: skip


_FLOAT32 = {"saved", "norm_grad", "token_grad", "inverses", "partial"}
_INTEGERS = {"B", "M", "W", "P"}
_WINDOWS = {
    "frame": "*i64", "index": "*i32", "start": "*i64", "order": "*i64", "is_mirrored": "*u8", "mask": "*u8",
    "origin": "*fp64", "heading": "*fp64", "offset_size": "*fp64", "jitter_size": "*fp64",
}  # fmt: skip
"""Pointers of the window kernel as `kernels.windows.draw_windows` makes them."""


def compile_one(name: str, dtype: torch.dtype, target: int) -> Resources:
    """Compile one kernel of `launches` down to machine code for a compute capability."""
    launch = launches(dtype)[name]
    own = "bf16" if dtype == torch.bfloat16 else "fp32"

    def kind(argument: str) -> str:
        if argument in launch.constants:
            return "constexpr"
        if argument in _INTEGERS:
            return "i32"
        is_float32 = argument in _FLOAT32 or (name == "weight_grad" and argument == "out")
        if name == "windows":
            return _WINDOWS.get(argument, f"*{own}")
        return {"mask": "*u8", "table": "*i32"}.get(argument, "*fp32" if is_float32 else f"*{own}")

    names = launch.function.arg_names
    signature = {argument: kind(argument) for argument in names}
    # What the launcher finds out by itself: torch allocates at multiples of 16 bytes.
    aligned = {(i,): [["tt.divisibility", 16]] for i, item in enumerate(names) if signature[item].startswith("*")}
    source = ASTSource(fn=launch.function, signature=signature, constexprs=launch.constants, attrs=aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", target, 32), options=launch.options)
    registers, stack = _usage(compiled.asm["cubin"])
    return Resources(
        kernel=name, dtype=own, target=target, warps=launch.options["num_warps"], registers=registers, stack=stack,
        shared=compiled.metadata.shared, triton=triton.__version__,
    )  # fmt: skip


def _usage(machine_code: bytes) -> tuple[int, int]:
    """Registers and stack bytes a thread, from the tool that comes with Triton."""
    tool = Path(str(triton.__file__)).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(machine_code)
        file.flush()
        text = subprocess.run([str(tool), "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    if found is None:
        raise RuntimeError(f"cuobjdump: expected REG and STACK of a kernel, got {text!r}")
    return int(found[1]), int(found[2])


def compile_all() -> Iterator[Resources]:
    """Every kernel for every dtype and target."""
    for dtype in DTYPES:
        for name in launches(dtype):
            for target in TARGETS:
                yield compile_one(name, dtype, target)


def write_table(rows: Sequence[Resources], path: Path = TABLE) -> None:
    """Write the rows as CSV."""
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, [item.name for item in fields(Resources)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def read_table(path: Path = TABLE) -> list[Resources]:
    """Rows that `write_table` wrote.

    Raises:
        ValueError: A line is no such row; names file and line.
    """
    kinds = {item.name: int if item.type == "int" else str for item in fields(Resources)}
    rows = []
    with open(path, newline="") as stream:
        for number, found in enumerate(csv.DictReader(stream), start=2):
            try:
                values: dict[str, Any] = {name: kind(found[name]) for name, kind in kinds.items()}
                rows.append(Resources(**values))
            except (KeyError, ValueError) as error:
                names = ", ".join(kinds)
                raise ValueError(f"{path}, line {number}: expected {names}, got {found}: {error}") from error
    return rows
