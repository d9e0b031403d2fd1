"""A figure of imitations: the simulated body at even times with the ground forces on it, and the forces over time.

`python -m sim.track_figure` draws `docs/figures/imitation.png` from the stored solutions of embedded clips.

Axis legend: K substeps, N = 24 bodies, F = left, right foot.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dataset import figure_style
from dataset.body.default import make_body
from dataset.body.subjects import SUBJECTS
from dataset.command_line import run_command
from dataset.kinematics import forward_kinematics
from dataset.skeleton import BODY_NAMES, FEET, GRAVITY, PARENTS
from sim.humanoid import Humanoid, make_humanoid
from sim.imitate_clip import find_solutions
from sim.imitation.solution import body_hash, load_solution, motion_hash
from sim.imitation.tracker.solve import Replay, replay
from sim.work_items import list_clips

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORCE_SCALE = 1.0
"""Length of the arrow of one body weight [m]."""
SMOOTHING = 0.02
"""Time over which drawn forces are averaged [s]."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is drawn."""

    clips: tuple[str, ...] = ("walk", "cartwheel", "getup_facedown")
    """Embedded clips, a row each."""
    seconds: tuple[float, ...] = (1.2, 2.6, 3.0)
    """Time drawn of each clip [s]."""
    poses: int = 9
    """Poses in a row."""
    out: Path = Path("docs/figures/imitation.png")
    """Figure."""


def _smooth(values: np.ndarray, substep: float) -> np.ndarray:
    width = max(1, round(SMOOTHING / substep))
    kernel = np.ones(width) / width
    flat = values.reshape(len(values), -1)
    out = np.stack([np.convolve(column, kernel, mode="same") for column in flat.T], axis=1)
    return out.reshape(values.shape)


def stored_replay(humanoid: Humanoid, name: str) -> Replay:
    """First stretch of the stored imitation of an embedded clip.

    Raises:
        ValueError: No stored solution fits this humanoid.
    """
    motion = next(clip for clip in list_clips((f"embedded/{name}",))).motions(humanoid.body)[0]
    key = (motion_hash(motion), body_hash(humanoid.body, humanoid.config), 0)
    stored = find_solutions([Path("solutions/embedded")])
    if key not in stored:
        raise ValueError(
            f"solutions/embedded: expected a solution of {name} for {humanoid.body.subject.name}, found none"
        )
    return replay(humanoid, motion, load_solution(stored[key]))[0]


def draw_strip(axes: Axes, humanoid: Humanoid, part: Replay, seconds: float, poses: int) -> None:
    """Poses side by side, seen from the side the motion travels along, each with the ground force on every body."""
    trace = part.trace
    last = min(round(seconds / trace.substep), trace.num_substeps - 1)
    weight = float(humanoid.body.mass.sum() * GRAVITY)
    force = _smooth(trace.ground_force[0, : last + 1], trace.substep) / weight
    joints = forward_kinematics(humanoid.body.offset, *humanoid.pose(trace.qpos[0, : last + 1]))[0]
    spread = joints[..., :2].reshape(-1, 2) - joints[..., :2].mean(axis=(0, 1))
    along = np.linalg.svd(spread[:: max(1, len(spread) // 5000)], full_matrices=False)[2][0]
    along = along * (1.0 if (joints[-1, 0, :2] - joints[0, 0, :2]) @ along >= 0.0 else -1.0)
    step = 1.15
    for number, k in enumerate(np.linspace(0, last, poses).astype(int)):
        shift = number * step - joints[k, 0, :2] @ along
        for body, parent in enumerate(PARENTS):
            if body:
                colour = {"L_": figure_style.LEFT, "R_": figure_style.RIGHT}.get(
                    BODY_NAMES[body][:2], figure_style.BLACK
                )
                ends = joints[k, [parent, body]]
                axes.plot(ends[:, :2] @ along + shift, ends[:, 2], color=colour, linewidth=2.0, solid_capstyle="round")
        for body in np.flatnonzero(force[k, :, 2] > 0.03):
            point = trace.ground_point[0, min(k, trace.num_substeps - 1), body]
            foot = point if np.all(np.isfinite(point)) and point[2] < 0.1 and np.any(point) else joints[k, body]
            start = np.array([foot[:2] @ along + shift, 0.0])
            tip = FORCE_SCALE * np.array([force[k, body, :2] @ along, force[k, body, 2]])
            axes.annotate(
                "", xy=tuple(start + tip), xytext=tuple(start),
                arrowprops={"arrowstyle": "-|>", "color": figure_style.OTHER, "lw": 1.4, "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip
    axes.axhline(0.0, color=figure_style.GREY, linewidth=0.8)
    axes.annotate(
        f"arrows: force of the ground on a body, {FORCE_SCALE:g} m high for one body weight", (1.0, 1.0),
        xycoords="axes fraction", xytext=(-2, -2), textcoords="offset points", color=figure_style.OTHER, fontsize=8,
        ha="right", va="top",
    )  # fmt: skip
    axes.set_aspect("equal")
    axes.set_ylim(-0.1, 1.95)
    axes.grid(visible=False)
    axes.set_xticks([])


def draw_forces(axes: Axes, humanoid: Humanoid, part: Replay, seconds: float) -> None:
    """Vertical force of both feet and of everything else over time, in body weights."""
    trace = part.trace
    last = min(round(seconds / trace.substep), trace.num_substeps)
    vertical = _smooth(trace.ground_force[0, :last, :, 2], trace.substep) / (humanoid.body.mass.sum() * GRAVITY)
    time = np.arange(last) * trace.substep
    for side, colour, bodies in zip(
        ("left foot", "right foot"), (figure_style.LEFT, figure_style.RIGHT), FEET, strict=True
    ):
        axes.plot(time, vertical[:, list(bodies)].sum(axis=1), color=colour, label=side)
    feet = [body for foot in FEET for body in foot]
    rest = np.delete(vertical, feet, axis=1).sum(axis=1)
    if rest.max() > 0.02:
        axes.plot(time, rest, color=figure_style.OTHER, label="hands, knees, trunk")


def main(config: Config) -> Path:
    """Draw the figure."""
    humanoid = make_humanoid(make_body(SUBJECTS[0]))
    with figure_style.style():
        figure, axes = figure_style.new_figure(
            len(config.clips), 2, width=13.0, height=2.4 * len(config.clips), width_ratios=(3.4, 1.0)
        )
        for row, (name, seconds) in enumerate(zip(config.clips, config.seconds, strict=True)):
            part = stored_replay(humanoid, name)
            draw_strip(axes[row][0], humanoid, part, seconds, config.poses)
            axes[row][0].set_title(f"{name.replace('_', ', ')}: {seconds:g} s")
            figure_style.label(axes[row][0], y=("Height", "m"))
            draw_forces(axes[row][1], humanoid, part, seconds)
            figure_style.label(axes[row][1], x=("Time", "s"), y=("Vertical force", "body weights"))
            axes[row][1].legend(
                loc="lower right", bbox_to_anchor=(1.02, 0.98), ncols=3, columnspacing=0.8, handlelength=1.2
            )
        config.out.parent.mkdir(parents=True, exist_ok=True)
        figure_style.save(figure, config.out)
    return config.out


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(Config))


if __name__ == "__main__":
    sys.exit(run_command("track_figure", run))
