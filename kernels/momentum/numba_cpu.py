"""Imposed angular momentum, compiled for one CPU core. Same contracts as `reference`, bit for bit.

The compiler may not reassociate (no fastmath), or the compensation would vanish. The innermost loop runs over the
joints' components, which lie side by side in memory and fill vector registers.
"""

from __future__ import annotations

import numba
import numpy as np


def integrate_torque(torque: np.ndarray, step: float) -> np.ndarray:
    """Same contract as reference."""
    transitions, substeps = torque.shape[:2]
    width = int(np.prod(torque.shape[2:]))
    impulse = np.empty((transitions, *torque.shape[2:]), dtype=torque.dtype)
    flat = np.ascontiguousarray(torque).reshape(transitions, substeps, width)
    _integrate(flat, step, impulse.reshape(transitions, width))
    return impulse


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _integrate(torque_TSD: np.ndarray, step: float, impulse_TD: np.ndarray) -> None:
    transitions, substeps, width = torque_TSD.shape
    total_D = np.empty(width)
    error_D = np.empty(width)
    for t in range(transitions):
        for d in range(width):
            total_D[d] = 0.0
            error_D[d] = 0.0
        for s in range(substeps):
            row_D = torque_TSD[t, s]
            for d in range(width):
                term = np.float64(row_D[d])
                first = total_D[d]
                total = first + term
                virtual = total - first
                error_D[d] += (first - (total - virtual)) + (term - virtual)
                total_D[d] = total
        for d in range(width):
            impulse_TD[t, d] = (total_D[d] + error_D[d]) * step


def add_substep(total: np.ndarray, error: np.ndarray, torque: np.ndarray, step: float) -> None:
    """Same contract as reference."""
    _add(total.reshape(-1), error.reshape(-1), np.ascontiguousarray(torque).reshape(-1), step)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add(total_D: np.ndarray, error_D: np.ndarray, torque_D: np.ndarray, step: float) -> None:
    for d in range(total_D.shape[0]):
        term = np.float64(torque_D[d]) * step
        first = total_D[d]
        total = first + term
        virtual = total - first
        error_D[d] += (first - (total - virtual)) + (term - virtual)
        total_D[d] = total
