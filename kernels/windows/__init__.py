"""Flat frames to canonical windows: a subset of markers seen from its own frame, as tokens with mirror image and noise.

`reference` holds the definition. Output arrays may be given, so that a training loop allocates nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from kernels import _check
from kernels._dispatch import Backend, pick
from kernels.windows.draws import DrawConfig, Draws, draw_windows
from kernels.windows.reference import Disturbance

if TYPE_CHECKING:
    from torch import Tensor

BACKENDS = (
    Backend(name="numba", module="numba_cpu", requires=("numba",)),
    Backend(name="reference", module="reference"),
)
"""For NumPy arrays, best first."""

TENSOR_BACKENDS = (
    Backend(name="triton", module="triton_gpu", devices=("cuda",), requires=("triton",)),
    Backend(name="torch", module="torch_any", devices=("cpu", "cuda"), requires=("torch",)),
)
"""For torch tensors, best first."""

__all__ = [
    "BACKENDS", "TENSOR_BACKENDS", "Disturbance", "DrawConfig", "Draws", "draw_windows", "make_tokens",
]  # fmt: skip


@overload
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
) -> tuple[np.ndarray, np.ndarray]: ...


@overload
def make_tokens(
    marker_pos: Tensor,
    frame: Tensor,
    index: Tensor,
    *,
    origin: Tensor,
    heading: Tensor,
    is_mirrored: Tensor | None = None,
    disturbance: Disturbance | None = None,
    order: Tensor | None = None,
    half_width: int = 2,
    rate: float = 30.0,
    out: None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]: ...


def make_tokens(
    marker_pos: Any,
    frame: Any,
    index: Any,
    *,
    origin: Any,
    heading: Any,
    is_mirrored: Any = None,
    disturbance: Disturbance | None = None,
    order: Any = None,
    half_width: int = 2,
    rate: float = 30.0,
    out: tuple[np.ndarray, np.ndarray] | None = None,
    backend: str = "auto",
) -> Any:
    """Tokens of B windows (`reference.make_tokens` has the equations).

    All arguments are NumPy arrays, or all are torch tensors on one device.

    Args:
        marker_pos: Marker positions of all sequences end to end [m], world, shape (G, P, 3), P >= 1, float32 or float64; NaN
            in gaps. Contiguous; may be a memory map.
        frame: Flat index of frame t of each window, shape (B,), integers; that the window lies in one sequence is the
            caller's care.
        index: Marker of each token, shape (B, M), signed integers; negative for none.
        origin: Point that becomes the origin [m], world, shape (B, 3).
        heading: Angle about z that becomes zero [rad], shape (B,).
        is_mirrored: True to reflect the window in its plane y = 0, shape (B,), bool; None for none.
        disturbance: Marker noise, None for none.
        order: Frames of each window in the order in which they are shown, shape (B, Q), integers in [0, Q); None for that
            of the recording.
        half_width: W, frames before t and after t + 1 (ImDy's window size, 2): a window holds Q = 2 W + 2 frames.
        rate: Frames per second [Hz].
        out: Arrays to write instead of new ones: tokens (B, M, 6 Q) of the markers' dtype, mask (B, M) bool; not for
            tensors.
        backend: `auto`; `numba` or `reference` for arrays; `triton` (one launch, on a GPU) or `torch` for tensors.

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
    is_array = isinstance(marker_pos, np.ndarray)
    if is_mirrored is None:
        is_mirrored = np.zeros(len(frame), bool) if is_array else frame.new_zeros(len(frame)).bool()
    given = {} if order is None else {"order": (order, f"B {num_frames}")}
    sizes = _check.bind_axes(
        marker_pos=(marker_pos, "G P 3"), frame=(frame, "B"), index=(index, "B M"), origin=(origin, "B 3"),
        heading=(heading, "B"), is_mirrored=(is_mirrored, "B"), **given,
    )  # fmt: skip
    if "bool" not in str(is_mirrored.dtype):
        raise ValueError(f"is_mirrored: expected dtype bool, got {is_mirrored.dtype}")
    check_index = _check.check_index if is_array else _check.check_tensor_index
    _check_windows(frame, index, sizes, half_width, check_index)
    if order is not None:
        check_index("order", order, num_frames)
    if disturbance is not None:
        _check_disturbance(disturbance, marker_pos, sizes, 3 * (num_frames + 1), check_index)
    arguments = (marker_pos, frame, index, origin, heading, is_mirrored, disturbance, order, half_width, rate)
    if not is_array:
        if out is not None:
            raise ValueError("out: expected None with tensors, got arrays")
        return pick(__name__, TENSOR_BACKENDS, backend, marker_pos.device.type).make_tokens(*arguments)
    _check.check_float(marker_pos=marker_pos, origin=origin, heading=heading)
    _check.check_contiguous(marker_pos=marker_pos)
    shape = (sizes["B"], sizes["M"], 6 * num_frames)
    tokens, mask = (np.empty(shape, marker_pos.dtype), np.empty(shape[:2], bool)) if out is None else out
    _check.check_out("tokens", tokens, shape, marker_pos.dtype)
    _check.check_out("mask", mask, shape[:2], bool)
    pick(__name__, BACKENDS, backend).make_tokens(*arguments, tokens, mask)
    return tokens, mask


def _check_windows(frame: Any, index: Any, sizes: dict[str, int], half_width: int, check_index: Any) -> None:
    """Every window lies inside the flat frames and shows markers that exist."""
    check_index("frame", frame, sizes["G"])
    if _is_captured(frame):
        return
    if sizes["B"] and (int(frame.min()) < half_width or int(frame.max()) + half_width + 1 >= sizes["G"]):
        raise ValueError(
            f"frame: expected {half_width} frames before and {half_width + 1} after each, within {sizes['G']},"
            f" got {int(frame.min())} to {int(frame.max())}"
        )
    has_sign = index.dtype.kind == "i" if isinstance(index, np.ndarray) else str(index.dtype).startswith("torch.int")
    count = sizes["B"] * sizes["M"]
    if count and not sizes["P"]:
        raise ValueError(
            f"marker_pos: expected at least one marker, got none, and {sizes['M']} tokens a window to show them"
        )
    if not has_sign or (count and int(index.max()) >= sizes["P"]):
        most = int(index.max()) if count else "nothing"
        raise ValueError(f"index: expected signed integers below {sizes['P']}, got {index.dtype} up to {most}")


def _check_disturbance(
    disturbance: Disturbance, marker_pos: Any, sizes: dict[str, int], size: int, check_index: Any
) -> None:
    table = disturbance.table
    bound = _check.bind_axes(
        start=(disturbance.start, "B"), offset_size=(disturbance.offset_size, "B"),
        jitter_size=(disturbance.jitter_size, "B"), table=(table, "L"),
    )  # fmt: skip
    if bound["B"] != sizes["B"]:
        raise ValueError(f"disturbance.start: expected shape ({sizes['B']},) as frame, got ({bound['B']},)")
    if table.dtype != marker_pos.dtype:
        raise ValueError(f"disturbance.table: expected dtype {marker_pos.dtype} as marker_pos, got {table.dtype}")
    check_index("disturbance.start", disturbance.start, max(bound["L"] - size * sizes["M"] + 1, 0))


def _is_captured(tensor: Any) -> bool:
    """True while a CUDA graph is captured: no value can be read."""
    if isinstance(tensor, np.ndarray) or not tensor.is_cuda:
        return False
    import torch

    return torch.cuda.is_current_stream_capturing()
