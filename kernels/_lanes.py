"""Several numbers side by side in one register of compiled code: what a compiler does not find by itself.

Points and forces are three numbers in memory, which no loop vectoriser turns into wide loads and stores. The functions
here do: each is one or two instructions in a function compiled by Numba (a vector of LLVM, on any processor), and where
compilation is off a NumPy array of as many numbers, with the same bits. `+`, `-`, `*` and `/` work lane by lane; nothing is
contracted or reordered unless `multiply_add` says so.

Positions count numbers from the start of a flat, C-contiguous array. Nothing is checked here: the boundary of a family is.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

Function = TypeVar("Function", bound=Callable[..., Any])
Lanes = Any
"""A register of some numbers; a NumPy vector where compilation is off."""

_INT32 = ir.IntType(32)


class _LanesType(types.Type):
    """`count` numbers of one type in a register."""

    def __init__(self, dtype: types.Float, count: int) -> None:
        super().__init__(name=f"Lanes({dtype}, {count})")
        self.dtype, self.count = dtype, count

    @property
    def llvm(self) -> ir.VectorType:
        """Its type in compiled code."""
        return ir.VectorType(ir.FloatType() if self.dtype == types.float32 else ir.DoubleType(), self.count)


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: _LanesType) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


def _compiled_as(build: Callable[..., Any]) -> Callable[[Function], Function]:
    """In compiled code the instructions of `build`; where compilation is off the function itself."""

    def choose(function: Function) -> Function:
        return function if config.DISABLE_JIT else intrinsic(build)  # type: ignore[attr-defined]  set at run time

    return choose


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, at: Any, kind: Any) -> Any:
    assert array_type.ndim == 1 and array_type.layout == "C", f"{array_type} is not flat"
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), kind.as_pointer())


def _aligned_to(array_type: Any) -> int:
    return array_type.dtype.bitwidth // 8 if array_type.aligned else 1


def _load(count: int) -> Callable[..., Any]:
    def build(_: Any, flat: Any, at: Any) -> Any:
        lanes = _LanesType(flat.dtype, count)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            place = _pointer(context, builder, flat, *values, lanes.llvm)
            return builder.load(place, align=_aligned_to(flat))

        return lanes(flat, at), generate

    return build


@_compiled_as(_load(4))
def load_4(flat: np.ndarray, at: Any) -> Lanes:
    """Four numbers from `at` on."""
    return flat[at : at + 4].copy()


@_compiled_as(_load(8))
def load_8(flat: np.ndarray, at: Any) -> Lanes:
    """Eight numbers from `at` on."""
    return flat[at : at + 8].copy()


def _build_load_3(_: Any, flat: Any, at: Any) -> Any:
    lanes = _LanesType(flat.dtype, 4)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        two, align = ir.VectorType(lanes.llvm.element, 2), _aligned_to(flat)
        first = builder.load(_pointer(context, builder, flat, *values, two), align=align)
        last = _pointer(context, builder, flat, values[0], builder.add(values[1], values[1].type(2)), two.element)
        zero = ir.Constant(two, None)
        wide = builder.shuffle_vector(first, zero, ir.Constant(ir.VectorType(_INT32, 4), [0, 1, 2, 2]))
        return builder.insert_element(wide, builder.load(last, align=align), _INT32(2))

    return lanes(flat, at), generate


@_compiled_as(_build_load_3)
def load_3(flat: np.ndarray, at: Any) -> Lanes:
    """Three numbers from `at` on and a zero; the fourth number of the array is not read."""
    return np.append(flat[at : at + 3], flat.dtype.type(0.0))


def _build_store(_: Any, flat: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _pointer(context, builder, flat, *values[:2], value.llvm)
        builder.store(values[2], place, align=_aligned_to(flat))
        return context.get_dummy_value()

    return types.void(flat, at, value), generate


@_compiled_as(_build_store)
def store(flat: np.ndarray, at: Any, value: Lanes) -> None:
    """Write all lanes from `at` on, into an array of the lanes' dtype."""
    flat[at : at + len(value)] = value


