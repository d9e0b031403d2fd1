"""One shard of a data set, opened for reading: a folder of packed arrays with a manifest, written once, never changed.

    shard-<16 hex digits of its content>/
        root_pos.npy quat.npy ...  an array a field (dataset.fields), sequences end to end, 64-byte aligned
        offsets.npy                sequence i is frames offsets[i] to offsets[i + 1], transitions from offsets[i] - i
        manifest.json              schema, fields, subjects, sequences, dropped items, sha256 of every file
        _SUCCESS                   sha256 of manifest.json; without it the shard is not complete and is ignored

Arrays are NumPy's own format without pickled objects, memory-mapped: any NumPy reads them. Written by
`dataset.shard_writer`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from dataset.fields import FIELDS
from dataset.manifest import COPIED, MANIFEST, Dropped, SequenceInfo, content_of, read_manifest
from dataset.place import join
from dataset.schema import Dynamics, Subject

PREFIX: Final = "shard-"
"""Shard folders are named so."""


class Shard:
    """A complete shard.

    Args:
        path: Folder of the shard.
        place: Where it really is, if that folder is only a copy (`dataset.shard_cache`).
        sizes: Sizes of its files by name, if not all are in the folder.

    Raises:
        ValueError: The shard is incomplete, damaged, or of another schema; the message names file, expected and found.
    """

    def __init__(
        self, path: str | Path, *, place: str | Path | None = None, sizes: Mapping[str, int] | None = None
    ) -> None:
        self.path = Path(path)
        self.place = place or self.path
        """Folder or address, for people."""
        self.manifest = read_manifest(self.path)
        self.content: str = self.manifest["content"]
        self._files = {entry["name"]: entry for entry in self.manifest["fields"]}
        self._maps: dict[str, np.ndarray] = {}
        if sizes is None:
            with os.scandir(self.path) as found:
                sizes = {item.name: item.stat().st_size for item in found}
        for entry in self._files.values():
            _check_size(self.place, entry["file"], entry["bytes"], sizes.get(entry["file"]))

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """People of this shard."""
        return tuple(Subject(**row | {"shape": tuple(row["shape"])}) for row in self.manifest["subjects"])

    @cached_property
    def sequences(self) -> tuple[SequenceInfo, ...]:
        """Sequences in storage order."""
        people = self.subjects
        return tuple(
            SequenceInfo(**row | {"subject": people[row["subject"]], "flags": tuple(row["flags"])})
            for row in self.manifest["sequences"]
        )

    @cached_property
    def dropped(self) -> tuple[Dropped, ...]:
        """Stretches that were asked for and are not here."""
        return tuple(Dropped(**row) for row in self.manifest["dropped"])

    @property
    def lengths(self) -> list[int]:
        """Frames of each sequence, in storage order."""
        return [row["num_frames"] for row in self.manifest["sequences"]]

    @property
    def num_frames(self) -> int:
        """Frames of all sequences."""
        return self.manifest["counts"]["frames"]

    @property
    def num_transitions(self) -> int:
        """Transitions of all sequences."""
        return self.manifest["counts"]["transitions"]

    @property
    def num_bytes(self) -> int:
        """Size of all arrays."""
        return sum(entry["bytes"] for entry in self._files.values())

    def file(self, name: str) -> Path:
        """Path of one of the files that the manifest names."""
        return self.path / name

    def hash_of(self, name: str) -> str:
        """Sha256 that the manifest states for a file, hexadecimal."""
        return next(entry["sha256"] for entry in self._files.values() if entry["file"] == name)

    def field(self, name: str) -> np.ndarray:
        """Array of a field (or `offsets`) over all sequences of the shard, memory-mapped read-only.

        Raises:
            ValueError: No such field, or the file is no array of the shape and dtype that the manifest states.
        """
        if name not in self._files:
            raise ValueError(f"field: expected one of {sorted(self._files)}, got {name!r}")
        if name not in self._maps:
            self._maps[name] = self._map(self._files[name])
        return self._maps[name]

    def _map(self, entry: dict[str, Any]) -> np.ndarray:
        if 0 in entry["shape"]:  # nothing to map in a shard of dropped items only
            return np.empty(entry["shape"], entry["dtype"])
        path, expected = self.file(entry["file"]), f"{entry['dtype']} {tuple(entry['shape'])}"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: expected an array {expected}, found {error}; delete the shard") from error
        if list(array.shape) != entry["shape"] or array.dtype != np.dtype(entry["dtype"]):
            found = f"{array.dtype.str} {array.shape}"
            raise ValueError(f"{path}: expected an array {expected} as in {MANIFEST}, found {found}; delete the shard")
        return array

    def read(self, index: int) -> Dynamics:
        """Sequence `index` of the shard, as arrays of its own in memory."""
        info = self.sequences[index]
        arrays = {}
        for field in FIELDS:
            start = info.start if field.per == "frame" else info.start - index
            arrays[field.name] = np.array(self.field(field.name)[start : start + field.rows_of(info.num_frames)])
        return Dynamics(**{key: getattr(info, key) for key in COPIED}, subject=info.subject, **arrays)

    def find_damage(self) -> list[str]:
        """What differs from the hashes in the manifest, one sentence each; reads every byte."""
        complaints = self._wrong_content()
        for entry in self._files.values():
            path = self.path / entry["file"]
            found = hash_file(path)
            if found != entry["sha256"]:
                complaints.append(f"{path}: expected sha256 {entry['sha256']}, found {found}; delete the shard")
        return complaints

    def _wrong_content(self) -> list[str]:
        if content_of(self.manifest) == self.content:
            return []
        return [f"{join(self.place, MANIFEST)}: expected content {self.content}, found another manifest"]


def hash_file(path: Path) -> str:
    """Sha256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_size(shard: str | Path, file: str, expected: int, found: int | None) -> None:
    if found != expected:
        state = "no file" if found is None else f"{found} bytes"
        raise ValueError(
            f"{join(shard, file)}: expected {expected} bytes as in {MANIFEST}, found {state}; delete the shard"
        )
