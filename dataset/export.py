"""Command line: one stored sequence as files that other tools read. `python -m dataset.export DIR NAME --out FOLDER`.

- `NAME.npz`: every stored array, time, names of bodies and joints, and the manifest's facts as JSON text; NumPy only, no pickle.
- `NAME_grf.mot`: wrenches of both feet as OpenSim external loads (Y up).
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from dataset import atomic
from dataset.command_line import run_command
from dataset.fields import FIELDS
from dataset.lab.external_loads import write_grf_mot
from dataset.manifest import COPIED
from dataset.provenance import plain
from dataset.schema import FRAME_RATE, Dynamics
from dataset.skeleton import BODY_NAMES, FEET, JOINT_NAMES
from dataset.store import Store
from dataset.user_paths import require_output_folder
from kernels.grf import sum_bodies


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write one sequence of a data set for other tools."""

    folder: tyro.conf.Positional[Path]
    """Folder of the data set."""
    name: tyro.conf.Positional[str]
    """Name of a sequence, or of a clip (its first sequence)."""
    out: Path = Path("out")
    """Folder for the files."""


def main(config: ExportConfig) -> list[Path]:
    """Export one sequence; returns the files written.

    Raises:
        ValueError: No data set there, or no sequence of that name.
    """
    require_output_folder(config.out)
    store = Store.open(config.folder)
    item = store.read(store.find(config.name))
    config.out.mkdir(parents=True, exist_ok=True)
    stem = config.out / re.sub(r"[^\w.-]+", "_", item.name)
    return [
        write_npz(stem.with_name(f"{stem.name}.npz"), item),
        write_mot(stem.with_name(f"{stem.name}_grf.mot"), item),
    ]


def write_npz(path: Path, item: Dynamics) -> Path:
    """Every array of a sequence under its own name, `time` [s], `body_names`, `joint_names` and `info` (JSON text)."""
    info = {key: plain(getattr(item, key)) for key in COPIED} | {"subject": dataclasses.asdict(item.subject)}
    info["units"] = {field.name: field.unit for field in FIELDS}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        time=np.arange(item.num_frames) / FRAME_RATE,
        body_names=np.array(BODY_NAMES),
        joint_names=np.array(JOINT_NAMES),
        info=np.array(json.dumps(info, ensure_ascii=False)),
        **{field.name: getattr(item, field.name) for field in FIELDS},
    )
    atomic.write_bytes(path, buffer.getvalue())
    return path


def write_mot(path: Path, item: Dynamics) -> Path:
    """Wrenches of both feet as OpenSim external loads; forces on other bodies are not in it."""
    feet = sum_bodies(item.grf, item.cop, item.free_moment, FEET)
    write_grf_mot(path, np.arange(item.num_frames) / FRAME_RATE, feet.force, feet.cop, feet.free_moment)
    return path


def run() -> None:
    """The command line."""
    config = tyro.cli(ExportConfig, description=__doc__)
    for path in main(config):
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(run_command("export", run))
