"""Make a data set: every clip on every subject with every seed, imitated, recorded and stored.

`python -m sim.collect --motions embedded --out DIR` takes the 15 clips everybody can have;
`python -m sim.collect --motions solutions/plan.csv --root MOTIONS --subjects all --pairing turn --out DIR` replays the
shipped solutions. One process a core works on one clip at a time. What cannot be read, tracked or recorded is counted
and does not stop the rest; started again with the same arguments it goes on where it stopped and tries again what could not
be read, had no solution, or ended in an error. What each run found out is added to `run.json` of the data set, with the
completion rate of each source over all runs.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from dataset.body.subjects import SUBJECTS, subject_by_name
from dataset.command_line import run_command
from dataset.manifest import FAILURES, LANDING, Dropped
from dataset.provenance import add_run, run_record
from dataset.schema import FRAME_RATE, Subject
from dataset.store import Store
from dataset.summary import Completion, completion
from sim.imitate_clip import ImitationConfig, ItemOutcome, StoredSolutions, find_solutions, imitate_item
from sim.record import RecordReport
from sim.work_items import WorkItem, list_clips, list_items

SHARD_SECONDS = 600.0
"""Recorded time after which a shard is written [s]."""
_ATTEMPTS = 2  # a clip whose process died this often is given up

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `python -m sim.collect`."""

    out: Path
    """Folder of the data set; made if missing, continued if not."""
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
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    """How a clip becomes records."""


@dataclass(kw_only=True)
class Tally:
    """Running totals of one run of a collection."""

    items: int = 0
    """Work items finished."""
    asked: float = 0.0
    """Length of their clips [s]."""
    complete: int = 0
    """Items that are whole."""
    searched: float = 0.0
    """Seconds of clip searched."""
    search_wall: float = 0.0
    """Process time of the search [s]."""
    substeps: int = 0
    """Physics substeps replayed."""
    replay_wall: float = 0.0
    """Process time of replaying and recording [s]."""
    inexact: int = 0
    """Stretches whose replay left the searched states."""

    def __post_init__(self) -> None:
        self.report = RecordReport()
        self.lost: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        self.by_source: defaultdict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.errors: dict[str, str] = {}
        self.notes: dict[str, tuple[str, ...]] = {}

    def add(self, item: WorkItem, outcome: ItemOutcome) -> None:
        """Count one item in."""
        self.items += 1
        self.complete += outcome.is_complete
        for name in ("asked", "searched", "search_wall", "substeps", "replay_wall", "inexact"):
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        self.report.add(outcome.report)
        source = self.by_source[item.clip.source]
        source["items"] += 1
        source["complete"] += outcome.is_complete
        source["asked_s"] += outcome.asked
        source["kept_s"] += outcome.report.kept / FRAME_RATE
        self.lost.update({loss.reason for loss in outcome.dropped} - {LANDING})  # every stretch lands: no loss
        self.warnings.update(outcome.warnings)
        if outcome.notes:
            self.notes[item.clip.label] = outcome.notes
        if outcome.error:
            self.errors[item.name] = outcome.error

    @property
    def steps_per_second(self) -> float:
        """Substeps replayed and recorded per second of one process."""
        return self.substeps / self.replay_wall if self.replay_wall else 0.0

    def result(self) -> dict[str, Any]:
        """For `run.json`: totals of this run, physics figures, each source, each failure."""
        return {
            "items": self.items,
            "complete": self.complete,
            "asked_s": round(self.asked, 3),
            **self.report.summary(),
            "by_source": {name: dict(values) for name, values in sorted(self.by_source.items())},
            "items_by_loss": dict(self.lost),
            "searched_s": round(self.searched, 3),
            "search_s_per_s": self.search_wall / self.searched if self.searched else None,
            "replay_substeps_per_s": round(self.steps_per_second),
            "inexact_stretches": self.inexact,
            "engine_warnings": dict(self.warnings),
            "errors": self.errors,
            "notes": self.notes,
        }


