"""Marker tracks to encoder tokens, compiled: one pass over the markers that a window keeps, no temporary arrays.

Axis legend: G flat frames, P markers a frame, B windows, M tokens a window, W frames a window, F = 6 W features.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kernels.tokens.reference import Disturbance


@njit(cache=True, error_model="numpy")
def _fill(
    markers_GP3: np.ndarray, first_B: np.ndarray, index_BM: np.ndarray, origin_B3: np.ndarray, heading_B: np.ndarray,
    is_mirrored_B: np.ndarray, has_noise: bool, table_L: np.ndarray, start_B: np.ndarray, offset_B: np.ndarray,
    jitter_B: np.ndarray, num_frames: int, tokens_BMF: np.ndarray, mask_BM: np.ndarray,
) -> None:  # fmt: skip
    batch, num_tokens = index_BM.shape
    width = 3 * num_frames
    half = markers_GP3.dtype.type(0.5)
    for b in range(batch):
        cosine = markers_GP3.dtype.type(np.cos(heading_B[b]))
        sine = markers_GP3.dtype.type(np.sin(heading_B[b]))
        side = markers_GP3.dtype.type(-1.0 if is_mirrored_B[b] else 1.0)
        ox, oy, oz = origin_B3[b, 0], origin_B3[b, 1], origin_B3[b, 2]
        for m in range(num_tokens):
            marker = index_BM[b, m]
            token = tokens_BMF[b, m]
            is_present = marker >= 0
            total = markers_GP3.dtype.type(0.0)
            if is_present:
                entry = start_B[b] + m * (width + 3) if has_noise else 0
                for w in range(num_frames):
                    frame = first_B[b] + w
                    x = markers_GP3[frame, marker, 0] - ox
                    y = markers_GP3[frame, marker, 1] - oy
                    z = markers_GP3[frame, marker, 2] - oz
                    if has_noise:
                        jitter = entry + 3 + 3 * w
                        x += offset_B[b] * table_L[entry] + jitter_B[b] * table_L[jitter]
                        y += offset_B[b] * table_L[entry + 1] + jitter_B[b] * table_L[jitter + 1]
                        z += offset_B[b] * table_L[entry + 2] + jitter_B[b] * table_L[jitter + 2]
                    token[3 * w] = cosine * x + sine * y
                    token[3 * w + 1] = side * (cosine * y - sine * x)
                    token[3 * w + 2] = z
                    total += x + y + z
                # One sum instead of a test a number: it is not finite if any position is not.
                is_present = np.isfinite(total)
            mask_BM[b, m] = is_present
            if not is_present:
                token[:] = 0.0
                continue
            for c in range(3):
                token[width + c] = token[3 + c] - token[c]
                token[2 * width - 3 + c] = token[width - 3 + c] - token[width - 6 + c]
            for k in range(3, width - 3):
                token[width + k] = half * (token[k + 3] - token[k - 3])


def make_tokens(
    markers: np.ndarray,
    first: np.ndarray,
    index: np.ndarray,
    origin: np.ndarray,
    heading: np.ndarray,
    is_mirrored: np.ndarray,
    disturbance: Disturbance | None,
    num_frames: int,
    tokens: np.ndarray,
    mask: np.ndarray,
) -> None:
    """Same contract as `kernels.tokens.reference.make_tokens`."""
    dtype = markers.dtype
    origin = origin.astype(dtype, copy=False)
    if disturbance is None:
        empty = np.zeros(0, dtype)
        noise = (False, empty, np.zeros(0, np.int64), empty, empty)
    else:
        sizes = (disturbance.offset_size.astype(dtype), disturbance.jitter_size.astype(dtype))
        noise = (True, disturbance.table, disturbance.start, *sizes)
    _fill(markers, first, index, origin, heading, is_mirrored, *noise, num_frames, tokens, mask)
