"""Flat marker frames to canonical windows: the specification, float64 NumPy.

Axis legend: F frames of all sequences end to end, M markers stored, B windows, W = 2 half_width + 2 frames of a window,
K markers drawn for a window (padded to `max_markers`), 6 = position and velocity.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


class MarkerWindows(NamedTuple):
    """Marker tokens of some windows."""

    features: np.ndarray
    """Position [m] and velocity [m/s] of each marker in each frame of the window, (B, K, W, 6); 0 where masked."""
    mask: np.ndarray
    """True where a marker is present, shape (B, K), bool."""
    marker: np.ndarray
    """Column of the stored marker that each token is, shape (B, K), int32; -1 where masked."""


def list_window_frames(offsets: np.ndarray, half_width: int) -> np.ndarray:
    """Frames t whose window t - half_width ... t + half_width + 1 lies inside one sequence.

    Args:
        offsets: Sequence i holds the flat frames offsets[i] to offsets[i + 1], shape (number of sequences + 1,).
        half_width: Frames before t, and after t + 1.

    Returns:
        Flat indices of such t, ascending, int64; shorter sequences give none.
    """
    runs = [
        np.arange(begin + half_width, end - half_width - 1, dtype=np.int64) for begin, end in pairwise(offsets.tolist())
    ]
    return np.concatenate([np.empty(0, np.int64), *runs])


def gather_windows(
    marker_pos: np.ndarray,
    origin: np.ndarray,
    heading: np.ndarray,
    frame: np.ndarray,
    index: np.ndarray,
    *,
    half_width: int,
    rate: float,
    min_markers: int,
    max_markers: int,
    seed: int,
    epoch: int,
    canonical_heading: bool,
    offset_std: float,
    jitter_std: float,
) -> MarkerWindows:
    """Cut windows, centre and turn them, draw markers, disturb them on request, take velocities.

    With t = frame[b]: the positions of frames t - half_width ... t + half_width + 1 are moved horizontally by
    -origin[t] (heights stay), turned about the vertical by the inverse of heading[t], and differentiated in the window:
    v = rate (p_2 - p_1) in the first frame, rate (p_{i+1} - p_{i-1}) / 2 inside, rate (p_W - p_{W-1}) in the last.

    K is drawn uniformly from [min_markers, max_markers], then K of the M markers without replacement and in random
    order; if both bounds are M, all stay in storage order. A drawn marker that is NaN anywhere in the window is masked.
    Every draw is a hash of (seed, epoch, index[b], number of the draw), so a window does not depend on its batch.

    Disturbances, Gaussian, in metres, before velocities: `offset_std` one vector a marker and window (a misplaced
    marker), `jitter_std` one vector a marker, frame and window (measurement noise).

    Args:
        marker_pos: Marker positions [m], world, shape (F, M, 3).
        origin: Horizontal position that becomes the origin, e.g. of the pelvis [m], shape (F, 2).
        heading: Cosine and sine of the heading about the vertical, shape (F, 2).
        frame: Flat index of frame t of each window, shape (B,).
        index: Number of each window in its epoch's list, what random draws depend on, shape (B,).
        half_width: Frames before t, and after t + 1 (ImDy: 2).
        rate: Frames per second [Hz].
        min_markers: Least number of markers drawn.
        max_markers: Greatest number of markers drawn, and the padded width.
        seed: Seed of the run.
        epoch: Epoch of the run.
        canonical_heading: Whether to turn to the heading (ImDy section 4.1) or only to centre.
        offset_std: Standard deviation of a marker's constant displacement [m].
        jitter_std: Standard deviation of a marker's displacement in each frame [m].

    Returns:
        Features in the dtype of `marker_pos`, mask and marker columns.

    Source: ImDy section 4.1 (window, random markers, heading); velocities as in its released code, but in m/s.
    """
    num_windows, width, stored = frame.shape[0], 2 * half_width + 2, marker_pos.shape[1]
    features = np.zeros((num_windows, max_markers, width, 6), dtype=marker_pos.dtype)
    mask = np.zeros((num_windows, max_markers), dtype=np.bool_)
    marker = np.full((num_windows, max_markers), -1, dtype=np.int32)
    for b in range(num_windows):
        t = int(frame[b])
        draws = _Draws(seed, epoch, int(index[b]))
        columns = _draw_markers(draws, stored, min_markers, max_markers)
        position_WK3 = marker_pos[t - half_width : t + half_width + 2, columns].astype(np.float64)
        position_WK3[..., :2] -= origin[t]
        if canonical_heading:
            cosine, sine = (float(value) for value in heading[t])
            position_WK3[..., :2] = position_WK3[..., :2] @ np.array([[cosine, -sine], [sine, cosine]])
        if offset_std > 0 or jitter_std > 0:
            for slot in range(len(columns)):
                position_WK3[:, slot] += offset_std * draws.normal(slot, 0)
                for i in range(width):
                    position_WK3[i, slot] += jitter_std * draws.normal(slot, i + 1)
        velocity_WK3 = np.gradient(position_WK3, 1.0 / rate, axis=0)
        present_K = np.all(np.isfinite(position_WK3), axis=(0, 2))
        tokens_KW6 = np.concatenate((position_WK3, velocity_WK3), axis=-1).swapaxes(0, 1)
        features[b, : len(columns)] = np.where(present_K[:, None, None], tokens_KW6, 0.0)
        mask[b, : len(columns)] = present_K
        marker[b, : len(columns)] = np.where(present_K, columns, -1)
    return MarkerWindows(features, mask, marker)


def _draw_markers(draws: _Draws, stored: int, min_markers: int, max_markers: int) -> np.ndarray:
    if min_markers == max_markers == stored:
        return np.arange(stored)
    count = min_markers + draws.below(0, max_markers - min_markers + 1)
    pool = np.arange(stored)
    for slot in range(count):
        other = slot + draws.below(slot + 1, stored - slot)
        pool[slot], pool[other] = pool[other], pool[slot]
    return pool[:count]


def mix(value: int) -> int:
    """A 64-bit hash: the output function of SplitMix64 (Steele, Lea, Flood 2014, figure 15)."""
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class _Draws:
    """Random numbers of one window, addressed by number: hash of (seed, epoch, index) and of the address."""

    def __init__(self, seed: int, epoch: int, index: int) -> None:
        self._key = mix(mix(mix(seed & _MASK) ^ (epoch & _MASK)) ^ (index & _MASK))

    def below(self, number: int, bound: int) -> int:
        """Integer in [0, bound), from 32 bits."""
        return ((mix(self._key ^ number) >> 32) * bound) >> 32

    def normal(self, slot: int, place: int) -> np.ndarray:
        """Three standard normal numbers for a token slot (0 constant, then one a frame), by Box and Muller."""
        base = (slot + 1) << 32 | place << 8
        bits_4 = np.array([float(mix(self._key ^ (base + i)) >> 11) for i in range(4)])
        uniform_4 = (bits_4 + 0.5) * 2.0**-53
        first, second = np.sqrt(-2.0 * np.log(uniform_4[:2]))
        turn, other = 2.0 * np.pi * uniform_4[2:]
        return np.array([first * np.cos(turn), first * np.sin(turn), second * np.cos(other)])
