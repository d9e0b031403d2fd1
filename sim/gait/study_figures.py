"""Figures of the gait study, after the paper's 4b to 7 and one of the residual wrench.

The measured walk is black and dashed, each arm has one colour and one line everywhere: grey the arm with R^k alone.

Axis legend: P = 101 points of a cycle, Q = 51 points of a stance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dataset import figure_style as look
from sim.gait.arms import ARMS, PRETRAINED
from sim.gait.mean_cycles import MeanCycles
from sim.gait.signals import MAIN_JOINTS
from sim.gait.study_results import COP_BAR, CORRELATION_BAR, RESIDUAL_BAR, WORST_ANGLE
from sim.gait.trained import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARM_NAMES: Final = {"kinematic": "R^k only", "grf": "R^k + R^grf", "cop": "R^k + R^cop", "all": "ALL"}
"""What the arms are called in text."""
ARM_LABELS: Final = {
    "kinematic": "$R^k$ only", "grf": "$R^k + R^{grf}$", "cop": "$R^k + R^{cop}$", "all": "ALL",
}  # fmt: skip
"""The same in figures."""
ARM_COLOURS: Final = {"kinematic": look.GREY, "grf": look.ORANGE, "cop": look.SKY, "all": look.GREEN}
"""One colour an arm."""
_LINES: Final = {"kinematic": "-", "grf": "-.", "cop": ":", "all": "-"}
_WIDTHS: Final = {"kinematic": 1.6, "grf": 1.4, "cop": 1.8, "all": 1.8}
_MEASURED: Final = {"color": look.MEASURED, "linestyle": "--", "linewidth": 1.3}
_TITLES: Final = {"hip_flexion": "Hip flexion", "knee_flexion": "Knee flexion", "ankle_flexion": "Ankle dorsiflexion"}
_MOMENT_TITLES: Final = {
    "hip_flexion": "Hip, flexion positive", "knee_flexion": "Knee, flexion positive",
    "ankle_flexion": "Ankle, dorsiflexion positive",
}  # fmt: skip
_REWARD_TITLES: Final = {"kinematic": "Kinematic reward", "grf": "GRF reward", "cop": "CoP reward"}
Results = Mapping[str, Any]


def plot_rewards(curves: Mapping[str, Curve]) -> Figure:
    """Rewards in training (noise included) over steps: pre-training, then the four arms, mean and range over the seeds."""
    figure, panels = look.new_figure(1, 3, width=9.6, height=2.9)
    start = curves[PRETRAINED]["steps"][-1] if PRETRAINED in curves else 0
    for panel, term in zip(panels, _REWARD_TITLES):
        if PRETRAINED in curves:
            before = curves[PRETRAINED]
            panel.plot(_thousands(before["steps"]), before[term], color=look.BLACK, linewidth=0.9, label="pre-training")
            panel.axvline(start / 1e3, color=look.BASELINE, linestyle=":", linewidth=0.8)
        for arm in ARMS:
            runs = [curve for name, curve in curves.items() if name.startswith(f"{arm}_seed")]
            if runs:
                count = min(len(run["steps"]) for run in runs)
                values = np.array([run[term][:count] for run in runs], dtype=float)
                steps = _thousands(np.array(runs[0]["steps"][:count]) + start)
                panel.fill_between(
                    steps, values.min(axis=0), values.max(axis=0), color=ARM_COLOURS[arm], alpha=0.2, linewidth=0
                )
                panel.plot(steps, values.mean(axis=0), **_line(arm), label=ARM_LABELS[arm])
        look.label(panel, x=("Steps", "thousand"), y=(_REWARD_TITLES[term], ""))
        panel.set_ylim(0.0, 1.0)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def plot_angles(means: Mapping[str, MeanCycles], measured: MeanCycles, arms: Results) -> Figure:
    """Mean joint angles over the cycle, and their error by joint and arm."""
    figure, panels = look.new_figure(1, 4, width=11.0, height=3.0, width_ratios=(1.0, 1.0, 1.0, 1.25))
    percent = np.linspace(0.0, 100.0, len(measured.angle))
    for column, (panel, joint) in enumerate(zip(panels, MAIN_JOINTS)):
        _band(panel, percent, measured.angle[:, column], measured.angle_sd[:, column])
        for arm in ARMS:
            panel.plot(percent, means[arm].angle[:, column], **_line(arm), label=ARM_LABELS[arm])
        panel.plot(percent, measured.angle[:, column], **_MEASURED, label="measured (± SD)")
        look.label(panel, x=("Gait cycle", "%"), y=("Angle", "°"), title=_TITLES[joint])
    _bars(panels[3], arms, "joint_rmse_deg")
    _bar(panels[3], WORST_ANGLE)
    look.label(panels[3], y=("RMSE", "°"), title="Error by cycle, mean ± SD")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def plot_butterflies(means: Mapping[str, MeanCycles], measured: MeanCycles) -> Figure:
    """Butterfly diagrams: the sagittal ground reaction on a foot as vectors over stance, an arm a panel."""
    figure, panels = look.new_figure(1, 5, width=11.0, height=2.7, sharey=True)
    tallest = 1.05 * max(float(np.nanmax(part.force[:, 2])) for part in (measured, *means.values()))
    shown = (("measured", measured), *((ARM_LABELS[arm], means[arm]) for arm in ARMS))
    for panel, (name, part) in zip(panels, shown):
        _butterfly(panel, part.force, measured.force, is_measured=part is measured)
        look.label(panel, x=("Gait cycle", "%"), title=name)
    panels[0].set_ylim(0.0, tallest)
    look.label(panels[0], y=("Vertical force", "BW"))
    return figure


def plot_reaction(means: Mapping[str, MeanCycles], measured: MeanCycles, arms: Results) -> Figure:
    """Complex correlation of the sagittal ground reaction with the measured one; centre of pressure and its error."""
    figure, panels = look.new_figure(1, 4, width=11.0, height=3.0, width_ratios=(1.0, 1.0, 1.8, 1.0))
    _arm_bars(panels[0], arms, lambda part: (part["cpcc_magnitude"], part["cpcc_magnitude_sd"]))
    panels[0].set_ylim(*_zoomed([part["cpcc_magnitude"] for part in arms.values()]))
    look.label(panels[0], y=("Correlation |ρ|", ""))
    _arm_bars(panels[1], arms, lambda part: (part["cpcc_phase_rad"], part["cpcc_phase_rad_sd"]))
    look.label(panels[1], y=("Phase |arg ρ|", "rad"))
    percent = np.linspace(0.0, 100.0, len(measured.cop))
    _band(panels[2], percent, measured.cop, measured.cop_sd)
    for arm in ARMS:
        panels[2].plot(percent, means[arm].cop, **_line(arm), label=ARM_LABELS[arm])
    panels[2].plot(percent, measured.cop, **_MEASURED, label="measured (± SD)")
    look.label(panels[2], x=("Stance", "%"), y=("CoP from the heel", "% FL"))
    _arm_bars(panels[3], arms, lambda part: (part["cop_rmse_pct_fl"]["mean"], part["cop_rmse_pct_fl"]["sd"]))
    _bar(panels[3], COP_BAR)
    look.label(panels[3], y=("CoP RMSE", "% FL"))
    figure.legend(*panels[2].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def plot_moments(means: Mapping[str, MeanCycles], measured: MeanCycles, arms: Results) -> Figure:
    """Mean joint moments over the cycle, their error and their correlation by joint and arm."""
    figure, grid = look.new_figure(2, 6, width=9.6, height=5.4, height_ratios=(1.2, 1.0))
    cells = grid[0][0].get_gridspec()
    for panel in grid.ravel():
        panel.remove()
    above = [figure.add_subplot(cells[0, 2 * column : 2 * column + 2]) for column in range(3)]
    below = [figure.add_subplot(cells[1, 3 * column : 3 * column + 3]) for column in range(2)]
    percent = np.linspace(0.0, 100.0, len(measured.moment))
    for column, (panel, joint) in enumerate(zip(above, MAIN_JOINTS)):
        _band(panel, percent, measured.moment[:, column], measured.moment_sd[:, column])
        for arm in ARMS:
            panel.plot(percent, means[arm].moment[:, column], **_line(arm), label=ARM_LABELS[arm])
        panel.plot(percent, measured.moment[:, column], **_MEASURED, label="inverse dynamics (± SD)")
        look.label(panel, x=("Gait cycle", "%"), y=("Moment", "N·m/kg"), title=_MOMENT_TITLES[joint])
    _bars(below[0], arms, "moment_rmse_nm_kg")
    look.label(below[0], y=("RMSE", "N·m/kg"), title="Error by cycle, mean ± SD")
    _bars(below[1], arms, "moment_r")
    _bar(below[1], CORRELATION_BAR, at=0.0)
    below[1].set_ylim(top=1.0)
    look.label(below[1], y=("r", ""), title="Correlation by cycle, mean ± SD")
    figure.legend(*above[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def plot_residual(means: Mapping[str, MeanCycles], arms: Results) -> Figure:
    """The residual wrench: mean force over the cycle, and its size in every arm."""
    figure, panels = look.new_figure(1, 5, width=11.6, height=2.8, width_ratios=(1.1, 1.1, 1.1, 0.8, 0.8))
    percent = np.linspace(0.0, 100.0, len(means[ARMS[0]].residual))
    for column, (panel, name) in enumerate(zip(panels, ("Forwards", "To the left", "Up"))):
        for arm in ARMS:
            panel.plot(percent, means[arm].residual[:, column], **_line(arm), label=ARM_LABELS[arm])
        panel.axhline(0.0, color=look.BASELINE, linewidth=0.6)
        look.label(panel, x=("Right gait cycle", "%"), y=("Residual force", "N"), title=name)
    _arm_bars(panels[3], arms, lambda part: (part["residual_force_pct_bw"], np.nan))
    _bar(panels[3], RESIDUAL_BAR)
    look.label(panels[3], y=("RMS force", "% BW"))
    _arm_bars(panels[4], arms, lambda part: (part["residual_moment_nm_kg"], np.nan))
    look.label(panels[4], y=("RMS moment", "N·m/kg"))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _butterfly(panel: Axes, force: np.ndarray, measured: np.ndarray, *, is_measured: bool) -> None:
    """Vectors (forwards, up) from the time of the cycle, coloured by it, with the outline of the measured tips."""
    import matplotlib

    percent = np.linspace(0.0, 100.0, len(force))
    stance = np.cumsum((percent > 20.0) & (measured[:, 2] < 0.02)) == 0  # up to the first time without load
    colours = matplotlib.colormaps[look.SEQUENTIAL]
    length = 60.0  # per cent of the cycle that one body weight is long, about the panel's own aspect
    last = percent[stance].max()
    for at in np.flatnonzero(stance)[::2]:
        tip = percent[at] + length * force[at, 0], force[at, 2]
        panel.plot(
            (percent[at], tip[0]), (0.0, tip[1]), color=colours(0.95 * percent[at] / last), linewidth=0.9,
            solid_capstyle="round",
        )  # fmt: skip
    if not is_measured:
        panel.plot(percent[stance] + length * measured[stance, 0], measured[stance, 2], **_MEASURED)
    panel.grid(visible=False)
    panel.set_xlim(-14.0, last + 16.0)


def _bars(panel: Axes, arms: Results, name: str) -> None:
    """A group of bars for hip, knee and ankle, a bar an arm, with the deviation over cycles and a dot a seed."""
    width = 0.8 / len(ARMS)
    for k, arm in enumerate(ARMS):
        x = np.arange(len(MAIN_JOINTS)) + (k - 0.5 * (len(ARMS) - 1)) * width
        part = arms[arm]
        values = [part[name][joint] for joint in MAIN_JOINTS]
        spread = [part[f"{name}_sd"][joint] for joint in MAIN_JOINTS]
        panel.bar(x, values, 0.92 * width, color=ARM_COLOURS[arm], yerr=spread, **_error_bar())
        for seed in part["seeds"].values():
            panel.plot(x, [seed[name][joint] for joint in MAIN_JOINTS], **_dot())
    panel.set_xticks(range(len(MAIN_JOINTS)), [joint.split("_")[0] for joint in MAIN_JOINTS])
    panel.grid(visible=False, axis="x")


def _arm_bars(panel: Axes, arms: Results, value: Any) -> None:
    """A bar an arm of (mean, deviation over cycles), with a dot a seed."""
    for k, arm in enumerate(ARMS):
        mean, deviation = value(arms[arm])
        panel.bar(k, mean, 0.75, color=ARM_COLOURS[arm], yerr=deviation if deviation else np.nan, **_error_bar())
        for seed in arms[arm]["seeds"].values():
            panel.plot(k, value(seed)[0], **_dot())
    panel.set_xticks(range(len(ARMS)), ["$R^k$", "+grf", "+cop", "ALL"], fontsize=8)
    panel.grid(visible=False, axis="x")


def _zoomed(values: list[float]) -> tuple[float, float]:
    """Limits of an axis of correlations that end at 1."""
    low = min(float(np.nan_to_num(value)) for value in values)
    return max(0.0, np.floor(10.0 * low - 1.5) / 10.0), 1.0


def _band(panel: Axes, x: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> None:
    panel.fill_between(x, mean - deviation, mean + deviation, color=look.MEASURED, alpha=0.10, linewidth=0)


def _line(arm: str) -> dict[str, Any]:
    return {"color": ARM_COLOURS[arm], "linestyle": _LINES[arm], "linewidth": _WIDTHS[arm]}


def _bar(panel: Axes, value: float, *, at: float = 1.0) -> None:
    """What was to be reached; its name stands at the right end, or at the left (0) where bars leave room there."""
    panel.axhline(value, color=look.VERMILLION, linestyle="--", linewidth=1.0)
    panel.annotate(
        "target", (at, value), xycoords=("axes fraction", "data"), xytext=(0, 2), textcoords="offset points",
        color=look.VERMILLION, fontsize=7, ha="right" if at else "left", va="bottom",
    )  # fmt: skip


def _error_bar() -> dict[str, Any]:
    return {"error_kw": {"ecolor": look.BLACK, "elinewidth": 0.8, "capsize": 2.0}}


def _dot() -> dict[str, Any]:
    return {"color": look.BLACK, "marker": ".", "markersize": 3.5, "linestyle": "none", "alpha": 0.7}


def _thousands(steps: Any) -> np.ndarray:
    return np.asarray(steps, dtype=float) / 1e3
