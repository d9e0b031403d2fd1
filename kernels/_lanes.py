"""Several numbers side by side in one register of compiled code: what a compiler does not find by itself.

Points and forces are three numbers in memory, which no loop vectoriser turns into wide loads and stores. The functions
here and in `_lane_memory` do: each is one or two instructions in a function compiled by Numba (a vector of LLVM, on any
processor), and where compilation is off a NumPy array of as many numbers, with the same bits. `+`, `-`, `*` and `/` work
lane by lane; nothing is contracted or reordered unless `multiply_add` says so.

Numba's cache goes by the file of the compiled function: after a change here or in `_lane_memory`, `make clean`.
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

INT32 = ir.IntType(32)


class LanesType(types.Type):
    """`count` numbers of one type in a register."""

    def __init__(self, dtype: types.Float, count: int) -> None:
        super().__init__(name=f"Lanes({dtype}, {count})")
        self.dtype, self.count = dtype, count

    @property
    def llvm(self) -> ir.VectorType:
        """Its type in compiled code."""
        return ir.VectorType(ir.FloatType() if self.dtype == types.float32 else ir.DoubleType(), self.count)


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: LanesType) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


def compiled_as(build: Callable[..., Any]) -> Callable[[Function], Function]:
    """In compiled code the instructions of `build`; where compilation is off the function itself."""

    def choose(function: Function) -> Function:
        return function if config.DISABLE_JIT else intrinsic(build)  # type: ignore[attr-defined]  set at run time

    return choose


def _spread(count: int) -> Callable[..., Any]:
    def build(_: Any, value: Any) -> Any:
        lanes = LanesType(value, count)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            one = builder.insert_element(ir.Constant(lanes.llvm, ir.Undefined), values[0], INT32(0))
            return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(INT32, count), [0] * count))

        return lanes(value), generate

    return build


@compiled_as(_spread(4))
def spread_4(value: Any) -> Lanes:
    """Four times a number."""
    return np.full(4, value)


@compiled_as(_spread(8))
def spread_8(value: Any) -> Lanes:
    """Eight times a number."""
    return np.full(8, value)


def _build_pack_4(_: Any, first: Any, second: Any, third: Any, fourth: Any) -> Any:
    lanes = LanesType(first, 4)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        packed = ir.Constant(lanes.llvm, ir.Undefined)
        for place, value in enumerate(values):
            packed = builder.insert_element(packed, value, INT32(place))
        return packed

    return lanes(first, first, first, first), generate


@compiled_as(_build_pack_4)
def pack_4(first: Any, second: Any, third: Any, fourth: Any) -> Lanes:
    """Four numbers of the type of the first."""
    return np.array([first, second, third, fourth], type(first))


def _build_lane(_: Any, value: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.extract_element(*values)

    return value.dtype(value, place), generate


@compiled_as(_build_lane)
def lane(value: Lanes, place: int) -> Any:
    """One of the numbers."""
    return value[place]


def _build_with_lane(_: Any, value: Any, place: Any, number: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.insert_element(values[0], values[2], values[1])

    return value(value, place, number), generate


@compiled_as(_build_with_lane)
def with_lane(value: Lanes, place: int, number: Any) -> Lanes:
    """The same lanes but for one."""
    changed = value.copy()
    changed[place] = number
    return changed


def _permute(*order: int) -> Callable[..., Any]:
    """The same shuffle of each four lanes."""

    def build(_: Any, value: Any) -> Any:
        places = [start + lane for start in range(0, value.count, 4) for lane in order]

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.shuffle_vector(*values, *values, ir.Constant(ir.VectorType(INT32, value.count), places))

        return value(value), generate

    return build


@compiled_as(_permute(1, 2, 0, 3))
def yzxw(value: Lanes) -> Lanes:
    """Of each four lanes 1, 2, 0, 3: what a cross product needs."""
    return value.reshape(-1, 4)[:, [1, 2, 0, 3]].reshape(-1)


@compiled_as(_permute(1, 0, 2, 3))
def yxzw(value: Lanes) -> Lanes:
    """Of each four lanes 1, 0, 2, 3: what a rotation about z needs."""
    return value.reshape(-1, 4)[:, [1, 0, 2, 3]].reshape(-1)


def _merge(*order: int) -> Callable[..., Any]:
    """The same shuffle of each four lanes of two registers; 4 to 7 mean the second one's."""

    def build(_: Any, first: Any, second: Any) -> Any:
        count = first.count
        places = [start + lane % 4 + (count if lane >= 4 else 0) for start in range(0, count, 4) for lane in order]

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.shuffle_vector(*values, ir.Constant(ir.VectorType(INT32, count), places))

        return first(first, first), generate

    return build


