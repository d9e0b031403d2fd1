"""Flat frames to canonical windows: a subset of markers, in the window's own frame, mirrored and disturbed, as tokens.

One pass instead of gathering all markers of all windows and throwing most of them away: this is the input pipeline of
the solver, in training (random subsets, mirror images, marker noise) and in prediction (all markers, gaps masked).

Axis legend: G flat frames, P markers a frame, B windows, M tokens a window, Q = 2 W + 2 frames a window, W = half_width
before t and after t + 1, F = 6 Q features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """Noise of skin markers, drawn from a table so that a batch needs no random numbers of its own.

    Marker m of window b reads the table from `start_b + 3 (Q + 1) m`: three numbers for its constant offset, then
    three a frame.
    """

    table: Any
    """Standard normal numbers, shape (L,), the dtype of the markers."""
    start: Any
    """First entry that each window reads, shape (B,), int64; start + 3 (Q + 1) M must not exceed L."""
    offset_size: Any
    """Standard deviation of an offset that a marker keeps over the window [m] (placement, soft tissue), shape (B,)."""
    jitter_size: Any
    """Standard deviation of a displacement drawn anew each frame [m] (reconstruction noise), shape (B,)."""


def make_tokens(
    marker_pos: np.ndarray,
    frame: np.ndarray,
    index: np.ndarray,
    origin: np.ndarray,
    heading: np.ndarray,
    is_mirrored: np.ndarray,
    disturbance: Disturbance | None,
    order: np.ndarray | None,
    half_width: int,
    rate: float,
    tokens: np.ndarray,
    mask: np.ndarray,
) -> None:
    """Write the tokens of B windows.

    With t = frame_b, for marker m in place q of the window: x = marker_pos[t − W + order_bq, index_bm] − origin_b
    (+ offset + jitter), where order_bq = q unless the frames are shuffled, turned by minus the heading about z, then y
    negated if mirrored. A token holds, place by place, x [m] and its finite difference over the window [m/s]: forward at
    the first place, central (over two frames) inside, backward at the last. A marker is present if its index is not
    negative and all its Q positions are finite; absent ones get zeros.

    Args:
        marker_pos: Marker positions of all sequences end to end [m], world, shape (G, P, 3); NaN in gaps.
        frame: Flat index of frame t of each window, shape (B,), integers; the window lies inside the array.
        index: Marker of each token, shape (B, M), int; negative for none.
        origin: Point that becomes the origin [m], world, shape (B, 3).
        heading: Angle about z that becomes zero [rad], shape (B,).
        is_mirrored: True to reflect the window in the plane y = 0 of its own frame, shape (B,), bool.
        disturbance: Marker noise, None for none.
        order: Frames of each window in the order in which they are shown, shape (B, Q), integers in [0, Q); None for that
            of the recording. Differences are those of the frames as shown.
        half_width: W, frames before t and after t + 1.
        rate: Frames per second [Hz].
        tokens: Written: features, shape (B, M, 6 Q).
        mask: Written: True where present, shape (B, M), bool.

    Source: state of ImDy section 4.1 (positions and finite-differenced velocities of a window, heading frame); random
    subsets and difference scheme of the released code, whose marker windows are not turned; mirror and noise are ours.
    """
    num_frames = 2 * half_width + 2
    frames = frame.astype(np.int64)[:, None] - half_width + (np.arange(num_frames) if order is None else order)
    position = marker_pos[frames[:, :, None], np.maximum(index, 0)[:, None, :]] - origin[:, None, None, :]
    if disturbance is not None:
        size, markers_a_window = 3 * (num_frames + 1), index.shape[1]
        entry = disturbance.start[:, None] + np.arange(markers_a_window * size)
        noise = disturbance.table[entry].reshape(len(frame), markers_a_window, num_frames + 1, 3).transpose(0, 2, 1, 3)
        offset = disturbance.offset_size[:, None, None, None] * noise[:, :1]
        jitter = disturbance.jitter_size[:, None, None, None] * noise[:, 1:]
        position = position + offset + jitter
    cosine, sine = np.cos(heading)[:, None, None], np.sin(heading)[:, None, None]
    side = np.where(is_mirrored, -1.0, 1.0)[:, None, None]
    x, y, z = position[..., 0], position[..., 1], position[..., 2]
    turned = np.stack([cosine * x + sine * y, side * (cosine * y - sine * x), z], axis=-1)
    velocity = np.gradient(turned, 1.0 / rate, axis=1)
    present = (index >= 0) & np.isfinite(turned).all(axis=(1, 3))
    features = np.concatenate([turned, velocity], axis=-1).transpose(0, 2, 1, 3).reshape(*index.shape, 6 * num_frames)
    tokens[...] = np.where(present[..., None], features, 0.0)
    mask[...] = present
