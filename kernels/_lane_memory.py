"""Between memory and registers of several numbers: loads, stores, stores past the caches, lines fetched ahead.

Positions count numbers from the start of a flat, C-contiguous array (anything else is refused when compiling). They are not
checked: that is done once, at the boundary of a family.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from kernels._lanes import INT32, Lanes, LanesType, compiled_as


def _pointer(context: Any, builder: Any, array_type: Any, array_at: Any, kind: Any) -> Any:
    assert array_type.ndim == 1 and array_type.layout == "C", f"{array_type} is not flat"
    array, at = array_at[:2]
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), kind.as_pointer())


def _aligned_to(array_type: Any) -> int:
    return array_type.dtype.bitwidth // 8 if array_type.aligned else 1


def _load(count: int) -> Callable[..., Any]:
    def build(_: Any, flat: Any, at: Any) -> Any:
        lanes = LanesType(flat.dtype, count)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            place = _pointer(context, builder, flat, values, lanes.llvm)
            return builder.load(place, align=_aligned_to(flat))

        return lanes(flat, at), generate

    return build


@compiled_as(_load(4))
def load_4(flat: np.ndarray, at: Any) -> Lanes:
    """Four numbers from `at` on."""
    return flat[at : at + 4].copy()


@compiled_as(_load(8))
def load_8(flat: np.ndarray, at: Any) -> Lanes:
    """Eight numbers from `at` on."""
    return flat[at : at + 8].copy()


def _build_load_3(_: Any, flat: Any, at: Any) -> Any:
    lanes = LanesType(flat.dtype, 4)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _pointer(context, builder, flat, values, lanes.llvm)
        which = ir.VectorType(ir.IntType(1), 4)
        kind = ir.FunctionType(lanes.llvm, [place.type, INT32, which, lanes.llvm])
        name = f"llvm.masked.load.v4f{flat.dtype.bitwidth}.p0"
        load = cgutils.get_or_insert_function(builder.module, kind, name)
        zero = ir.Constant(lanes.llvm, None)
        return builder.call(load, [place, INT32(_aligned_to(flat)), ir.Constant(which, [1, 1, 1, 0]), zero])

    return lanes(flat, at), generate


@compiled_as(_build_load_3)
def load_3(flat: np.ndarray, at: Any) -> Lanes:
    """Three numbers from `at` on and a zero; the fourth number of the array is not read."""
    return np.append(flat[at : at + 3], flat.dtype.type(0.0))


def _build_store(_: Any, flat: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _pointer(context, builder, flat, values, value.llvm)
        builder.store(values[2], place, align=_aligned_to(flat))
        return context.get_dummy_value()

    return types.void(flat, at, value), generate


@compiled_as(_build_store)
def store(flat: np.ndarray, at: Any, value: Lanes) -> None:
    """Write all lanes from `at` on, into an array of the lanes' dtype."""
    flat[at : at + len(value)] = value


def _build_put(_: Any, flat: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = context.cast(builder, values[2], value, flat.dtype)
        place = _pointer(context, builder, flat, values, number.type)
        builder.store(number, place, align=_aligned_to(flat))
        return context.get_dummy_value()

    return types.void(flat, at, value), generate


@compiled_as(_build_put)
def put(flat: np.ndarray, at: Any, value: Any) -> None:
    """Write one number; unlike `flat[at] = value` no instruction is spent on what a negative position would mean."""
    flat[at] = value


def _build_take(_: Any, flat: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _pointer(context, builder, flat, values, context.get_value_type(flat.dtype))
        return builder.load(place, align=_aligned_to(flat))

    return flat.dtype(flat, at), generate


@compiled_as(_build_take)
def take(flat: np.ndarray, at: Any) -> Any:
    """Read one number, likewise."""
    return flat[at]


def _build_put_leading(count: int) -> Callable[..., Any]:
    def build(_: Any, flat: Any, at: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pair, align = ir.VectorType(value.llvm.element, 2), _aligned_to(flat)
            first = builder.shuffle_vector(values[2], values[2], ir.Constant(ir.VectorType(INT32, 2), [0, 1]))
            builder.store(first, _pointer(context, builder, flat, values, pair), align=align)
            if count == 3:
                next_at = builder.add(values[1], values[1].type(2))
                last = _pointer(context, builder, flat, (values[0], next_at), pair.element)
                builder.store(builder.extract_element(values[2], INT32(2)), last, align=align)
            return context.get_dummy_value()

        return types.void(flat, at, value), generate

    return build


@compiled_as(_build_put_leading(2))
def put_2(flat: np.ndarray, at: Any, value: Lanes) -> None:
    """Write the first two lanes."""
    flat[at : at + 2] = value[:2]


@compiled_as(_build_put_leading(3))
def put_3(flat: np.ndarray, at: Any, value: Lanes) -> None:
    """Write the first three lanes."""
    flat[at : at + 3] = value[:3]


def _build_store_past(_: Any, flat: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _pointer(context, builder, flat, values, value.llvm)
        stored = builder.store(values[2], place, align=4 * value.count if value.dtype == types.float32 else 16)
        stored.set_metadata("nontemporal", builder.module.add_metadata([INT32(1)]))
        return context.get_dummy_value()

    return types.void(flat, at, value), generate


@compiled_as(_build_store_past)
def store_past_cache(flat: np.ndarray, at: Any, value: Lanes) -> None:
    """Write all lanes past the caches: the memory there is not read first.

    The address is a multiple of 16, for eight numbers of float32 of 32: anything else ends the process.
    """
    flat[at : at + len(value)] = value


def _build_fence(_: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@compiled_as(_build_fence)
def finish_stores() -> None:
    """Wait until what was written past the caches is visible to other threads."""


def _build_prefetch(_: Any, flat: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _pointer(context, builder, flat, values, ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [place.type, INT32, INT32, INT32])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(call, [place, INT32(0), INT32(3), INT32(1)])  # to read, into all caches, data
        return context.get_dummy_value()

    return types.void(flat, at), generate


@compiled_as(_build_prefetch)
def prefetch(flat: np.ndarray, at: Any) -> None:
    """Start reading the cache line of a number; any position will do, nothing is read that does not exist."""
