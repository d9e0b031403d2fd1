"""Random windows of a memory-mapped data set: the compiled gather against fancy indexing and a Python loop of slices."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.harness import Case, Contender
from kernels.gather import cases, gather_runs, join


def contests(device: str) -> Iterator[tuple[Case, list[Contender]]]:
    """Cases of the gather kernel and who runs them; none on a GPU."""
    if device == "cpu":
        for case in cases.BENCH_CASES:
            yield _contest(case)


def _contest(case: cases.Case) -> tuple[Case, list[Contender]]:
    made = cases.make(case)
    first, length = made["first"], case.length
    maps = [_memory_map(array) for array in made.pop("arrays")]
    pieces = join(maps)
    offsets = pieces.offsets
    expected = gather_runs(pieces, first[:64], length, backend="reference")
    size = length * int(np.prod(case.row_shape)) * np.dtype(case.dtype).itemsize
    work = Case(kernel="gather", name=case.name, items=case.runs, unit="windows", bytes=2 * case.runs * size)

    def fancy() -> np.ndarray:
        rows = first[:, None] + np.arange(length)
        out = np.empty((*rows.shape, *case.row_shape), case.dtype)
        piece = np.searchsorted(offsets, first, side="right") - 1
        for number in np.unique(piece):
            here = piece == number
            out[here] = maps[number][rows[here] - offsets[number]]
        return out

    def loop() -> np.ndarray:
        out = np.empty((case.runs, length, *case.row_shape), case.dtype)
        for b, number in enumerate(np.searchsorted(offsets, first, side="right") - 1):
            start = first[b] - offsets[number]
            out[b] = maps[number][start : start + length]
        return out

    def contender(impl: str, run: Callable[[], np.ndarray], *, is_rival: bool = False) -> Contender:
        def check() -> None:
            assert np.array_equal(run()[: len(expected)], expected), "windows differ"

        return Contender(impl=impl, run=run, check=check, is_rival=is_rival)

    out = gather_runs(pieces, first, length)
    return work, [
        contender("numba", lambda: gather_runs(pieces, first, length, out=out, backend="numba")),
        contender("numpy fancy index", fancy, is_rival=True),
        contender("python loop", loop, is_rival=True),
    ]


def _memory_map(array: np.ndarray) -> np.ndarray:
    """The same array read from a file that is deleted at once: its pages stay while the map is open."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "piece.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r", allow_pickle=False)