def _fours(*values: Lanes) -> list[np.ndarray]:
    return [value.reshape(-1, 4) for value in values]


@compiled_as(_merge(0, 1, 2, 4))
def xyz_x(first: Lanes, second: Lanes) -> Lanes:
    """Of each four lanes 0, 1, 2 of the first, 0 of the second: with the next two, four points in three registers."""
    one, two = _fours(first, second)
    return np.hstack([one[:, :3], two[:, :1]]).reshape(-1)


@compiled_as(_merge(1, 2, 4, 5))
def yz_xy(first: Lanes, second: Lanes) -> Lanes:
    """Of each four lanes 1, 2 of the first, 0, 1 of the second."""
    one, two = _fours(first, second)
    return np.hstack([one[:, 1:3], two[:, :2]]).reshape(-1)


@compiled_as(_merge(2, 4, 5, 6))
def z_xyz(first: Lanes, second: Lanes) -> Lanes:
    """Of each four lane 2 of the first, lanes 0, 1, 2 of the second."""
    one, two = _fours(first, second)
    return np.hstack([one[:, 2:3], two[:, :3]]).reshape(-1)


@compiled_as(_merge(0, 2, 4, 6))
def even_lanes(first: Lanes, second: Lanes) -> Lanes:
    """Of each four lanes 0, 2 of the first, 0, 2 of the second: with `odd_lanes`, sums within registers."""
    one, two = _fours(first, second)
    return np.hstack([one[:, ::2], two[:, ::2]]).reshape(-1)


@compiled_as(_merge(1, 3, 5, 7))
def odd_lanes(first: Lanes, second: Lanes) -> Lanes:
    """Of each four lanes 1, 3 of the first, 1, 3 of the second."""
    one, two = _fours(first, second)
    return np.hstack([one[:, 1::2], two[:, 1::2]]).reshape(-1)


def _build_both(_: Any, low: Any, high: Any) -> Any:
    lanes = LanesType(low.dtype, 8)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.shuffle_vector(*values, ir.Constant(ir.VectorType(INT32, 8), list(range(8))))

    return lanes(low, low), generate


@compiled_as(_build_both)
def both(low: Lanes, high: Lanes) -> Lanes:
    """Two registers of four as one of eight."""
    return np.concatenate([low, high])


def _halves(first_start: int, second_start: int) -> Callable[..., Any]:
    def build(_: Any, first: Any, second: Any) -> Any:
        places = [*range(first_start, first_start + 4), *range(8 + second_start, 12 + second_start)]

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.shuffle_vector(*values, ir.Constant(ir.VectorType(INT32, 8), places))

        return first(first, first), generate

    return build


@compiled_as(_halves(0, 0))
def low_halves(first: Lanes, second: Lanes) -> Lanes:
    """The first four of eight of both."""
    return np.concatenate([first[:4], second[:4]])


@compiled_as(_halves(0, 4))
def low_and_high(first: Lanes, second: Lanes) -> Lanes:
    """The first four of eight of the first, the last four of the second."""
    return np.concatenate([first[:4], second[4:]])


@compiled_as(_halves(4, 4))
def high_halves(first: Lanes, second: Lanes) -> Lanes:
    """The last four of eight of both."""
    return np.concatenate([first[4:], second[4:]])


def _half(start: int) -> Callable[..., Any]:
    def build(_: Any, value: Any) -> Any:
        lanes = LanesType(value.dtype, 4)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            places = ir.Constant(ir.VectorType(INT32, 4), list(range(start, start + 4)))
            return builder.shuffle_vector(*values, *values, places)

        return lanes(value), generate

    return build


