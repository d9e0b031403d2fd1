"""How far a collection is, for a person and for `ray_jobs.status`: a small file beside the data, replaced every few seconds."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import asdict, dataclass

from dataset import atomic
from dataset.place import Place
from dataset.schema import FRAME_RATE
from dataset.storage import Folder, Storage, open_storage
from sim.resume import is_collecting
from sim.tally import Tally

FILE = "progress.json"
"""In the data set's folder; not part of the data."""
INTERVAL = 5.0
"""Seconds between two writings."""
SILENCE = 120.0
"""A collection into an object store, which knows no locks, is taken to have stopped after so many seconds without a word."""


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

    def age(self) -> float:
        """Time since it was written [s]."""
        now = datetime.datetime.now(datetime.UTC)
        return (now - datetime.datetime.fromisoformat(self.updated)).total_seconds()

    def as_text(self) -> str:
        """One line for a person."""
        lost = ", ".join(f"{reason} {count}" for reason, count in self.lost.items()) or "none"
        left = "unknown" if self.eta is None else str(datetime.timedelta(seconds=round(self.eta)))
        return (
            f"{self.done} of {self.items} items, {self.hours:.2f} h, {self.steps_per_s / 1e3:.1f} k steps/s a worker, "
            f"lost {lost}, left {left}"
        )


class Reporter:
    """Keeps the progress file of one run.

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

    def report(self, tally: Tally, *, is_last: bool = False) -> Progress:
        """Progress now; written to the file if the last writing is some seconds ago."""
        now = time.monotonic()
        elapsed = now - self._started
        left = self._items - self._stored - tally.items
        progress = Progress(
            items=self._items, done=self._stored + tally.items, hours=tally.report.kept / FRAME_RATE / 3600,
            steps_per_s=tally.steps_per_second, lost=dict(tally.lost.most_common()), elapsed=round(elapsed, 1),
            eta=round(elapsed / tally.items * left, 1) if tally.items else None, workers=self._workers,
            updated=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        if is_last or now - self._written >= INTERVAL:
            self._storage.write_file(FILE, atomic.encode_json(asdict(progress)))
            self._written = now
        return progress


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
    is_done = progress.done >= progress.items
    if isinstance(storage, Folder):
        is_at_work = is_collecting(storage.place)
    else:
        is_at_work = not is_done and progress.age() < SILENCE
    state = "at work" if is_at_work else "finished" if is_done else "stopped: start it again, it goes on"
    return [*lines, f"progress  {progress.as_text()}", f"state     {state}; last said {progress.updated}"]
