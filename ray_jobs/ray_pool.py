"""Workers of a collection on a Ray cluster: the pool that `sim.collect` drives, as Ray tasks.

An item is a task; its records stay in the object store of the node that made them, and a block of them is written as a shard
by another task. The driver sees figures only. Tasks are idempotent: items depend on nothing but themselves, shards are named by
their content. So Ray may run a task again after a worker or a node died, and where records are lost that it cannot bring back
their items are done again here.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from dataset.place import absolute
from dataset.schema import Dynamics
from dataset.store import Store
from ray_jobs.cluster import RayConfig
from ray_jobs.ray_errors import DIED, cause_of, in_words, is_everywhere, stopped, what_died
from ray_jobs.shard_task import write_shard
from sim.collect_pool import Task, attempt, failed
from sim.imitate_clip import CannotWorkError, ItemOutcome
from sim.imitation.tracker.planning_device import repeats
from sim.shard_order import Block, Finished
from sim.work_items import WorkItem

_WRITERS = 2
"""Shards that are written at a time; more work is not started until one is on the disk."""
_LAST_SECONDS = 10.0
"""How long shards that are being written may take when a collection is stopped [s]: one that is cut off is lost work."""

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Shard:
    """A shard that is being written."""

    place: str
    """Data set."""
    block: Block
    """What it holds; `records` are handles."""
    items: list[WorkItem]
    """What gives its records."""
    attempts: int = 1
    """How often it was begun."""

    @property
    def name(self) -> str:
        """For a person."""
        if not self.items:
            return "a shard without records"
        return f"the shard from {self.items[0].name} to {self.items[-1].name}"


class RayPool:
    """Work items and shards as Ray tasks.

    Args:
        task: What is the same for all items.
        workers: Items in flight.
        config: Resources.
    """

    def __init__(self, task: Task, workers: int, config: RayConfig) -> None:
        self.workers = workers
        # What a GPU does a second time is something else: it would not agree with what was said of the first.
        self._retries = config.retries if repeats(task.config.planner) else 0
        self._task = ray.put(dataclasses.replace(task, save_to=absolute(task.save_to)))  # workers are in other folders
        options = {"num_cpus": config.num_cpus, "num_gpus": config.num_gpus, "max_retries": self._retries}
        self._imitate: Any = ray.remote(_imitate).options(**options, num_returns=2, scheduling_strategy="SPREAD")
        self._write: Any = ray.remote(write_shard).options(num_cpus=0, max_retries=config.retries)
        self._running: dict[Any, tuple[int, WorkItem, Any]] = {}
        self._unwritten: dict[Any, WorkItem] = {}
        self._writing: dict[Any, _Shard] = {}

    def submit(self, place: int, item: WorkItem) -> None:
        """Start an item."""
        if item.clip.path is not None:
            item = dataclasses.replace(item, clip=dataclasses.replace(item.clip, path=item.clip.path.resolve()))
        outcome, records = self._imitate.remote(item, self._task)
        self._running[outcome] = (place, item, records)

    def wait(self) -> list[Finished]:
        """Items that are finished.

        Raises:
            OSError: A solution could not be written, or, as ChildProcessError, the cluster cannot run any of them.
        """
        if not self._running:
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1)
        found = []
        for reference in ready:
            place, item, records = self._running.pop(reference)
            try:
                outcome = ray.get(reference)
            except RayError as error:
                outcome = self._lost(item, cause_of(error))
            if outcome.recorded:
                self._unwritten[records] = item
            found.append(Finished(place=place, outcome=outcome, records=records))
        return found

    def _lost(self, item: WorkItem, cause: BaseException) -> ItemOutcome:
        if isinstance(cause, DIED):
            return failed(item, "crashed", f"{item.name}: at each of {self._retries + 1} attempts {what_died(cause)}")
        if isinstance(cause, CannotWorkError):
            raise cause
        if is_everywhere(cause):
            raise stopped(cause, item.name) from cause
        return failed(item, "error", f"{item.name}: {in_words(cause)}")

    def store(self, block: Block, store: Store) -> None:
        """Write a block as a shard in a task of its own; errors as `close`."""
        while len(self._writing) >= _WRITERS:
            self._finish_one()
        items = [self._unwritten.pop(records) for records in block.records]
        self._begin(_Shard(place=str(absolute(store.path)), block=block, items=items))

    def _begin(self, shard: _Shard) -> None:
        block = shard.block
        self._writing[self._write.remote(shard.place, frozenset(block.left_out), block.dropped, *block.records)] = shard

    def _finish_one(self) -> None:
        [done], _ = ray.wait(list(self._writing), num_returns=1)
        shard = self._writing.pop(done)
        try:
            ray.get(done)
        except RayError as error:
            cause = cause_of(error)
            if isinstance(cause, DIED):
                self._again(shard, cause)
            elif is_everywhere(cause):
                raise stopped(cause, shard.name) from cause
            else:
                raise cause from error

    def _again(self, shard: _Shard, cause: BaseException) -> None:
        """Make the records of a shard once more, and write it."""
        if shard.attempts > self._retries:
            raise ChildProcessError(
                f"{shard.name}: expected to be written, found at each of {shard.attempts} attempts that {what_died(cause)}; "
                "what is stored is whole: start again, it goes on"
            ) from cause
        _log.warning("%s: %s; its items are done again", shard.name, what_died(cause))
        shard.attempts += 1
        shard.block.records = [self._imitate.remote(item, self._task)[1] for item in shard.items]
        self._begin(shard)

    def close(self) -> None:
        """Wait for the writers.

        Raises:
            OSError: A shard could not be written (a full disk), or, as ChildProcessError, machines died under it at every
                attempt.
        """
        while self._writing:
            self._finish_one()

    def stop(self) -> None:
        """Cancel what is under way; shards that are nearly written may be finished."""
        for reference in self._running:
            ray.cancel(reference, force=True)
        if self._writing:
            _, left = ray.wait(list(self._writing), num_returns=len(self._writing), timeout=_LAST_SECONDS)
            for reference in left:
                ray.cancel(reference, force=True)


def _imitate(item: WorkItem, task: Task) -> tuple[ItemOutcome, list[Dynamics]]:
    outcome = attempt(item, task)
    records, outcome.kept = outcome.kept, []
    return outcome, records