class ShardWriter:
    """Stores outcomes in the order of the work, a shard every `SHARD_SECONDS`, so the data do not depend on timing.

    A loss that the data set knows from an earlier run is not stored twice.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = set(store.dropped)
        self._waiting: dict[int, ItemOutcome] = {}
        self._next = 0
        self._block: list[ItemOutcome] = []

    def put(self, place: int, outcome: ItemOutcome) -> None:
        """Take the outcome of item number `place`; write a shard if one is full."""
        self._waiting[place] = outcome
        while self._next in self._waiting:
            self._block.append(self._waiting.pop(self._next))
            self._next += 1
            if sum(item.report.kept for item in self._block) >= SHARD_SECONDS * FRAME_RATE:
                self._write()

    def close(self) -> None:
        """Write what is left, also what came after an item that never finished."""
        self._block += [self._waiting[place] for place in sorted(self._waiting)]
        self._waiting.clear()
        self._write()

    def _write(self) -> None:
        kept = [record for outcome in self._block for record in outcome.kept]
        dropped = [loss for outcome in self._block for loss in outcome.dropped if loss not in self._known]
        if kept or dropped:
            self._store.append(kept, dropped)
        self._block = []


def _subjects(names: Sequence[str]) -> list[Subject]:
    return list(SUBJECTS) if tuple(names) == ("all",) else [subject_by_name(name) for name in names]


def _unfinished(items: Sequence[WorkItem], store: Store, keep_failed: bool) -> list[WorkItem]:
    """Items of which the data set has neither a record nor a loss, and unless they are kept those that failed altogether."""
    found = [(info.clip, info.subject.name, info.seed) for info in store.sequences]
    found += [
        (loss.clip, loss.subject, loss.seed) for loss in store.dropped if keep_failed or loss.reason not in FAILURES
    ]
    done = {(name, *rest) for clip, *rest in found for name in (clip, clip.rsplit("@", 1)[0])}  # a stretch of a file
    return [item for item in items if (item.clip.label, item.subject.name, item.seed) not in done]


def _failed(item: WorkItem, reason: str, error: str) -> ItemOutcome:
    loss = Dropped(clip=item.clip.label, subject=item.subject.name, seed=item.seed, reason=reason, seconds=0.0)
    return ItemOutcome(dropped=[loss], error=error)


def _outcomes(items: Sequence[WorkItem], config: Config, workers: int) -> Iterator[tuple[int, ItemOutcome]]:
    """Number and outcome of each item as it is finished; a clip that kills its process is tried once more, alone."""
    own = config.out / "solutions"
    arguments = (config.imitation, find_solutions((*config.solutions, own)), own)
    # Read when a process starts. One thread in each: a process keeps one core busy, and the last bits of a sum, on which
    # the hashes of bodies and motions depend, do not change with the number of cores.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    todo = list(range(len(items)))[::-1]
    attempts: Counter[int] = Counter()
    is_careful = False
    while todo:
        running: dict[Future[ItemOutcome], int] = {}
        with ProcessPoolExecutor(1 if is_careful else workers, mp_context=get_context("spawn")) as pool:
            try:
                while todo or running:
                    while todo and len(running) < (1 if is_careful else workers):
                        place = todo.pop()
                        running[pool.submit(_guarded, items[place], *arguments)] = place
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        outcome = future.result()
                        yield running.pop(future), outcome
            except BrokenProcessPool:
                is_careful = True  # one at a time shows which clip it was
                for place in sorted(running.values(), reverse=True):
                    attempts[place] += 1
                    if attempts[place] < _ATTEMPTS:
                        todo.append(place)
                    else:
                        reason = f"{items[place].name}: its process died {attempts[place]} times"
                        yield place, _failed(items[place], "crashed", reason)


def _guarded(item: WorkItem, config: ImitationConfig, stored: StoredSolutions, save_to: Path) -> ItemOutcome:
    try:
        return imitate_item(item, config, stored, save_to)
    except Exception as error:  # whatever is wrong with one clip, the batch goes on and says so
        _log.exception("%s", item.name)
        return _failed(item, "error", f"{item.name}: {type(error).__name__}: {error}")


def main(config: Config) -> dict[str, Any]:
    """Collect; returns what is written to `run.json` as the result.

    Raises:
        ValueError: An option names nothing that exists.
    """
    from tqdm import tqdm

    clips = list_clips(config.motions, config.root)
    items = list_items(clips, _subjects(config.subjects), config.seeds, config.pairing)
    store = Store.create(config.out)
    todo = _unfinished(items, store, config.keep_failed)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(config.workers or cores, max(1, len(todo)))
    tally, writer, started = Tally(), ShardWriter(store), time.perf_counter()
    with tqdm(total=len(items), initial=len(items) - len(todo), unit="clip", desc="collect", file=sys.stderr) as bar:
        try:
            for place, outcome in _outcomes(todo, config, workers):
                tally.add(todo[place], outcome)
                writer.put(place, outcome)
                if outcome.error:
                    bar.write(outcome.error, file=sys.stderr)
                bar.update()
                bar.set_postfix_str(
                    f"{tally.report.kept / FRAME_RATE / 3600:.2f} h, {tally.steps_per_second / 1e3:.1f} k steps/s, lost "
                    + (", ".join(f"{reason} {count}" for reason, count in tally.lost.most_common(4)) or "none")
                )
        finally:
            # A stop in the middle keeps what is finished; the next start goes on from there.
            writer.close()
    whole = {name: dataclasses.asdict(figures) for name, figures in completion(store).items()}
    result = tally.result() | {
        "completion": whole,
        "wall_s": round(time.perf_counter() - started, 1),
        "workers": workers,
    }
    seeds = {f"search_{number}": seed for number, seed in enumerate(config.seeds)}
    add_run(config.out, run_record("sim.collect", config, seeds=seeds, result=result))
    return result


def _print_result(result: dict[str, Any], out: Path) -> None:
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
        print(f"  readers' notes on {len(result['notes'])} clips are in {out / 'run.json'}")


def run() -> None:
    """The command line."""
    import tyro

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    config = tyro.cli(Config, description=__doc__)
    _print_result(main(config), config.out)


if __name__ == "__main__":
    sys.exit(run_command("collect", run))
