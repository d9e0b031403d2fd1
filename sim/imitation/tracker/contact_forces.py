"""Forces that can only push: ridge-regularised non-negative least squares on a few contact points, for many frames at once.

Frames are solved side by side in the lanes of vector registers (`LANES` at a time), each with the operations of
`ridge_nonnegative` in their order: the result is the same to the last bit, in a quarter of the time.

Axis legend: T frames, n forces of a frame (ragged over frames through offsets), L = `LANES`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import errors
from numba.extending import intrinsic

from sim.imitation.tracker.whole_body import Array

LANES = 8
"""Frames that are solved side by side: two vectors of four; with 16 the registers no longer hold a step."""
NEWTON_STEPS = 60
"""Newton steps of `ridge_nonnegative_exact`; five are usual."""
SHORTEST_STEP = 2.0**-20
"""Share of a Newton step below which rounding decides."""
ROUNDING = 1e-9
"""Share of the wanted wrench by which a solution may miss its own condition where the active set does not settle."""


@njit(cache=True, error_model="numpy")
def ridge_nonnegative(
    columns: Array, ridge: Array, wanted: Array, force: Array, sweeps: int, tolerance: float
) -> Array:
    """Forces f >= 0 that minimise |wanted - columnsᵀ·f|² + Σ ridge·f², by coordinate descent; unique thanks to the ridge.

    Args:
        columns: Wrenches of unit forces, shape (n, 6).
        ridge: Weights ρ² > 0, shape (n,).
        wanted: Wrench to supply, shape (6,).
        force: Start, and the result, shape (n,).
        sweeps: Largest number of sweeps.
        tolerance: Change of all forces in one sweep at which it ends.

    Returns:
        Wrench that stays missing, shape (6,).
    """
    count = columns.shape[0]
    rest = wanted.copy()
    square = ridge.copy()
    for i in range(count):
        for r in range(6):
            square[i] += columns[i, r] ** 2
            rest[r] -= columns[i, r] * force[i]
    for _ in range(sweeps):
        change = 0.0
        for i in range(count):
            gradient = -ridge[i] * force[i]
            for r in range(6):
                gradient += columns[i, r] * rest[r]
            new = max(0.0, force[i] + gradient / square[i])
            step = new - force[i]
            if step != 0.0:
                for r in range(6):
                    rest[r] -= columns[i, r] * step
                force[i] = new
                change = max(change, abs(step))
        if change < tolerance:
            break
    return rest


@njit(cache=True, error_model="numpy")
def ridge_nonnegative_exact(columns: Array, ridge: Array, wanted: Array, force: Array) -> bool:
    """The minimiser of `ridge_nonnegative`, to rounding.

    With r the wrench that stays missing, f_i = max(0, a_i·r)/ρ_i², and r is the minimum of the convex, piecewise quadratic
    φ(r) = ½|r|² + ½Σ max(0, a_i·r)²/ρ_i² - wanted·r in six unknowns; Newton's method with halved steps ends on the right
    active set after a few of them.

    Args:
        columns: Wrenches of unit forces a_i, shape (n, 6).
        ridge: Weights ρ_i² > 0, shape (n,).
        wanted: Wrench to supply, shape (6,).
        force: Output, shape (n,).

    Returns:
        Whether it was found. Where some a_i·r is zero to rounding the active set never settles, and what counts is that r is
        the wrench that these forces leave missing.
    """
    count = columns.shape[0]
    r, pull, value = np.zeros(6), np.zeros(count), 0.0
    for _ in range(NEWTON_STEPS):
        hessian = np.eye(6)
        for i in range(count):
            if pull[i] > 0.0:
                for k in range(6):
                    for m in range(6):
                        hessian[k, m] += columns[i, k] / ridge[i] * columns[i, m]
        target = np.linalg.solve(hessian, wanted)  # φ of this active set is least there
        length = 1.0
        while True:
            trial = r + length * (target - r)
            there, is_same = 0.0, True
            for k in range(6):
                there += trial[k] * (0.5 * trial[k] - wanted[k])
            for i in range(count):
                along = 0.0
                for k in range(6):
                    along += columns[i, k] * trial[k]
                is_same = is_same and (along > 0.0) == (pull[i] > 0.0)
                force[i] = max(0.0, along) / ridge[i]
                there += 0.5 * max(0.0, along) * force[i]
            if is_same and length == 1.0:
                return True
            if there < value or length < SHORTEST_STEP:
                break
            length *= 0.5
        r, value = trial, there
        for i in range(count):
            pull[i] = force[i]
    worst, scale = 0.0, 0.0
    for k in range(6):
        missing = wanted[k]
        for i in range(count):
            missing -= columns[i, k] * force[i]
        worst, scale = max(worst, abs(missing - r[k])), max(scale, abs(wanted[k]))
    return worst <= ROUNDING * scale


@intrinsic
def _descend_one(typing: Any, block: Any, state: Any) -> Any:
    """One coordinate step of `ridge_nonnegative` in every lane, as vector instructions.

    The compiler's own vectoriser leaves the loop over lanes scalar (it cannot tell the rows apart). Rows are aligned as numbers
    are (8 B), not as vectors; comparisons are ordered, so that NaN counts as not larger, as in `max(0.0, x)`.

    Args:
        typing: Numba's typing context.
        block: Rows a_0 to a_5, ρ², |a|² + ρ², f of one force, the last one changed, shape (9, L).
        state: Rows of the missing wrench, whether the lane still moves (1 or 0), its largest step in this sweep; the wrench
            and the step are changed, shape (8, L).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.DoubleType(), LANES)
        bases = [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args, arguments, strict=True)
        ]

        def row(array: int, index: int) -> Any:
            place = builder.gep(bases[array], [ir.Constant(ir.IntType(64), index * LANES)])
            return builder.bitcast(place, vector.as_pointer())

        def load(array: int, index: int) -> Any:
            return builder.load(row(array, index), align=8)

        zero = ir.Constant(vector, [0.0] * LANES)
        force = load(0, 8)
        gradient = builder.fmul(builder.fneg(load(0, 6)), force)
        for r in range(6):
            gradient = builder.fadd(gradient, builder.fmul(load(0, r), load(1, r)))
        new = builder.fadd(force, builder.fdiv(gradient, load(0, 7)))
        new = builder.select(builder.fcmp_ordered(">", new, zero), new, zero)
        new = builder.select(builder.fcmp_ordered(">", load(1, 6), zero), new, force)
        step = builder.fsub(new, force)
        builder.store(new, row(0, 8), align=8)
        size = builder.select(builder.fcmp_ordered(">", step, zero), step, builder.fneg(step))
        largest = load(1, 7)
        builder.store(builder.select(builder.fcmp_ordered(">", size, largest), size, largest), row(1, 7), align=8)
        for r in range(6):  # loaded anew: the registers do not hold them all
            builder.store(builder.fsub(load(1, r), builder.fmul(load(0, r), step)), row(1, r), align=8)
        return context.get_dummy_value()

    for kind, size in ((block, "(9, L)"), (state, "(8, L)")):
        if not (
            isinstance(kind, types.Array) and kind.dtype == types.float64 and kind.ndim == 2 and kind.layout == "C"
        ):
            raise errors.TypingError(f"expected a contiguous float64 array of shape {size}, got {kind}")
    return types.void(block, state), generate


