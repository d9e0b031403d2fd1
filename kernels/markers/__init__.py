"""Marker positions of posed bodies: only the markers' own points are skinned, never the whole mesh.

NumPy arrays go to `numba` or `reference`, torch tensors to `torch` (differentiable, any device).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from kernels import _check
from kernels._dispatch import Backend, pick
from kernels.markers.reference import PoseBlend

if TYPE_CHECKING:
    from torch import Tensor

BACKENDS = (
    Backend(name="numba", module="numba_cpu", requires=("numba",)),
    Backend(name="reference", module="reference"),
)
"""For NumPy arrays."""

TENSOR_BACKENDS = (Backend(name="torch", module="torch_any", devices=("cpu", "cuda"), requires=("torch",)),)
"""For torch tensors."""

__all__ = ["BACKENDS", "TENSOR_BACKENDS", "PoseBlend", "place_markers"]


@overload
def place_markers(
    points: np.ndarray,
    joint_pos: np.ndarray,
    bodies: np.ndarray,
    weights: np.ndarray,
    body_pos: np.ndarray,
    body_rot: np.ndarray,
    *,
    subject: np.ndarray | None = None,
    blend: PoseBlend | None = None,
    out: np.ndarray | None = None,
    backend: str = "auto",
    validate: bool = False,
) -> np.ndarray: ...


@overload
def place_markers(
    points: Tensor,
    joint_pos: Tensor,
    bodies: Tensor,
    weights: Tensor,
    body_pos: Tensor,
    body_rot: Tensor,
    *,
    subject: Tensor | None = None,
    blend: PoseBlend | None = None,
    out: None = None,
    backend: str = "auto",
    validate: bool = False,
) -> Tensor: ...


def place_markers(
    points: Any,
    joint_pos: Any,
    bodies: Any,
    weights: Any,
    body_pos: Any,
    body_rot: Any,
    *,
    subject: Any = None,
    blend: PoseBlend | None = None,
    out: np.ndarray | None = None,
    backend: str = "auto",
    validate: bool = False,
) -> Any:
    """World positions of markers on posed bodies: p_tm = sum_k w_mk (x_tb + R_tb (y_pm - j_pb)), b = bodies[m, k].

    All arguments are NumPy arrays, or all are torch tensors on one device.

    Args:
        points: Marker points in the rest pose [m], shape (M, 3), or (P, M, 3) for several subjects.
        joint_pos: Joint centres in the rest pose [m], shape (N, 3) or (P, N, 3).
        bodies: Bodies that carry each marker, shape (M, K), integers; K = 1 rigid, up to 4 skinned.
        weights: Their weights, rows summing to 1, shape (M, K).
        body_pos: Joint centres in the world [m], shape (T, N, 3).
        body_rot: Body-to-world rotation matrices, shape (T, N, 3, 3).
        subject: Subject of each frame, shape (T,), integers; None where there is one.
        blend: Pose-dependent corrections of the rest points (SMPL's pose blend shapes), None for none.
        out: Array to write instead of a new one, shape (T, M, 3), dtype of `body_pos`, contiguous; not for tensors.
        backend: `auto`; `numba` or `reference` for arrays; `torch` for tensors.
        validate: Also refuse values that are not finite and weights that do not sum to 1 (reads every element).

    Returns:
        Marker positions [m], world, shape (T, M, 3), dtype of `body_pos`.

    Raises:
        ValueError: A shape, dtype or index is wrong, or `subject` is missing; with `validate`, a value is not finite.
        RuntimeError: The named backend cannot run here.
    """
    points = points[None] if points.ndim == 2 else points
    joint_pos = joint_pos[None] if joint_pos.ndim == 2 else joint_pos
    sizes = _check.bind_axes(
        points=(points, "P M 3"),
        joint_pos=(joint_pos, "P N 3"),
        bodies=(bodies, "M K"),
        weights=(weights, "M K"),
        body_pos=(body_pos, "T N 3"),
        body_rot=(body_rot, "T N 3 3"),
    )
    if subject is None and sizes["P"] != 1:
        raise ValueError(f"subject: expected the subject of each frame, since points are of {sizes['P']}; got None")
    is_array = isinstance(body_pos, np.ndarray)
    if is_array:
        subject = np.zeros(sizes["T"], dtype=np.int64) if subject is None else subject
        _check.check_float(points=points, joint_pos=joint_pos, weights=weights, body_pos=body_pos, body_rot=body_rot)
        _check.check_same_dtype(body_pos=body_pos, body_rot=body_rot)
    else:
        subject = bodies.new_zeros(sizes["T"]) if subject is None else subject
    _check.bind_axes(body_pos=(body_pos, "T N 3"), subject=(subject, "T"))
    _check_indices(bodies, subject, sizes, is_array)
    if validate and is_array:
        _check.check_finite(points=points, joint_pos=joint_pos, weights=weights, body_pos=body_pos, body_rot=body_rot)
        if weights.size and not np.allclose(weights.sum(axis=1), 1.0, atol=1e-5):
            worst = int(np.argmax(np.abs(weights.sum(axis=1) - 1.0)))
            raise ValueError(f"weights: expected rows that sum to 1, got {weights[worst].sum()} in row {worst}")
    if blend is not None:
        _check_blend(blend, sizes, is_array)
    arguments = (points, joint_pos, bodies, weights, body_pos, body_rot, subject, blend)
    if not is_array:
        if out is not None:
            raise ValueError("out: expected None with tensors, got an array")
        return pick(__name__, TENSOR_BACKENDS, backend, body_pos.device.type).place_markers(*arguments)
    shape = (sizes["T"], sizes["M"], 3)
    markers = np.empty(shape, body_pos.dtype) if out is None else out
    _check.check_out("out", markers, shape, body_pos.dtype)
    pick(__name__, BACKENDS, backend).place_markers(*arguments, markers)
    return markers


def _check_blend(blend: PoseBlend, sizes: dict[str, int], is_array: bool) -> None:
    rows, markers = 9 * (sizes["N"] - 1), sizes["M"]
    _check.bind_axes(
        directions=(blend.directions, f"{rows} {markers} 3"), parents=(blend.parents, str(sizes["N"]))
    )  # fmt: skip
    if is_array:
        _check.check_float(directions=blend.directions)
        _check.check_index("parents", blend.parents[1:], sizes["N"])
    elif blend.parents.device.type != "cuda":
        _check.check_index("parents", blend.parents[1:].numpy(), sizes["N"])


def _check_indices(bodies: Any, subject: Any, sizes: dict[str, int], is_array: bool) -> None:
    if is_array:
        _check.check_index("bodies", bodies, sizes["N"])
        _check.check_index("subject", subject, sizes["P"])
    elif bodies.device.type != "cuda":  # CUDA checks its own indices; reading them here would stall the stream
        _check.check_index("bodies", bodies.numpy(), sizes["N"])
        _check.check_index("subject", subject.numpy(), sizes["P"])
