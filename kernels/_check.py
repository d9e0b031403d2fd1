"""Checks at the boundary of a kernel family: one wording for wrong shapes, dtypes, offsets and indices.

Shapes are given as axis letters and numbers, `"T N 3"`; a letter means the same size in every array of one call. The
checks read metadata only; those that read every element are separate functions that a caller asks for.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

import numpy as np


class HasShape(Protocol):
    """NumPy array or torch tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        ...


@functools.cache
def _split(axes: str) -> tuple[str, list[str], list[tuple[int, int]]]:
    """Axes as text, axis by axis, and those of fixed size with their sizes."""
    letters = axes.split()
    fixed = [(axis, int(letter)) for axis, letter in enumerate(letters) if letter.isdigit()]
    return ", ".join(letters), letters, fixed


def bind_axes(**arrays: tuple[HasShape, str]) -> dict[str, int]:
    """Sizes of the axis letters of several arrays, each given as `name=(array, "T N 3")`.

    Raises:
        ValueError: An array has another number of axes or fixed size, or disagrees with an earlier one on a letter.
    """
    sizes: dict[str, int] = {}
    owner: dict[str, str] = {}
    for name, (array, axes) in arrays.items():
        text, letters, fixed = _split(axes)
        shape = tuple(array.shape)
        if len(shape) != len(letters) or any(shape[axis] != size for axis, size in fixed):
            raise ValueError(f"{name}: expected shape ({text}), got {shape}")
        for have, letter in zip(shape, letters):
            if letter.isdigit():
                continue
            if sizes.setdefault(letter, have) != have:
                raise ValueError(
                    f"{name}: expected shape ({text}) with {letter} = {sizes[letter]} as in {owner[letter]}, got {shape}"
                )
            owner.setdefault(letter, name)
    return sizes


def check_float(**arrays: np.ndarray) -> None:
    """Refuse anything but float32 and float64.

    Raises:
        ValueError: An array has another dtype.
    """
    for name, array in arrays.items():
        if array.dtype not in (np.float32, np.float64):
            raise ValueError(f"{name}: expected dtype float32 or float64, got {array.dtype}")


def check_same_dtype(**arrays: np.ndarray) -> None:
    """Refuse arrays whose dtypes differ.

    Raises:
        ValueError: Two arrays differ.
    """
    (first_name, first), *rest = arrays.items()
    for name, array in rest:
        if array.dtype != first.dtype:
            raise ValueError(f"{name}: expected dtype {first.dtype} as in {first_name}, got {array.dtype}")


def check_contiguous(**arrays: np.ndarray) -> None:
    """Refuse arrays that are not C-contiguous, where a kernel writes into them or reads them as one run.

    Raises:
        ValueError: An array is a strided view.
    """
    for name, array in arrays.items():
        if not array.flags.c_contiguous:
            raise ValueError(f"{name}: expected a C-contiguous array, got strides {array.strides}; copy it first")


def check_out(name: str, out: np.ndarray, shape: tuple[int, ...], dtype: Any) -> None:
    """Refuse an array to write that has another shape or dtype, is a strided view or is read-only.

    Raises:
        ValueError: It cannot be written as one run.
    """
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"{name}: expected shape {shape} of {np.dtype(dtype)}, got {out.shape} of {out.dtype}")
    check_contiguous(**{name: out})
    check_writeable(**{name: out})


def check_writeable(**arrays: np.ndarray) -> None:
    """Refuse arrays that a kernel writes into and may not.

    Raises:
        ValueError: An array is read-only.
    """
    for name, array in arrays.items():
        if not array.flags.writeable:
            raise ValueError(f"{name}: expected an array that may be written, got a read-only one")


def as_unsigned(index: np.ndarray) -> np.ndarray:
    """The same memory read as unsigned integers: compiled code then skips the test for negative indices.

    Only for indices that `check_index` has passed.
    """
    return index.view(f"u{index.itemsize}")


def check_index(name: str, index: np.ndarray, upper: int) -> None:
    """Refuse indices outside [0, upper): a kernel never reads out of bounds.

    Raises:
        ValueError: The dtype is no integer, or a value lies outside.
    """
    if index.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected an integer dtype, got {index.dtype}")
    # Read as unsigned, a negative index is a huge one: one sweep instead of two.
    if index.size and int(as_unsigned(index).max()) >= upper:
        raise ValueError(f"{name}: expected values in [0, {upper}), got {int(index.min())} to {int(index.max())}")


def check_offsets(name: str, offsets: np.ndarray, total: int) -> None:
    """Refuse offsets that are not 0 = o_0 <= o_1 <= ... <= o_T = total.

    Raises:
        ValueError: The dtype is no integer, the ends are wrong or the offsets decrease.
    """
    if offsets.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected an integer dtype, got {offsets.dtype}")
    if offsets.ndim != 1 or offsets.size < 1 or int(offsets[0]) != 0 or int(offsets[-1]) != total:
        ends = (int(offsets.flat[0]), int(offsets.flat[-1])) if offsets.size else "nothing"
        raise ValueError(f"{name}: expected a vector from 0 to {total}, got shape {offsets.shape} with ends {ends}")
    if np.any(offsets[1:] < offsets[:-1]):
        first = int(np.flatnonzero(offsets[1:] < offsets[:-1])[0])
        raise ValueError(f"{name}: expected non-decreasing offsets, got {offsets[first]} then {offsets[first + 1]}")


def check_finite(**arrays: np.ndarray) -> None:
    """Refuse NaN and infinity; reads every element, so kernels call it only under `validate=True`.

    Raises:
        ValueError: An element is not finite; its first index is named.
    """
    for name, array in arrays.items():
        bad = ~np.isfinite(array)
        if bad.any():
            first = tuple(np.argwhere(bad)[0].tolist())
            raise ValueError(f"{name}: expected finite values, got {int(bad.sum())} others, first at {first}")


def check_positive(**values: float) -> None:
    """Refuse numbers that are not finite and above zero.

    Raises:
        ValueError: A value is zero, negative, infinite or NaN.
    """
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: expected a positive finite number, got {value}")


def check_tensor_index(name: str, index: Any, upper: int) -> None:
    """`check_index` for a torch tensor; while a CUDA graph is captured nothing can be read, and nothing is checked.

    Raises:
        ValueError: The dtype is no integer, or a value lies outside [0, upper).
    """
    if index.is_floating_point() or index.is_complex() or "bool" in str(index.dtype):
        raise ValueError(f"{name}: expected an integer dtype, got {index.dtype}")
    if index.is_cuda:
        import torch

        if torch.cuda.is_current_stream_capturing():
            return
    if index.numel():
        least, most = int(index.min()), int(index.max())
        if least < 0 or most >= upper:
            raise ValueError(f"{name}: expected values in [0, {upper}), got {least} to {most}")
