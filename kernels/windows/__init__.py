"""Canonical marker windows: gather, centre, turn to the heading, differentiate, draw random markers, in one pass."""

from __future__ import annotations

import numpy as np

from kernels import _check
from kernels._dispatch import Backend, pick
from kernels.windows.reference import MarkerWindows, list_window_frames, mix

BACKENDS = (
    Backend(name="numba", module="numba_cpu", requires=("numba",)),
    Backend(name="reference", module="reference"),
)

__all__ = ["BACKENDS", "MarkerWindows", "gather_windows", "list_window_frames", "mix"]


def gather_windows(
    marker_pos: np.ndarray,
    origin: np.ndarray,
    heading: np.ndarray,
    frame: np.ndarray,
    index: np.ndarray | None = None,
    *,
    half_width: int = 2,
    rate: float = 30.0,
    min_markers: int | None = None,
    max_markers: int | None = None,
    seed: int = 0,
    epoch: int = 0,
    canonical_heading: bool = True,
    offset_std: float = 0.0,
    jitter_std: float = 0.0,
    backend: str = "auto",
) -> MarkerWindows:
    """Windows of marker positions and velocities around given frames (`reference.gather_windows` has the equations).

    Args:
        marker_pos: Marker positions of all sequences end to end [m], world, shape (F, M, 3); NaN in gaps. May be a
            memory map.
        origin: Horizontal position of the pelvis in each frame [m], shape (F, 2).
        heading: Cosine and sine of the pelvis's heading in each frame, shape (F, 2).
        frame: Flat index of frame t of each window, shape (B,); that t - half_width to t + half_width + 1 lie in one
            sequence is the caller's care (`list_window_frames`).
        index: Number that the window's random draws depend on, shape (B,); `frame` itself if None.
        half_width: Frames before t, and after t + 1 (ImDy: 2, a window of 6).
        rate: Frames per second [Hz].
        min_markers: Least number of markers drawn; all if None.
        max_markers: Greatest number drawn and padded width; all if None.
        seed: Seed of the run.
        epoch: Epoch of the run.
        canonical_heading: Turn windows to the heading of frame t; if false they are only centred.
        offset_std: Standard deviation of a constant displacement of each marker [m].
        jitter_std: Standard deviation of a displacement of each marker in each frame [m].
        backend: `auto`, `numba` or `reference`.

    Returns:
        Features (B, K, W, 6), mask (B, K), marker columns (B, K), K = max_markers, W = 2 half_width + 2.

    Raises:
        ValueError: A shape, dtype or number is wrong, or a window leaves the array.
        RuntimeError: The named backend cannot run here.
    """
    sizes = _check.bind_axes(
        marker_pos=(marker_pos, "F M 3"), origin=(origin, "F 2"), heading=(heading, "F 2"), frame=(frame, "B")
    )
    index = frame if index is None else index
    _check.bind_axes(frame=(frame, "B"), index=(index, "B"))
    _check.check_float(marker_pos=marker_pos, origin=origin, heading=heading)
    _check.check_positive(rate=rate)
    if half_width < 0:
        raise ValueError(f"half_width: expected 0 or more frames, got {half_width}")
    most = sizes["M"] if max_markers is None else max_markers
    least = most if min_markers is None else min_markers
    if not 0 <= least <= most <= sizes["M"]:
        raise ValueError(f"markers: expected 0 <= min <= max <= {sizes['M']} stored, got min {least} and max {most}")
    for name, value in (("offset_std", offset_std), ("jitter_std", jitter_std)):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name}: expected 0 or a positive length in metres, got {value}")
    _check.check_index("frame", frame, sizes["F"])
    _check.check_index("index", index, 2**63 - 1)
    if frame.size and (int(frame.min()) < half_width or int(frame.max()) + half_width + 1 >= sizes["F"]):
        raise ValueError(
            f"frame: expected {half_width} frames before and {half_width + 1} after, within {sizes['F']},"
            f" got {int(frame.min())} to {int(frame.max())}"
        )
    return pick(__name__, BACKENDS, backend).gather_windows(
        marker_pos,
        origin,
        heading,
        frame,
        index,
        half_width=half_width,
        rate=rate,
        min_markers=least,
        max_markers=most,
        seed=seed,
        epoch=epoch,
        canonical_heading=canonical_heading,
        offset_std=float(offset_std),
        jitter_std=float(jitter_std),
    )
