"""The experts' joint moments beside those that came with the data: `python -m sim.gait.expert_table`.

Writes `docs/results/gait_expert.csv` and `.md` from the laboratory data that IMDYLAB_DATA points to. A trial that is refused
is a line with the reason.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from dataset.command_line import describe, run_command
from sim.gait.compare import Row, compare_moments, write_table
from sim.gait.expert import measure
from sim.gait.expert_build import ExpertConfig, analyse
from sim.gait.trial_files import TrialFiles

OPENCAP_WALKING_MASS = 63.85
"""Mass that the plates show in all walks of this subject [kg]; the model says 62.6 (data's own notes)."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the table."""

    out: Path = Path("docs/results/gait_expert")
    """Table, without ending."""
    process: ExpertConfig = field(default_factory=ExpertConfig)
    """Filters."""


def trials(data: Path) -> list[tuple[str, TrialFiles, float | None]]:
    """Name, files and mass [kg] (None: what the files say) of every laboratory walk with forces."""
    lab = data / "lab"
    uhlrich, rajagopal = lab / "uhlrich_treadmill60s", lab / "rajagopal2015"
    found: list[tuple[str, TrialFiles, float | None]] = [
        (
            "uhlrich_treadmill60s",
            TrialFiles(
                motion=uhlrich / "results_ik.sto", model=next(iter(uhlrich.glob("*.osim")), None),
                forces=uhlrich / "walking_baseline1_forces.mot", moments=uhlrich / "results_id.sto",
            ),
            None,
        ),
        (
            "rajagopal2015 coordinates",
            TrialFiles(
                motion=rajagopal / "walk/coordinates.sto", model=rajagopal / "walk/subject_walk_scaled.osim",
                forces=rajagopal / "walk/grf_walk.mot", moments=rajagopal / "walk/id_walk.sto",
            ),
            None,
        ),
        (
            "rajagopal2015 markers",
            TrialFiles(
                motion=rajagopal / "walk/markers_walk.trc", forces=rajagopal / "walk/grf_walk.mot",
                moments=rajagopal / "walk/id_walk.sto", static=rajagopal / "static/static_walk_1.trc",
            ),
            85.3,
        ),
        ("gaitalytics", TrialFiles(motion=lab / "gaitalytics/treadmill_events.c3d"), None),
    ]  # fmt: skip
    opencap = lab / "opencap_subject4"
    for walk in sorted((opencap / "IK").glob("walking*_ik.mot")):
        name = walk.name.removesuffix("_ik.mot")
        files = TrialFiles(
            motion=walk, model=opencap / "Models/optimized_scale_and_markers.osim",
            forces=opencap / f"GRF/{name}_grf.mot", moments=opencap / f"ID/{name}_id.sto",
        )  # fmt: skip
        found.append((f"opencap_subject4 {name}", files, OPENCAP_WALKING_MASS))
    for child in sorted((lab / "biomechzoo_children").glob("HC*")):
        for walk in sorted((child / "Straight").glob("*.c3d")):
            static = next(iter(sorted((child / "Static").glob("*.c3d"))), None)
            found.append((f"biomechzoo_children {walk.stem}", TrialFiles(motion=walk, static=static), None))
    for subject in sorted((lab / "schreiber2019").glob("20*")):
        static = subject / f"{subject.name}_ST.c3d"
        walks = sorted(subject.glob("*_C[45]_*.c3d"))
        found += [(f"schreiber2019 {walk.stem}", TrialFiles(motion=walk, static=static), None) for walk in walks]
    return found


def main(config: Config) -> list[Row]:
    """Analyse every trial and write the table."""
    if "IMDYLAB_DATA" not in os.environ:
        raise ValueError(
            "IMDYLAB_DATA: expected the folder of the laboratory data, found none; set it to where they are unpacked"
        )
    rows: list[Row] = []
    refused: list[str] = []
    for name, files, mass in trials(Path(os.environ["IMDYLAB_DATA"])):
        try:
            measured = measure(files, mass)
            found = compare_moments(measured, analyse(measured, config.process))
        except (ValueError, OSError) as error:
            refused.append(f"{name}: {describe(error)}")
            print(f"{name}: refused: {describe(error)}", file=sys.stderr)
            continue
        print(f"{name}: {len(found)} joints", file=sys.stderr)
        rows += [Row(**{**row.__dict__, "trial": name}) for row in found]
    write_table(config.out, rows, refused)
    return rows


def run() -> None:
    """The command line."""
    main(tyro.cli(Config, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("expert_table", run))