def _build_put(_: Any, flat: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = context.cast(builder, values[2], value, flat.dtype)
        place = _pointer(context, builder, flat, *values[:2], number.type)
        builder.store(number, place, align=_aligned_to(flat))
        return context.get_dummy_value()

    return types.void(flat, at, value), generate


@_compiled_as(_build_put)
def put(flat: np.ndarray, at: Any, value: Any) -> None:
    """Write one number; unlike `flat[at] = value` no instruction is spent on what a negative position would mean."""
    flat[at] = value


def _build_take(_: Any, flat: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _pointer(context, builder, flat, *values, context.get_value_type(flat.dtype))
        return builder.load(place, align=_aligned_to(flat))

    return flat.dtype(flat, at), generate


@_compiled_as(_build_take)
def take(flat: np.ndarray, at: Any) -> Any:
    """Read one number, likewise."""
    return flat[at]


def _build_put_leading(count: int) -> Callable[..., Any]:
    def build(_: Any, flat: Any, at: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pair, align = ir.VectorType(value.llvm.element, 2), _aligned_to(flat)
            first = builder.shuffle_vector(values[2], values[2], ir.Constant(ir.VectorType(_INT32, 2), [0, 1]))
            builder.store(first, _pointer(context, builder, flat, *values[:2], pair), align=align)
            if count == 3:
                next_at = builder.add(values[1], values[1].type(2))
                last = _pointer(context, builder, flat, values[0], next_at, pair.element)
                builder.store(builder.extract_element(values[2], _INT32(2)), last, align=align)
            return context.get_dummy_value()

        return types.void(flat, at, value), generate

    return build


@_compiled_as(_build_put_leading(2))
def put_2(flat: np.ndarray, at: Any, value: Lanes) -> None:
    """Write the first two lanes."""
    flat[at : at + 2] = value[:2]


@_compiled_as(_build_put_leading(3))
def put_3(flat: np.ndarray, at: Any, value: Lanes) -> None:
    """Write the first three lanes."""
    flat[at : at + 3] = value[:3]


def _build_store_past(_: Any, flat: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _pointer(context, builder, flat, *values[:2], value.llvm)
        stored = builder.store(values[2], place, align=16)
        stored.set_metadata("nontemporal", builder.module.add_metadata([_INT32(1)]))
        return context.get_dummy_value()

    return types.void(flat, at, value), generate


@_compiled_as(_build_store_past)
def store_past_cache(flat: np.ndarray, at: Any, value: Lanes) -> None:
    """Write 16 bytes, at an address that is a multiple of 16, past the caches: the memory there is not read first."""
    flat[at : at + len(value)] = value


def _build_fence(_: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@_compiled_as(_build_fence)
def finish_stores() -> None:
    """Wait until what was written past the caches is visible to other threads."""


def _build_prefetch(_: Any, flat: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _pointer(context, builder, flat, *values, ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [place.type, _INT32, _INT32, _INT32])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(call, [place, _INT32(0), _INT32(3), _INT32(1)])  # to read, into all caches, data
        return context.get_dummy_value()

    return types.void(flat, at), generate


@_compiled_as(_build_prefetch)
def prefetch(flat: np.ndarray, at: Any) -> None:
    """Start reading the cache line of a number; any position will do, nothing is read that does not exist."""


def _spread(count: int) -> Callable[..., Any]:
    def build(_: Any, value: Any) -> Any:
        lanes = _LanesType(value, count)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            one = builder.insert_element(ir.Constant(lanes.llvm, ir.Undefined), values[0], _INT32(0))
            return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_INT32, count), [0] * count))

        return lanes(value), generate

    return build


@_compiled_as(_spread(4))
def spread_4(value: Any) -> Lanes:
    """Four times a number."""
    return np.full(4, value)


@_compiled_as(_spread(8))
def spread_8(value: Any) -> Lanes:
    """Eight times a number."""
    return np.full(8, value)


def _build_pack_4(_: Any, first: Any, second: Any, third: Any, fourth: Any) -> Any:
    lanes = _LanesType(first, 4)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        packed = ir.Constant(lanes.llvm, ir.Undefined)
        for place, value in enumerate(values):
            packed = builder.insert_element(packed, value, _INT32(place))
        return packed

    return lanes(first, first, first, first), generate


@_compiled_as(_build_pack_4)
def pack_4(first: Any, second: Any, third: Any, fourth: Any) -> Lanes:
    """Four numbers of the type of the first."""
    return np.array([first, second, third, fourth], type(first))


def _build_lane(_: Any, value: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.extract_element(*values)

    return value.dtype(value, place), generate


@_compiled_as(_build_lane)
def lane(value: Lanes, place: int) -> Any:
    """One of the numbers."""
    return value[place]


def _build_with_lane(_: Any, value: Any, place: Any, number: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.insert_element(values[0], values[2], values[1])

    return value(value, place, number), generate


@_compiled_as(_build_with_lane)
def with_lane(value: Lanes, place: int, number: Any) -> Lanes:
    """The same lanes but for one."""
    changed = value.copy()
    changed[place] = number
    return changed


def _permute(*order: int) -> Callable[..., Any]:
    def build(_: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.shuffle_vector(*values, *values, ir.Constant(ir.VectorType(_INT32, 4), order))

        return value(value), generate

    return build


@_compiled_as(_permute(1, 2, 0, 3))
def yzxw(value: Lanes) -> Lanes:
    """Lanes 1, 2, 0, 3: with `zxyw`, what a cross product needs."""
    return value[[1, 2, 0, 3]]


@_compiled_as(_permute(2, 0, 1, 3))
def zxyw(value: Lanes) -> Lanes:
    """Lanes 2, 0, 1, 3."""
    return value[[2, 0, 1, 3]]


@_compiled_as(_permute(1, 0, 2, 3))
def yxzw(value: Lanes) -> Lanes:
    """Lanes 1, 0, 2, 3: what a rotation about z needs."""
    return value[[1, 0, 2, 3]]


def _converted(value: Any, dtype: types.Float) -> tuple[Any, Callable[..., Any]]:
    lanes = _LanesType(dtype, value.count)

    def convert(builder: Any, register: Any) -> Any:
        if value.dtype == dtype:
            return register
        return (builder.fpext if dtype == types.float64 else builder.fptrunc)(register, lanes.llvm)

    return lanes, convert


def _build_wide(_: Any, value: Any) -> Any:
    lanes, convert = _converted(value, types.float64)
    return lanes(value), lambda context, builder, signature, values: convert(builder, values[0])


@_compiled_as(_build_wide)
def wide(value: Lanes) -> Lanes:
    """As float64."""
    return value.astype(np.float64)


def _build_as_in(_: Any, flat: Any, value: Any) -> Any:
    lanes, convert = _converted(value, flat.dtype)
    return lanes(flat, value), lambda context, builder, signature, values: convert(builder, values[1])


@_compiled_as(_build_as_in)
def as_in(flat: np.ndarray, value: Lanes) -> Lanes:
    """In the dtype of an array, rounded."""
    return value.astype(flat.dtype)


def _build_where_at_least(_: Any, value: Any, least: Any, inside: Any, outside: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">=", *values[:2]), *values[2:])

    return inside(value, value, inside, inside), generate


@_compiled_as(_build_where_at_least)
def where_at_least(value: Lanes, least: Lanes, inside: Lanes, outside: Lanes) -> Lanes:
    """`inside` in lanes where value >= least, else (also for NaN) `outside`; without a branch to be mispredicted."""
    return np.where(value >= least, inside, outside)


def _build_multiply_add(_: Any, first: Any, second: Any, third: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(first.llvm, [first.llvm] * 3)
        name = f"llvm.fma.v{first.count}f{first.dtype.bitwidth}"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)

    return first(first, first, first), generate


@_compiled_as(_build_multiply_add)
def multiply_add(first: Lanes, second: Lanes, third: Lanes) -> Lanes:
    """first * second + third, rounded once in compiled code and twice where compilation is off."""
    return first * second + third


def _arithmetic(function: Callable[..., Any], instruction: str) -> None:
    def build(_: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return getattr(builder, instruction)(*values)

        return left(left, left), generate

    compute = intrinsic(build)

    @overload(function, strict=False)  # names of arguments are annotated on one side only
    def choose(left: Any, right: Any) -> Any:
        if isinstance(left, _LanesType) and left == right:
            return lambda left, right: compute(left, right)
        return None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")
