"""A data set of any size without its data: real manifests and marks beside sparse files, which take no room and read as zeros.

Only to measure what depends on the number of shards, sequences and bytes. Names and controller say that it is made up.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from dataset import atomic
from dataset.fields import FIELD, FIELDS
from dataset.manifest import MANIFEST, OFFSETS, SUCCESS, SequenceInfo, encode_manifest, make_manifest
from dataset.schema import FRAME_RATE, Subject
from dataset.shard import PREFIX
from dataset.store import Store

SUBJECTS = 435
"""People of the paper's data set."""
SEQUENCE_SECONDS = 18.0
"""Mean length of a sequence: the paper's 152.3 h in 30,556 sequences."""
SHARD_SECONDS = 600.0
"""Recorded time of a shard, as a collection writes them."""


def make_sparse_store(folder: Path, hours: float) -> Path:
    """Make a data set of about so many hours; returns its folder.

    Args:
        folder: New or empty folder.
        hours: Recorded time, rounded up to whole shards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = int(np.ceil(hours * 3600 / SHARD_SECONDS))
    each = round(SHARD_SECONDS / SEQUENCE_SECONDS)
    frames = round(SEQUENCE_SECONDS * FRAME_RATE) + 1
    people = [Subject(name=f"made-up-{number}", mass=50.0 + 0.1 * number) for number in range(SUBJECTS)]
    sizes = {field.name: (each * field.rows_of(frames), *field.shape) for field in FIELDS}
    files = {field.name: _describe(field.file, field.dtype, sizes[field.name]) for field in FIELDS}
    offsets = np.arange(each + 1, dtype="<i8") * frames
    stored = io.BytesIO()
    np.lib.format.write_array(stored, offsets, (1, 0), allow_pickle=False)
    files[OFFSETS] = _entry(f"{OFFSETS}.npy", "<i8", offsets.shape, stored.getvalue())
    for number in range(shards):
        sequences = [
            SequenceInfo(
                name=f"made-up/{number}-{i}", clip=f"made-up/clip-{number}-{i}", subject=people[(number * each + i) % SUBJECTS],
                seed=i, substep=1 / 150, clip_start=0.3, controller="made-up", solution=f"{number * each + i:016x}",
                perturbation="", flags=(), start=i * frames, num_frames=frames,
            )
            for i in range(each)
        ]  # fmt: skip
        manifest = make_manifest(sequences, [], files)
        shard = folder / (PREFIX + manifest["content"][:16])
        shard.mkdir()
        for field in FIELDS:
            _write_sparse(shard / field.file, _header(field.dtype, sizes[field.name]), files[field.name]["bytes"])
        (shard / f"{OFFSETS}.npy").write_bytes(stored.getvalue())
        (shard / MANIFEST).write_bytes(encode_manifest(manifest))
        (shard / SUCCESS).write_text(hashlib.sha256(encode_manifest(manifest)).hexdigest() + "\n")
    atomic.sync_folder(folder)
    return folder


def number_frames(store: Store, sequences: np.ndarray) -> None:
    """Write into every frame of some sequences its number over all shards, as its first number: exact up to 2^24 frames.

    The hashes in the manifests do not know of it.
    """
    starts = np.cumsum([0, *(shard.num_frames for shard in store.shards)])
    for number, shard in enumerate(store.shards):
        quat = np.load(shard.path / FIELD["quat"].file, mmap_mode="r+")
        for index in sequences:
            first, last = store.frame_offsets[index : index + 2]
            if starts[number] <= first < starts[number + 1]:
                quat[first - starts[number] : last - starts[number], 0, 0] = np.arange(first, last)


def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    return header.getvalue()


def _describe(file: str, dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return _entry(file, dtype, shape, _header(dtype, shape) + bytes(size))


def _entry(file: str, dtype: str, shape: tuple[int, ...], data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    return {"file": file, "dtype": dtype, "shape": list(shape), "bytes": len(data), "sha256": digest}


def _write_sparse(path: Path, header: bytes, size: int) -> None:
    with open(path, "xb") as file:
        file.write(header)
        file.truncate(size)
