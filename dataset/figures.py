"""Figures of one recorded sequence: ground reaction forces and joint torques over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dataset import figure_style as look
from dataset.schema import FRAME_RATE, Dynamics
from dataset.skeleton import BODY_INDEX, FEET, GRAVITY, JOINT_NAMES
from kernels.grf import sum_bodies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FLEXION = (("Hip", "extension"), ("Knee", "flexion"), ("Ankle", "plantarflexion"))
"""Lower-limb joints and the sense of a positive torque about the child's left-pointing axis."""

_LEAST_SPAN = 10.0
"""Force axes never show less than this [N], so that rounding does not look like a signal."""


def plot_ground_reaction(item: Dynamics) -> Figure:
    """Forces on left foot, right foot and all other bodies over time, and the paths of the centres of pressure."""
    feet = sum_bodies(item.grf, item.cop, item.free_moment, FEET)
    rest = item.grf.sum(axis=1) - feet.force.sum(axis=1)
    time = np.arange(item.num_frames) / FRAME_RATE
    figure, panels = look.new_figure(4, 1, height=8.5, gridspec_kw={"height_ratios": [1.3, 1, 1, 1.6]})
    figure.suptitle(_title(item), x=0.01, ha="left", fontsize=10)
    for panel, (axis, name) in zip(panels, ((2, "vertical"), (0, "along x"), (1, "along y"))):
        for foot, (side, color) in enumerate((("left foot", look.LEFT), ("right foot", look.RIGHT))):
            panel.plot(time, feet.force[:, foot, axis], color=color, label=side)
        if np.abs(rest).max() > 1.0:
            panel.plot(time, rest[:, axis], color=look.OTHER, label="other bodies")
        if axis == 2:
            weight = item.subject.mass * GRAVITY
            panel.axhline(weight, color=look.BASELINE, linestyle=":", label="body weight")
            panel.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
        low, high = panel.get_ylim()
        panel.set_ylim(min(low, -_LEAST_SPAN / 2), max(high, _LEAST_SPAN / 2))
        panel.set_xlim(0.0, time[-1])
        look.label(panel, y=(f"Force, {name}", "N"))
    look.label(panels[2], x=("Time", "s"))
    path = panels[3]
    path.plot(*item.root_pos[:, :2].T, color=look.BASELINE, linestyle=":", label="pelvis")
    for foot, (side, color) in enumerate((("left foot", look.LEFT), ("right foot", look.RIGHT))):
        path.plot(*feet.cop[:, foot].T, ".", color=color, markersize=3, label=f"centre of pressure, {side}")
    path.set_aspect("equal", adjustable="datalim")
    path.legend(ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    look.label(path, x=("World x", "m"), y=("World y", "m"))
    return figure


def plot_torque(item: Dynamics) -> Figure:
    """Mean torque of each transition (impulse over 1/30 s): flexion of the legs' joints, and the size of all 23."""
    torque = item.impulse * FRAME_RATE
    time = (np.arange(item.num_frames - 1) + 0.5) / FRAME_RATE
    figure, panels = look.new_figure(4, 1, height=9.5, sharex=True, gridspec_kw={"height_ratios": [1, 1, 1, 2.2]})
    figure.suptitle(_title(item), x=0.01, ha="left", fontsize=10)
    for panel, (joint, positive) in zip(panels, _FLEXION):
        for side, color in (("left", look.LEFT), ("right", look.RIGHT)):
            body = BODY_INDEX[f"{side[0].upper()}_{joint}"]
            panel.plot(time, torque[:, body - 1, 1], color=color, label=side)
        panel.axhline(0.0, color=look.BASELINE, linewidth=0.6)
        look.label(panel, y=(f"{joint}\n{positive} +", "N·m"))
    panels[0].legend(ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    size = np.linalg.norm(torque, axis=-1).T
    edges = np.arange(item.num_frames) / FRAME_RATE
    image = panels[3].pcolormesh(edges, np.arange(len(JOINT_NAMES) + 1), size, cmap=look.SEQUENTIAL, rasterized=True)
    panels[3].set_yticks(np.arange(len(JOINT_NAMES)) + 0.5, JOINT_NAMES, fontsize=7)
    panels[3].invert_yaxis()
    panels[3].grid(False)
    look.label(panels[3], x=("Time", "s"))
    figure.colorbar(image, ax=panels[3], label="Size of the torque vector [N·m]")
    return figure


def _title(item: Dynamics) -> str:
    return f"{item.name}: {item.clip}, {item.subject.name} ({item.subject.mass:.1f} kg), simulated"
