"""Ground reactions: contacts to force, centre of pressure, free moment and contact flag of each body, and of the feet.

`reference` holds the equations. `average_ground_reaction` turns the contact sensors of a simulated stretch into the
records of the data set; the accumulating pair beside it does the same in several runs, without holding all substeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from kernels import _check
from kernels._dispatch import Backend, pick
from kernels.grf.reference import (
    MIN_FORCE,
    AveragedReaction,
    GroundReaction,
    finish_contact_wrench,
    moment_about_origin,
    read_wrench,
    sum_bodies,
)

if TYPE_CHECKING:
    from torch import Tensor

    from kernels.grf.torch_any import TensorReaction

BACKENDS = (
    Backend(name="numba", module="numba_cpu", requires=("numba",)),
    Backend(name="reference", module="reference"),
)
"""For NumPy arrays."""

TENSOR_BACKENDS = (Backend(name="torch", module="torch_any", devices=("cpu", "cuda"), requires=("torch",)),)
"""For torch tensors."""

__all__ = [
    "BACKENDS",
    "MIN_FORCE",
    "TENSOR_BACKENDS",
    "AveragedReaction",
    "GroundReaction",
    "accumulate_contact_wrench",
    "aggregate_contacts",
    "average_ground_reaction",
    "finish_contact_wrench",
    "moment_about_origin",
    "read_wrench",
    "start_contact_wrench",
    "sum_bodies",
]


@overload
def aggregate_contacts(
    position: np.ndarray,
    force: np.ndarray,
    torque: np.ndarray | None,
    body: np.ndarray,
    offsets: np.ndarray,
    *,
    num_bodies: int = 24,
    min_force: float = MIN_FORCE,
    out: GroundReaction | None = None,
    backend: str = "auto",
    validate: bool = False,
) -> GroundReaction: ...


@overload
def aggregate_contacts(
    position: Tensor,
    force: Tensor,
    torque: Tensor | None,
    body: Tensor,
    offsets: Tensor,
    *,
    num_bodies: int = 24,
    min_force: float = MIN_FORCE,
    out: None = None,
    backend: str = "auto",
    validate: bool = False,
) -> TensorReaction: ...


def aggregate_contacts(
    position: Any,
    force: Any,
    torque: Any,
    body: Any,
    offsets: Any,
    *,
    num_bodies: int = 24,
    min_force: float = MIN_FORCE,
    out: GroundReaction | None = None,
    backend: str = "auto",
    validate: bool = False,
) -> Any:
    """Ground reaction of each body in each frame, from its contacts (`reference.aggregate_contacts` has the equations).

    All arguments are NumPy arrays, or all are torch tensors on one device. Strided views are copied.

    Args:
        position: Contact points [m], world, shape (C, 3).
        force: Force of the ground on the body [N], world, shape (C, 3).
        torque: Torque of the ground on the body at the contact [N·m], shape (C, 3), or None.
        body: Body of each contact, shape (C,), int in [0, num_bodies).
        offsets: Contacts of frame t are offsets[t] to offsets[t + 1], shape (T + 1,).
        num_bodies: N.
        min_force: Vertical force below which there is no centre of pressure [N].
        out: Arrays to write instead of new ones, contiguous; not for tensors.
        backend: `auto`; `numba` or `reference` for arrays; `torch` for tensors.
        validate: Also refuse values that are not finite (reads every element).

    Returns:
        Force (T, N, 3), centre of pressure (T, N, 2), free moment (T, N), contact flag (T, N).

    Raises:
        ValueError: A shape, dtype, body index or offset is wrong; with `validate`, a value is not finite.
        RuntimeError: The named backend cannot run here.
    """
    arrays = {"position": position, "force": force} | ({} if torque is None else {"torque": torque})
    sizes = _check.bind_axes(**{name: (array, "C 3") for name, array in arrays.items()}, body=(body, "C"))
    _check.check_positive(min_force=min_force)
    if num_bodies < 1:
        raise ValueError(f"num_bodies: expected at least 1, got {num_bodies}")
    if not isinstance(force, np.ndarray):
        return _aggregate_tensors(arrays, body, offsets, num_bodies, min_force, out, backend, validate)
    _check.check_float(**arrays)
    _check.check_same_dtype(**arrays)
    _check.check_index("body", body, num_bodies)
    _check.check_offsets("offsets", offsets, sizes["C"])
    if validate:
        _check.check_finite(**arrays)
    shapes = {name: (len(offsets) - 1, num_bodies, *rest) for name, rest in _OUTPUTS.items()}
    dtypes = dict.fromkeys(shapes, force.dtype) | {"contact": np.dtype(bool)}
    if out is None:
        out = GroundReaction(*(np.empty(shape, dtypes[name]) for name, shape in shapes.items()))
    for name, shape in shapes.items():
        _check.check_out(f"out.{name}", getattr(out, name), shape, dtypes[name])
    implementation = pick(__name__, BACKENDS, backend)
    implementation.aggregate_contacts(position, force, torque, body, offsets, out, min_force=min_force)
    return out


_OUTPUTS = {"force": (3,), "cop": (2,), "free_moment": (), "contact": ()}


def _aggregate_tensors(
    arrays: dict[str, Tensor],
    body: Tensor,
    offsets: Tensor,
    num_bodies: int,
    min_force: float,
    out: object,
    backend: str,
    validate: bool,
) -> TensorReaction:
    implementation = pick(__name__, TENSOR_BACKENDS, backend, arrays["force"].device.type)
    if out is not None:
        raise ValueError("out: expected None with tensors, got arrays")
    for name, array in arrays.items():
        if not array.is_floating_point():
            raise ValueError(f"{name}: expected a floating-point dtype, got {array.dtype}")
        if array.dtype != arrays["position"].dtype:
            raise ValueError(f"{name}: expected dtype {arrays['position'].dtype} as in position, got {array.dtype}")
        if validate and not bool(array.isfinite().all()):
            raise ValueError(f"{name}: expected finite values, got others")
    _check.check_tensor_index("body", body, num_bodies)
    implementation.check_offsets(offsets, len(body))
    return implementation.aggregate_contacts(
        arrays["position"], arrays["force"], arrays.get("torque"), body, offsets,
        num_bodies=num_bodies, min_force=min_force,
    )  # fmt: skip


def start_contact_wrench(num_frames: int, num_bodies: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Zeroed running sums for `accumulate_contact_wrench`.

    Args:
        num_frames: T, at least 2.
        num_bodies: N.

    Returns:
        `frame_wrench` (T, N, 6), `frame_weight` (T,), `transition_force` (T - 1, N, 3), float64.

    Raises:
        ValueError: Fewer than 2 frames.
    """
    if num_frames < 2:
        raise ValueError(f"num_frames: expected at least 2 (one transition), got {num_frames}")
    return (
        np.zeros((num_frames, num_bodies, 6)),
        np.zeros(num_frames),
        np.zeros((num_frames - 1, num_bodies, 3)),
    )


