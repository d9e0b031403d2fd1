"""Shards of object stores, kept on this machine once they were fetched.

    CACHE/<sha256 of manifest.json>/shard-<16 hex digits>/    the shard's files, those that somebody asked for

CACHE is the folder that `IMDYLAB_CACHE` names, else `imdylab/shards` in the user's cache folder (`~/.cache`). What is in it
depends on the shard alone, so data sets and addresses share it, and nothing in it grows old. A file is fetched to a temporary
name, checked against the manifest's hash and renamed: any number of processes may fetch at a time, and a killed one leaves no
half file under a real name. Clear it by deleting the folder, when you like: readers at work fetch again what they need.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from dataset import atomic
from dataset.manifest import MANIFEST, SUCCESS
from dataset.shard import Shard, hash_file

_log = logging.getLogger(__name__)


class Source(Protocol):
    """Where shards come from."""

    def at(self, *names: str) -> str | Path:
        """Place of something, for people."""
        ...

    def read_file(self, name: str) -> bytes | None:
        """Bytes of a small file, None if it is not there."""
        ...

    def blocks(self, name: str) -> Iterator[bytes]:
        """Bytes of a file, block by block; FileNotFoundError if it is not there."""
        ...


def cache_folder() -> Path:
    """Folder of the cache; not made yet."""
    if named := os.environ.get("IMDYLAB_CACHE"):
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imdylab" / "shards"


class CachedShard(Shard):
    """A complete shard of an object store. Its arrays are fetched when they are asked for, and then memory-mapped.

    Args:
        source: Where it is.
        name: Its name there.
        sizes: Sizes of its files there, as listed.

    Raises:
        ValueError: As `Shard`.
    """

    def __init__(self, source: Source, name: str, sizes: dict[str, int]) -> None:
        self._source, self._name = source, name
        super().__init__(_fetch_manifest(source, name), place=source.at(name), sizes=sizes)

    def file(self, name: str) -> Path:
        """Path in the cache; fetched if it is not there.

        Raises:
            ValueError: What the store holds is not what the manifest says.
            OSError: The store does not answer, or the disk of the cache is full.
        """
        path = self.path / name
        if not path.is_file():
            with atomic.open_path(path) as temporary, open(temporary, "xb") as target:
                if complaint := self._compare(name, target.write):
                    raise ValueError(complaint)
        return path

    def find_damage(self) -> list[str]:
        """As `Shard`: every byte in the store is read; a file of the cache that has changed since is dropped from it."""
        names = [entry["file"] for entry in self.manifest["fields"]]
        for name in names:
            path = self.path / name
            if path.is_file() and hash_file(path) != self.hash_of(name):
                _log.warning("%s: has changed and is fetched again when it is needed", path)
                path.unlink(missing_ok=True)
        with ThreadPoolExecutor(len(names) + 1) as pool:
            complaints = list(pool.map(self._compare, [MANIFEST, *names]))
        return self._wrong_content() + [complaint for complaint in complaints if complaint]

    def hash_of(self, name: str) -> str:
        """As `Shard`; the manifest's own is in the mark, by which the cache is ordered."""
        return self.path.parent.name if name == MANIFEST else super().hash_of(name)

    def _compare(self, name: str, take: Callable[[bytes], object] = len) -> str:
        """Read a file of the store to its end, handing on its bytes; what is wrong with it, or empty."""
        digest, place = hashlib.sha256(), f"{self._source.at(self._name, name)}"
        try:
            for block in self._source.blocks(f"{self._name}/{name}"):
                digest.update(block)
                take(block)
        except FileNotFoundError:
            return f"{place}: expected a file of the shard, found none; delete the shard and collect again"
        if digest.hexdigest() == self.hash_of(name):
            return ""
        return f"{place}: expected sha256 {self.hash_of(name)}, found {digest.hexdigest()}; delete the shard"


def _fetch_manifest(source: Source, name: str) -> Path:
    """Folder of a shard in the cache, with its manifest and mark."""
    mark = (source.read_file(f"{name}/{SUCCESS}") or b"").decode(errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", mark):
        raise ValueError(
            f"{source.at(name, SUCCESS)}: expected the sha256 of {MANIFEST}, found {mark[:80]!r}; delete the shard and collect "
            "again"
        )
    folder = cache_folder() / mark / name
    path = folder / MANIFEST
    if not path.is_file() or hash_file(path) != mark:
        data = source.read_file(f"{name}/{MANIFEST}")
        found = "no file" if data is None else hashlib.sha256(data).hexdigest()
        if data is None or found != mark:
            raise ValueError(
                f"{source.at(name, MANIFEST)}: expected sha256 {mark} as in {SUCCESS}, found {found}; the manifest was changed:"
                " delete the shard and collect again"
            )
        atomic.write_bytes(path, data)
    if not (folder / SUCCESS).is_file():
        atomic.write_text(folder / SUCCESS, mark + "\n")
    return folder
