"""What two data sets are compared by: the bytes of their shards."""

from __future__ import annotations

from pathlib import Path


def shard_files(folder: Path) -> dict[str, bytes]:
    """Files of the shards of a data set, complete or not, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("shard-*/*"))}
