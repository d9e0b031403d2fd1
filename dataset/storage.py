"""What a data set needs of the place where it lies: its shards listed, opened and published, and small files beside them.

A folder is here; an object store is in `dataset.bucket`. Everything above (`dataset.store`, commands, collections) asks a
`Storage` and does not know which.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dataset import atomic
from dataset.manifest import SUCCESS, Dropped
from dataset.place import is_address, join, split_last
from dataset.schema import Dynamics
from dataset.shard import PREFIX, Shard
from dataset.shard_writer import PreparedShard, prepare_copy, prepare_shard

DAMAGED_PREFIX = ".damaged-"
"""Shards of a folder that were set aside are called so; readers ignore them."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Names of the shards of a data set, sorted."""

    complete: tuple[str, ...]
    """Those that are marked complete."""
    incomplete: tuple[str, ...]
    """Those that look like shards but were never finished."""


class Storage(ABC):
    """Place of a data set."""

    @property
    @abstractmethod
    def place(self) -> str | Path:
        """Its folder or address, for people and for `open_storage`; holds no key."""

    @abstractmethod
    def list_shards(self) -> Listing:
        """Shards that are there.

        Raises:
            ValueError: There is no such folder, or the object store does not answer or refuses.
        """

    @abstractmethod
    def open_shards(self, names: Sequence[str]) -> list[Shard]:
        """Complete shards, opened for reading.

        Raises:
            ValueError: One is damaged or of another schema.
        """

    @abstractmethod
    def workshop(self) -> contextlib.AbstractContextManager[Path]:
        """Folder in which a shard may be prepared."""

    @abstractmethod
    def publish(self, prepared: PreparedShard) -> None:
        """Make a prepared shard part of the data set, its mark last; a complete shard of its name is left alone."""

    @abstractmethod
    def set_aside(self, name: str) -> str:
        """Make readers ignore a damaged shard; returns what became of it, for a person."""

    @abstractmethod
    def read_file(self, name: str) -> bytes | None:
        """Bytes of a small file beside the shards, None if it is not there; `name` may hold slashes."""

    @abstractmethod
    def write_file(self, name: str, data: bytes) -> None:
        """Write or replace a small file; readers see the old one or the new one."""

    @abstractmethod
    def list_files(self, folder: str, ending: str) -> list[str]:
        """Names of the files anywhere under a folder that end so, sorted; none if there is no such folder."""

    def at(self, *names: str) -> str | Path:
        """Place of something in it."""
        return join(self.place, *names)

    @contextlib.contextmanager
    def prepare(self, sequences: Sequence[Dynamics], dropped: Sequence[Dropped] = ()) -> Iterator[PreparedShard]:
        """A shard of these records, ready for `publish`; errors as `dataset.shard_writer.prepare_shard`."""
        with self.workshop() as folder, prepare_shard(folder, sequences, dropped) as prepared:
            yield prepared

    def copy(self, shard: Shard) -> None:
        """Publish a copy of a shard of another data set, byte for byte, checked against its hashes on the way.

        Raises:
            ValueError: A file is not what the manifest says; nothing is published then.
        """
        with self.workshop() as folder, prepare_copy(shard, folder) as prepared:
            self.publish(prepared)


class Folder(Storage):
    """A folder of this machine, or one that several share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> Path:
        """The folder."""
        return self._folder

    def list_shards(self) -> Listing:
        """As `Storage`; nothing but shards is looked at."""
        path = self.place
        if not path.is_dir():
            raise ValueError(
                f"{path}: expected the folder of a data set, found {'a file' if path.exists() else 'nothing'}; check the path, "
                "or collect one with `python -m sim.collect`"
            )
        with os.scandir(path) as found:
            names = sorted(item.name for item in found if item.name.startswith(PREFIX) and item.is_dir())
        is_complete = {name: (path / name / SUCCESS).is_file() for name in names}
        return Listing(
            complete=tuple(name for name in names if is_complete[name]),
            incomplete=tuple(name for name in names if not is_complete[name]),
        )

    def open_shards(self, names: Sequence[str]) -> list[Shard]:
        """As `Storage`."""
        return [Shard(self.place / name) for name in names]

    @contextlib.contextmanager
    def workshop(self) -> Iterator[Path]:
        """The data set's folder itself: a rename must not cross file systems."""
        yield self.place

    def publish(self, prepared: PreparedShard) -> None:
        """Rename, then mark."""
        prepared.publish()

    def set_aside(self, name: str) -> str:
        """Rename it."""
        target = f"{DAMAGED_PREFIX}{name}-{secrets.token_hex(4)}"
        os.rename(self.place / name, self.place / target)
        return target

    def read_file(self, name: str) -> bytes | None:
        """As `Storage`."""
        path = self.place / name
        return path.read_bytes() if path.is_file() else None

    def write_file(self, name: str, data: bytes) -> None:
        """As `Storage`; folders above it are made."""
        atomic.write_bytes(self.place / name, data)

    def list_files(self, folder: str, ending: str) -> list[str]:
        """As `Storage`."""
        found = sorted(path for path in (self.place / folder).rglob(f"*{ending}") if path.is_file())
        return [str(path.relative_to(self.place)) for path in found]


def open_storage(place: str | Path | Storage) -> Storage:
    """The storage at a folder or address; nothing is read or made yet.

    Raises:
        ValueError: The address holds a key, is of a kind that Arrow does not know, or nobody answers there.
    """
    if isinstance(place, Storage):
        return place
    return _bucket(str(place)) if is_address(place) else Folder(Path(place))


def read_file(place: str | Path) -> bytes:
    """Bytes of a file or object.

    Raises:
        FileNotFoundError: It is not there.
    """
    if not is_address(place):
        return Path(place).read_bytes()
    folder, name = split_last(str(place))
    data = open_storage(folder).read_file(name)
    if data is None:
        raise FileNotFoundError(f"{place}: expected an object, found none; check the address")
    return data


def write_file(place: str | Path, data: bytes) -> None:
    """Write a file or object, whole or not at all; folders above it are made."""
    folder, name = split_last(str(place)) if is_address(place) else (Path(place).parent, Path(place).name)
    open_storage(folder).write_file(name, data)


@lru_cache(maxsize=16)
def _bucket(address: str) -> Storage:
    """Connections are kept: making one takes longer than a small file."""
    from dataset.bucket import open_bucket

    opened = open_bucket(address)
    return Folder(opened) if isinstance(opened, Path) else opened
