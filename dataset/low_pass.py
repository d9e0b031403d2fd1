"""The one zero-lag low-pass of the repository: laboratory markers, training markers and simulated forces pass through it.

A network that was trained on markers filtered one way and reads markers filtered another way sees other accelerations, so
there is no second one.

Axis legend: T samples.
"""

from __future__ import annotations

import numpy as np

_PASSES_WIDEN = (np.sqrt(2.0) - 1.0) ** -0.25
"""Analogue cut-off of a second-order section whose two passes together have half the power at 1."""


def section_cutoff(cutoff: float, rate: float) -> float:
    """Cut-off [Hz] to design a second-order Butterworth section with, so that two passes halve the power at `cutoff`.

    Each pass alone may only take 1/√2 of the power there: tan(π f / rate) is widened by (√2 − 1)^(−1/4), and not f, since
    the bilinear transform bends the frequency axis (16 % at 6 Hz of 30 Hz).

    Source: Winter, Biomechanics and Motor Control of Human Movement, section 3.4.4.
    """
    return rate / np.pi * np.arctan(_PASSES_WIDEN * np.tan(np.pi * cutoff / rate))


def low_pass(path: np.ndarray, rate: float, cutoff: float) -> np.ndarray:
    """Zero-lag fourth-order Butterworth: a second-order section forwards and backwards, odd extension at the ends.

    Args:
        path: Finite samples, shape (T, ...).
        rate: Samples per second [Hz].
        cutoff: Half-power frequency of the two passes together [Hz], whatever the rate; at or above 0.45 · rate the path
            is returned as is.

    Returns:
        Filtered copy of the same shape, float64; paths shorter than 10 samples are returned unchanged.
    """
    from scipy.signal import butter, sosfiltfilt  # over a second, and a collection that assesses nothing never filters

    if cutoff >= 0.45 * rate or len(path) < 10:
        return np.array(path, dtype=float)
    section = butter(2, section_cutoff(cutoff, rate), btype="low", fs=rate, output="sos")
    pad = min(len(path) - 1, max(15, int(rate / cutoff)))
    return sosfiltfilt(section, path, axis=0, padtype="odd", padlen=pad)
