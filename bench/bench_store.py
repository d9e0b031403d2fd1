"""A data set of the paper's size: how long it takes to open, and how fast random windows come out of its shards.

The data set is made of sparse files (`bench.sparse_store`): real manifests, arrays of zeros that take no room. Opening is timed
from the folder to the offsets of all sequences, and must take less than a second. Windows are 6 frames of the 24 bodies'
quaternions out of all shards, checked against slices of the maps; those frames hold their numbers, so that a wrong window shows.
Beside them stands the same kernel on the same frames as one array in memory: what the maps of many shards cost.
`python -m bench.bench_store` measures and appends rows.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.harness import Case, Contender, Row, append_rows, measure, table
from bench.machine import measure_machine
from bench.sparse_store import make_sparse_store, number_frames
from dataset.command_line import run_command
from dataset.store import Store
from dataset.windows import WINDOW
from kernels.gather import gather_runs, join


@dataclass(frozen=True, kw_only=True)
class StoreBench:
    """Settings of the measurement."""

    hours: float = 152.0
    """Recorded time of the data set [h]."""
    windows: int = 2400
    """Windows a batch."""
    window_frames: int = 400_000
    """Frames that windows are drawn from: more than the caches hold, little enough to stay in memory."""
    rounds: int = 5
    """Samples of each contender."""
    save: bool = True
    """Append the rows to bench/results/store.jsonl."""


def main(config: StoreBench) -> list[Row]:
    """Measure, print and keep the rows."""
    machine = measure_machine()
    with tempfile.TemporaryDirectory() as folder:
        path = make_sparse_store(Path(folder) / "set", config.hours)
        rows = []
        for case, contenders in (_opening(path), _windows(path, config)):
            found = measure(case, contenders, machine=machine, rounds=config.rounds)
            print(table(found, machine))
            rows += found
    if config.save:
        append_rows(rows)
    return rows


def _opening(path: Path) -> tuple[Case, list[Contender]]:
    store = Store.open(path)
    size = sum(1 for _ in path.glob("shard-*"))

    def open_manifests() -> Store:
        return Store.open(path)

    def open_sequences() -> Store:
        opened = Store.open(path)
        assert opened.frame_offsets[-1] == store.num_frames
        return opened

    def check_shards() -> None:
        assert len(open_manifests().shards) == size

    def check_sequences() -> None:
        assert len(open_sequences()) == len(store)

    case = Case(kernel="store", name="open", items=store.num_frames, unit="frames")
    return case, [
        Contender(impl="manifests and sizes", run=open_manifests, check=check_shards),
        Contender(impl="and the offsets of all sequences", run=open_sequences, check=check_sequences),
    ]


def _windows(path: Path, config: StoreBench) -> tuple[Case, list[Contender]]:
    store = Store.open(path)
    # Sequences spread over all shards, as many as stay in memory.
    lengths = np.diff(store.frame_offsets)
    chosen = np.arange(0, len(store), max(1, round(store.num_frames / config.window_frames)))
    rng = np.random.default_rng(0)
    inside = rng.choice(len(chosen), config.windows)
    begin = rng.integers(lengths[chosen[inside]] - WINDOW + 1)
    first = store.frame_offsets[chosen[inside]] + begin
    number_frames(store, chosen)
    loaded = np.concatenate([_frames(store, int(index)) for index in chosen])
    in_memory = join([loaded])
    first_loaded = np.concatenate(([0], np.cumsum(lengths[chosen])))[inside] + begin
    out = store.windows("quat", first, WINDOW)
    maps, offsets = store.fields("quat"), np.cumsum([0, *(len(array) for array in store.fields("quat"))])

    def fancy() -> np.ndarray:
        rows = first[:, None] + np.arange(WINDOW)
        found = np.empty_like(out)
        shard = np.searchsorted(offsets, first, side="right") - 1
        for number in np.unique(shard):
            here = shard == number
            found[here] = maps[number][rows[here] - offsets[number]]
        return found

    def check_fancy() -> None:
        assert np.array_equal(fancy()[:, :, 0, 0], first[:, None] + np.arange(WINDOW)), (
            "windows are not those asked for"
        )

    def check() -> None:
        assert np.array_equal(store.windows("quat", first, WINDOW), fancy()), "windows differ"

    def check_in_memory() -> None:
        assert np.array_equal(gather_runs(in_memory, first_loaded, WINDOW), fancy()), "windows differ"

    case = Case(kernel="store", name="windows", items=config.windows, unit="windows", bytes=2 * out.nbytes)
    return case, [
        Contender(impl="Store.windows", run=lambda: store.windows("quat", first, WINDOW, out=out), check=check),
        Contender(
            impl="the kernel on one array in memory",
            run=lambda: gather_runs(in_memory, first_loaded, WINDOW, out=out),
            check=check_in_memory,
            is_rival=True,
        ),
        Contender(impl="numpy fancy index", run=fancy, check=check_fancy, is_rival=True),
    ]


def _frames(store: Store, index: int) -> np.ndarray:
    rows = np.arange(store.frame_offsets[index], store.frame_offsets[index + 1])
    return store.gather("quat", rows)


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(StoreBench, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("bench_store", run))
