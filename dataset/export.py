"""Command line: stored sequences as files that other tools read. `python -m dataset.export DIR NAME --out FOLDER --to npz hdf5`.

- `npz`: `NAME.npz`, every stored array, time, names of bodies and joints, and the manifest's facts as JSON text; NumPy only.
- `opensim`: `NAME_grf.mot` and `NAME_external_loads.xml`, wrenches of both feet, and `NAME.trc`, markers (Y up).
- `hdf5`: one file, a group a sequence. `parquet`: one file, a row a frame. `imdy`: a folder, the lists of the ImDy release.

Without NAME all sequences of the data set are written.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from tqdm import tqdm

from dataset.command_line import run_command
from dataset.formats.facts import file_stem
from dataset.formats.hdf5 import write_hdf5
from dataset.formats.imdy import write_imdy
from dataset.formats.npz import write_npz
from dataset.formats.opensim_files import write_opensim
from dataset.formats.parquet import write_parquet
from dataset.place import Place, absolute, last_name
from dataset.schema import Dynamics
from dataset.store import Store
from dataset.user_paths import require_output_folder

Format = Literal["npz", "opensim", "hdf5", "parquet", "imdy"]


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write sequences of a data set for other tools."""

    folder: tyro.conf.Positional[Place]
    """Folder of the data set, or its address."""
    name: tyro.conf.Positional[str] = ""
    """Name of a sequence, or of a clip (its first sequence); all sequences by default."""
    out: Path = Path("out")
    """Folder for the files."""
    to: tuple[Format, ...] = ("npz", "opensim")
    """Formats: `npz`, `opensim`, `hdf5`, `parquet`, `imdy`."""


def main(config: ExportConfig) -> list[Path]:
    """Export sequences; returns the files written.

    Raises:
        ValueError: No data set there, no sequence of that name, or a format's package is not installed.
    """
    require_output_folder(config.out)
    store = Store.open(config.folder)
    numbers = [store.find(config.name)] if config.name else list(range(len(store)))
    if not numbers:
        raise ValueError(f"{config.folder}: expected at least one sequence, found none; collect some first")
    stems = Counter(file_stem(store.sequences[number].name) for number in numbers)
    if clash := [name for name, count in stems.items() if count > 1]:
        raise ValueError(
            f"{config.folder}: expected names that differ as file names, found {clash[0]!r} twice; export one by one"
        )
    stem = file_stem(store.sequences[numbers[0]].name if config.name else last_name(absolute(config.folder)))

    def sequences(label: str) -> Iterator[Dynamics]:
        shown: Iterable[int] = tqdm(numbers, label, file=sys.stderr, disable=None, unit="sequence")
        return (store.read(number) for number in shown)

    paths: list[Path] = []
    for kind in config.to:
        if kind == "npz":
            paths += [write_npz(config.out / f"{file_stem(item.name)}.npz", item) for item in sequences(kind)]
        elif kind == "opensim":
            for item in sequences(kind):
                paths += write_opensim(config.out, file_stem(item.name), item)
        elif kind == "hdf5":
            paths.append(write_hdf5(config.out / f"{stem}.h5", sequences(kind), store.content))
        elif kind == "parquet":
            paths.append(write_parquet(config.out / f"{stem}.parquet", sequences(kind), store.content))
        else:
            paths += write_imdy(config.out / f"{stem}_imdy", sequences(kind), store.content)
    return paths


def run() -> None:
    """The command line."""
    config = tyro.cli(ExportConfig, description=__doc__)
    for path in main(config):
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(run_command("export", run))
