"""A data set on an object store, through Arrow's file systems: S3 and what speaks like it, Google's and Azure's.

Object stores cannot rename, but an object is there whole or not at all. So the files of a shard are uploaded under their final
names, counted, and `_SUCCESS` is uploaded last; a writer that dies before leaves files that every reader ignores and the next
writer of the same shard replaces. Readers keep what they fetched in a cache on this machine (`dataset.shard_cache`).

What a killed writer had sent of a file is never seen; a bucket keeps such parts, and bills them, until a rule of its own
(`AbortIncompleteMultipartUpload` on S3) clears them.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dataset.formats.packages import require
from dataset.manifest import MANIFEST, SUCCESS, encode_manifest
from dataset.place import require_no_key
from dataset.shard import PREFIX, Shard
from dataset.shard_cache import CachedShard
from dataset.shard_writer import PreparedShard
from dataset.storage import Listing, Storage

REQUESTS = 16
"""Requests under way at a time: each is mostly waiting."""
BLOCK = 1 << 20
"""Bytes read at a time."""
ANSWER_SECONDS = 10.0
"""Time in which a server that an address names must take a connection [s]."""


def open_bucket(address: str) -> Bucket | Path:
    """The object store at an address, or the folder that a `file://` address names.

    Raises:
        ValueError: The address holds a key, is of a kind that Arrow does not know, or nobody answers there.
    """
    require_no_key(address)
    _require_answer(address)
    arrow = require("pyarrow.fs", "object stores")
    parts = urlsplit(address)
    if parts.scheme == "s3":  # small objects in one request, not three
        parts = parts._replace(query="&".join(filter(None, [parts.query, "allow_delayed_open=true"])))
    try:
        files, root = arrow.FileSystem.from_uri(parts.geturl())
    except (ValueError, OSError, NotImplementedError) as error:
        raise ValueError(
            f"{address}: expected an address that Arrow opens (s3://, gs://, abfs://, file://), found {error}; correct it"
        ) from error
    return Path(root) if isinstance(files, arrow.LocalFileSystem) else Bucket(address, files, root.rstrip("/"))


def _require_answer(address: str) -> None:
    """Refuse a named server that nobody runs: Arrow itself would try for minutes."""
    endpoint = parse_qs(urlsplit(address).query).get("endpoint_override", [""])[0]
    host, _, port = endpoint.rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise ValueError(
            f"{address}: expected an object store at {endpoint}, found {error}; start it, or correct endpoint_override"
        ) from None


class Bucket(Storage):
    """A folder of an object store.

    Args:
        address: As the user gave it.
        files: Arrow's file system.
        root: Path in it.
    """

    def __init__(self, address: str, files: Any, root: str) -> None:
        self._address, self._files, self._root = address, files, root

    @property
    def place(self) -> str:
        """The address, as the user gave it."""
        return self._address

    def list_shards(self) -> Listing:
        """As `Storage`: one listing, whatever the number of shards."""
        shards = self._sizes()
        return Listing(
            complete=tuple(name for name, sizes in shards.items() if SUCCESS in sizes),
            incomplete=tuple(name for name, sizes in shards.items() if SUCCESS not in sizes),
        )

    def open_shards(self, names: Sequence[str]) -> list[Shard]:
        """As `Storage`: manifests are fetched, arrays when they are asked for."""
        if not names:
            return []
        sizes = self._sizes(names[0] if len(names) == 1 else "")
        with ThreadPoolExecutor(REQUESTS) as pool:
            return list(pool.map(lambda name: CachedShard(self, name, sizes.get(name, {})), names))

    @contextlib.contextmanager
    def workshop(self) -> Iterator[Path]:
        """A temporary folder of this machine."""
        with tempfile.TemporaryDirectory(prefix="imdylab-shard-") as folder:
            yield Path(folder)

    def publish(self, prepared: PreparedShard) -> None:
        """Upload the files, see that they are all there with their sizes, and upload the mark.

        Raises:
            OSError: The store refused, or does not hold what it was given.
        """
        if self._sizes(prepared.name).get(prepared.name, {}).get(SUCCESS):
            return
        manifest = encode_manifest(prepared.manifest)
        expected = {entry["file"]: entry["bytes"] for entry in prepared.manifest["fields"]} | {MANIFEST: len(manifest)}
        with ThreadPoolExecutor(REQUESTS) as pool:
            list(pool.map(lambda file: self._upload(prepared.folder / file, f"{prepared.name}/{file}"), expected))
        found = self._sizes(prepared.name).get(prepared.name, {})
        if wrong := [file for file, size in expected.items() if found.get(file) != size]:
            raise OSError(
                f"{self.at(prepared.name, wrong[0])}: expected the {expected[wrong[0]]} bytes that were uploaded, found "
                f"{found.get(wrong[0], 'no object')}; try again"
            )
        self.write_file(f"{prepared.name}/{SUCCESS}", (hashlib.sha256(manifest).hexdigest() + "\n").encode())

    def set_aside(self, name: str) -> str:
        """Take its mark: the next writer of this shard replaces the files."""
        with self._explained(f"{name}/{SUCCESS}"):
            self._files.delete_file(self._path(f"{name}/{SUCCESS}"))
        return f"{name}, without its mark"

    def read_file(self, name: str) -> bytes | None:
        """As `Storage`."""
        with self._explained(name):
            try:
                with self._files.open_input_stream(self._path(name)) as stream:
                    return stream.read()
            except FileNotFoundError:
                return None

    def write_file(self, name: str, data: bytes) -> None:
        """As `Storage`."""
        with self._explained(name), self._files.open_output_stream(self._path(name)) as stream:
            stream.write(data)

    def list_files(self, folder: str, ending: str) -> list[str]:
        """As `Storage`."""
        return sorted(name for name in self._list(folder) if name.endswith(ending))

    def blocks(self, name: str) -> Iterator[bytes]:
        """Bytes of an object, block by block.

        Raises:
            FileNotFoundError: It is not there.
        """
        with self._explained(name), self._files.open_input_stream(self._path(name)) as stream:
            while block := stream.read(BLOCK):
                yield block

    def _upload(self, source: Path, name: str) -> None:
        with (
            self._explained(name),
            open(source, "rb") as file,
            self._files.open_output_stream(self._path(name)) as stream,
        ):
            shutil.copyfileobj(file, stream, BLOCK)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _list(self, folder: str) -> dict[str, int]:
        """Names and sizes of all objects under a folder, names from the root on."""
        import pyarrow.fs as arrow

        with self._explained(folder):
            selector = arrow.FileSelector(self._path(folder), recursive=True, allow_not_found=True)
            found = self._files.get_file_info(selector)
        start = len(self._root) + 1
        return {item.path[start:]: item.size for item in found if item.type == arrow.FileType.File}

    def _sizes(self, only: str = "") -> dict[str, dict[str, int]]:
        """Sizes of the files of each shard, by name; of one shard if it is named."""
        shards: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for path, size in sorted(self._list(only).items()):
            name, _, file = path.partition("/")
            if name.startswith(PREFIX) and file:
                shards[name][file] = size
        return dict(shards)

    @contextlib.contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Errors of the store say where and what to look at; that something is not there stays what it is."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise OSError(
                f"{self.at(name) if name else self.place}: expected the object store to do as it was asked, found: {error}; "
                "check the bucket, its region, and the keys that this machine has for it"
            ) from error
