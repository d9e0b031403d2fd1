"""Command line: a data set as three, to train, choose and test with. `python -m dataset.split DIR --out FOLDER`.

`FOLDER/train`, `FOLDER/validation` and `FOLDER/test` are data sets of their own; which part a recording or subject belongs to
is fixed by the hash of its name (`dataset.splits`). What was dropped goes with its recording. Started again it goes on.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from dataset.command_line import run_command
from dataset.manifest import Dropped
from dataset.place import Place
from dataset.provenance import add_run, read_runs, run_record
from dataset.schema import FRAME_RATE, Dynamics
from dataset.shard_writer import SHARD_SECONDS
from dataset.splits import PARTS, Part, SplitConfig, part_of, recording_of, split_sequences
from dataset.store import Store
from dataset.user_paths import require_output_folder


@dataclass(frozen=True, kw_only=True)
class SplitCommand:
    """Divide a data set."""

    folder: tyro.conf.Positional[Place]
    """Data set to read: folder or address."""
    out: Path
    """Folder for the three data sets."""
    held_out: tuple[str, ...] = ()
    """Clips, recordings or subjects that belong to the test part whatever their hash."""
    split: tyro.conf.OmitArgPrefixes[SplitConfig] = dataclasses.field(default_factory=SplitConfig)
    """How to divide."""


def main(config: SplitCommand) -> dict[Part, Store]:
    """Split; returns the parts, those without a sequence left out.

    Raises:
        ValueError: No sound data set there, an unknown held-out name, or the output holds other data.
    """
    require_output_folder(config.out)
    store = Store.open(config.folder)
    for shard in store.shards:
        if damage := shard.find_damage():
            raise ValueError(damage[0])
    numbers = split_sequences(store.sequences, config.split, held_out=config.held_out)
    losses: dict[Part, list[Dropped]] = {part: [] for part in PARTS}
    for loss in dict.fromkeys(store.dropped):
        losses[_part_of_loss(loss, config)].append(loss)
    parts: dict[Part, Store] = {}
    for part in PARTS:
        if not (len(numbers[part]) or losses[part]):
            continue
        parts[part] = Store.create(config.out / part)
        rest = losses[part]
        bar: Iterable[int] = tqdm(numbers[part].tolist(), part, file=sys.stderr, disable=None, unit="sequence")
        for block in _blocks(store, bar):
            parts[part].append(block, rest)
            rest = []
        if rest:
            parts[part].append([], rest)
        facts = {"content": store.content, "runs": read_runs(store.storage)}
        result = {"part": part, "source": facts, "content": parts[part].content}
        add_run(parts[part].path, run_record("dataset.split", config, result=result))
    return parts


def _blocks(store: Store, numbers: Iterable[int]) -> Iterator[list[Dynamics]]:
    """Sequences in blocks of the length of a shard."""
    block: list[Dynamics] = []
    for number in numbers:
        block.append(store.read(number))
        if sum(item.num_frames - 1 for item in block) >= SHARD_SECONDS * FRAME_RATE:
            yield block
            block = []
    if block:
        yield block


def _part_of_loss(loss: Dropped, config: SplitCommand) -> Part:
    if config.split.by == "subject":
        return "test" if loss.subject in config.held_out else part_of(loss.subject, config.split)
    key = recording_of(loss.clip)
    return "test" if key in {recording_of(name) for name in config.held_out} else part_of(key, config.split)


def run() -> None:
    """The command line."""
    config = tyro.cli(SplitCommand, description=__doc__)
    for part, store in main(config).items():
        clips = len(np.unique([recording_of(info.clip) for info in store.sequences]))
        print(f"{config.out / part}: {len(store)} sequences of {clips} recordings, {store.seconds / 60:.1f} min")


if __name__ == "__main__":
    sys.exit(run_command("split", run))
