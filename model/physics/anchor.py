"""A learned division between the feet under a total that obeys Newton ("anchored" forces).

Markers tell the total force well and its division between the feet badly (half and half of the error in walking, all of
it in standing and squatting); a learned solver divides well and knows nothing of this person's own acceleration beyond
its six frames. So the solver divides, and the slow part of its total is replaced by m·(a + g).

Axis legend: T frames at 30 Hz, C contacts: left foot, right foot, rest of the body.
"""

from __future__ import annotations

import numpy as np

from dataset.skeleton import GRAVITY
from model.physics.quality import slow_part

LEAST_TOTAL = 0.1
"""Below this predicted total [body weights] nothing is anchored: the body is in flight and there is no share."""


def anchor_to_newton(force_TC3: np.ndarray, newton_T3: np.ndarray) -> np.ndarray:
    """Forces whose total has the slow part of Newton's and the fast part of the prediction's.

    F_c ← F_c + w_c · (m (a + g) − slow(Σ F)), with w_c the share of c in the total vertical force. Internal forces (the
    feet pushing against each other) and the division of the vertical force stay the solver's.

    Args:
        force_TC3: Predicted forces on the contacts [N/kg], world, shape (T, C, 3); zero off the ground.
        newton_T3: a + g of the centre of mass [N/kg], low-passed at 6 Hz, shape (T, 3); NaN where unknown.

    Returns:
        Anchored forces, shape (T, C, 3); unchanged where Newton's total is unknown or nothing touches the ground.
    """
    vertical = np.maximum(force_TC3[:, :, 2], 0.0)
    total = vertical.sum(axis=1)
    missing = newton_T3 - slow_part(force_TC3.sum(axis=1))
    use = np.isfinite(missing).all(axis=1) & (total > LEAST_TOTAL * GRAVITY)
    share = vertical / np.where(use, total, 1.0)[:, None]
    correction = share[:, :, None] * np.where(use[:, None], missing, 0.0)[:, None, :]
    return force_TC3 + correction
