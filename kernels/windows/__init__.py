"""Flat frames to canonical windows: a subset of markers seen from its own frame, as tokens with mirror image and noise.

`reference` holds the definition. Output arrays may be given, so that a training loop allocates nothing.
"""

from __future__ import annotations

import numpy as np

from kernels import _check
from kernels._dispatch import Backend, pick
from kernels.windows.reference import Disturbance

BACKENDS = (
    Backend(name="numba", module="numba_cpu", requires=("numba",)),
    Backend(name="reference", module="reference"),
)
"""Implementations, best first."""

__all__ = ["BACKENDS", "Disturbance", "make_tokens"]


def make_tokens(
    marker_pos: np.ndarray,
    frame: np.ndarray,
    index: np.ndarray,
    *,
    origin: np.ndarray,
    heading: np.ndarray,
    is_mirrored: np.ndarray | None = None,
    disturbance: Disturbance | None = None,
    order: np.ndarray | None = None,
    half_width: int = 2,
    rate: float = 30.0,
    out: tuple[np.ndarray, np.ndarray] | None = None,
    backend: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of B windows (`reference.make_tokens` has the equations).

    Args:
        marker_pos: Marker positions of all sequences end to end [m], world, shape (G, P, 3), float32 or float64; NaN in
            gaps. May be a memory map.
        frame: Flat index of frame t of each window, shape (B,), int64; that the window lies in one sequence is the
            caller's care.
        index: Marker of each token, shape (B, M), signed integers; negative for none.
        origin: Point that becomes the origin [m], world, shape (B, 3).
        heading: Angle about z that becomes zero [rad], shape (B,).
        is_mirrored: True to reflect the window in its plane y = 0, shape (B,), bool; None for none.
        disturbance: Marker noise, None for none.
        half_width: W, frames before t and after t + 1 (ImDy's window size, 2): a window holds Q = 2 W + 2 frames.
        rate: Frames per second [Hz].
        out: Arrays to write instead of new ones: tokens (B, M, 6 Q) of the markers' dtype, mask (B, M) bool.
        backend: `auto`, `numba` or `reference`.

    Returns:
        Tokens (B, M, 6 Q), zero where absent, and mask (B, M), True where present.

    Raises:
        ValueError: A shape, dtype, index or number is wrong, or the noise table is too short.
        RuntimeError: The named backend cannot run here.
    """
    if half_width < 0:
        raise ValueError(f"half_width: expected 0 or more frames, got {half_width}")
    num_frames = 2 * half_width + 2
    _check.check_positive(rate=rate)
    if is_mirrored is None:
        is_mirrored = np.zeros(len(frame), bool)
    if out is None:
        out = np.empty((*index.shape, 6 * num_frames), marker_pos.dtype), np.empty(index.shape, bool)
    tokens, mask = out
    sizes = _check.bind_axes(
        marker_pos=(marker_pos, "G P 3"), frame=(frame, "B"), index=(index, "B M"), origin=(origin, "B 3"),
        heading=(heading, "B"), is_mirrored=(is_mirrored, "B"), tokens=(tokens, f"B M {6 * num_frames}"), mask=(mask, "B M"),
    )  # fmt: skip
    _check.check_float(marker_pos=marker_pos)
    _check.check_same_dtype(marker_pos=marker_pos, tokens=tokens)
    _check.check_index("frame", frame, sizes["G"])
    if frame.size and (int(frame.min()) < half_width or int(frame.max()) + half_width + 1 >= sizes["G"]):
        raise ValueError(
            f"frame: expected {half_width} frames before and {half_width + 1} after each, within {sizes['G']},"
            f" got {int(frame.min())} to {int(frame.max())}"
        )
    if index.dtype.kind != "i" or (index.size and int(index.max()) >= sizes["P"]):
        raise ValueError(f"index: expected signed integers below {sizes['P']}, got {index.dtype} up to {index.max()}")
    if disturbance is not None:
        _check.bind_axes(
            frame=(frame, "B"), start=(disturbance.start, "B"), offset_size=(disturbance.offset_size, "B"),
            jitter_size=(disturbance.jitter_size, "B"), table=(disturbance.table, "L"),
        )  # fmt: skip
        needed = 3 * (num_frames + 1) * sizes["M"]
        _check.check_index("disturbance.start", disturbance.start, len(disturbance.table) - needed + 1)
    implementation = pick(__name__, BACKENDS, backend)
    implementation.make_tokens(
        marker_pos, frame, index, origin, heading, is_mirrored, disturbance, order, half_width, rate, tokens, mask
    )
    return tokens, mask
