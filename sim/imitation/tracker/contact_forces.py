"""Forces that can only push: ridge-regularised non-negative least squares on a few contact points, for many frames at once.

Frames are solved side by side in the lanes of vector registers (`LANES` at a time), each with the operations of
`ridge_nonnegative` in their order: the result is the same to the last bit, in a third of the time.

Axis legend: T frames, n forces of a frame (ragged over frames through offsets), L = `LANES`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.imitation.tracker.whole_body import Array

LANES = 40
"""Frames that are solved side by side; measured fastest of 8 to 128."""
NEWTON_STEPS = 60
"""Newton steps of `ridge_nonnegative_exact`; five are usual."""
SHORTEST_STEP = 2.0**-20
"""Share of a Newton step below which rounding decides."""


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
        Whether the active set settled.
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
    return False


@njit(cache=True, error_model="numpy")
def _descend(
    columns: Array, ridge: Array, square: Array, rest: Array, force: Array, sweeps: int, tolerance: float
) -> None:
    """The sweeps of `ridge_nonnegative` for L frames; rest (6, L) and force (n, L) are start and result.

    Loops over lanes are short and many because the compiler vectorises those only that read and write few arrays.

    Args:
        columns: Wrenches of unit forces, zero where a frame has fewer forces, shape (n, 6, L).
        ridge: Weights ρ², 1 there, shape (n, L).
        square: |column|² + ρ², 1 there, shape (n, L).
        rest: Wrench that is missing, shape (6, L).
        force: Forces, 0 there, shape (n, L).
        sweeps: Largest number of sweeps.
        tolerance: Change of all forces of a frame in one sweep at which the frame is left alone.
    """
    moves, change, step = np.ones(LANES), np.empty(LANES), np.empty(LANES)
    r0, r1, r2, r3, r4, r5 = rest[0], rest[1], rest[2], rest[3], rest[4], rest[5]
    for _ in range(sweeps):
        change[:] = 0.0
        for i in range(columns.shape[0]):
            weight, total, f = ridge[i], square[i], force[i]
            c = columns[i]
            c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
            for k in range(LANES):
                gradient = -weight[k] * f[k]
                gradient += c0[k] * r0[k]
                gradient += c1[k] * r1[k]
                gradient += c2[k] * r2[k]
                step[k] = gradient
            for k in range(LANES):
                gradient = step[k]
                gradient += c3[k] * r3[k]
                gradient += c4[k] * r4[k]
                gradient += c5[k] * r5[k]
                step[k] = gradient
            for k in range(LANES):
                old = f[k]
                new = old + step[k] / total[k]
                new = new if new > 0.0 else 0.0
                new = new if moves[k] > 0.0 else old
                f[k] = new
                step[k] = new - old
                size = abs(step[k])
                change[k] = size if size > change[k] else change[k]
            for k in range(LANES):
                r0[k] -= c0[k] * step[k]
                r1[k] -= c1[k] * step[k]
                r2[k] -= c2[k] * step[k]
            for k in range(LANES):
                r3[k] -= c3[k] * step[k]
                r4[k] -= c4[k] * step[k]
                r5[k] -= c5[k] * step[k]
        for k in range(LANES):
            if change[k] < tolerance:
                moves[k] = 0.0
        if moves.max() == 0.0:
            break


@njit(cache=True, error_model="numpy")
def supply_frames(
    columns: Array,
    ridge: Array,
    offsets: Array,
    wanted: Array,
    force: Array,
    sweeps: int,
    rest: Array,
    compliance: Array,
) -> None:
    """`ridge_nonnegative` of every frame, and what its active forces give to the wrench that is missing.

    Args:
        columns: Wrenches of unit forces of all frames, shape (offsets[-1], 6).
        ridge: Weights ρ², shape (offsets[-1],).
        offsets: Where each frame's forces begin, shape (T + 1,).
        wanted: Wrenches to supply, shape (T, 6).
        force: Start, and the result, shape (offsets[-1],).
        sweeps: Largest number of sweeps.
        rest: Output, wrench that stays missing, shape (T, 6).
        compliance: Output, 1 + A_a ρ⁻² A_aᵀ of the active forces A_a, shape (T, 6, 6).
    """
    frames, most = wanted.shape[0], 0
    for t in range(frames):
        most = max(most, offsets[t + 1] - offsets[t])
    lane_columns, lane_rest = np.empty((most, 6, LANES)), np.empty((6, LANES))
    lane_ridge, lane_square, lane_force = np.empty((most, LANES)), np.empty((most, LANES)), np.empty((most, LANES))
    for start in range(0, frames, LANES):
        lanes, count = min(LANES, frames - start), 0
        for k in range(lanes):
            count = max(count, offsets[start + k + 1] - offsets[start + k])
        lane_columns[:count], lane_force[:count], lane_rest[:] = 0.0, 0.0, 0.0
        lane_ridge[:count], lane_square[:count] = 1.0, 1.0
        for k in range(lanes):
            first, last = offsets[start + k], offsets[start + k + 1]
            lane_rest[:, k] = wanted[start + k]
            for i in range(first, last):
                square = ridge[i]
                for r in range(6):
                    lane_columns[i - first, r, k] = columns[i, r]
                    square += columns[i, r] ** 2
                    lane_rest[r, k] -= columns[i, r] * force[i]
                lane_ridge[i - first, k], lane_square[i - first, k] = ridge[i], square
                lane_force[i - first, k] = force[i]
        _descend(
            lane_columns[:count], lane_ridge[:count], lane_square[:count], lane_rest, lane_force[:count], sweeps, 1e-9
        )
        for k in range(lanes):
            first, last = offsets[start + k], offsets[start + k + 1]
            rest[start + k] = lane_rest[:, k]
            for i in range(first, last):
                force[i] = lane_force[i - first, k]
    for t in range(frames):
        compliance[t] = 0.0
        for r in range(6):
            compliance[t, r, r] = 1.0
        for i in range(offsets[t], offsets[t + 1]):
            if force[i] > 0.0:
                for r in range(6):
                    for s in range(6):
                        compliance[t, r, s] += columns[i, r] / ridge[i] * columns[i, s]
