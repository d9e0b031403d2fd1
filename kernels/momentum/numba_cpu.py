"""Imposed angular momentum, compiled. Same contracts as `reference`, bit for bit.

The compiler may not reassociate (no fastmath), or the compensation would vanish. Joints' components lie side by side in
memory and fill registers; float32 torques are summed 24 components at a time, so that running sums never leave them, while
the torques to come are on their way to the cache.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels._lane_memory import finish_stores, load_8, prefetch, store
from kernels._lanes import as_in, spread_8, wide
from kernels._streaming import copy_out, is_past_cache
from kernels._threads import over_rows

_LEAST_NUMBERS = 1 << 16
"""Torque components that are worth a thread."""
_COLUMNS = 24
"""Components whose sums are kept in registers: three of eight numbers, which divide the 69 of 23 joints best."""
_AHEAD = 512
"""Torque components between what is summed and what is fetched."""
_ROWS = 16
"""Transitions that leave the cache together."""


def integrate_torque(torque: np.ndarray, step: float, impulse: np.ndarray) -> None:
    """Same contract as reference."""
    transitions, substeps, joints = torque.shape[:3]
    width = 3 * joints
    least = -(-_LEAST_NUMBERS // max(width * substeps, 1))
    torque = np.ascontiguousarray(torque)
    if torque.dtype == np.float32 and width >= _COLUMNS:
        over_rows(
            _integrate_registers, transitions, least, torque.reshape(-1), substeps, width, step, impulse.reshape(-1),
            is_past_cache(impulse),
        )  # fmt: skip
        return
    integrate = _integrate_float32 if torque.dtype == np.float32 else _integrate_float64
    flat_TSD = torque.reshape(transitions, substeps, width)
    over_rows(integrate, transitions, least, flat_TSD, step, impulse.reshape(transitions, width))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _integrate_registers(
    first_row: int, last_row: int, flat: np.ndarray, substeps: int, width: int, step: float, impulse: np.ndarray,
    past_cache: bool,
) -> None:  # fmt: skip
    """Plain float64 sums, twice the precision of the terms; the last columns are summed again with those before them."""
    h_8 = spread_8(step)
    rows = np.empty(_ROWS * width, np.float32)
    for start in range(first_row, last_row, _ROWS):
        stop = min(start + _ROWS, last_row)
        for t in range(start, stop):
            coming = t * substeps * width + _AHEAD  # in the order of memory, whatever the order of the sums
            for column in range(0, width, _COLUMNS):
                d = min(column, width - _COLUMNS)
                low, middle, high = spread_8(0.0), spread_8(0.0), spread_8(0.0)
                for s in range(substeps):
                    at = (t * substeps + s) * width + d
                    prefetch(flat, coming)
                    prefetch(flat, coming + 16)
                    coming += _COLUMNS
                    low = low + wide(load_8(flat, at))
                    middle = middle + wide(load_8(flat, at + 8))
                    high = high + wide(load_8(flat, at + 16))
                here = (t - start) * width + d
                store(rows, here, as_in(rows, (low + (low - low)) * h_8))  # infinity becomes NaN
                store(rows, here + 8, as_in(rows, (middle + (middle - middle)) * h_8))
                store(rows, here + 16, as_in(rows, (high + (high - high)) * h_8))
        copy_out(impulse, start * width, rows, (stop - start) * width, past_cache)
    finish_stores()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _integrate_float32(
    first_row: int, last_row: int, torque_TSD: np.ndarray, step: float, impulse_TD: np.ndarray
) -> None:
    """Plain float64 sums: twice the precision of the terms."""
    substeps, width = torque_TSD.shape[1:]
    total_D = np.empty(width)
    for t in range(first_row, last_row):
        for d in range(width):
            total_D[d] = 0.0
        if substeps % 2:
            row_D = torque_TSD[t, 0]
            for d in range(width):
                total_D[d] = 0.0 + np.float64(row_D[d])  # no negative zero
        for s in range(substeps % 2, substeps, 2):
            row_D, next_D = torque_TSD[t, s], torque_TSD[t, s + 1]
            for d in range(width):
                total_D[d] = (total_D[d] + np.float64(row_D[d])) + np.float64(next_D[d])
        out_D = impulse_TD[t]
        for d in range(width):
            out_D[d] = (total_D[d] + (total_D[d] - total_D[d])) * step  # infinity becomes NaN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _integrate_float64(
    first_row: int, last_row: int, torque_TSD: np.ndarray, step: float, impulse_TD: np.ndarray
) -> None:
    """Sums with the error of every addition beside them."""
    substeps, width = torque_TSD.shape[1:]
    total_D = np.empty(width)
    error_D = np.empty(width)
    for t in range(first_row, last_row):
        if substeps == 0:
            impulse_TD[t] = 0.0
            continue
        row_D, next_D = torque_TSD[t, 0], torque_TSD[t, 1 - substeps % 2]
        # A first term x is x + 0 with the error x - x: no negative zero, and NaN for infinity, as adding to zero gives.
        for d in range(width):
            first = row_D[d] + 0.0
            if substeps % 2:
                total_D[d], error_D[d] = first, row_D[d] - row_D[d]
            else:
                total = first + next_D[d]
                virtual = total - first
                error_D[d] = (row_D[d] - row_D[d]) + ((first - (total - virtual)) + (next_D[d] - virtual))
                total_D[d] = total
        for s in range(2 - substeps % 2, substeps, 2):
            row_D, next_D = torque_TSD[t, s], torque_TSD[t, s + 1]
            for d in range(width):
                first = total_D[d]
                middle = first + row_D[d]
                virtual = middle - first
                lost = (first - (middle - virtual)) + (row_D[d] - virtual)
                total = middle + next_D[d]
                virtual = total - middle
                error_D[d] = (error_D[d] + lost) + ((middle - (total - virtual)) + (next_D[d] - virtual))
                total_D[d] = total
        out_D = impulse_TD[t]
        for d in range(width):
            out_D[d] = (total_D[d] + error_D[d] + (total_D[d] - total_D[d])) * step


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
