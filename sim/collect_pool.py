"""Where work items are done and shards are written: processes of this machine. Ray's is in `ray_jobs.ray_pool`."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Protocol

from dataset.manifest import Dropped
from dataset.place import Place
from dataset.store import Store
from sim.imitate_clip import CannotWorkError, ImitationConfig, ItemOutcome, StoredSolutions, imitate_item
from sim.shard_order import Block, Finished
from sim.work_items import WorkItem

ATTEMPTS = 2
"""A clip whose process died this often is given up as `crashed`."""
ONE_THREAD: dict[str, str] = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment of a worker. One thread in each: a process keeps one core busy, and the last bits of a sum, on which the hashes of
bodies and motions depend, do not change with the number of cores."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is the same for all items of a collection."""

    config: ImitationConfig
    """How a clip becomes records."""
    stored: StoredSolutions
    """Solutions that may be replayed."""
    save_to: Place
    """Folder or address for solutions that had to be searched."""


class Pool(Protocol):
    """Workers of a collection."""

    workers: int
    """How many items it works on at a time."""

    def submit(self, place: int, item: WorkItem) -> None:
        """Start an item."""
        ...

    def wait(self) -> Sequence[Finished]:
        """At least one finished item, unless none is under way; an item that kills its worker comes back as `crashed`.

        Raises:
            OSError: A solution could not be written, or the workers cannot work at all.
        """
        ...

    def store(self, block: Block, store: Store) -> None:
        """Write a block as a shard, now or later; an error of an earlier writing is raised here or by `close`."""
        ...

    def close(self) -> None:
        """Wait until all that was given to `store` is on the disk."""
        ...

    def stop(self) -> None:
        """Let go of the workers, whatever they do."""
        ...


class ProcessPool:
    """Processes of this machine; records come back to this process, which writes them.

    A worker that dies takes the pool with it. What was under way is done again, one item at a time, which shows the item that
    kills its process; then the workers go on together.
    """

    def __init__(self, task: Task, workers: int) -> None:
        self.workers = workers
        self._task = task
        os.environ.update(ONE_THREAD)  # read when a process starts
        self._running: dict[Future[ItemOutcome], int] = {}
        self._items: dict[int, WorkItem] = {}
        self._deaths: Counter[int] = Counter()
        self._suspects: set[int] = set()
        self._queue: list[int] = []  # suspects first
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"), initializer=exit_with_parent)

    def submit(self, place: int, item: WorkItem) -> None:
        """Start an item."""
        self._items[place] = item
        if self._suspects:
            self._queue.append(place)
        else:
            self._hand_out(place)

    def _hand_out(self, place: int) -> None:
        self._running[self._pool.submit(attempt, self._items[place], self._task)] = place

    def wait(self) -> list[Finished]:
        """Items that are finished."""
        if not self._running:
            alone = 1 if self._suspects else len(self._queue)
            for place in self._queue[:alone]:
                self._hand_out(place)
            del self._queue[:alone]
        if not self._running:
            return []
        found = []
        try:
            for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                outcome = future.result()
                place = self._running.pop(future)
                del self._items[place]
                self._suspects.discard(place)
                found.append(Finished(place=place, outcome=outcome, records=outcome.kept))
        except BrokenProcessPool:
            found += self._recover()
        return found or self.wait()

    def _recover(self) -> list[Finished]:
        """After a worker's death: a new pool, and the items that were under way again or given up."""
        given_up = []
        places, self._running = sorted(self._running.values()), {}
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._start()
        for place in reversed(places):
            self._deaths[place] += 1
            if self._deaths[place] < ATTEMPTS:
                self._suspects.add(place)
                self._queue.insert(0, place)
                continue
            self._suspects.discard(place)
            item = self._items.pop(place)
            error = f"{item.name}: its process died {self._deaths[place]} times"
            given_up.append(Finished(place=place, outcome=failed(item, "crashed", error), records=[]))
        return given_up

    def store(self, block: Block, store: Store) -> None:
        """Write a block as a shard."""
        store.append(
            [item for items in block.records for item in items if item.name not in block.left_out], block.dropped
        )

    def close(self) -> None:
        """Nothing is left to write."""

    def stop(self) -> None:
        """End the processes."""
        processes = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with contextlib.suppress(OSError, ValueError):
                process.terminate()


def attempt(item: WorkItem, task: Task) -> ItemOutcome:
    """Outcome of an item, whatever is wrong with it: one clip never stops the others.

    Raises:
        CannotWorkError: Its solution could not be written, or the planner's device is not here. Counted as a failure of the
            clip it would stay in the data set, which would then differ from one that had room, or a device.
    """
    try:
        return imitate_item(item, task.config, task.stored, task.save_to)
    except CannotWorkError:
        raise
    except Exception as error:
        _log.exception("%s", item.name)
        return failed(item, "error", f"{item.name}: {type(error).__name__}: {error}")


def failed(item: WorkItem, reason: str, error: str) -> ItemOutcome:
    """Outcome of an item of which nothing came."""
    loss = Dropped(clip=item.clip.label, subject=item.subject.name, seed=item.seed, reason=reason, seconds=0.0)
    return ItemOutcome(dropped=[loss], error=error)


def exit_with_parent() -> None:
    """Let this process end when the one that started it has died, be it by a kill: nobody is left to work for."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True, name="exit_with_parent").start()