def accumulate_contact_wrench(
    frame_wrench: np.ndarray,
    frame_weight: np.ndarray,
    transition_force: np.ndarray,
    force: np.ndarray,
    torque: np.ndarray,
    position: np.ndarray,
    *,
    substeps_per_frame: int,
    first_substep: int = 0,
    backend: str = "auto",
) -> None:
    """Add substeps to running sums, in place (`reference.accumulate_contact_wrench` has the weights).

    Args:
        frame_wrench: Running sums of frames, shape (T, N, 6), float64.
        frame_weight: Running weights of frames, shape (T,), float64.
        transition_force: Running sums of transitions, shape (T - 1, N, 3), float64.
        force: Net force of the ground on each body [N], world, shape (K, N, 3); strided views are fine.
        torque: Net torque about `position` [N·m], world, shape (K, N, 3).
        position: Reference point of the net wrench [m], world, shape (K, N, 3); not read where the wrench is zero.
        substeps_per_frame: S, substeps of one transition.
        first_substep: Substeps added before this run.
        backend: `auto`, `numba` or `reference`.

    Raises:
        ValueError: A shape or dtype is wrong, sums are read-only, or the run goes beyond the last transition.
        RuntimeError: The named backend cannot run here.
    """
    sizes = _check.bind_axes(
        force=(force, "K N 3"),
        torque=(torque, "K N 3"),
        position=(position, "K N 3"),
        frame_wrench=(frame_wrench, "T N 6"),
        frame_weight=(frame_weight, "T"),
        transition_force=(transition_force, "P N 3"),
    )
    _check.check_float(force=force, torque=torque, position=position)
    for name, sums in (
        ("frame_wrench", frame_wrench), ("frame_weight", frame_weight), ("transition_force", transition_force)
    ):  # fmt: skip
        if sums.dtype != np.float64:
            raise ValueError(f"{name}: expected dtype float64 (running sums), got {sums.dtype}")
        _check.check_writeable(**{name: sums})
    if sizes["P"] != sizes["T"] - 1:
        raise ValueError(
            f"transition_force: expected {sizes['T'] - 1} transitions for {sizes['T']} frames, got {sizes['P']}"
        )
    last = first_substep + sizes["K"]
    if substeps_per_frame < 1 or first_substep < 0 or last > sizes["P"] * substeps_per_frame:
        raise ValueError(
            f"substeps: expected 0 <= first <= last <= {sizes['P']} transitions x {substeps_per_frame} substeps,"
            f" got {first_substep} to {last}"
        )
    pick(__name__, BACKENDS, backend).accumulate_contact_wrench(
        frame_wrench,
        frame_weight,
        transition_force,
        force,
        torque,
        position,
        substeps_per_frame=substeps_per_frame,
        first_substep=first_substep,
    )


def average_ground_reaction(
    force: np.ndarray,
    torque: np.ndarray,
    position: np.ndarray,
    *,
    substeps_per_frame: int,
    min_force: float = MIN_FORCE,
    backend: str = "auto",
) -> AveragedReaction:
    """Records of one stretch from its contact sensors: forces and centres of pressure at frames, forces of transitions.

    Args:
        force: Net force of the ground on each body in each substep [N], world, shape (K, N, 3), K = (T - 1) S.
        torque: Net torque about `position` [N·m], world, shape (K, N, 3).
        position: Reference point of the net wrench [m], world, shape (K, N, 3).
        substeps_per_frame: S.
        min_force: Least averaged vertical force for a centre of pressure [N].
        backend: `auto`, `numba` or `reference`.

    Returns:
        Averages of T frames and T - 1 transitions, float64.

    Raises:
        ValueError: A shape or dtype is wrong, or K is no positive multiple of S.
        RuntimeError: The named backend cannot run here.
    """
    sizes = _check.bind_axes(force=(force, "K N 3"))
    transitions, rest = divmod(sizes["K"], max(substeps_per_frame, 1))
    if substeps_per_frame < 1 or rest or transitions < 1:
        raise ValueError(f"force: expected K = a positive multiple of {substeps_per_frame} substeps, got {sizes['K']}")
    sums = start_contact_wrench(transitions + 1, sizes["N"])
    accumulate_contact_wrench(*sums, force, torque, position, substeps_per_frame=substeps_per_frame, backend=backend)
    return finish_contact_wrench(*sums, substeps_per_frame=substeps_per_frame, min_force=min_force)
