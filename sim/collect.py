"""Make a data set: every clip on every subject with every seed, imitated, recorded and stored.

`python -m sim.collect --motions embedded --out DIR` takes the 15 clips everybody can have;
`python -m sim.collect --motions solutions/plan.csv --root MOTIONS --subjects all --pairing turn --out DIR` replays the
shipped solutions. One process a core works on one clip at a time. What cannot be read, tracked or recorded is counted
and does not stop the rest.

Stopped anywhere, by a kill or a full disk, and started again with the same arguments it goes on and ends with the same bytes as
if nothing had happened; shards that are damaged are set aside and made again. It tries again what could not be read, had no
solution, or ended in an error. What each run found out is added to `run.json` of the data set, with the completion rate of each
source over all runs. An object store knows no locks: of two collections into one address at a time both do the work, and what
they write twice is the same. `ray_jobs.collect` does the same on a cluster.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dataset.body.subjects import SUBJECTS, subject_by_name
from dataset.command_line import run_command
from dataset.manifest import LANDING
from dataset.place import Place, join
from dataset.provenance import RUN_FILE, add_run, run_record
from dataset.schema import Subject
from dataset.shard_writer import SHARD_SECONDS
from dataset.storage import open_storage
from dataset.store import Store
from dataset.summary import Completion, completion
from sim.collect_pool import Pool, ProcessPool, Task
from sim.imitate_clip import ImitationConfig, find_solutions
from sim.progress import Reporter
from sim.resume import SOLUTIONS, clear_remains, only_collector, unfinished
from sim.shard_order import Finished, ShardOrder
from sim.tally import Tally
from sim.work_items import WorkItem, list_clips, list_items

AHEAD = 16
"""Items a worker that may be finished before an earlier one is: more would only fill the memory."""
SAID_EVERY = 30.0
"""Time between two lines of progress where no terminal shows a bar [s]."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `python -m sim.collect`."""

    out: Place
    """Folder of the data set, or its address on an object store (`s3://bucket/data`); made if missing, continued if not."""
    motions: tuple[str, ...] = ("embedded",)
    """`embedded`, `embedded/NAME`, motion files, folders of them, or lists of stretches (`.csv`)."""
    root: Path | None = None
    """Motion folder that the paths of a list are relative to."""
    subjects: tuple[str, ...] = (SUBJECTS[0].name,)
    """Names from `dataset.body.subjects`, or `all`."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the search."""
    pairing: Literal["every", "turn"] = "every"
    """Each clip on every subject, or each on one of them in turn (as the shipped solutions were made)."""
    solutions: tuple[Path, ...] = (Path("solutions"),)
    """Folders with stored solutions; `OUT/solutions`, where new ones go, is looked through too."""
    workers: int = 0
    """Processes; 0 for one a core."""
    keep_failed: bool = False
    """Do not try again what an earlier run could not read, had no solution for, or failed on by an error or crash."""
    shard_seconds: float = SHARD_SECONDS
    """Recorded time after which a shard is written [s]; a collection that goes on needs the value it began with."""
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    """How a clip becomes records."""


def _subjects(names: Sequence[str]) -> list[Subject]:
    return list(SUBJECTS) if tuple(names) == ("all",) else [subject_by_name(name) for name in names]


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


MakePool = Callable[[Task, int], Pool]
"""Makes the workers for a task and a number of items."""


def _local_pool(config: Config) -> MakePool:
    return lambda task, items: ProcessPool(task, min(config.workers or usable_cores(), max(1, items)))


def _finished(todo: dict[int, WorkItem], order: ShardOrder, pool: Pool) -> Iterator[Finished]:
    """Items as they are finished; only so many are started that the order is not left too far behind."""
    places = iter(todo)
    started, ended = 0, 0
    while ended < len(todo):
        while (
            started < len(todo)
            and started - ended < pool.workers
            and started - order.num_ordered < AHEAD * pool.workers
        ):
            place = next(places)
            pool.submit(place, todo[place])
            started += 1
        for item in pool.wait():
            ended += 1
            yield item


