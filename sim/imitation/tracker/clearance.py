"""How deep limbs pass through each other, compiled: capsules around the bodies, distances of their axes.

Axis legend: N = 24 bodies, P body pairs (`tracker.limits.clearance_capsules`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.imitation.tracker.whole_body import Array, rotate


@njit(cache=True, error_model="numpy")
def _segment_distance(a0: Array, a1: Array, b0: Array, b1: Array) -> float:
    """Distance between two line segments [m] (Ericson, Real-Time Collision Detection, section 5.1.9)."""
    dd1 = dd2 = dr1 = dr2 = dd12 = 0.0
    for i in range(3):
        u, v, r = a1[i] - a0[i], b1[i] - b0[i], a0[i] - b0[i]
        dd1 += u * u
        dd2 += v * v
        dr1 += u * r
        dr2 += v * r
        dd12 += u * v
    dd1, dd2 = max(dd1, 1e-12), max(dd2, 1e-12)
    denominator = dd1 * dd2 - dd12 * dd12
    s = min(max((dd12 * dr2 - dr1 * dd2) / denominator, 0.0), 1.0) if denominator > 1e-15 else 0.0
    t = (dd12 * s + dr2) / dd2
    if t < 0.0:
        t, s = 0.0, min(max(-dr1 / dd1, 0.0), 1.0)
    elif t > 1.0:
        t, s = 1.0, min(max((dd12 - dr1) / dd1, 0.0), 1.0)
    square = 0.0
    for i in range(3):
        gap = a0[i] + s * (a1[i] - a0[i]) - b0[i] - t * (b1[i] - b0[i])
        square += gap * gap
    return np.sqrt(square)


@njit(cache=True, error_model="numpy")
def penetration_depths(pos: Array, rot: Array, ends: Array, radius: Array, pairs: Array, out: Array) -> None:
    """Depth by which the capsules of each body pair overlap [m], zero where they do not; out has shape (P,)."""
    point = np.zeros((4, 3))
    for i in range(pairs.shape[0]):
        for side in range(2):
            b = pairs[i, side]
            for end in range(2):
                rotate(rot[b], ends[b, end], point[2 * side + end])
                for k in range(3):
                    point[2 * side + end, k] += pos[b, k]
        gap = _segment_distance(point[0], point[1], point[2], point[3]) - radius[pairs[i, 0]] - radius[pairs[i, 1]]
        out[i] = max(0.0, -gap)
