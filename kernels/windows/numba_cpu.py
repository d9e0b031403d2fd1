"""Flat frames to canonical windows, compiled: one pass over the markers that a window keeps, no temporary arrays.

Axis legend: G flat frames, P markers a frame, B windows, M tokens a window, Q = 2 W + 2 frames a window, W = half_width
before t and after t + 1, F = 6 Q features.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kernels.windows.reference import Disturbance


@njit(cache=True, error_model="numpy")
def _fill(
    marker_pos_GP3: np.ndarray, frame_B: np.ndarray, index_BM: np.ndarray, origin_B3: np.ndarray, heading_B: np.ndarray,
    is_mirrored_B: np.ndarray, has_noise: bool, table_L: np.ndarray, start_B: np.ndarray, offset_B: np.ndarray,
    jitter_B: np.ndarray, half_width: int, rate: float, tokens_BMF: np.ndarray, mask_BM: np.ndarray,
) -> None:  # fmt: skip
    batch, num_tokens = index_BM.shape
    num_frames = 2 * half_width + 2
    kind = marker_pos_GP3.dtype.type
    step, half_step = kind(rate), kind(0.5 * rate)
    for b in range(batch):
        cosine, sine = kind(np.cos(heading_B[b])), kind(np.sin(heading_B[b]))
        side = kind(-1.0 if is_mirrored_B[b] else 1.0)
        ox, oy, oz = origin_B3[b, 0], origin_B3[b, 1], origin_B3[b, 2]
        for m in range(num_tokens):
            marker = index_BM[b, m]
            token = tokens_BMF[b, m]
            is_present = marker >= 0
            total = kind(0.0)
            if is_present:
                entry = start_B[b] + m * 3 * (num_frames + 1) if has_noise else 0
                for q in range(num_frames):
                    frame = frame_B[b] - half_width + q
                    x = marker_pos_GP3[frame, marker, 0] - ox
                    y = marker_pos_GP3[frame, marker, 1] - oy
                    z = marker_pos_GP3[frame, marker, 2] - oz
                    if has_noise:
                        jitter = entry + 3 + 3 * q
                        x += offset_B[b] * table_L[entry] + jitter_B[b] * table_L[jitter]
                        y += offset_B[b] * table_L[entry + 1] + jitter_B[b] * table_L[jitter + 1]
                        z += offset_B[b] * table_L[entry + 2] + jitter_B[b] * table_L[jitter + 2]
                    token[6 * q] = cosine * x + sine * y
                    token[6 * q + 1] = side * (cosine * y - sine * x)
                    token[6 * q + 2] = z
                    total += x + y + z
                # One sum instead of a test a number: it is not finite if any position is not.
                is_present = np.isfinite(total)
            mask_BM[b, m] = is_present
            if not is_present:
                token[:] = kind(0.0)
                continue
            last = 6 * (num_frames - 1)
            for c in range(3):
                token[3 + c] = step * (token[6 + c] - token[c])
                token[last + 3 + c] = step * (token[last + c] - token[last - 6 + c])
                for q in range(1, num_frames - 1):
                    token[6 * q + 3 + c] = half_step * (token[6 * q + 6 + c] - token[6 * q - 6 + c])


def make_tokens(
    marker_pos: np.ndarray,
    frame: np.ndarray,
    index: np.ndarray,
    origin: np.ndarray,
    heading: np.ndarray,
    is_mirrored: np.ndarray,
    disturbance: Disturbance | None,
    half_width: int,
    rate: float,
    tokens: np.ndarray,
    mask: np.ndarray,
) -> None:
    """Same contract as `kernels.windows.reference.make_tokens`."""
    dtype = marker_pos.dtype
    origin = origin.astype(dtype, copy=False)
    if disturbance is None:
        empty = np.zeros(0, dtype)
        noise = (False, empty, np.zeros(0, np.int64), empty, empty)
    else:
        sizes = (disturbance.offset_size.astype(dtype), disturbance.jitter_size.astype(dtype))
        noise = (True, disturbance.table, disturbance.start, *sizes)
    _fill(marker_pos, frame, index, origin, heading, is_mirrored, *noise, half_width, rate, tokens, mask)
