"""What a collection finds where it was stopped: one collector at a time, damaged shards set aside, work that is left."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from dataset import atomic
from dataset.manifest import FAILURES, OtherSchemaError
from dataset.place import Place
from dataset.storage import Folder, Storage, open_storage
from dataset.store import Store
from dataset.summary import standing_losses
from sim.work_items import TRACKER, WorkItem

LOCK = ".collect.lock"
"""File that a running collection holds locked; the lock goes with the process, however it ends."""
SOLUTIONS = "solutions"
"""Folder of a data set in which a collection keeps what it had to search."""
_LOOKS, _LOOK_SECONDS = 20, 0.05
"""How often and after what time [s] a held lock is looked at again before it is taken for another collection's."""

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def only_collector(place: Place | Storage) -> Iterator[None]:
    """Hold a data set for one collection. An object store knows no locks: there it is only seen that it takes files.

    Raises:
        ValueError: Another one is at work there.
        OSError: Nothing can be written there.
    """
    storage = open_storage(place)
    if not isinstance(storage, Folder):
        storage.write_file(LOCK, b"")
        yield
        return
    folder = storage.place
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "wb") as file:
        if not _try_to_lock(file):
            raise ValueError(
                f"{folder}: expected a data set that nobody collects into, found a collection at work; wait for it or stop it"
            )
        yield


def _try_to_lock(file: BinaryIO) -> bool:
    """Lock a file for this process, if nobody holds it for long: who asks `is_collecting` holds it for a moment too."""
    import fcntl

    for _ in range(_LOOKS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOOK_SECONDS)
        else:
            return True
    return False


def is_collecting(folder: Path) -> bool:
    """Whether a collection on this machine holds the data set."""
    import fcntl

    try:
        with open(folder / LOCK, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def clear_remains(place: Place | Storage) -> list[str]:
    """Remove what writers that died left unfinished, and set damaged shards aside; returns what became of those.

    Every byte of every shard is read. A shard of another schema is left where it is: it is not damaged.
    """
    storage = open_storage(place)
    folder = storage.place if isinstance(storage, Folder) else None
    if folder:
        solutions = (folder / SOLUTIONS).rglob(f"{atomic.TEMPORARY_PREFIX}*")
        for path in [*folder.glob(f"{atomic.TEMPORARY_PREFIX}*"), *solutions]:
            _remove(path)
    aside = []
    for name in storage.list_shards().complete:
        if damage := _damage(storage, name):
            became = storage.set_aside(name)
            _log.warning("%s; set aside as %s, its items are done again", damage, became)
            aside.append(became)
    if folder:
        atomic.sync_folder(folder)
    return aside


def _remove(path: Path) -> None:
    """Remove what a writer left. One that was not dead yet finds its folder gone, and can publish no half of a shard."""
    gone = atomic.temporary_sibling(path.with_name("gone"))
    try:
        os.rename(path, gone)
    except FileNotFoundError:  # it ended by itself, or was published a moment ago
        return
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()


def _damage(storage: Storage, name: str) -> str:
    try:
        [shard] = storage.open_shards([name])
        return "; ".join(shard.find_damage())
    except OtherSchemaError:
        return ""
    except ValueError as error:
        return str(error)


def unfinished(items: Sequence[WorkItem], store: Store, keep_failed: bool) -> dict[int, WorkItem]:
    """Items by number that the data set does not have whole, each with the stretches of it that are settled.

    An item is left to do if there is neither a record nor a loss of it or, unless failures are kept, if it or a stretch of it
    failed for one of `FAILURES` and was not made good since.
    """
    settled: defaultdict[tuple[str, str, str, int], set[str]] = defaultdict(set)
    failed: set[tuple[str, str, str, int]] = set()
    seen = {(info.clip, info.subject.name, info.controller, info.seed) for info in store.sequences}
    standing = [] if keep_failed else [loss for loss in standing_losses(store) if loss.reason in FAILURES]
    unsettled = {(loss.clip, loss.subject, TRACKER, loss.seed) for loss in standing}  # only collections know losses
    seen |= {
        (loss.clip, loss.subject, TRACKER, loss.seed)
        for loss in store.dropped
        if keep_failed or loss.reason not in FAILURES
    }
    for clip, subject, controller, seed in seen | unsettled:
        for name in (clip, clip.rsplit("@", 1)[0]):  # a stretch of a file
            if (clip, subject, controller, seed) in unsettled:
                failed.add((name, subject, controller, seed))
            else:
                settled[name, subject, controller, seed].add(clip)
    left = {}
    for place, item in enumerate(items):
        if item.key in failed or item.key not in settled:
            left[place] = dataclasses.replace(item, settled=frozenset(settled.get(item.key, ())))
    return left