def main(config: Config, make_pool: MakePool | None = None, command: str = "sim.collect") -> dict[str, Any]:
    """Collect; returns what is written to `run.json` as the result.

    Args:
        config: Options.
        make_pool: Where the work is done; processes of this machine by default.
        command: Name of the entry point, for `run.json`.

    Raises:
        ValueError: An option names nothing that exists, or another collection is at work on the data set.
        OSError: A shard or a solution could not be written (a full disk); nothing half-written is left.
    """
    if not config.shard_seconds > 0:
        raise ValueError(f"shard_seconds: expected a positive time in s, got {config.shard_seconds}")
    if config.workers < 0:
        raise ValueError(f"workers: expected a number of processes, or 0 for one a core, got {config.workers}")
    config.imitation.check()
    clips = list_clips(config.motions, config.root)
    items = list_items(clips, _subjects(config.subjects), config.seeds, config.pairing)
    with only_collector(open_storage(config.out)):
        return _collect(config, items, make_pool or _local_pool(config), command)


def _collect(config: Config, items: list[WorkItem], make_pool: MakePool, command: str) -> dict[str, Any]:
    from tqdm import tqdm

    storage = open_storage(config.out)
    damaged = clear_remains(storage)
    store = Store.create(storage)
    todo = unfinished(items, store, config.keep_failed)
    own = storage.at(SOLUTIONS)
    task = Task(config=config.imitation, stored=find_solutions((*config.solutions, own)), save_to=own)
    tally, order, started = Tally(), ShardOrder(list(todo), store, config.shard_seconds), time.perf_counter()
    pool = make_pool(task, len(todo))
    stored, is_shown, said = len(items) - len(todo), sys.stderr.isatty(), time.monotonic()
    with (
        Reporter(storage, len(items), stored, pool.workers) as reporter,
        tqdm(
            total=len(items), initial=stored, unit="clip", desc="collect", file=sys.stderr, disable=not is_shown
        ) as bar,
    ):  # fmt: skip
        reporter.report(tally)
        try:
            for item in _finished(todo, order, pool):
                tally.add(todo[item.place], item.outcome)
                for block in order.put(item):
                    pool.store(block, store)
                if item.outcome.error:
                    bar.write(item.outcome.error, file=sys.stderr)
                bar.update()
                progress = reporter.report(tally).as_text()
                bar.set_postfix_str(progress)
                if not is_shown and time.monotonic() - said >= SAID_EVERY:
                    print(f"collect: {progress}", file=sys.stderr, flush=True)
                    said = time.monotonic()
            pool.close()
        finally:
            pool.stop()
        reporter.report(tally, is_last=True)
    store = Store.create(storage)  # others may have written its shards
    whole = {name: dataclasses.asdict(figures) for name, figures in completion(store).items()}
    result = tally.result() | {
        "completion": whole,
        "content": store.content,
        "set_aside": damaged,
        "wall_s": round(time.perf_counter() - started, 1),
        "workers": pool.workers,
    }
    seeds = {f"search_{number}": seed for number, seed in enumerate(config.seeds)}
    add_run(storage, run_record(command, config, seeds=seeds, result=result))
    return result


def print_result(result: dict[str, Any], out: Place) -> None:
    """The result for a person."""
    print(
        f"{out}: this run kept {result['kept_s']:.1f} of {result['asked_s']:.1f} s,"
        f" {result['cut_s'].get(LANDING, 0.0):.1f} s were landing; {result['complete']} of {result['items']} items complete;"
        f" momentum error {100 * result['momentum_error_median']:.2f} % of body weight"
        f" in the median, equations of motion close to {result['closure_max']:.1e}"
    )
    for source, figures in result["completion"].items():
        print(f"  {source}, all runs: {Completion(**figures).as_text()}")
    if result["items_by_loss"]:
        print("  items that lost something to: " + ", ".join(f"{k} {v}" for k, v in result["items_by_loss"].items()))
    if result["notes"]:
        print(f"  readers' notes on {len(result['notes'])} clips are in {join(out, RUN_FILE)}")


def run() -> None:
    """The command line."""
    import tyro

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    config = tyro.cli(Config, description=__doc__)
    print_result(main(config), config.out)


if __name__ == "__main__":
    sys.exit(run_command("collect", run))
