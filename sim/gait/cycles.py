"""Gait cycles: cut at heel strikes and put on 0-100 %.

Axis legend: C cycles, P = 101 points of a cycle.
"""

from __future__ import annotations

import numpy as np

NUM_POINTS = 101
"""Points of a normalised cycle: 0 to 100 %."""


def normalise_cycles(values: np.ndarray, strikes: np.ndarray) -> np.ndarray:
    """Cycles on 0-100 % by linear interpolation.

    Args:
        values: Samples at frames 0, 1, ..., shape (T, ...); NaN where unknown.
        strikes: Heel strikes as fractional frames, increasing, inside [0, T - 1].

    Returns:
        Cycles, shape (C, P, ...) with C = len(strikes) - 1 (0 for fewer than two strikes); NaN where a neighbour is.
    """
    count = max(len(strikes) - 1, 0)
    out = np.empty((count, NUM_POINTS, *values.shape[1:]))
    for cycle in range(count):
        at = strikes[cycle] + np.linspace(0.0, 1.0, NUM_POINTS) * (strikes[cycle + 1] - strikes[cycle])
        low = np.clip(np.floor(at).astype(int), 0, len(values) - 2)
        part = (at - low).reshape(-1, *([1] * (values.ndim - 1)))
        low_values, high_values = values[low], values[low + 1]
        # A sample that is hit exactly does not need its neighbour.
        out[cycle] = np.where(part == 0.0, low_values, low_values + part * (high_values - low_values))
    return out


def gait_phase(strikes: np.ndarray, frames: int) -> np.ndarray:
    """Phase in [0, 1): 0 at each strike, linear in time in between; the first and last cycle continue beyond their ends.

    Args:
        strikes: At least two strikes as fractional frames, increasing.
        frames: Number of frames T.

    Raises:
        ValueError: fewer than two strikes.
    """
    if len(strikes) < 2:
        raise ValueError(f"strikes: expected at least two heel strikes, found {len(strikes)}")
    at = np.arange(frames, dtype=float)
    cycle = np.clip(np.searchsorted(strikes, at, side="right") - 1, 0, len(strikes) - 2)
    return ((at - strikes[cycle]) / (strikes[cycle + 1] - strikes[cycle])) % 1.0


def mean_and_spread(cycles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (n - 1) over cycles, ignoring NaN; NaN where no cycle has a value."""
    known = np.isfinite(cycles)
    count = known.sum(axis=0)
    filled = np.where(known, cycles, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=0) / np.where(count > 0, count, np.nan)
        spread = np.sqrt(
            (np.where(known, cycles - mean, 0.0) ** 2).sum(axis=0) / np.where(count > 1, count - 1, np.nan)
        )
    return mean, spread
