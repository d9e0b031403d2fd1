"""Times implementations of one case beside each other, after checking that they are right, and keeps the rows.

Every figure comes from one interleaved run: round by round each contender is called once, a different one first each
time, so that a disturbance of the machine falls on all of them and their ratio stays fair; each begins rested and with
its threads awake. A contender whose check fails stops the run: there is no speed of a wrong result.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench.machine import Machine, copy_work, read_work
from dataset.provenance import code_version, package_versions

RESULTS = Path(__file__).parent / "results"
"""Folder of the committed rows, one JSONL file a kernel."""


_REST_SECONDS = 0.02
"""Pause before each sample on a CPU [s]: OpenMP threads of the contender before spin for some 8 ms after its last loop, on the
cores of whoever comes next. What was timed without the pause, a memory probe of 4 ms included, read up to half too slow."""
_LONG_SECONDS = 0.05
"""A call as long as this [s] needs no untimed one before it, to wake its threads and to find its code in the cache."""


class WrongResult(Exception):
    """A contender failed its check, so nothing of its case is timed."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """The work that all contenders of one comparison do."""

    kernel: str
    """Kernel family or part of the pipeline."""
    name: str
    """Name of the case inside the kernel."""
    items: int
    """Number of things one call processes."""
    unit: str
    """What is counted, plural: frames, windows, substeps."""
    bytes: int | None = None
    """Least memory traffic of one call [B]: inputs read once, outputs written once; None where it says nothing."""
    flops: int | None = None
    """Floating-point operations of one call; None where they say nothing."""
    bandwidth: Literal["copy", "read"] = "copy"
    """Which measured bandwidth bounds it: `read` where the output is negligible beside the input."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One implementation of a case."""

    impl: str
    """Name of the implementation."""
    run: Callable[[], object]
    """Does the work of the case once, synchronously."""
    check: Callable[[], None]
    """Raises AssertionError where the result of `run` is not the case's; for the reference a property of the result."""
    is_rival: bool = False
    """True for what a user would call without us."""
    rotate: tuple[Callable[[], object], ...] = ()
    """The same work on other buffers. On a GPU one sample goes through `run` and all of these, so that nothing they read is
    still in its second-level cache; not used on the CPU, whose cases are larger than its caches."""
    is_capturable: bool = True
    """False where a GPU contender waits for the device in between and so cannot be replayed as a CUDA graph."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured implementation of one case: a line of `bench/results/*.jsonl`."""

    kernel: str
    case: str
    impl: str
    is_rival: bool
    device: str
    median_s: float
    p20_s: float
    p80_s: float
    items_per_s: float
    """From the median."""
    unit: str
    bytes: int | None
    flops: int | None
    roof_fraction: float | None
    """Time at the machine's limit over the median time; None for work with neither bytes nor flops stated."""
    correct: bool
    """Always True: a wrong result gives no row."""
    versions: dict[str, str]
    git_sha: str
    """Commit, with `-dirty` where tracked files differ from it."""


def measure(
    case: Case,
    contenders: Sequence[Contender],
    *,
    machine: Machine,
    rounds: int = 15,
    sample_seconds: float = 0.005,
) -> list[Row]:
    """Check every contender, then time them interleaved; one row each, in the order given.

    roof_fraction = max(bytes / bandwidth, flops / matrix_peak) / median.

    Args:
        case: The work.
        contenders: Its implementations, names unique.
        machine: Measured limits, from `bench.machine.measure_machine`.
        rounds: Samples of each contender.
        sample_seconds: A sample repeats the call until it should take this long [s], so that short calls are resolved.

    Raises:
        WrongResult: A check failed.
        ValueError: No contenders, a repeated name, or `rounds` below 3.
    """
    names = [contender.impl for contender in contenders]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"contenders: expected at least one, names unique, got {names}")
    if rounds < 3:
        raise ValueError(f"rounds: expected at least 3 for percentiles, got {rounds}")
    for contender in contenders:
        try:
            contender.check()
        except AssertionError as error:
            raise WrongResult(f"{case.kernel}/{case.name}: {contender.impl} gives a wrong result: {error}") from error

    timers = [_timer(contender, machine) for contender in contenders]
    samples = _interleaved_samples(timers, rounds, sample_seconds)
    versions, git_sha = package_versions(), git_state()
    roof = _roof_seconds(case, machine)
    rows = []
    for contender, times in zip(contenders, samples):
        p20, median, p80 = (float(value) for value in np.percentile(times, (20, 50, 80)))
        rows.append(Row(
            kernel=case.kernel, case=case.name, impl=contender.impl, is_rival=contender.is_rival, device=machine.device,
            median_s=median, p20_s=p20, p80_s=p80, items_per_s=case.items / median, unit=case.unit, bytes=case.bytes,
            flops=case.flops, roof_fraction=None if roof is None else roof / median, correct=True, versions=versions,
            git_sha=git_sha,
        ))  # fmt: skip
    return rows


