"""Build an expert from a trial: `python -m sim.gait.expert TRIAL`.

TRIAL is a folder with coordinates, their `.osim` and forces (and perhaps inverse dynamics to check against), or a motion file:
`.c3d` with plates, `.trc` or `.mot`/`.sto` with `--forces`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from dataset.command_line import run_command
from sim.gait.compare import Row, compare_moments
from sim.gait.expert_build import ExpertConfig, analyse, build_expert
from sim.gait.expert_file import Expert, save_expert
from sim.gait.sources import Measured, measure_from_coordinates
from sim.gait.trial_files import TrialFiles, find_files


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the expert."""

    trial: Annotated[Path, tyro.conf.Positional]
    """Folder or motion file of the trial."""
    model: Path | None = None
    """Scaled OpenSim model of coordinates; the only one beside them where not given."""
    forces: Path | None = None
    """External loads; the plates of a C3D, or the only such file beside the motion, where not given."""
    moments: Path | None = None
    """Joint moments to check against (inverse dynamics of OpenSim)."""
    static: Path | None = None
    """Static trial that a body is built from; the trial itself where not given."""
    mass: float | None = None
    """Body mass [kg]; what the files say where not given."""
    process: ExpertConfig = field(default_factory=ExpertConfig)
    """Filters and number of cycles."""
    out: Path | None = None
    """File for the expert (.npz); `out/gait/<trial>.npz` where not given."""


def measure(files: TrialFiles, mass: float | None = None) -> Measured:
    """Body, poses and forces of a trial's files.

    Raises:
        ValueError: whatever the readers, the body or the fit refuse.
    """
    if files.model is not None and files.forces is not None:
        return measure_from_coordinates(files.motion, files.model, files.forces, files.moments, mass)
    from sim.gait.marker_source import measure_from_markers

    return measure_from_markers(files.motion, files.forces, files.static, files.moments, mass)


def make_expert(files: TrialFiles, config: ExpertConfig, mass: float | None = None) -> tuple[Expert, list[Row]]:
    """The expert of a trial and how its joint moments compare with those that came with the data."""
    measured = measure(files, mass)
    analysis = analyse(measured, config)
    return build_expert(measured, analysis, config), compare_moments(measured, analysis)


def main(config: Config) -> tuple[Expert, list[Row]]:
    """Build, write and describe an expert."""
    files = find_files(
        config.trial, model=config.model, forces=config.forces, moments=config.moments, static=config.static
    )
    expert, rows = make_expert(files, config.process, config.mass)
    out = config.out or Path("out/gait") / (expert.name.replace("/", "_") + ".npz")
    save_expert(out, expert)
    for line in describe(expert, rows):
        print(line)
    print(f"written: {out}")
    return expert, rows


def describe(expert: Expert, rows: list[Row]) -> list[str]:
    """What a user wants to know about an expert, one line each; notes begin with `warning:` where counts disagree."""
    facts = expert.facts
    force = ", ".join(f"{100 * value:.1f}" for value in facts["residual_force_bw"])
    count, walked = (
        expert.cycles["count"].tolist(),
        f"{facts['walking_speed']:.2f} m/s (belt {facts['belt_speed']:.2f} m/s)",
    )
    lines = [
        f"{expert.name}: {expert.num_frames} frames at {expert.rate:g} Hz, cycles (left, right) {count}",
        f"person {expert.body.total_mass:.1f} kg, feet {100 * expert.body.foot_length:.1f} cm; walks at {walked}, mean vertical "
        f"force {facts['mean_vertical_bw']:.3f} body weights",
        f"pose fit {facts['fit_error_mm']:.2f} mm RMS; by segment {facts['fit_error_mm_by_segment']}",
        f"unexplained force AP, ML, V {force} % body weight RMS",
    ]
    lines += [
        f"{row.joint:15s} RMSE {row.rmse:.3f} N·m/kg  r {row.r:.3f}  (range {row.span:.2f}; {row.reference})"
        for row in rows
        if row.joint
    ]
    lines += [("warning: " if note.startswith("Header") else "note: ") + note for note in facts["notes"]]
    return lines


def run() -> None:
    """The command line."""
    main(tyro.cli(Config, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("expert", run))
