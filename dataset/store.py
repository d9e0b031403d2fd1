"""A data set: shards in a folder or on an object store. Reading is by memory map; appending adds a shard, never rewrites one.

    DIR or ADDRESS/
        shard-0123456789abcdef/ ...   see dataset.shard
        run.json                      how it was made: commands, versions, seeds (dataset.provenance); not hashed

Where a data set may lie: `dataset.place`. Shards of an object store are kept on this machine once they were fetched
(`dataset.shard_cache`). Shards are read in the order of their names, that is of their content, so the order does not depend
on who wrote when.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from dataset.manifest import SUCCESS, Dropped, SequenceInfo, record_key
from dataset.place import last_name
from dataset.schema import FRAME_RATE, Dynamics, Subject
from dataset.shard import Shard
from dataset.storage import Storage, open_storage
from kernels.gather import Pieces, gather_runs, join

_log = logging.getLogger(__name__)


class Store:
    """A data set, opened for reading and appending. Use `Store.open` or `Store.create`."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.path = storage.place
        """Folder or address."""
        listing = storage.list_shards()
        self.shards = tuple(storage.open_shards(listing.complete))
        self.incomplete = tuple(storage.at(name) for name in listing.incomplete)
        """Folders that look like shards but were never finished."""
        self._joined: dict[str, Pieces] = {}

    @classmethod
    def open(cls, path: str | Path | Storage) -> Store:
        """Open an existing data set: a folder, or an address such as `s3://bucket/data`.

        Raises:
            ValueError: No complete shard there, or a complete shard is damaged or of another schema.
        """
        store = cls(open_storage(path))
        if not store.shards:
            cut = ", ".join(last_name(folder) for folder in store.incomplete)
            found = f"only half-written shards: {cut}; delete them and collect again"
            found = found if cut else "none; check the path, or collect one with `python -m sim.collect`"
            raise ValueError(f"{path}: expected a data set with at least one complete shard, found {found}")
        for folder in store.incomplete:
            _log.warning("%s has no %s and is ignored", folder, SUCCESS)
        return store

    @classmethod
    def create(cls, path: str | Path | Storage) -> Store:
        """Open a data set for appending, making its folder if there is none; what is already there stays."""
        storage = open_storage(path)
        if isinstance(storage.place, Path):
            storage.place.mkdir(parents=True, exist_ok=True)
        return cls(storage)

    @cached_property
    def sequences(self) -> tuple[SequenceInfo, ...]:
        """All sequences, in order."""
        return tuple(info for shard in self.shards for info in shard.sequences)

    @cached_property
    def dropped(self) -> tuple[Dropped, ...]:
        """All stretches that were asked for and failed."""
        return tuple(item for shard in self.shards for item in shard.dropped)

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """Different people, in order of first appearance."""
        return tuple(dict.fromkeys(subject for shard in self.shards for subject in shard.subjects))

    @property
    def content(self) -> str:
        """Identity of all data: hash over the shards' identities."""
        return hashlib.sha256("".join(shard.content for shard in self.shards).encode()).hexdigest()

    @property
    def num_frames(self) -> int:
        """Frames of all sequences."""
        return sum(shard.num_frames for shard in self.shards)

    @property
    def seconds(self) -> float:
        """Duration of all transitions [s]."""
        return sum(shard.num_transitions for shard in self.shards) / FRAME_RATE

    @cached_property
    def frame_offsets(self) -> np.ndarray:
        """Sequence i holds the flat frames frame_offsets[i] to frame_offsets[i + 1], counted over all shards, int64."""
        lengths = [length for shard in self.shards for length in shard.lengths]
        return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))

    @cached_property
    def transition_offsets(self) -> np.ndarray:
        """Sequence i holds the flat transitions from transition_offsets[i] on, one fewer than its frames, int64."""
        return self.frame_offsets - np.arange(len(self.frame_offsets))

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.frame_offsets) - 1

    def __iter__(self) -> Iterator[Dynamics]:
        """All sequences, read one by one."""
        for shard in self.shards:
            for index in range(len(shard.sequences)):
                yield shard.read(index)

    def read(self, index: int) -> Dynamics:
        """Sequence number `index`, as arrays of its own in memory."""
        if not 0 <= index < len(self):
            raise ValueError(f"index: expected 0 to {len(self) - 1}, got {index}")
        for shard in self.shards:
            if index < len(shard.sequences):
                return shard.read(index)
            index -= len(shard.sequences)
        raise AssertionError("unreachable: the index was checked")

    def find(self, name: str) -> int:
        """Number of the sequence with this name, or of the first one of this clip.

        Raises:
            ValueError: Neither a sequence nor a clip is called so; some that exist are listed.
        """
        for attribute in ("name", "clip"):
            for index, info in enumerate(self.sequences):
                if getattr(info, attribute) == name:
                    return index
        some = ", ".join(info.name for info in self.sequences[:8])
        raise ValueError(f"{self.path}: expected a sequence or clip {name!r}, found others: {some} ...")

    def fields(self, name: str) -> tuple[np.ndarray, ...]:
        """Memory-mapped array of a field in each shard, in order; their rows end to end are the flat rows."""
        return tuple(shard.field(name) for shard in self.shards)

    def gather(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Flat rows of a field, counted over all shards, in the given order (frames or transitions, as the field is).

        Raises:
            ValueError: No such field, or a row is outside.
        """
        pieces = self._pieces(name)
        if rows.size and not (rows.min() >= 0 and rows.max() < pieces.num_rows):
            raise ValueError(f"rows: expected 0 to {pieces.num_rows - 1}, got {rows.min()} to {rows.max()}")
        return gather_runs(pieces, rows.reshape(-1), 1).reshape(*rows.shape, *pieces.row_shape)

    def windows(self, name: str, first: np.ndarray, length: int, *, out: np.ndarray | None = None) -> np.ndarray:
        """Runs of `length` flat rows of a field from each row `first` on, by the compiled kernel (`kernels.gather`).

        Args:
            name: Field.
            first: First flat row of each window, counted over all shards (`frame_offsets`, `transition_offsets`), (B,).
            length: Rows of a window; that they are of one sequence is the caller's care.
            out: Array to write instead of a new one.

        Returns:
            Shape (B, length, *row), dtype of the field.

        Raises:
            ValueError: No such field, or a window reaches out of its shard.
        """
        return gather_runs(self._pieces(name), first, length, out=out)

    def _pieces(self, name: str) -> Pieces:
        if name not in self._joined:
            self._joined[name] = join(self.fields(name))
        return self._joined[name]

    def append(self, sequences: Sequence[Dynamics], dropped: Sequence[Dropped] = ()) -> Path:
        """Add sequences as one new shard, named by its content; adding what is there already changes nothing.

        Args:
            sequences: Records, in the order to be stored; many a shard read better than few.
            dropped: Stretches that were asked for and failed.

        Returns:
            Folder of the shard; on an object store, of its place in the cache.

        Raises:
            ValueError: A sequence of that name, or the same record under another name, is there already; or the records cannot be
                stored (`prepare_shard`).
            OSError: The disk is full, or the object store does not take it; readers see nothing of it then.
        """
        with self.storage.prepare(sequences, dropped) as prepared:
            for shard in self.shards:
                if shard.path.name == prepared.name:
                    return shard.path
            self._check_new(sequences)
            self.storage.publish(prepared)
        return self._adopt(prepared.name).path

    def _check_new(self, sequences: Sequence[Dynamics]) -> None:
        names = {info.name for info in self.sequences}
        records = {info.record_key: info.name for info in self.sequences}
        for item in sequences:
            if item.name in names:
                raise ValueError(
                    f"{self.path}: expected new sequences, found {item.name!r} there already, beside others or with"
                    " other data; give it another name or leave it out"
                )
            key = record_key(item)
            if key is not None and (twin := records.setdefault(key, item.name)) != item.name:
                raise ValueError(
                    f"{self.path}: expected new sequences, found {item.name!r}, the same record as {twin!r} (one solution,"
                    " subject, seed and start); leave it out"
                )

    def copy(self, shard: Shard) -> None:
        """Add a shard of another data set, byte for byte; nothing is added that is not what its manifest says.

        Raises:
            ValueError: A file is damaged.
        """
        self.storage.copy(shard)
        self._adopt(shard.path.name)

    def _adopt(self, name: str) -> Shard:
        """Take in a shard that was published here, and forget what was derived from the others."""
        [shard] = self.storage.open_shards([name])
        self.shards = tuple(sorted((*self.shards, shard), key=lambda item: item.path.name))
        for name in ("sequences", "dropped", "subjects", "frame_offsets", "transition_offsets"):
            self.__dict__.pop(name, None)
        self._joined.clear()
        return shard
