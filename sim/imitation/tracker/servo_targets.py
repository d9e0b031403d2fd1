"""Servo targets of every substep from base targets and knot offsets, compiled.

Axis legend: B samples, K substeps, D searched degrees of freedom.
"""

from __future__ import annotations

from numba import njit

from sim.imitation.tracker.whole_body import Array


@njit(cache=True, error_model="numpy", nogil=True)
def fill_controls(base: Array, offsets: Array, columns: Array, knot_steps: int, out: Array) -> None:
    """Servo targets of each substep: base targets plus linearly interpolated knot offsets.

    Args:
        base: Base targets over the horizon [rad], shape (K, 69).
        offsets: Knot offsets, first row in force now, shape (B, knots + 1, D).
        columns: Servo of each searched degree of freedom, shape (D,).
        knot_steps: Substeps between knots.
        out: Output, shape (B, K, 69).
    """
    for b in range(offsets.shape[0]):
        out[b] = base
        for k in range(base.shape[0]):
            knot = min(k // knot_steps, offsets.shape[1] - 2)
            share = (k + 1 - knot * knot_steps) / knot_steps
            for i in range(columns.shape[0]):
                out[b, k, columns[i]] += offsets[b, knot, i] * (1.0 - share) + offsets[b, knot + 1, i] * share
