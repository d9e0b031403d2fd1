"""Forces that can only push: ridge-regularised non-negative least squares on a few contact points, for many frames at once.

Axis legend: T frames, n forces of a frame (ragged over frames through offsets).
"""

from __future__ import annotations

from numba import njit

from sim.imitation.tracker.whole_body import Array


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
    for t in range(wanted.shape[0]):
        first, last = offsets[t], offsets[t + 1]
        rest[t] = ridge_nonnegative(columns[first:last], ridge[first:last], wanted[t], force[first:last], sweeps, 1e-9)
        compliance[t] = 0.0
        for r in range(6):
            compliance[t, r, r] = 1.0
        for i in range(first, last):
            if force[i] > 0.0:
                for r in range(6):
                    for s in range(6):
                        compliance[t, r, s] += columns[i, r] / ridge[i] * columns[i, s]
