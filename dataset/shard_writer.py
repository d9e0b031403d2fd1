"""Writing of a shard: packed, hashed, flushed, renamed and only then marked complete."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataset import atomic
from dataset.fields import FIELDS, MAY_BE_NAN, Field
from dataset.manifest import MANIFEST, OFFSETS, SUCCESS, Dropped, encode_manifest, make_manifest
from dataset.place import join
from dataset.schema import Dynamics, Subject
from dataset.shard import PREFIX, Shard, hash_file

SHARD_SECONDS = 600.0
"""Recorded time after which a shard is written [s]: some 30 MB, a thousand shards for the paper's 152 h."""
_COPIED_AT_ONCE = 1 << 20


class PreparedShard:
    """A finished shard under a temporary name, which `publish` makes part of the data set."""

    def __init__(self, temporary: Path, manifest: dict[str, Any]) -> None:
        self.folder = temporary
        """Its files."""
        self.manifest = manifest
        self.name = PREFIX + manifest["content"][:16]
        """Folder name that it will have."""

    def publish(self) -> Path:
        """Rename to the final name and mark complete; a complete shard of that name is left alone."""
        shard = self.folder.parent / self.name
        _publish(self.folder, shard, self.manifest)
        return shard


@contextlib.contextmanager
def prepare_shard(
    folder: Path, sequences: Sequence[Dynamics], dropped: Sequence[Dropped] = ()
) -> Iterator[PreparedShard]:
    """Write sequences under a temporary name in a data set; gone again after the block unless published.

    Args:
        folder: Data set folder (made if missing).
        sequences: Records, in the order to be stored.
        dropped: Stretches that were asked for and failed, kept in the manifest for statistics.

    Raises:
        ValueError: Nothing to write, a name occurs twice, one subject name stands for two people, a sequence has fewer
            than 2 frames, or a value is not finite where it must be.
    """
    _refuse_unstorable(sequences, dropped)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = atomic.temporary_sibling(folder / "shard")
    temporary.mkdir()
    try:
        files = {field.name: _write_field(temporary, field, sequences) for field in FIELDS}
        offsets = np.concatenate(([0], np.cumsum([item.num_frames for item in sequences]))).astype("<i8")
        files[OFFSETS] = _write_array(temporary / f"{OFFSETS}.npy", offsets.shape, "<i8", [offsets])
        manifest = make_manifest(sequences, dropped, files)
        atomic.write_bytes(temporary / MANIFEST, encode_manifest(manifest))
        yield PreparedShard(temporary, manifest)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def prepare_copy(shard: Shard, folder: Path) -> Iterator[PreparedShard]:
    """As `prepare_shard`, of a shard of another data set, byte for byte.

    Raises:
        ValueError: A file is not what the manifest says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = atomic.temporary_sibling(folder / "shard")
    temporary.mkdir()
    try:
        for entry in shard.manifest["fields"]:
            digest = hashlib.sha256()
            with open(shard.file(entry["file"]), "rb") as source, open(temporary / entry["file"], "xb") as target:
                while block := source.read(_COPIED_AT_ONCE):
                    digest.update(block)
                    target.write(block)
                target.flush()
                os.fsync(target.fileno())
            if digest.hexdigest() != entry["sha256"]:
                raise ValueError(
                    f"{join(shard.place, entry['file'])}: expected sha256 {entry['sha256']}, found {digest.hexdigest()};"
                    " delete the shard and collect again"
                )
        atomic.write_bytes(temporary / MANIFEST, encode_manifest(shard.manifest))
        yield PreparedShard(temporary, shard.manifest)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refuse_unstorable(sequences: Sequence[Dynamics], dropped: Sequence[Dropped]) -> None:
    if not sequences and not dropped:
        raise ValueError("sequences: expected at least one sequence or dropped item, got none")
    names: set[str] = set()
    people: dict[str, Subject] = {}
    for item in sequences:
        if not item.name or item.name in names:
            raise ValueError(f"sequences: expected a unique name for each, got {item.name!r} twice or empty")
        names.add(item.name)
        if people.setdefault(item.subject.name, item.subject) != item.subject:
            raise ValueError(
                f"sequence {item.name!r}: subject name {item.subject.name!r} stands for two different people;"
                " give each body its own name"
            )
        if item.num_frames < 2:
            raise ValueError(f"sequence {item.name!r}: expected at least 2 frames, got {item.num_frames}")
        for field in FIELDS:
            is_bad = ~np.isfinite(getattr(item, field.name))
            if field.name not in MAY_BE_NAN and is_bad.any():
                raise ValueError(
                    f"sequence {item.name!r}: field {field.name}: expected finite values, found others in {field.per}"
                    f" {int(np.argwhere(is_bad)[0][0])}; cut that stretch before storing"
                )


def _write_field(folder: Path, field: Field, sequences: Sequence[Dynamics]) -> dict[str, Any]:
    rows = sum(field.rows_of(item.num_frames) for item in sequences)
    parts = (field.cast(getattr(item, field.name)) for item in sequences)
    return _write_array(folder / field.file, (rows, *field.shape), field.dtype, parts)


def _write_array(path: Path, shape: tuple[int, ...], dtype: str, parts: Iterable[np.ndarray]) -> dict[str, Any]:
    """Write an .npy file part by part, hashing on the way; its header pads the data to 64 bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    digest = hashlib.sha256(header.getvalue())
    with open(path, "xb") as file:
        file.write(header.getvalue())
        for part in parts:
            data = part.tobytes()
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    return {"file": path.name, "dtype": dtype, "shape": list(shape), "bytes": size, "sha256": digest.hexdigest()}


def _publish(temporary: Path, shard: Path, manifest: dict[str, Any]) -> None:
    """Rename a finished folder to its final name and mark it complete.

    A folder that is there without a mark is of a writer that died, or is just now, between renaming and marking: it
    holds the same data, unless the disk lost some. So it is checked and marked, and replaced only if damaged.
    """
    if (shard / SUCCESS).is_file():
        return
    manifest_hash = hashlib.sha256(encode_manifest(manifest)).hexdigest()
    hashes = {entry["file"]: entry["sha256"] for entry in manifest["fields"]} | {MANIFEST: manifest_hash}
    atomic.sync_folder(temporary)
    if shard.is_dir() and not _is_intact(shard, hashes):
        damaged = atomic.temporary_sibling(shard)
        os.rename(shard, damaged)
        shutil.rmtree(damaged)
    if not shard.is_dir():
        os.rename(temporary, shard)
        atomic.sync_folder(shard.parent)
    for remains in shard.glob(f"{atomic.TEMPORARY_PREFIX}*"):  # of a writer that died while marking
        remains.unlink(missing_ok=True)
    try:
        atomic.write_text(shard / SUCCESS, manifest_hash + "\n")
    except FileNotFoundError:
        if not (shard / SUCCESS).is_file():  # or else another writer of the same data cleared our mark and set its own
            raise


def _is_intact(shard: Path, hashes: dict[str, str]) -> bool:
    return all((shard / name).is_file() and hash_file(shard / name) == digest for name, digest in hashes.items())
