"""Times GPU work by replaying CUDA graphs, and measures what a GPU can do at best.

A kernel of a few microseconds is shorter than its launch, and a benchmark that clears the cache before each call times the
clearing. So the work on several sets of buffers, larger together than the second-level cache, is captured in one graph,
and the time of many replays is divided by the number of calls in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from bench.machine import Machine

_ARRAY_BYTES = 2**30
"""Size of the arrays of the bandwidth tests: many times any cache."""
_MATRIX_ORDER = 8192


def graph_timer(
    run: Callable[[], object], rotate: Sequence[Callable[[], object]] = (), *, is_capturable: bool = True
) -> Callable[[int], float]:
    """Seconds a call of `run` and its rotations: replays of one graph, or plain calls where it cannot be captured."""
    works = (run, *rotate)

    def all_works() -> None:
        for work in works:
            work()

    replay: Callable[[], Any] = all_works
    if is_capturable:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # compiles and allocates, outside the capture
            for _ in range(3):
                all_works()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            all_works()
        replay = graph.replay

    def seconds(calls: int) -> float:
        replays = -(-calls // len(works))
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(replays):
            replay()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / (replays * len(works))

    return seconds


def copy_work(moved_bytes: int) -> Callable[[], Any]:
    """Copy between two device arrays, half of `moved_bytes` each."""
    source = torch.ones(max(moved_bytes // 8, 1), device="cuda")
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)


def read_work(read_bytes: int) -> Callable[[], Any]:
    """Sum over a device array of `read_bytes`."""
    source = torch.ones(max(read_bytes // 4, 1), device="cuda")
    return source.sum


def measure_cuda(repeats: int = 20) -> Machine:
    """Copy and read bandwidth and the matrix peak (bfloat16, tensor cores) of the current GPU."""
    left, right = (torch.randn(_MATRIX_ORDER, _MATRIX_ORDER, device="cuda").bfloat16() for _ in range(2))

    def best(work: Callable[[], Any]) -> float:
        timer = graph_timer(work)
        return min(timer(3) for _ in range(repeats))

    return Machine(
        device=f"cuda {torch.cuda.get_device_name()}",
        copy_bandwidth=2 * _ARRAY_BYTES / best(copy_work(2 * _ARRAY_BYTES)),
        read_bandwidth=_ARRAY_BYTES / best(read_work(_ARRAY_BYTES)),
        matrix_peak=2 * _MATRIX_ORDER**3 / best(lambda: left @ right),
    )