@njit(cache=True, error_model="numpy")
def _descend(block: Array, state: Array, sweeps: int, tolerance: float) -> None:
    """The sweeps of `ridge_nonnegative` for L frames; `block` (n, 9, L) and `state` (8, L) are those of `_descend_one`."""
    for _ in range(sweeps):
        state[7] = 0.0
        for i in range(block.shape[0]):
            _descend_one(block[i], state)  # pyright: ignore[reportCallIssue]  (intrinsics take no typing context)
        for k in range(LANES):
            if state[7, k] < tolerance:
                state[6, k] = 0.0
        if state[6].max() == 0.0:
            break


@njit(cache=True, error_model="numpy")
def supply_frames(
    columns: Array, ridge: Array, offsets: Array, wanted: Array, force: Array, sweeps: int, rest: Array
) -> None:
    """`ridge_nonnegative` of every frame.

    Args:
        columns: Wrenches of unit forces of all frames, shape (offsets[-1], 6).
        ridge: Weights ρ², shape (offsets[-1],).
        offsets: Where each frame's forces begin, shape (T + 1,).
        wanted: Wrenches to supply, shape (T, 6).
        force: Start, and the result, shape (offsets[-1],).
        sweeps: Largest number of sweeps.
        rest: Output, wrench that stays missing, shape (T, 6).
    """
    frames, most = wanted.shape[0], 0
    for t in range(frames):
        most = max(most, offsets[t + 1] - offsets[t])
    block, state = np.empty((most, 9, LANES)), np.empty((8, LANES))
    for start in range(0, frames, LANES):
        lanes, count = min(LANES, frames - start), 0
        for k in range(lanes):
            count = max(count, offsets[start + k + 1] - offsets[start + k])
        block[:count], state[:] = 0.0, 0.0  # a frame with fewer forces has columns of zeros, which no step moves
        block[:count, 6:8], state[6] = 1.0, 1.0
        for k in range(lanes):
            first, last = offsets[start + k], offsets[start + k + 1]
            state[:6, k] = wanted[start + k]
            for i in range(first, last):
                square = ridge[i]
                for r in range(6):
                    block[i - first, r, k] = columns[i, r]
                    square += columns[i, r] ** 2
                    state[r, k] -= columns[i, r] * force[i]
                block[i - first, 6, k], block[i - first, 7, k], block[i - first, 8, k] = ridge[i], square, force[i]
        _descend(block[:count], state, sweeps, 1e-9)
        for k in range(lanes):
            first, last = offsets[start + k], offsets[start + k + 1]
            rest[start + k] = state[:6, k]
            for i in range(first, last):
                force[i] = block[i - first, 8, k]


@njit(cache=True, error_model="numpy")
def compliance_of(columns: Array, ridge: Array, offsets: Array, pushing: Array) -> Array:
    """What forces that push give way to a wrench that is missing, 1 + A_a ρ⁻² A_aᵀ over the pushing ones, shape (T, 6, 6).

    Args:
        columns: Wrenches of unit forces of all frames, shape (offsets[-1], 6).
        ridge: Weights ρ², shape (offsets[-1],).
        offsets: Where each frame's forces begin, shape (T + 1,).
        pushing: Which forces push, shape (offsets[-1],), bool.
    """
    compliance = np.zeros((offsets.shape[0] - 1, 6, 6))
    for t in range(compliance.shape[0]):
        for r in range(6):
            compliance[t, r, r] = 1.0
        for i in range(offsets[t], offsets[t + 1]):
            if pushing[i]:
                for r in range(6):
                    for s in range(6):
                        compliance[t, r, s] += columns[i, r] / ridge[i] * columns[i, s]
    return compliance
