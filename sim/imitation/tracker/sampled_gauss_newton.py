"""Gauss-Newton steps from sampled roll-outs, without derivatives.

Around a centre x with residuals r, samples x_i = x + z_i with residuals r_i span a subspace in which the residuals are taken
as linear, r(x + Zᵀa) ≈ r + Yᵀa with the rows of Z the z_i and those of Y the r_i - r. There

    a = -(Y Yᵀ + λ s 1)⁻¹ Y r,   s = mean |y_i|²,

is the damped Gauss-Newton step (Levenberg-Marquardt in the span of the samples; the ensemble form of Iglesias, Law and
Stuart 2013, Inverse Problems 29). A few dampings λ are tried by one roll-out each, since contacts are not linear. Each residual
says in which direction it wants to go, so 28 samples do here what hundreds do in a search that only ranks costs.

Axis legend: B samples, X unknowns, M residuals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def damped_steps(
    deviations: np.ndarray, changes: np.ndarray, residual: np.ndarray, damping: Sequence[float]
) -> np.ndarray:
    """Steps from the centre, one for each damping.

    Args:
        deviations: Samples minus centre Z, shape (B, X).
        changes: Their residuals minus the centre's Y, shape (B, M).
        residual: Residuals of the centre r, shape (M,).
        damping: Values of λ, relative to the mean of |y_i|².

    Returns:
        Steps, shape (len(damping), X).
    """
    gram = changes @ changes.T
    slope = changes @ residual
    scale = float(np.trace(gram)) / len(gram)
    identity = np.eye(len(gram))
    return np.stack([-np.linalg.solve(gram + value * scale * identity, slope) @ deviations for value in damping])
