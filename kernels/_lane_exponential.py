"""The exponential of several float32 numbers side by side, which a compiler otherwise takes one by one from a library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from kernels._lanes import INT32, Lanes, compiled_as

_LEAST = -87.0
"""exp of less is taken as zero: 1.6e-38, where normal numbers end."""
_LN_2_HIGH = 0.693359375
"""ln 2 to ten bits, so that its product with an exponent is exact."""
_LN_2_LOW = math.log(2.0) - _LN_2_HIGH
_TERMS = tuple(1.0 / math.factorial(power) for power in range(7, -1, -1))
"""Taylor's series on |r| <= ln 2 / 2: the first term left out is 5e-9 of the sum."""


def _build_exponential(_: Any, value: Any) -> Any:
    assert value.dtype == types.float32, f"{value} is not float32"

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind, whole = value.llvm, ir.VectorType(INT32, value.count)

        def call(name: str, *operands: Any) -> Any:
            function = ir.FunctionType(kind, [kind] * len(operands))
            full = f"llvm.{name}.v{value.count}f32"
            return builder.call(cgutils.get_or_insert_function(builder.module, function, full), operands)

        def constant(number: float) -> ir.Constant:
            return ir.Constant(kind, [float(np.float32(number))] * value.count)

        (given,) = values
        is_inside = builder.fcmp_ordered(">=", given, constant(_LEAST))
        x = builder.select(is_inside, given, constant(_LEAST))
        exponent = call("rint", builder.fmul(x, constant(1.0 / math.log(2.0))))
        rest = call("fma", exponent, constant(-_LN_2_HIGH), x)
        rest = call("fma", exponent, constant(-_LN_2_LOW), rest)
        total = constant(_TERMS[0])
        for term in _TERMS[1:]:
            total = call("fma", total, rest, constant(term))
        bits = builder.add(builder.fptosi(exponent, whole), ir.Constant(whole, [127] * value.count))
        power = builder.bitcast(builder.shl(bits, ir.Constant(whole, [23] * value.count)), kind)
        outside = builder.select(builder.fcmp_unordered("uno", given, given), given, constant(0.0))
        return builder.select(is_inside, builder.fmul(total, power), outside)

    return value(value), generate


@compiled_as(_build_exponential)
def exponential(value: Lanes) -> Lanes:
    """exp(x) of float32 numbers up to 88, to 1.5 units in the last place; 0 below -87, NaN for NaN.

    exp(x) = 2^n exp(r), n the integer next to x / ln 2, |r| <= ln 2 / 2.
    """
    return np.where(value < _LEAST, 0.0, np.exp(value.astype(np.float64))).astype(np.float32)
