"""What a collection finds where it was stopped: one collector at a time, damaged shards set aside, work that is left."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import secrets
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from dataset import atomic
from dataset.manifest import FAILURES, SCHEMA_VERSION, read_verified
from dataset.shard import Shard
from dataset.store import Store, list_shards
from dataset.summary import standing_losses
from sim.work_items import WorkItem

LOCK = ".collect.lock"
"""File that a running collection holds locked; the lock goes with the process, however it ends."""
DAMAGED_PREFIX = ".damaged-"
"""Shards that were set aside are called so; readers ignore them."""

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def only_collector(folder: Path) -> Iterator[None]:
    """Hold a data set for one collection.

    Raises:
        ValueError: Another one is at work there.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"{folder}: expected a data set that nobody collects into, found a collection at work; wait for it or stop it"
            ) from None
        yield


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


def clear_remains(folder: Path) -> list[Path]:
    """Remove what writers that died left unfinished, and set damaged shards aside; returns those.

    Every byte of every shard is read. A shard of another schema is left where it is: it is not damaged.
    """
    for path in folder.glob(f"{atomic.TEMPORARY_PREFIX}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    aside = []
    for shard in list_shards(folder)[0]:
        if damage := _damage(shard):
            target = shard.with_name(f"{DAMAGED_PREFIX}{shard.name}-{secrets.token_hex(4)}")
            os.rename(shard, target)
            _log.warning("%s; set aside as %s, its items are done again", damage, target.name)
            aside.append(target)
    atomic.sync_folder(folder)
    return aside


def _damage(shard: Path) -> str:
    try:
        if read_verified(shard)["schema"] != SCHEMA_VERSION:
            return ""
        return "; ".join(Shard(shard).find_damage())
    except ValueError as error:
        return str(error)


def unfinished(items: Sequence[WorkItem], store: Store, keep_failed: bool) -> dict[int, WorkItem]:
    """Items by number that the data set does not have whole, each with the stretches of it that are settled.

    An item is left to do if there is neither a record nor a loss of it or, unless failures are kept, if it or a stretch of it
    failed for one of `FAILURES` and was not made good since.
    """
    settled: defaultdict[tuple[str, str, int], set[str]] = defaultdict(set)
    failed: set[tuple[str, str, int]] = set()
    seen = {(info.clip, info.subject.name, info.seed) for info in store.sequences}
    standing = [] if keep_failed else [loss for loss in standing_losses(store) if loss.reason in FAILURES]
    unsettled = {(loss.clip, loss.subject, loss.seed) for loss in standing}
    seen |= {
        (loss.clip, loss.subject, loss.seed) for loss in store.dropped if keep_failed or loss.reason not in FAILURES
    }
    for clip, subject, seed in seen | unsettled:
        for name in (clip, clip.rsplit("@", 1)[0]):  # a stretch of a file
            if (clip, subject, seed) in unsettled:
                failed.add((name, subject, seed))
            else:
                settled[name, subject, seed].add(clip)
    left = {}
    for place, item in enumerate(items):
        key = (item.clip.label, item.subject.name, item.seed)
        if key in failed or key not in settled:
            left[place] = dataclasses.replace(item, settled=frozenset(settled.get(key, ())))
    return left
