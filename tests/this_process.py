"""A pool of a collection that is this process alone, for tests: no worker has to start."""

from __future__ import annotations

import random
from typing import Any

from sim.collect_pool import ProcessPool, Task, attempt
from sim.shard_order import Finished
from sim.work_items import WorkItem


class ThisProcess:
    """So many items in flight, which finish in an order drawn by chance.

    Args:
        task: What is the same for all items.
        workers: Items in flight.
        seed: Of the order.
    """

    def __init__(self, task: Task, workers: int = 1, seed: int = 0) -> None:
        self.workers, self._task, self._random = workers, task, random.Random(seed)
        self._held: list[tuple[int, WorkItem]] = []

    def submit(self, place: int, item: WorkItem) -> None:
        """Keep it."""
        self._held.append((place, item))

    def wait(self) -> list[Finished]:
        """Do one."""
        place, item = self._held.pop(self._random.randrange(len(self._held)))
        outcome = attempt(item, self._task)
        return [Finished(place=place, outcome=outcome, records=outcome.kept)]

    store: Any = ProcessPool.store

    def close(self) -> None:
        """Nothing is left to write."""

    def stop(self) -> None:
        """Nothing is under way."""
