"""Workers of a collection on a Ray cluster: the pool that `sim.collect` drives, as Ray tasks.

An item is a task; its records stay in the object store of the node that made them, and a block of them is written as a shard
by another task. The driver sees figures only. Tasks are idempotent: items depend on nothing but themselves, shards are named by
their content. So Ray may run a task again after a worker or a node died.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
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
from sim.collect_pool import ONE_THREAD, Task, attempt, failed
from sim.imitate_clip import ItemOutcome
from sim.shard_order import Block, Finished
from sim.work_items import WorkItem

ROOT = Path(__file__).resolve().parent.parent
_DIED = (LocalRayletDiedError, NodeDiedError, ObjectLostError, OutOfMemoryError, RayTaskError, WorkerCrashedError)
"""How a task ends whose worker or node died at every retry."""
_WRITERS = 2
"""Shards that are written at a time; more work is not started until one is on the disk."""


@dataclass(frozen=True, kw_only=True)
class RayConfig:
    """Where and on what the tasks run."""

    address: str = ""
    """Cluster to use: `auto`, or the address of its head; by default that of the job (`RAY_ADDRESS`), else a local Ray is
    started and ended with the collection."""
    num_cpus: float = 1.0
    """Cores that a work item takes."""
    num_gpus: float = 0.0
    """GPUs that a work item takes; a fraction shares one."""
    retries: int = 3
    """How often an item is tried again whose worker or node died."""
    object_store_mb: int = 512
    """Memory for records under way, where a local Ray is started [MB]; more of them are spilled to the disk."""


@contextlib.contextmanager
def connect(config: RayConfig, workers: int) -> Iterator[None]:
    """Connected to the cluster, or to a local Ray with so many cores that ends with the block; its logs stay if the block fails.

    Raises:
        ValueError: No cluster answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # a machine at work takes longer than the half minute
    address = config.address or os.environ.get("RAY_ADDRESS", "")
    if address:
        _require_answer(address)
        try:
            ray.init(address=address, runtime_env={"env_vars": ONE_THREAD}, log_to_driver=False)
        except (ConnectionError, RuntimeError) as error:
            raise ValueError(
                f"address: expected a Ray cluster at {address!r}, found {error}; start one, or leave it out"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()
        return
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    folder = tempfile.mkdtemp(prefix="ray-")
    try:
        ray.init(
            address="local", num_cpus=max(1, round(workers * config.num_cpus)), include_dashboard=False, log_to_driver=False,
            object_store_memory=config.object_store_mb * 1_000_000, _temp_dir=folder,
            runtime_env={"env_vars": {**ONE_THREAD, "PYTHONPATH": path}},
        )  # fmt: skip
        yield
    finally:
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def _require_answer(address: str) -> None:
    """Refuse a `host:port` where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if "/" in address or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ValueError(
            f"address: expected a Ray cluster at {address!r}, found {error}; start one, or leave it out"
        ) from None


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