Timer = Callable[[int], float]
"""Seconds a call, averaged over so many calls after each other."""


def _timer(contender: Contender, machine: Machine) -> Timer:
    if machine.device.startswith("cuda"):
        from bench.cuda import graph_timer

        return graph_timer(contender.run, contender.rotate, is_capturable=contender.is_capturable)
    return lambda calls: _seconds(contender.run, calls)


def _interleaved_samples(timers: Sequence[Timer], rounds: int, sample_seconds: float) -> np.ndarray:
    """Seconds per call, shape (timer, round)."""
    calls = []
    for timer in timers:
        timer(1)
        calls.append(max(1, round(sample_seconds / max(timer(1), 1e-9))))
    samples = np.empty((len(timers), rounds))
    for turn in range(rounds):
        for offset in range(len(timers)):
            index = (turn + offset) % len(timers)
            samples[index, turn] = timers[index](calls[index])
    return samples


def _seconds(run: Callable[[], object], calls: int) -> float:
    """Rest, call once untimed, then time; a call so long that its beginning is lost in it is not made twice."""
    time.sleep(_REST_SECONDS)
    first = _elapsed(run, 1)
    return first if calls == 1 and first > _LONG_SECONDS else _elapsed(run, calls) / calls


def _elapsed(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return time.perf_counter() - start


def memory_probe(case: Case, machine: Machine) -> Contender | None:
    """Nothing but the case's memory traffic, as a contender of its own: what the memory gave while the others ran.

    A copy of half the bytes, or a sum over all of them, by all threads; None for a case without stated bytes.
    """
    if not case.bytes:
        return None
    make = copy_work if case.bandwidth == "copy" else read_work
    if machine.device.startswith("cuda"):
        from bench import cuda

        make = cuda.copy_work if case.bandwidth == "copy" else cuda.read_work
    return Contender(impl=f"memory {case.bandwidth}", run=make(case.bytes), check=lambda: None)


def _roof_seconds(case: Case, machine: Machine) -> float | None:
    bandwidth = machine.copy_bandwidth if case.bandwidth == "copy" else machine.read_bandwidth
    limits = []
    if case.bytes is not None:
        limits.append(case.bytes / bandwidth)
    if case.flops is not None:
        limits.append(case.flops / machine.matrix_peak)
    return max(limits, default=None)


def git_state() -> str:
    """Short hash of the commit the code was at, `-dirty` where tracked files differ, `unknown` outside a repository."""
    code = code_version()
    return code["commit"][:12] + ("-dirty" if code["is_modified"] else "")


def append_rows(rows: Sequence[Row], path: Path | None = None) -> None:
    """Append rows as JSON lines, each in one write; by default to the committed file of their kernel."""
    for row in rows:
        target = RESULTS / f"{row.kernel}.jsonl" if path is None else path
        target.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(dataclasses.asdict(row), allow_nan=False) + "\n"
        with open(target, "ab", buffering=0) as stream:
            stream.write(line.encode())
            os.fsync(stream.fileno())


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a JSONL file.

    Raises:
        ValueError: A line is not a row; names file, line and what is wrong.
    """
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            rows.append(Row(**json.loads(line)))
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: expected a row of bench.harness.Row, got {line[:80]!r}: {error}"
            ) from error
    return rows


def table(rows: Sequence[Row], machine: Machine | None = None, bandwidth: Literal["copy", "read"] = "copy") -> str:
    """The rows of one case as text: times, rates, shares of the machine's limits, and speed relative to each rival.

    Args:
        rows: Rows of one case.
        machine: Measured limits; without them only the share of the roof is shown.
        bandwidth: Which of them bounds the case.
    """
    rivals = [row for row in rows if row.is_rival]
    limits: list[tuple[str, str, float]] = []
    if machine is not None:
        speed = machine.copy_bandwidth if bandwidth == "copy" else machine.read_bandwidth
        limits = [(f"% {bandwidth}", "bytes", speed), ("% peak", "flops", machine.matrix_peak)]
    head = ["impl", "median", "p20", "p80", f"{rows[0].unit}/s", "GB/s", "GFLOP/s", "% roof"]
    head += [name for name, _, _ in limits] + [f"x {rival.impl}" for rival in rivals]
    lines = [head]
    for row in rows:
        rates = [None if work is None else work / row.median_s / 1e9 for work in (row.bytes, row.flops)]
        shares = [getattr(row, work) and getattr(row, work) / row.median_s / limit for _, work, limit in limits]
        lines.append([
            row.impl, *(_duration(value) for value in (row.median_s, row.p20_s, row.p80_s)), f"{row.items_per_s:,.0f}",
            *("-" if rate is None else f"{rate:.1f}" for rate in rates),
            *("-" if share is None else f"{100 * share:.3g}" for share in (row.roof_fraction, *shares)),
            *(f"{rival.median_s / row.median_s:.2f}" for rival in rivals),
        ])  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([f"{rows[0].kernel} / {rows[0].case} on {rows[0].device}", *body])


def _duration(seconds: float) -> str:
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
