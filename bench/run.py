"""Benchmarks of the kernels beside their rivals: `python -m bench.run --kernel grf --case full`.

Every module `bench/bench_<kernel>.py` with a function `contests(device)` takes part; it yields cases with their contenders.
A case whose contender gives a wrong result gets no speed, and the command then ends with an error. Rows are appended to
`bench/results/<kernel>.jsonl`. (`bench.bench_record` measures a part of the pipeline and has a command of its own.)
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import bench
from bench.harness import Case, Contender, Row, WrongResult, append_rows, measure, memory_probe, table
from bench.machine import Machine, measure_machine
from dataset.command_line import run_command
from kernels import _threads


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Which cases to measure, and how."""

    kernel: tuple[str, ...] = ()
    """Kernel families; all by default."""
    case: tuple[str, ...] = ()
    """Cases by name; all by default."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the contenders run."""
    threads: int = 0
    """Threads of the CPU contenders and of the measured limits; 0 for every core."""
    rounds: int = 15
    """Samples of each contender."""
    json: Path | None = None
    """File that the rows are appended to instead of those of `bench/results`."""
    save: bool = True
    """False appends no rows."""
    profile: bool = False
    """Also write a Chrome trace of each case (torch profiler; open it in chrome://tracing or ui.perfetto.dev)."""
    profile_dir: Path = Path("out/profile")
    """Folder of the traces."""


Contests = Callable[[str], Iterator[tuple[Case, list[Contender]]]]


def find_contests(kernels: Sequence[str] = ()) -> dict[str, Contests]:
    """Benchmarks of the named kernels, all by default.

    Raises:
        ValueError: There is none of that name.
    """
    names = sorted(item.name for item in pkgutil.iter_modules(bench.__path__) if item.name.startswith("bench_"))
    found = {}
    for name in names:
        kernel = name.removeprefix("bench_")
        if kernels and kernel not in kernels:
            continue
        module: ModuleType = importlib.import_module(f"bench.{name}")
        if hasattr(module, "contests"):
            found[kernel] = module.contests
    if unknown := sorted(set(kernels) - set(found)):
        raise ValueError(f"kernel: expected some of {sorted(find_contests())}, got {unknown}")
    return found


def use_threads(count: int) -> int:
    """Give compiled kernels, torch and the bandwidth tests so many threads, 0 for every core; returns how many."""
    import numba
    import torch

    count = count or len(os.sched_getaffinity(0))
    _threads.set_num_threads(count)
    torch.set_num_threads(count)
    with contextlib.suppress(ValueError):  # NUMBA_NUM_THREADS allows fewer: the measured limits then use those
        numba.set_num_threads(count)
    return count


def write_trace(case: Case, contenders: Sequence[Contender], folder: Path, device: str) -> Path:
    """Chrome trace of three calls of every contender, each under its name."""
    from torch.profiler import ProfilerActivity, profile, record_function

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    with profile(activities=activities) as trace:
        for contender in contenders:
            for _ in range(3):
                with record_function(contender.impl):
                    contender.run()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / re.sub(r"\W+", "_", f"{case.kernel}_{case.name}_{device}")
    path = path.with_suffix(".json")
    trace.export_chrome_trace(str(path))
    return path


def main(cfg: BenchConfig) -> list[Row]:
    """Measure, print and keep the rows.

    Raises:
        ValueError: No such kernel or case.
        WrongResult: A contender gave a wrong result; raised after the other cases were measured.
    """
    found = find_contests(cfg.kernel)
    machine = _machine(cfg)
    rates = (machine.copy_bandwidth / 1e9, machine.read_bandwidth / 1e9, machine.matrix_peak / 1e9)
    print("{}: copy {:.1f} GB/s, read {:.1f} GB/s, matrix {:.0f} GFLOP/s\n".format(machine.device, *rates))
    rows: list[Row] = []
    seen: list[str] = []
    wrong: list[str] = []
    for contests in found.values():
        for case, contenders in contests(cfg.device):
            seen.append(case.name)
            if cfg.case and case.name not in cfg.case:
                continue
            try:
                rows += _measure_case(cfg, case, contenders, machine)
            except WrongResult as error:
                wrong.append(str(error))
                print(f"NOT MEASURED: {error}\n", file=sys.stderr)
    if unknown := sorted(set(cfg.case) - set(seen)):
        raise ValueError(f"case: expected some of {sorted(set(seen))}, got {unknown}")
    if wrong:
        raise WrongResult("; ".join(wrong))
    return rows


def _machine(cfg: BenchConfig) -> Machine:
    threads = use_threads(cfg.threads)
    if cfg.device == "cpu":
        return measure_machine(threads=threads)
    import torch

    if not torch.cuda.is_available():
        raise ValueError("device: expected a CUDA device for --device cuda, found none")
    from bench.cuda import measure_cuda

    return measure_cuda()


def _measure_case(cfg: BenchConfig, case: Case, contenders: list[Contender], machine: Machine) -> list[Row]:
    probe = memory_probe(case, machine)
    everyone = [*contenders, probe] if probe else contenders
    rows = measure(case, everyone, machine=machine, rounds=cfg.rounds)
    print(table(rows, machine, case.bandwidth) + "\n")
    if cfg.save:
        append_rows(rows, cfg.json)
    if cfg.profile:
        print(f"trace: {write_trace(case, everyone, cfg.profile_dir, cfg.device)}\n")
    return rows


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(BenchConfig, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("run", run))
