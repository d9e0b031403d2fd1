"""Marker trajectories: bridging short gaps and spline derivatives (`dataset.low_pass` filters).

Axis legend: T frames.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator, make_interp_spline

LONGEST_FILL = 0.25
"""Gaps up to this duration are bridged by a monotone cubic [s]; longer ones stay."""


def fill_gaps(path: np.ndarray, rate: float, *, longest: float = LONGEST_FILL) -> np.ndarray:
    """Bridge interior gaps of a trajectory by piecewise cubic Hermite interpolation (PCHIP).

    Args:
        path: Positions, shape (T, ...), NaN in gaps.
        rate: Frames per second [Hz].
        longest: Longest gap that is bridged [s].

    Returns:
        Copy with the short interior gaps filled; gaps at the ends and long gaps keep NaN.
    """
    filled = np.array(path, dtype=float)
    flat = filled.reshape(len(filled), -1)
    missing = ~np.isfinite(flat).all(axis=1)
    if not missing.any() or missing.all():
        return filled
    edge = np.diff(np.concatenate([[False], missing, [False]]).astype(int))
    spline = None
    for start, stop in zip(np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)):
        if start == 0 or stop == len(flat) or (stop - start) / rate > longest:
            continue
        if spline is None:
            spline = PchipInterpolator(np.flatnonzero(~missing), flat[~missing], axis=0)
        flat[start:stop] = spline(np.arange(start, stop))
    return filled


def finite_runs(path: np.ndarray) -> list[tuple[int, int]]:
    """Half-open frame ranges [start, stop) without NaN, in order; `path` has shape (T, ...)."""
    good = np.isfinite(path.reshape(len(path), -1)).all(axis=1)
    edge = np.diff(np.concatenate([[False], good, [False]]).astype(int))
    return [(int(a), int(b)) for a, b in zip(np.flatnonzero(edge == 1), np.flatnonzero(edge == -1))]


def derivative(path: np.ndarray, rate: float, order: int) -> np.ndarray:
    """Time derivative of an interpolating quintic spline.

    Args:
        path: Finite samples at an even rate, shape (T, ...), T >= 6.
        rate: Frames per second [Hz].
        order: 1 velocity, 2 acceleration.

    Returns:
        Derivative at the samples, shape of `path`, unit per s^order.

    Raises:
        ValueError: fewer than 6 samples.
    """
    if len(path) < 6:
        raise ValueError(f"path: expected at least 6 samples for a quintic spline, found {len(path)}")
    clock = np.arange(len(path)) / rate
    return make_interp_spline(clock, path, k=5, axis=0)(clock, nu=order)
