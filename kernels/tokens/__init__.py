"""Token kernel: marker tracks to the solver's input tokens, with subset, heading frame, mirror image and marker noise.

`reference` holds the definition. Output arrays may be given, so that a training loop allocates nothing.
"""

from __future__ import annotations

import numpy as np

from kernels import _check
from kernels._dispatch import Backend, pick
from kernels.tokens.reference import Disturbance

BACKENDS = (
    Backend(name="numba", module="numba_cpu", requires=("numba",)),
    Backend(name="reference", module="reference"),
)
"""Implementations, best first."""

__all__ = ["BACKENDS", "Disturbance", "make_tokens"]


def make_tokens(
    markers: np.ndarray,
    first: np.ndarray,
    index: np.ndarray,
    *,
    origin: np.ndarray,
    heading: np.ndarray,
    is_mirrored: np.ndarray | None = None,
    disturbance: Disturbance | None = None,
    num_frames: int = 6,
    out: tuple[np.ndarray, np.ndarray] | None = None,
    backend: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of B windows (`reference.make_tokens` has the equations).

    Args:
        markers: Marker positions [m], world frame, shape (G, P, 3), float32 or float64; NaN in gaps.
        first: First frame of each window, shape (B,), int64.
        index: Marker of each token, shape (B, M), integer; negative for none.
        origin: Point that becomes the origin [m], world, shape (B, 3).
        heading: Angle about z that becomes zero [rad], shape (B,).
        is_mirrored: True to reflect the window in its plane y = 0, shape (B,), bool; None for none.
        disturbance: Marker noise, None for none.
        num_frames: Frames a window W.
        out: Arrays to write instead of new ones: tokens (B, M, 6 W) of the markers' dtype, mask (B, M) bool.
        backend: `auto`, `numba` or `reference`.

    Returns:
        Tokens (B, M, 6 W), zero where absent, and mask (B, M), True where present.

    Raises:
        ValueError: A shape, dtype or index is wrong, or the noise table is too short.
        RuntimeError: The named backend cannot run here.
    """
    if num_frames < 2:
        raise ValueError(f"num_frames: expected at least 2 (a velocity needs two frames), got {num_frames}")
    if is_mirrored is None:
        is_mirrored = np.zeros(len(first), bool)
    if out is None:
        out = np.empty((*index.shape, 6 * num_frames), markers.dtype), np.empty(index.shape, bool)
    tokens, mask = out
    sizes = _check.bind_axes(
        markers=(markers, "G P 3"), first=(first, "B"), index=(index, "B M"), origin=(origin, "B 3"),
        heading=(heading, "B"), is_mirrored=(is_mirrored, "B"),
        tokens=(tokens, f"B M {6 * num_frames}"), mask=(mask, "B M"),
    )  # fmt: skip
    _check.check_float(markers=markers)
    _check.check_same_dtype(markers=markers, tokens=tokens)
    _check.check_index("first", first, sizes["G"] - num_frames + 1)
    if index.dtype.kind != "i" or (index.size and int(index.max()) >= sizes["P"]):
        raise ValueError(f"index: expected signed integers below {sizes['P']}, got {index.dtype} up to {index.max()}")
    if disturbance is not None:
        _check.bind_axes(
            first=(first, "B"), start=(disturbance.start, "B"), offset_size=(disturbance.offset_size, "B"),
            jitter_size=(disturbance.jitter_size, "B"), table=(disturbance.table, "L"),
        )  # fmt: skip
        needed = 3 * (num_frames + 1) * sizes["M"]
        _check.check_index("disturbance.start", disturbance.start, len(disturbance.table) - needed + 1)
    implementation = pick(__name__, BACKENDS, backend)
    implementation.make_tokens(
        markers, first, index, origin, heading, is_mirrored, disturbance, num_frames, tokens, mask
    )
    return tokens, mask