@compiled_as(_half(0))
def low_half(value: Lanes) -> Lanes:
    """The first four of eight."""
    return value[:4]


@compiled_as(_half(4))
def high_half(value: Lanes) -> Lanes:
    """The last four of eight."""
    return value[4:]


def _converted(value: Any, dtype: types.Float) -> tuple[Any, Callable[..., Any]]:
    lanes = LanesType(dtype, value.count)

    def convert(builder: Any, register: Any) -> Any:
        if value.dtype == dtype:
            return register
        return (builder.fpext if dtype == types.float64 else builder.fptrunc)(register, lanes.llvm)

    return lanes, convert


def _build_wide(_: Any, value: Any) -> Any:
    lanes, convert = _converted(value, types.float64)
    return lanes(value), lambda context, builder, signature, values: convert(builder, values[0])


@compiled_as(_build_wide)
def wide(value: Lanes) -> Lanes:
    """As float64."""
    return value.astype(np.float64)


def _build_as_in(_: Any, flat: Any, value: Any) -> Any:
    lanes, convert = _converted(value, flat.dtype)
    return lanes(flat, value), lambda context, builder, signature, values: convert(builder, values[1])


@compiled_as(_build_as_in)
def as_in(flat: np.ndarray, value: Lanes) -> Lanes:
    """In the dtype of an array, rounded."""
    return value.astype(flat.dtype)


def _build_where_at_least(_: Any, value: Any, least: Any, inside: Any, outside: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">=", *values[:2]), *values[2:])

    return inside(value, value, inside, inside), generate


@compiled_as(_build_where_at_least)
def where_at_least(value: Lanes, least: Lanes, inside: Lanes, outside: Lanes) -> Lanes:
    """`inside` in lanes where value >= least, else (also for NaN) `outside`; without a branch to be mispredicted."""
    return np.where(value >= least, inside, outside)


def _build_is_finite(_: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        nothing = builder.fsub(values[0], values[0])  # NaN where infinite or NaN
        bits = builder.bitcast(builder.fcmp_ordered("ord", nothing, nothing), ir.IntType(value.count))
        return builder.icmp_unsigned("==", bits, bits.type(-1))

    return types.boolean(value), generate


@compiled_as(_build_is_finite)
def is_finite(value: Lanes) -> bool:
    """True where every lane is; one comparison and one branch at most."""
    return bool(np.isfinite(value).all())


def _build_is_finite_xyz(_: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        nothing = builder.fsub(values[0], values[0])
        bits = builder.bitcast(builder.fcmp_ordered("ord", nothing, nothing), ir.IntType(value.count))
        spare = sum(8 << start for start in range(0, value.count, 4))
        return builder.icmp_unsigned("==", builder.or_(bits, bits.type(spare)), bits.type(-1))

    return types.boolean(value), generate


@compiled_as(_build_is_finite_xyz)
def is_finite_xyz(value: Lanes) -> bool:
    """True where of each four lanes 0, 1, 2 are: the spare lane of a point may hold anything."""
    return bool(np.isfinite(value.reshape(-1, 4)[:, :3]).all())


def _build_multiply_add(_: Any, first: Any, second: Any, third: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(first.llvm, [first.llvm] * 3)
        name = f"llvm.fma.v{first.count}f{first.dtype.bitwidth}"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)

    return first(first, first, first), generate


@compiled_as(_build_multiply_add)
def multiply_add(first: Lanes, second: Lanes, third: Lanes) -> Lanes:
    """first * second + third, rounded once in compiled code and twice where compilation is off."""
    return first * second + third


def _arithmetic(function: Callable[..., Any], instruction: str) -> None:
    def build(_: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return getattr(builder, instruction)(*values)

        return left(left, left), generate

    compute: Any = intrinsic(build)

    @overload(function, strict=False)  # names of arguments are annotated on one side only
    def choose(left: Any, right: Any) -> Any:
        if isinstance(left, LanesType) and left == right:
            return lambda left, right: compute(left, right)
        return None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")
