"""A collection by replay: processes beside Ray with as many workers, and the time that the paper's hours would take.

Work: the first stretches of `solutions/plan.csv` on their subjects, from motion files to a data set on the disk with all
checks, each time into a new folder, the two ways in turn; both must write the same bytes. Then the whole list, once by Ray
between two collections by processes, whose more than an hour of motion is extrapolated to 152 h. The time is that of
`run.json`: from the first item to the last shard, with the start of the workers (Ray starts one more, which writes shards:
seconds that a short collection feels), without that of Ray itself. Needs the motions that IMDYLAB_DATA points to. `python -m
bench.bench_collect` measures and appends rows (about 10 minutes).
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.harness import Row, append_rows, git_state, table
from bench.machine import measure_machine
from dataset.command_line import run_command
from dataset.provenance import package_versions, read_runs
from dataset.storage import open_storage
from dataset.store import Store

_ROOT = Path(__file__).resolve().parents[1]
_PLAN = _ROOT / "solutions" / "plan.csv"
_WAYS = {"processes": ("-m", "sim.collect"), "Ray": (str(_ROOT / "ray_jobs" / "collect.py"),)}


@dataclass(frozen=True, kw_only=True)
class CollectBench:
    """Settings of the measurement."""

    stretches: int = 64
    """Stretches of the list that both ways collect, from its start: others would be on other subjects than their solutions."""
    rounds: int = 3
    """Collections each way."""
    whole: bool = True
    """Collect the whole list too: by processes, by Ray, by processes."""
    workers: int = 2
    """Workers of either."""
    hours: float = 152.0
    """Motion that the result is extrapolated to [h]."""
    save: bool = True
    """Append the rows to bench/results/collect.jsonl."""


@dataclass(frozen=True)
class Collected:
    """One collection."""

    wall: float
    """Time it took [s]."""
    kept: float
    """Motion recorded [s]."""
    num_bytes: int
    """Size of all files on the disk."""
    content: str
    """Identity of the data."""


def main(config: CollectBench) -> list[Row]:
    """Measure, print and keep the rows.

    Raises:
        ValueError: IMDYLAB_DATA is not set, or a collection failed or lost something for want of a solution.
    """
    motions = _motion_folder()
    device = measure_machine().device
    with tempfile.TemporaryDirectory() as place:
        part = _first_stretches(Path(place) / "part.csv", config.stretches)
        found: dict[str, list[Collected]] = {way: [] for way in _WAYS}
        for turn in range(config.rounds):
            for way in list(_WAYS)[:: 1 if turn % 2 == 0 else -1]:
                found[way].append(_collect(way, part, motions, Path(place) / f"{way}-{turn}", config.workers))
        rows = _compared(f"first_{config.stretches}_stretches", found, config, device)
        print(_shares(found))
        if config.whole:
            order = ("processes", "Ray", "processes")
            runs = [
                _collect(way, _PLAN, motions, Path(place) / f"whole-{turn}", config.workers)
                for turn, way in enumerate(order)
            ]
            rows += _compared("whole_list", {"processes": runs[::2], "Ray": runs[1:2]}, config, device)
            print(_extrapolated(runs[::2], config))
    if config.save:
        append_rows(rows)
    return rows


def _motion_folder() -> Path:
    data = os.environ.get("IMDYLAB_DATA", "")
    if not data:
        raise ValueError("IMDYLAB_DATA: expected the folder of the motions and trials, found it unset")
    return Path(data) / "motion"


def _first_stretches(path: Path, count: int) -> Path:
    with open(_PLAN, newline="") as file:
        lines = list(csv.reader(file))
    if not 0 < count < len(lines):
        raise ValueError(f"stretches: expected 1 to {len(lines) - 1}, the length of {_PLAN}, got {count}")
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(lines[: count + 1])
    return path


def _collect(way: str, plan: Path, motions: Path, out: Path, workers: int) -> Collected:
    options = ["--motions", plan, "--root", motions, "--subjects", "all", "--pairing", "turn", "--workers", workers,
               "--imitation.no-may-search", "--out", out]  # fmt: skip
    command = [sys.executable, *_WAYS[way], *map(str, options)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{way}: expected a data set, found exit {done.returncode}: {done.stderr[-2000:]}")
    result = read_runs(open_storage(out))[-1]["result"]
    lost = set(result["items_by_loss"]) & {"no_solution", "unreadable", "crashed", "error"}
    if lost:
        raise ValueError(f"{way}: expected every stretch replayed, found {json.dumps(result['items_by_loss'])}")
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return Collected(result["wall_s"], result["kept_s"], size, Store.open(out).content)


def _compared(case: str, found: dict[str, list[Collected]], config: CollectBench, device: str) -> list[Row]:
    if len({one.content for runs in found.values() for one in runs}) > 1:
        raise ValueError("bench_collect: expected the same data from both ways, found different contents")
    rows = [_row(case, way, runs, config, device) for way, runs in found.items()]
    print(table(rows))
    return rows


def _row(case: str, way: str, runs: list[Collected], config: CollectBench, device: str) -> Row:
    p20, median, p80 = (float(value) for value in np.percentile([one.wall for one in runs], (20, 50, 80)))
    return Row(
        kernel="collect", case=f"{case}_{runs[0].kept:.0f}s_x{config.workers}", impl=way, is_rival=way == "processes",
        device=device, median_s=median, p20_s=p20, p80_s=p80, items_per_s=runs[0].kept / median, unit="s of motion",
        bytes=runs[0].num_bytes, flops=None, roof_fraction=None, correct=True, versions=package_versions(), git_sha=git_state(),
    )  # fmt: skip


def _shares(found: dict[str, list[Collected]]) -> str:
    """Turn by turn: the machine's own swings, which last minutes, are in both collections of a turn."""
    shares = [100 * one.wall / other.wall for one, other in zip(found["processes"], found["Ray"], strict=True)]
    each = ", ".join(f"{share:.0f}" for share in shares)
    return f"Ray's rate in percent of the processes', turn by turn: {each}; median {np.median(shares):.1f}"


def _extrapolated(runs: list[Collected], config: CollectBench) -> str:
    kept, wall, size = (sum(getattr(one, name) for one in runs) for name in ("kept", "wall", "num_bytes"))
    share = 3600.0 * config.hours / kept
    measured = f"{kept / 60:.1f} min of motion in {wall:.0f} s, {size / 1e6:.0f} MB"
    wanted = f"{share * wall / 3600:.1f} h and {share * size / 1e9:.1f} GB"
    return f"{config.workers} processes: {measured}; {config.hours:g} h would take {wanted}"


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(CollectBench, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("bench_collect", run))
