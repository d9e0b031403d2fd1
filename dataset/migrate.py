"""Command line: a data set of an older schema as one of today's. `python -m dataset.migrate DIR --out NEW`.

The old data set is only read. Every file is checked against its hash first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import tyro
from tqdm import tqdm

from dataset.command_line import run_command
from dataset.migrations import migrate_shard
from dataset.provenance import add_run, read_runs, run_record
from dataset.storage import open_storage
from dataset.store import Store
from dataset.user_paths import require_output_folder


@dataclass(frozen=True, kw_only=True)
class MigrateConfig:
    """Bring a data set to today's schema."""

    folder: tyro.conf.Positional[Path]
    """Data set to read."""
    out: Path
    """Data set to make; a new folder, or one where this was stopped."""


def main(config: MigrateConfig) -> Store:
    """Migrate; returns the new data set.

    Raises:
        ValueError: No complete shard there, a shard is damaged, or its schema is unknown.
    """
    require_output_folder(config.out)
    shards = [config.folder / name for name in open_storage(config.folder).list_shards().complete]
    if not shards:
        raise ValueError(f"{config.folder}: expected a data set with at least one complete shard, found none")
    store = Store.create(config.out)
    bar: Iterable[Path] = tqdm(shards, "migrate", file=sys.stderr, disable=None, unit="shard")
    for shard in bar:
        store.append(*migrate_shard(shard))
    facts = {"source_runs": read_runs(config.folder), "content": store.content}
    add_run(config.out, run_record("dataset.migrate", config, result=facts))
    return store


def run() -> None:
    """The command line."""
    config = tyro.cli(MigrateConfig, description=__doc__)
    store = main(config)
    print(f"{config.out}: {len(store)} sequences in {len(store.shards)} shards, content {store.content[:16]}")


if __name__ == "__main__":
    sys.exit(run_command("migrate", run))
