"""The README's figure: a humanoid that imitates motion capture, and the forces of a real trial read off its markers.

`python -m bench.overview_figure --trial TRIAL.c3d` draws `docs/figures/overview.png` from the stored solutions and the shipped
weights. Top: a stored imitation of walking with the ground force on every body, from which the solver learns. Bottom: force of
the ground on both feet of a walking person, predicted from the markers and measured by force plates, where these were.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset import figure_style
from dataset.body.default import make_body
from dataset.body.subjects import SUBJECTS
from dataset.command_line import run_command
from dataset.lab.read import read_trial
from dataset.skeleton import GRAVITY
from model.comparison import compare_methods
from model.trial_kinetics import load_trained, predict_trial
from model.weights import DEFAULT_WEIGHTS
from sim.humanoid import make_humanoid
from sim.track_figure import draw_strip, stored_replay


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is drawn."""

    trial: Path
    """Walking trial with force plates."""
    mass: float | None = None
    """Body mass [kg]; the file's if None."""
    weights: Path = DEFAULT_WEIGHTS
    """Trained solver."""
    poses: int = 9
    """Poses of the imitation."""
    seconds: float = 1.2
    """Time drawn of it [s]."""
    out: Path = Path("docs/figures/overview.png")
    """Figure."""


def main(config: Config) -> Path:
    """Draw the figure.

    Raises:
        ValueError: The trial has no mass, or no plates.
    """
    from matplotlib.figure import Figure

    humanoid = make_humanoid(make_body(SUBJECTS[0]))
    trial = read_trial(config.trial)
    mass = config.mass or trial.mass
    if mass is None:
        raise ValueError(f"{config.trial}: mass: expected the body mass in the file, found none; pass --mass KG")
    kinetics = predict_trial(trial, mass, solver=load_trained(config.weights))
    comparison = compare_methods(trial, kinetics)
    seen = np.flatnonzero(comparison.valid_T)
    span = slice(max(0, seen[0] - 6), seen[-1] + 7)
    time = kinetics.time_T[span] - kinetics.time_T[span][0]
    weight = mass * GRAVITY
    with figure_style.style():
        figure = Figure(figsize=(10.0, 5.2), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(1.15, 1.0))
        strip = figure.add_subplot(grid[0, :])
        draw_strip(strip, humanoid, stored_replay(humanoid, "walk"), config.seconds, config.poses)
        strip.set_title("A simulated person imitates motion capture: every force on it is known")
        figure_style.label(strip, y=("Height", "m"))
        vertical, forward = (figure.add_subplot(grid[1, column]) for column in range(2))
        ahead = kinetics.forward_3
        for foot, (side, colour) in enumerate((("left", figure_style.LEFT), ("right", figure_style.RIGHT))):
            valid = np.where(comparison.valid_T[:, None], comparison.measured_TF3[:, foot], np.nan)[span] / weight
            predicted = kinetics.grf_TF3[span, foot] / weight
            for axes, direction in ((vertical, np.array([0.0, 0.0, 1.0])), (forward, ahead)):
                axes.plot(time, predicted @ direction, color=colour, label=f"{side} foot, from markers")
                axes.plot(
                    time, valid @ direction, color=figure_style.MEASURED, linestyle=(0, (1, 1)),
                    label="force plates" if foot else None,
                )  # fmt: skip
        vertical.set_title(f"Forces of a real trial, from its markers ({trial.name})")
        figure_style.label(vertical, x=("Time", "s"), y=("Vertical force", "body weights"))
        figure_style.label(forward, x=("Time", "s"), y=("Forward force", "body weights"))
        figure.legend(*vertical.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        config.out.parent.mkdir(parents=True, exist_ok=True)
        figure_style.save(figure, config.out)
    return config.out


def run() -> None:
    """The command line."""
    import tyro

    print(main(tyro.cli(Config, description=__doc__)))


if __name__ == "__main__":
    sys.exit(run_command("overview_figure", run))
