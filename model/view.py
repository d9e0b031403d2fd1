"""An animation of a prediction or of a trial: `python -m model.view kinetics.npz --out anim.html`.

Shows markers, the fitted skeleton and the force on each foot (1 m a kilonewton); of a trial without a prediction, its
markers and what its plates measured.

Axis legend: T frames at 30 Hz, F = 2 feet (left, right).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from dataset.command_line import run_command
from dataset.lab.plates import center_of_pressure, measure_feet, window_mean
from dataset.lab.read import read_trial
from dataset.schema import LabTrial
from dataset.viewer import Arrow, Panel, write_view
from model.kinetics import read_kinetics
from model.lab_metrics import HALF_WINDOW
from model.physics.quality import QUALITY_NAMES
from model.report_figures import FLAG_COLOURS
from model.trial_markers import prepare_markers


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Animate a prediction or a trial."""

    file: tyro.conf.Positional[Path]
    """A kinetics.npz of `python -m model.predict`, or a trial (C3D, TRC)."""
    out: Path = Path("anim.html")
    """HTML file to write."""
    forces: Path | None = None
    """Measured forces of a trial (MOT or STO) where its own file has none."""


def kinetics_panel(found: Mapping[str, Any]) -> Panel:
    """A panel of a prediction, turned from the file's laboratory axes to the world.

    Args:
        found: Contents of a kinetics.npz (`read_kinetics`, or `Kinetics.file_arrays`).
    """
    rot = found["rot_world_lab"].T
    joints, cop, grf = found["joint_pos_TN3"] @ rot, found["cop_TF3"] @ rot, found["grf_TF3"] @ rot
    return Panel(
        title=f"{found['name']}, predicted ({found['method']})",
        joint_pos=joints if np.isfinite(joints).any() else None,
        markers=found["markers_TM3"] @ rot,
        arrows=_arrows(cop, grf),
        marks=found["quality_T"],
        mark_colours=tuple(FLAG_COLOURS[flag] for flag in range(len(QUALITY_NAMES))),
    )


def trial_panel(trial: LabTrial) -> Panel:
    """A panel of a trial's markers at 30 Hz and, where it has plates and foot markers, the measured forces."""
    markers = prepare_markers(trial)
    shift = np.concatenate([-markers.belt_shift(), np.full((len(markers.time_T), 1), markers.floor)], axis=1)
    arrows: tuple[Arrow, ...] = ()
    if trial.plates or trial.foot_wrench is not None:
        measured = measure_feet(trial)
        wrench = window_mean(measured.time, measured.wrench, markers.time_T, HALF_WINDOW)
        point = center_of_pressure(wrench)
        point = np.concatenate([point, np.full((*point.shape[:2], 1), markers.floor)], axis=2)
        arrows = _arrows(point, wrench[:, :, :3])
    return Panel(title=f"{trial.name}, as measured", markers=markers.markers_TM3 + shift[:, None], arrows=arrows)


def _arrows(point_TF3: np.ndarray, force_TF3: np.ndarray) -> tuple[Arrow, ...]:
    return tuple(
        Arrow(point=point_TF3[:, foot], force=force_TF3[:, foot], colour=side)
        for foot, side in enumerate(("left", "right"))
    )


def main(cfg: ViewConfig) -> Path:
    """Write the animation.

    Raises:
        ValueError: the file is neither a prediction nor a trial that can be read.
        FileNotFoundError: no such file.
    """
    if cfg.file.suffix.lower() == ".npz":
        panel = kinetics_panel(read_kinetics(cfg.file))
    else:
        panel = trial_panel(read_trial(cfg.file, cfg.forces))
    return write_view(cfg.out, [panel])


def run() -> None:
    """The command line."""
    print(f"wrote {main(tyro.cli(ViewConfig))}")


if __name__ == "__main__":
    sys.exit(run_command("view", run))
