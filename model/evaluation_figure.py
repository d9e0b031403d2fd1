"""The figure of an evaluation: forces and impulses over a held-out clip, and errors of every method by clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dataset import figure_style
from dataset.schema import FRAME_RATE
from dataset.skeleton import JOINT_NAMES
from model.batches import BatchMaker
from model.evaluate import CONTACT, MEAN, SOLVER, Evaluation, solver_estimate
from model.frames import Frames
from model.imdys import ImDyS
from model.metrics import foot_force

JOINTS = ("L_Hip", "L_Knee", "L_Ankle")
"""Joints whose impulses are drawn."""
LONGEST = 5.0
"""Most of a clip that is drawn [s]."""
_COLOURS = {SOLVER: figure_style.BLUE, MEAN: figure_style.GREY, CONTACT: figure_style.ORANGE}


def draw_evaluation(path: Path, model: ImDyS, frames: Frames, maker: BatchMaker, result: Evaluation) -> Path:
    """Write the figure. The clip of the median foot error is drawn over time: neither the best nor the worst."""
    clips = sorted(result.by_clip, key=lambda clip: result.by_clip[clip][SOLVER].get("foot_loaded", float("inf")))
    clip = clips[(len(clips) - 1) // 2]
    with figure_style.style():
        figure, (top, middle, bottom) = figure_style.new_figure(3, 1, height=7.5)
        _draw_clip(top, middle, clip, model, frames, maker)
        _draw_errors(bottom, clips, result)
        return figure_style.save(figure, path)


def _draw_clip(forces, impulses, clip: str, model: ImDyS, frames: Frames, maker: BatchMaker) -> None:  # noqa: ANN001
    sequence = frames.clips.index(clip)
    centre = frames.usable[frames.sequence_of(frames.usable) == sequence][: int(LONGEST * FRAME_RATE)]
    batch = maker.make(centre, np.random.default_rng(0))
    time = (centre - frames.offsets[sequence]) / FRAME_RATE
    estimate = solver_estimate(model, batch)
    assert estimate.impulse is not None
    predicted, true = foot_force(estimate.grf)[:, 0, :, 2], foot_force(batch.target.grf)[:, 0, :, 2]
    for foot, (side, colour) in enumerate((("left", figure_style.LEFT), ("right", figure_style.RIGHT))):
        forces.plot(time, true[:, foot], color=colour, linestyle=":", label=f"{side}, simulated")
        forces.plot(time, predicted[:, foot], color=colour, label=f"{side}, solver")
    figure_style.label(forces, x=("Time", "s"), y=("Vertical foot force", "N/kg"), title=clip)
    forces.margins(y=0.2)
    forces.legend(ncols=4, loc="upper right")
    for joint, colour in zip(JOINTS, figure_style.CYCLE):
        index = JOINT_NAMES.index(joint)
        true_size, size = (torch.linalg.norm(x[:, index], dim=-1) for x in (batch.target.impulse, estimate.impulse))
        impulses.plot(time, true_size, color=colour, linestyle=":", label=f"{joint}, simulated")
        impulses.plot(time, size, color=colour, label=f"{joint}, solver")
    figure_style.label(impulses, x=("Time", "s"), y=("Impulse a transition", "N·m·s/kg"))
    impulses.margins(y=0.25)
    impulses.legend(ncols=3, loc="upper right")


def _draw_errors(axes, clips: list[str], result: Evaluation) -> None:  # noqa: ANN001
    place = np.arange(len(clips))
    for index, (method, colour) in enumerate(_COLOURS.items()):
        values = [result.by_clip[clip][method].get("foot_loaded", float("nan")) for clip in clips]
        axes.bar(place + 0.27 * (index - 1), values, width=0.27, color=colour, label=method)
    names = [clip.rpartition("/")[2] for clip in clips]
    axes.set_xticks(place, names if len(names) <= 12 else [""] * len(names), rotation=30, ha="right")
    figure_style.label(axes, x=("Held-out clips", ""), y=("Error, feet in contact", "N/kg"))
    axes.legend(ncols=3, loc="upper left")
