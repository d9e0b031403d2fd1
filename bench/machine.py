"""What this machine can do at best, measured: memory bandwidth and matrix arithmetic. A speed becomes a fraction of it.

Bandwidth is counted as in STREAM (McCalpin 1995): a copy of n bytes moves 2n (read and write), a sum over them n.
The figures are maxima over repeats: a roof is what the machine reaches when nothing disturbs it.

`python -m bench.machine` prints them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

from dataset.command_line import run_command
from dataset.provenance import processor_name

_ARRAY_BYTES = 256 * 2**20
"""Size of the arrays of the bandwidth tests: many times any cache."""
_MATRIX_ORDER = 2048
"""Order n of the matrix product; it costs 2n³ floating-point operations."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Measured limits of the processor that the benchmarks run on."""

    device: str
    """Processor model and number of threads used."""
    copy_bandwidth: float
    """Copy of a float32 array, read plus written bytes per second [B/s]."""
    read_bandwidth: float
    """Sum over a float32 array, bytes read per second [B/s]."""
    matrix_peak: float
    """Product of two square float32 matrices [FLOP/s]."""


@numba.njit(parallel=True, error_model="numpy")
def _copy(source: np.ndarray, target: np.ndarray) -> None:
    for index in numba.prange(source.size):
        target[index] = source[index]


@numba.njit(parallel=True, error_model="numpy", fastmath=True)
def _sum(source: np.ndarray) -> np.floating:
    # fastmath: without reordering the sum waits for each addition and measures their latency instead of the memory.
    total = np.float32(0.0)
    for index in numba.prange(source.size):
        total += source[index]
    return total


def measure_machine(*, threads: int | None = None, repeats: int = 7) -> Machine:
    """Measure copy and read bandwidth and the matrix peak of this machine, about 2 s.

    Args:
        threads: Threads used for all three; None takes every core that this process may run on.
        repeats: Timed repeats of each test after one that warms up; the best counts.

    Raises:
        ValueError: `threads` or `repeats` below 1.
    """
    from threadpoolctl import threadpool_limits

    threads = len(os.sched_getaffinity(0)) if threads is None else threads
    if threads < 1 or repeats < 1:
        raise ValueError(f"threads, repeats: expected at least 1 of each, got {threads} and {repeats}")
    left, right = np.random.default_rng(0).random((2, _MATRIX_ORDER, _MATRIX_ORDER), dtype=np.float32)

    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, before))
    try:
        copy = _best(copy_work(2 * _ARRAY_BYTES), repeats)
        read = _best(read_work(_ARRAY_BYTES), repeats)
    finally:
        numba.set_num_threads(before)
    with threadpool_limits(threads):
        product = _best(lambda: left @ right, repeats)
    return Machine(
        device=f"cpu {processor_name()} x{threads}",
        copy_bandwidth=2 * _ARRAY_BYTES / copy,
        read_bandwidth=_ARRAY_BYTES / read,
        matrix_peak=2 * _MATRIX_ORDER**3 / product,
    )


def copy_work(moved_bytes: int) -> Callable[[], None]:
    """Copy between two arrays, half of `moved_bytes` each, with the threads that Numba is set to."""
    source = np.ones(max(moved_bytes // 8, 1), dtype=np.float32)
    target = np.zeros_like(source)
    return lambda: _copy(source, target)


def read_work(read_bytes: int) -> Callable[[], float]:
    """Sum over an array of `read_bytes`, with the threads that Numba is set to."""
    source = np.ones(max(read_bytes // 4, 1), dtype=np.float32)
    return lambda: float(_sum(source))


def _best(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def run() -> None:
    """The command line."""
    machine = measure_machine()
    rates = (machine.copy_bandwidth / 1e9, machine.read_bandwidth / 1e9, machine.matrix_peak / 1e9)
    print("{}: copy {:.1f} GB/s, read {:.1f} GB/s, matrix {:.0f} GFLOP/s".format(machine.device, *rates))


if __name__ == "__main__":
    sys.exit(run_command("machine", run))
