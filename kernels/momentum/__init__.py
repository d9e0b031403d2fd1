"""Imposed angular momentum: substep torques integrated over each 30 Hz transition, at once or substep by substep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from kernels import _check
from kernels._dispatch import Backend, pick

if TYPE_CHECKING:
    from torch import Tensor

BACKENDS = (
    Backend(name="numba", module="numba_cpu", requires=("numba",)),
    Backend(name="reference", module="reference"),
)
"""For NumPy arrays."""

TENSOR_BACKENDS = (Backend(name="torch", module="torch_any", devices=("cpu", "cuda"), requires=("torch",)),)
"""For torch tensors."""

__all__ = ["BACKENDS", "TENSOR_BACKENDS", "add_substep", "integrate_torque", "start_impulse"]


@overload
def integrate_torque(
    torque: np.ndarray,
    step: float,
    *,
    out: np.ndarray | None = None,
    backend: str = "auto",
    validate: bool = False,
) -> np.ndarray: ...


@overload
def integrate_torque(
    torque: Tensor, step: float, *, out: None = None, backend: str = "auto", validate: bool = False
) -> Tensor: ...


def integrate_torque(
    torque: Any, step: float, *, out: np.ndarray | None = None, backend: str = "auto", validate: bool = False
) -> Any:
    """Impulse of each transition, h times the compensated sum of its substep torques.

    Args:
        torque: Torque on the child at each joint [N·m], child frame, shape (T, S, J, 3), NumPy array or torch tensor;
            contiguous is fastest.
        step: Physics step h [s].
        out: Array to write instead of a new one, shape (T, J, 3), dtype of `torque`, contiguous; not for tensors.
        backend: `auto`; `numba` or `reference` for arrays; `torch` for tensors.
        validate: Also refuse torques that are not finite (reads every element).

    Returns:
        Impulse [N·m·s], child frame, shape (T, J, 3), dtype of `torque`; zeros for S = 0.

    Raises:
        ValueError: A shape or dtype is wrong or the step is not positive; with `validate`, a torque is not finite.
        RuntimeError: The named backend cannot run here.
    """
    sizes = _check.bind_axes(torque=(torque, "T S J 3"))
    _check.check_positive(step=step)
    if not isinstance(torque, np.ndarray):
        if not torque.is_floating_point():
            raise ValueError(f"torque: expected a floating-point dtype, got {torque.dtype}")
        if out is not None:
            raise ValueError("out: expected None with a tensor, got an array")
        if validate and not bool(torque.isfinite().all()):
            raise ValueError("torque: expected finite values, got others")
        return pick(__name__, TENSOR_BACKENDS, backend, torque.device.type).integrate_torque(torque, step)
    _check.check_float(torque=torque)
    if validate:
        _check.check_finite(torque=torque)
    shape = (sizes["T"], sizes["J"], 3)
    impulse = np.empty(shape, torque.dtype) if out is None else out
    _check.check_out("out", impulse, shape, torque.dtype)
    pick(__name__, BACKENDS, backend).integrate_torque(torque, step, impulse)
    return impulse


def start_impulse(num_environments: int, num_joints: int = 23) -> tuple[np.ndarray, np.ndarray]:
    """Zeroed running sum and its rounding error for `add_substep`, each (E, J, 3), float64."""
    return np.zeros((num_environments, num_joints, 3)), np.zeros((num_environments, num_joints, 3))


def add_substep(
    total: np.ndarray, error: np.ndarray, torque: np.ndarray, step: float, *, backend: str = "auto"
) -> None:
    """Add one substep of many environments to running impulses, in place; the impulse is `total + error`.

    Args:
        total: Running sum [N·m·s], shape (E, J, 3), float64, contiguous.
        error: Rounding error of the running sum, same shape and dtype.
        torque: Torque of the substep [N·m], child frame, shape (E, J, 3).
        step: Physics step h [s].
        backend: `auto`, `numba` or `reference`.

    Raises:
        ValueError: A shape or dtype is wrong, a sum is a strided view or read-only, or the step is not positive.
        RuntimeError: The named backend cannot run here.
    """
    _check.bind_axes(total=(total, "E J 3"), error=(error, "E J 3"), torque=(torque, "E J 3"))
    for name, sums in (("total", total), ("error", error)):
        if sums.dtype != np.float64:
            raise ValueError(f"{name}: expected dtype float64 (running sum), got {sums.dtype}")
    _check.check_contiguous(total=total, error=error)
    _check.check_writeable(total=total, error=error)
    _check.check_float(torque=torque)
    _check.check_positive(step=step)
    pick(__name__, BACKENDS, backend).add_substep(total, error, torque, step)
