"""Command line: several data sets as one. `python -m dataset.merge DIR DIR ... --out NEW`.

Shards are copied as they are, byte for byte, each file checked against its hash on the way; a shard that several sets share is
there once. Started again it goes on where it stopped. The inputs are only read, and an existing output is added to.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import tyro
from tqdm import tqdm

from dataset.command_line import run_command
from dataset.manifest import SequenceInfo
from dataset.place import Place
from dataset.provenance import add_run, read_runs, run_record
from dataset.shard import Shard
from dataset.store import Store
from dataset.user_paths import require_output_place


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """Put data sets together."""

    folders: tyro.conf.Positional[tuple[Place, ...]]
    """Data sets to read: folders or addresses (`s3://bucket/data`)."""
    out: Place
    """Data set to make, or to add to: folder or address."""
    overlap: Literal["refuse", "skip"] = "refuse"
    """What to do with a sequence that is there already, in another shard: stop, or leave it out and write the rest of its
    shard anew."""


def main(config: MergeConfig) -> Store:
    """Merge; returns the result.

    Raises:
        ValueError: No inputs, an input is no sound data set, or a sequence is in two of them (unless skipped): the same
            name, or the same solution on the same subject with the same seed and perturbation from the same moment under
            another name.
    """
    if not config.folders:
        raise ValueError("folders: expected at least one data set to read, got none")
    require_output_place(config.out)
    sources = [Store.open(folder) for folder in config.folders]
    target = Store.create(config.out)
    present = {shard.path.name for shard in target.shards}
    shards = {shard.path.name: shard for store in sources for shard in store.shards if shard.path.name not in present}
    known = _Known(target.sequences)
    fresh = {name: [known.add(info, shard) for info in shard.sequences] for name, shard in shards.items()}
    if known.clashes and config.overlap == "refuse":
        raise ValueError(
            f"{known.clashes[0]}; give `--overlap skip` to leave {len(known.clashes)} such sequences out, or rename"
        )
    bar: Iterable[Shard] = tqdm(shards.values(), "merge", file=sys.stderr, disable=None, unit="shard")
    for shard in bar:
        is_new = fresh[shard.path.name]
        if all(is_new):
            target.copy(shard)
            continue
        if damage := shard.find_damage():
            raise ValueError(damage[0])
        rest = [shard.read(index) for index, keep in enumerate(is_new) if keep]
        lost = [loss for loss in shard.dropped if loss not in set(target.dropped)]
        if rest or lost:
            target.append(rest, lost)
    facts = [{"content": store.content, "runs": read_runs(store.storage)} for store in sources]
    add_run(target.storage, run_record("dataset.merge", config, result={"sources": facts, "content": target.content}))
    return target


class _Known:
    """Sequences met so far, by name and by what they are a record of."""

    def __init__(self, sequences: Sequence[SequenceInfo]) -> None:
        self._names = {info.name for info in sequences}
        self._records = {info.record_key: info.name for info in sequences if info.record_key}
        self.clashes: list[str] = []

    def add(self, info: SequenceInfo, shard: Shard) -> bool:
        """Whether a sequence is new; from now on it is known."""
        twin = self._records.get(info.record_key) if info.record_key else None
        if info.name in self._names:
            self.clashes.append(f"{shard.place}: expected new sequences, found {info.name!r} in another data set too")
        elif twin is not None:
            self.clashes.append(
                f"{shard.place}: expected new sequences, found {info.name!r}, the same record as {twin!r}"
            )
        else:
            self._names.add(info.name)
            if info.record_key:
                self._records[info.record_key] = info.name
            return True
        return False


def run() -> None:
    """The command line."""
    config = tyro.cli(MergeConfig, description=__doc__)
    store = main(config)
    print(
        f"{config.out}: {len(store)} sequences, {store.seconds / 3600:.2f} h in {len(store.shards)} shards,"
        f" content {store.content[:16]}"
    )


if __name__ == "__main__":
    sys.exit(run_command("merge", run))
