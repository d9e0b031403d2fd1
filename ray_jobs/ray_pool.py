"""Workers of a collection on a Ray cluster: the pool that `sim.collect` drives, as Ray tasks.

An item is a task; its records stay in the object store of the node that made them, and a block of them is written as a shard
by another task. The driver sees figures only. Tasks are idempotent: items depend on nothing but themselves, shards are named by
their content. So Ray may run a task again after a worker or a node died.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import ray
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)

from dataset.manifest import Dropped
from dataset.place import absolute
from dataset.schema import Dynamics
from dataset.storage import open_storage
from dataset.store import Store
from ray_jobs.cluster import RayConfig
from sim.collect_pool import Task, attempt, failed
from sim.imitate_clip import ItemOutcome
from sim.shard_order import Block, Finished
from sim.work_items import WorkItem

_DIED = (LocalRayletDiedError, NodeDiedError, ObjectLostError, OutOfMemoryError, RayTaskError, WorkerCrashedError)
"""How a task ends whose worker or node died at every retry."""
_WRITERS = 2
"""Shards that are written at a time; more work is not started until one is on the disk."""


class RayPool:
    """Work items and shards as Ray tasks.

    Args:
        task: What is the same for all items.
        workers: Items in flight.
        config: Resources.
    """

    def __init__(self, task: Task, workers: int, config: RayConfig) -> None:
        self.workers = workers
        self._task = ray.put(dataclasses.replace(task, save_to=absolute(task.save_to)))  # workers are in other folders
        options = {"num_cpus": config.num_cpus, "num_gpus": config.num_gpus, "max_retries": config.retries}
        self._imitate: Any = ray.remote(_imitate).options(**options, num_returns=2, scheduling_strategy="SPREAD")
        self._write: Any = ray.remote(_write).options(num_cpus=0, max_retries=config.retries)
        self._running: dict[Any, tuple[int, WorkItem, Any]] = {}
        self._writing: list[Any] = []

    def submit(self, place: int, item: WorkItem) -> None:
        """Start an item."""
        if item.clip.path is not None:
            item = dataclasses.replace(item, clip=dataclasses.replace(item.clip, path=item.clip.path.resolve()))
        outcome, records = self._imitate.remote(item, self._task)
        self._running[outcome] = (place, item, records)

    def wait(self) -> list[Finished]:
        """Items that are finished."""
        if not self._running:
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1)
        found = []
        for reference in ready:
            place, item, records = self._running.pop(reference)
            try:
                outcome = ray.get(reference)
            except _DIED as error:
                text = f"{item.name}: {type(error).__name__} after every retry"
                outcome, records = failed(item, "crashed", text), None
            found.append(Finished(place=place, outcome=outcome, records=records))
        return found

    def store(self, block: Block, store: Store) -> None:
        """Write a block as a shard in a task of its own."""
        while len(self._writing) >= _WRITERS:
            self._finish_one()
        arguments = (str(absolute(store.path)), frozenset(block.left_out), block.dropped)
        self._writing.append(self._write.remote(*arguments, *block.records))

    def _finish_one(self) -> None:
        [done], self._writing = ray.wait(self._writing, num_returns=1)
        try:
            ray.get(done)
        except RayTaskError as error:
            raise error.as_instanceof_cause() from None

    def close(self) -> None:
        """Wait for the writers."""
        while self._writing:
            self._finish_one()

    def stop(self) -> None:
        """Cancel what is under way."""
        for reference in (*self._running, *self._writing):
            ray.cancel(reference, force=True)


def _imitate(item: WorkItem, task: Task) -> tuple[ItemOutcome, list[Dynamics]]:
    outcome = attempt(item, task)
    records, outcome.kept = outcome.kept, []
    return outcome, records


def _write(place: str, left_out: frozenset[str], dropped: list[Dropped], *records: list[Dynamics]) -> str:
    kept = [record for made in records for record in made if record.name not in left_out]
    storage = open_storage(place)
    with storage.prepare(kept, dropped) as prepared:
        storage.publish(prepared)
        return prepared.name
