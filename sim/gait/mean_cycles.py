"""Mean cycles of a walk, for the figures: both legs together, each cut at its own heel strikes of the measured walk.

Axis legend: C cycles of both feet, P = 101 points, Q = 51 points of a stance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.gait.cycles import NUM_POINTS, mean_and_spread, normalise_cycles
from sim.gait.evaluate import Walk
from sim.gait.segments import COORDINATES
from sim.gait.signals import JOINTS, MAIN_JOINTS, Signals
from sim.gait.study_metrics import stances

STANCE_POINTS = 51
"""Points of a normalised stance: 0 to 100 %."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MeanCycles:
    """Means over cycles; NaN where no cycle has a value."""

    angle: np.ndarray
    """Hip, knee and ankle flexion [deg], shape (P, 3)."""
    angle_sd: np.ndarray
    """Their standard deviation over the cycles, shape (P, 3)."""
    moment: np.ndarray
    """Moments of the same [N·m/kg], shape (P, 3)."""
    moment_sd: np.ndarray
    """Their standard deviation, shape (P, 3)."""
    force: np.ndarray
    """Force of the ground on the foot: forwards, to the left of the body's middle outwards, up [body weights], shape (P, 3)."""
    cop: np.ndarray
    """Centre of pressure ahead of the heel over the expert's stance [% foot length], shape (Q,)."""
    cop_sd: np.ndarray
    """Its standard deviation, shape (Q,)."""
    residual: np.ndarray
    """Residual force: forwards, left, up [N], and length of the residual moment [N·m], over the right cycle, shape (P, 4)."""


def mean_cycles(mine: Signals, there: Signals, strikes: tuple[np.ndarray, np.ndarray], walk: Walk | None) -> MeanCycles:
    """Mean cycles of a walk.

    Args:
        mine: The walk's signals.
        there: The expert's, whose stance counts.
        strikes: Heel strikes (left, right) of the expert as fractional frames.
        walk: The simulated walk; None for the expert itself, which has no residual wrench.
    """
    steps = mine.num_steps
    strikes = (strikes[0][strikes[0] <= steps + 1e-9], strikes[1][strikes[1] <= steps + 1e-9])
    angle, angle_sd = _of_legs(mine.angle, strikes)
    moment, moment_sd = _of_legs(mine.moment, strikes)
    outwards = mine.force * np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
    force = np.concatenate([_of_steps(outwards[:, foot], strikes[foot]) for foot in range(2)])
    cop, cop_sd = mean_and_spread(
        np.concatenate([_over_stance(mine.cop[:, f], there.loaded[:steps, f], strikes[f]) for f in range(2)])
    )
    pushed = np.zeros((steps, 4))
    if walk is not None:
        pushed[:, :3], pushed[:, 3] = walk.residual[:, :3], np.linalg.norm(walk.residual[:, 3:], axis=1)
    return MeanCycles(
        angle=angle, angle_sd=angle_sd, moment=moment, moment_sd=moment_sd, force=mean_and_spread(force)[0],
        cop=cop, cop_sd=cop_sd, residual=mean_and_spread(_of_steps(pushed, strikes[1]))[0],
    )  # fmt: skip


def average(parts: list[MeanCycles]) -> MeanCycles:
    """Mean of the mean cycles of several walks (seeds), without those that fell before their first whole cycle."""
    names = MeanCycles.__dataclass_fields__
    return MeanCycles(**{name: mean_and_spread(np.stack([getattr(part, name) for part in parts]))[0] for name in names})


def _of_legs(values: np.ndarray, strikes: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread over the cycles of both legs of the three main joints, from samples at frames (T, 17)."""
    legs = [
        normalise_cycles(values[:, [COORDINATES.index(JOINTS[joint][side]) for joint in MAIN_JOINTS]], strikes[side])
        for side in range(2)
    ]
    return mean_and_spread(np.concatenate(legs))


def _of_steps(values: np.ndarray, strikes: np.ndarray) -> np.ndarray:
    """Cycles of samples at frames 1/2, 3/2, ..., shape (C, P, ...); a strike before the first sample takes that one."""
    at = np.clip(strikes - 0.5, 0.0, len(values) - 1.0) if len(values) else strikes
    return normalise_cycles(values, at) if len(values) > 1 else np.empty((0, NUM_POINTS, *values.shape[1:]))


def _over_stance(values: np.ndarray, loaded: np.ndarray, strikes: np.ndarray) -> np.ndarray:
    """Values (N,) over each stance on 0-100 %, shape (C, Q); NaN at points next to an unknown sample."""
    out = []
    for at in stances(loaded, strikes):
        place = np.linspace(0.0, max(len(at) - 1, 0), STANCE_POINTS)
        low = np.minimum(np.floor(place).astype(int), max(len(at) - 2, 0))
        if len(at) > 1:
            first, second = values[at[low]], values[at[low + 1]]
            part = place - low
            out.append(np.where(part == 0.0, first, np.where(part == 1.0, second, first + part * (second - first))))
    return np.reshape(out, (-1, STANCE_POINTS))
