"""How far a collection is: `python -m ray_jobs.status DIR`. Needs no cluster, and may be asked at any time."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]  # run as a file, the packages are beside its folder

import tyro

from dataset.command_line import run_command
from dataset.place import Place
from sim.progress import status_lines


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `ray_jobs.status`."""

    out: tyro.conf.Positional[Place]
    """Folder or address of the data set that is collected into."""


def main(config: Config) -> list[str]:
    """Lines for a person; errors as `sim.progress.status_lines`."""
    return status_lines(config.out)


def run() -> None:
    """The command line."""
    print(*main(tyro.cli(Config, description=__doc__)), sep="\n")


if __name__ == "__main__":
    sys.exit(run_command("status", run))
