"""Substep torques to imposed angular momentum (impulse): the specification, NumPy.

Axis legend: T transitions, S substeps of a transition, J joints, E environments.
"""

from __future__ import annotations

import numpy as np


def integrate_torque(torque: np.ndarray, step: float, impulse: np.ndarray) -> None:
    """Impulse of each transition, the sum over its substeps of torque times step.

    lambda_tj = h sum_s tau_tsj, summed as if in twice the precision of the torques: whatever S, the result is the exact sum,
    rounded a last time or two. For float64 torques the error of every addition is carried along (Knuth's two-sum); for
    float32 torques a float64 sum is that twofold precision, with the same bound and a seventh of the additions. The product
    with h is float64. A NaN or infinite torque gives NaN, S = 0 zero.

    Args:
        torque: Torque that acted on the child at each joint [N·m], child frame, shape (T, S, J, 3).
        step: Physics step h [s].
        impulse: Written: imposed angular momentum [N·m·s], child frame, shape (T, J, 3), in the dtype of `torque`.

    Source: ImDy section 4.1 (imposed angular momentum); Ogita, Rump, Oishi 2005, algorithm 4.1 (compensated sum).
    """
    total, error = np.zeros((2, torque.shape[0], *torque.shape[2:]))
    for substep in range(torque.shape[1]):
        if torque.dtype == np.float32:
            total = total + torque[:, substep]
        else:
            total, lost = _two_sum(total, torque[:, substep])
            error = error + lost
    with np.errstate(invalid="ignore"):  # infinity minus itself: NaN, as documented
        impulse[...] = (total + error + (total - total)) * step


def add_substep(total: np.ndarray, error: np.ndarray, torque: np.ndarray, step: float) -> None:
    """Add torque · h of one substep to a running compensated sum, in place: no substep torque need be stored.

    Args:
        total: Running sum [N·m·s], shape (E, J, 3), float64; zeros at the start of a transition.
        error: What the running sum lost to rounding, same shape; zeros at the start. The impulse is total + error.
        torque: Torque of this substep [N·m], child frame, shape (E, J, 3), any float dtype.
        step: Physics step h [s].
    """
    total[...], lost = _two_sum(total, torque.astype(np.float64) * step)
    error += lost


def _two_sum(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rounded sum and its exact rounding error, without a branch on the sizes."""
    with np.errstate(invalid="ignore"):  # infinite torques become NaN, as documented
        total = first + second
        virtual = total - first
        return total, (first - (total - virtual)) + (second - virtual)
