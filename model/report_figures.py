"""Figures of a prediction report: forces over time, torques, the floor seen from above.

Axis legend: T frames at 30 Hz, F = 2 feet (left, right), J joints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dataset import figure_style as look
from dataset.schema import LabTrial
from dataset.skeleton import BODY_INDEX, GRAVITY
from model.comparison import TrialComparison
from model.kinetics import Kinetics
from model.physics.quality import AMBER, GREEN, RED, UNKNOWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLAG_COLOURS = {GREEN: look.GREEN, AMBER: look.ORANGE, RED: look.VERMILLION, UNKNOWN: "#cccccc"}
"""Colour of each quality flag."""
_FEET = (("left", look.LEFT), ("right", look.RIGHT))


def report_axes(kinetics: Kinetics) -> np.ndarray:
    """Rotation from the world to (forward, left, up), forward being where the pelvis faces on average, shape (3, 3)."""
    forward = kinetics.forward_3
    return np.stack([forward, [-forward[1], forward[0], 0.0], [0.0, 0.0, 1.0]])


def plot_forces(kinetics: Kinetics, comparison: TrialComparison | None = None) -> Figure:
    """Force on each foot forwards, to the left and up, ± one standard deviation, measured forces dashed, quality below."""
    turn = report_axes(kinetics)
    time, grf = kinetics.time_T, kinetics.grf_TF3 @ turn.T
    deviation = np.sqrt(kinetics.grf_sd_TF3**2 @ (turn**2).T)
    measured = None if comparison is None else comparison.measured_TF3 @ turn.T
    rows = ((2, "Up"), (0, "Forward"), (1, "Left"))
    figure, panels = look.new_figure(
        4, 1, width=9.0, height=7.6, sharex=True, gridspec_kw={"height_ratios": [1.5, 1.0, 1.0, 0.16]}
    )
    for panel, (axis, name) in zip(panels, rows):
        for foot, (side, colour) in enumerate(_FEET):
            low, high = (grf[:, foot, axis] + sign * deviation[:, foot, axis] for sign in (-1.0, 1.0))
            panel.fill_between(time, low, high, color=colour, alpha=0.18, linewidth=0)
            panel.plot(time, grf[:, foot, axis], color=colour, label=f"{side} foot")
            if measured is not None:
                panel.plot(
                    time, measured[:, foot, axis], color=look.MEASURED, linestyle="--", linewidth=1.0,
                    label="force plates" if foot == 0 else None,
                )  # fmt: skip
        if comparison is not None:
            _shade(panel, time, ~comparison.valid_T)
        look.label(panel, y=(name, "N"))
    panels[0].axhline(kinetics.mass * GRAVITY, color=look.BASELINE, linestyle=":", label="body weight")
    panels[0].legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    strip = panels[3]
    step = float(np.median(np.diff(time)))
    strip.bar(
        time,
        np.ones(len(time)),
        width=1.04 * step,
        color=[FLAG_COLOURS[int(flag)] for flag in kinetics.quality_T],
        linewidth=0,
    )
    strip.set_yticks([])
    strip.set_ylim(0, 1)
    strip.grid(False)
    strip.set_xlim(time[0] - 0.5 * step, time[-1] + 0.5 * step)
    look.label(strip, x=("Time", "s"), y=("Check", ""))
    return figure


def _shade(panel: Axes, time: np.ndarray, hidden: np.ndarray) -> None:
    """Grey where the plates did not measure everything that held the body."""
    edge = np.flatnonzero(np.diff(np.concatenate([[False], hidden, [False]]).astype(int)))
    step = float(np.median(np.diff(time)))
    for start, stop in zip(edge[::2], edge[1::2]):
        panel.axvspan(
            float(time[start]) - step / 2, float(time[stop - 1]) + step / 2, color="#000000", alpha=0.05, linewidth=0
        )


def plot_torques(kinetics: Kinetics) -> Figure:
    """Length of the torque vector at hip, knee and ankle of both sides."""
    size = np.linalg.norm(kinetics.torque_TJ3, axis=2)
    figure, panels = look.new_figure(3, 1, width=9.0, height=5.2, sharex=True)
    middle = kinetics.time_T + 0.5 * float(np.median(np.diff(kinetics.time_T)))
    for panel, joint in zip(panels, ("Hip", "Knee", "Ankle")):
        for side, colour in _FEET:
            panel.plot(middle, size[:, BODY_INDEX[f"{side[0].upper()}_{joint}"] - 1], color=colour, label=side)
        panel.set_ylim(bottom=0.0)
        look.label(panel, y=(joint, "N·m"))
    panels[0].legend(ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    panels[0].set_xlim(kinetics.time_T[0], kinetics.time_T[-1])
    look.label(panels[2], x=("Time", "s"))
    return figure


def plot_floor(kinetics: Kinetics, trial: LabTrial, comparison: TrialComparison | None = None) -> Figure:
    """The floor from above: centres of pressure, the centre of mass, the plates; forward is to the right."""
    turn = report_axes(kinetics)[:2, :2]
    figure, panel = look.new_figure(1, 1, width=9.0, height=3.4)
    if np.isfinite(kinetics.com_T3).any():
        panel.plot(*(kinetics.com_T3[:, :2] @ turn.T).T, color=look.OTHER, linewidth=1.0, label="centre of mass")
    for plate in trial.plates:
        if plate.corners is not None:
            outline = plate.corners[[0, 1, 2, 3, 0], :2] @ turn.T
            panel.plot(*outline.T, color=look.BASELINE, linewidth=0.8)
    if comparison is not None:
        points = comparison.measured_cop_TF2 @ turn.T
        for foot in range(2):
            label = "measured" if foot == 0 else None
            panel.plot(*points[:, foot].T, "+", color=look.MEASURED, markersize=5, markeredgewidth=0.8, label=label)
    for foot, (side, colour) in enumerate(_FEET):
        points = kinetics.cop_TF2[:, foot] @ turn.T
        panel.plot(*points.T, ".", color=colour, markersize=4, label=f"centre of pressure, {side}")
    panel.set_aspect("equal", adjustable="datalim")
    panel.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    look.label(panel, x=("Forward", "m"), y=("Left", "m"))
    return figure
