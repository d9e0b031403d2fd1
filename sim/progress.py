"""How far a collection is, for a person and for `ray_jobs.status`: a small file beside the data, replaced every few seconds.

The file is also the sign of life: it is written again where nothing is finished for a while. Whether a collection is at work
is known for sure only on the machine where it runs, by its lock; anywhere else, and on object stores, which know no locks, by
how long ago the last sign was.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from dataset import atomic
from dataset.place import Place
from dataset.schema import FRAME_RATE
from dataset.storage import Folder, Storage, open_storage
from sim.resume import is_collecting
from sim.tally import Tally

FILE = "progress.json"
"""In the data set's folder; not part of the data."""
INTERVAL = 5.0
"""Seconds between two writings while items are finished."""
BEAT = 20.0
"""Seconds after which it is written again though nothing was finished: a search may take many minutes."""
SILENCE = 120.0
"""After so many seconds without a sign of life a collection is taken to have stopped, where its lock does not tell."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """State of a collection."""

    items: int
    """Work items in all."""
    done: int
    """Those that are finished, stored ones of earlier runs included."""
    hours: float
    """Motion recorded in this run [h]."""
    steps_per_s: float
    """Substeps replayed and recorded per second of one worker, searches not counted."""
    lost: dict[str, int]
    """Items of this run that lost something, by reason."""
    elapsed: float
    """Time since this run began [s]."""
    eta: float | None
    """Time left at the pace of this run [s]; None before anything is finished."""
    workers: int
    """Workers."""
    updated: str
    """When this was written, UTC."""
    is_finished: bool = False
    """True once all that was to do is stored."""
    machine: str = ""
    """Fingerprint of the running system that it is written on; says nothing about it but whether it is this one."""

    def age(self) -> float:
        """Time since it was written, by this machine's clock [s]."""
        now = datetime.datetime.now(datetime.UTC)
        return max(0.0, (now - datetime.datetime.fromisoformat(self.updated)).total_seconds())

    def as_text(self) -> str:
        """One line for a person."""
        lost = ", ".join(f"{reason} {count}" for reason, count in self.lost.items()) or "none"
        left = "unknown" if self.eta is None else str(datetime.timedelta(seconds=round(self.eta)))
        return (
            f"{self.done} of {self.items} items, {self.hours:.2f} h, {self.steps_per_s / 1e3:.1f} k steps/s a worker, "
            f"lost {lost}, left {left}"
        )


class Reporter:
    """Keeps the progress file of one run; within a `with` block it also gives signs of life.

    Args:
        folder: Data set: folder or address.
        items: Work items in all.
        stored: Those that earlier runs stored.
        workers: Workers.
    """

    def __init__(self, folder: Place | Storage, items: int, stored: int, workers: int) -> None:
        self._storage = open_storage(folder)
        self._items, self._stored, self._workers = items, stored, workers
        self._started = time.monotonic()
        self._written = -INTERVAL
        self._last: Progress | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True, name="signs of life")

    def __enter__(self) -> Self:
        self._beats.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._beats.join()

    def report(self, tally: Tally, *, is_last: bool = False) -> Progress:
        """Progress now; written to the file if the last writing is some seconds ago.

        Raises:
            OSError: The last one cannot be written. Before, a warning says so: hours of work need not end with a store that
                does not answer once, and where the data cannot be written either, that ends the collection.
        """
        elapsed = time.monotonic() - self._started
        left = self._items - self._stored - tally.items
        progress = Progress(
            items=self._items, done=self._stored + tally.items, hours=tally.report.kept / FRAME_RATE / 3600,
            steps_per_s=tally.steps_per_second, lost=dict(tally.lost.most_common()), elapsed=round(elapsed, 1),
            eta=round(elapsed / tally.items * left, 1) if tally.items else None, workers=self._workers,
            updated=_now(), is_finished=is_last, machine=machine_fingerprint(),
        )  # fmt: skip
        with self._lock:
            self._last = progress
            if is_last:
                self._write(progress)
            elif time.monotonic() - self._written >= INTERVAL:
                self._try_to_write(progress)
        return progress

    def _write(self, progress: Progress) -> None:
        self._storage.write_file(FILE, atomic.encode_json(asdict(progress)))

    def _try_to_write(self, progress: Progress) -> None:
        try:
            self._write(progress)
        except OSError as error:
            _log.warning("%s is not up to date: %s", self._storage.at(FILE), error)
        self._written = time.monotonic()

    def _beat(self) -> None:
        while not self._ended.wait(min(BEAT, INTERVAL)):
            with self._lock:
                if self._last is None or time.monotonic() - self._written < BEAT:
                    continue
                elapsed = round(time.monotonic() - self._started, 1)
                self._try_to_write(replace(self._last, updated=_now(), elapsed=elapsed))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def machine_fingerprint() -> str:
    """Equal for processes that see each other's locks: those under one running kernel; empty where it cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return hashlib.sha256(boot.encode()).hexdigest()[:12]


def read_progress(folder: Place | Storage) -> Progress | None:
    """Last progress of a data set; None if none was ever written.

    Raises:
        ValueError: The file is not one of ours.
    """
    storage = open_storage(folder)
    data = storage.read_file(FILE)
    if data is None:
        return None
    try:
        return Progress(**json.loads(data))
    except (ValueError, TypeError) as error:
        path = storage.at(FILE)
        raise ValueError(f"{path}: expected the progress of a collection, found {error}; delete the file") from error


def status_lines(folder: Place | Storage) -> list[str]:
    """What is stored in a data set, and how far the collection into it is or was when it ended.

    Raises:
        ValueError: There is no such folder, a shard is damaged, or the progress file is not one of ours.
    """
    storage = open_storage(folder)
    listing = storage.list_shards()
    seconds = sum(shard.num_transitions for shard in storage.open_shards(listing.complete)) / FRAME_RATE
    lines = [
        f"stored    {seconds / 3600:.2f} h in {len(listing.complete)} shards"
        + (f", {len(listing.incomplete)} half-written" * bool(listing.incomplete))
    ]
    progress = read_progress(storage)
    if progress is None:
        return [*lines, "progress  none: nothing was collected here yet"]
    state = _state(storage, progress)
    said = f"{_duration(progress.age())} ago, {progress.updated}"
    return [*lines, f"progress  {progress.as_text()}", f"state     {state}", f"heard of  {said}"]


def _state(storage: Storage, progress: Progress) -> str:
    """What is known about the collection, and no more."""
    if isinstance(storage, Folder) and is_collecting(storage.place):
        return "at work"
    if progress.is_finished:
        return "finished"
    again = "start it again, it goes on"
    if isinstance(storage, Folder) and progress.machine and progress.machine == machine_fingerprint():
        return f"stopped: {again}"
    if progress.age() < SILENCE:
        return f"at work, or stopped a moment ago: it gives a sign of life every {BEAT:.0f} s"
    return f"stopped, as it seems: it would give a sign of life every {BEAT:.0f} s; {again}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120.0 else str(datetime.timedelta(seconds=round(seconds)))
