"""Canonical windows, compiled for one CPU core: one pass over the input, same contract as `reference`, float64 inside.

Reads memory-mapped arrays in place. Releases the interpreter lock, so a thread can prepare the next batch meanwhile.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels.windows.reference import MarkerWindows

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_U8, _U11, _U27, _U30, _U31, _U32 = (np.uint64(bits) for bits in (8, 11, 27, 30, 31, 32))
_WORD = 0xFFFFFFFFFFFFFFFF


def gather_windows(
    marker_pos: np.ndarray,
    origin: np.ndarray,
    heading: np.ndarray,
    frame: np.ndarray,
    index: np.ndarray,
    *,
    half_width: int,
    rate: float,
    min_markers: int,
    max_markers: int,
    seed: int,
    epoch: int,
    canonical_heading: bool,
    offset_std: float,
    jitter_std: float,
) -> MarkerWindows:
    """Same contract as reference."""
    num_windows, width = frame.shape[0], 2 * half_width + 2
    features = np.empty((num_windows, max_markers, width, 6), dtype=marker_pos.dtype)
    mask = np.empty((num_windows, max_markers), dtype=np.bool_)
    marker = np.empty((num_windows, max_markers), dtype=np.int32)
    with np.errstate(over="ignore"):  # hashes wrap around, which NumPy reports where the JIT is off
        _gather(
            marker_pos, origin, heading, frame, index.astype(np.uint64), half_width, rate, min_markers,
            np.uint64(seed & _WORD), np.uint64(epoch & _WORD), canonical_heading, offset_std, jitter_std,
            features, mask, marker,
        )  # fmt: skip
    return MarkerWindows(features, mask, marker)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _mix(value: np.uint64) -> np.uint64:
    value = value + _GOLDEN
    value = (value ^ (value >> _U30)) * _FIRST
    value = (value ^ (value >> _U27)) * _SECOND
    return value ^ (value >> _U31)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _below(key: np.uint64, number: np.uint64, bound: int) -> np.int64:
    return np.int64(((_mix(key ^ number) >> _U32) * np.uint64(bound)) >> _U32)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _uniform(key: np.uint64, number: np.uint64) -> float:
    return (np.float64(_mix(key ^ number) >> _U11) + 0.5) * 2.0**-53


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _normal_single(key: np.uint64, slot: int, place: int, out_3: np.ndarray) -> None:
    base = (np.uint64(slot + 1) << _U32) | (np.uint64(place) << _U8)
    first = np.sqrt(-2.0 * np.log(_uniform(key, base)))
    second = np.sqrt(-2.0 * np.log(_uniform(key, base + np.uint64(1))))
    turn = 2.0 * np.pi * _uniform(key, base + np.uint64(2))
    out_3[0] = first * np.cos(turn)
    out_3[1] = first * np.sin(turn)
    out_3[2] = second * np.cos(2.0 * np.pi * _uniform(key, base + np.uint64(3)))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _draw_markers_single(key: np.uint64, pool_M: np.ndarray, min_markers: int, max_markers: int) -> int | np.int64:
    stored = pool_M.shape[0]
    for m in range(stored):
        pool_M[m] = m
    if min_markers == max_markers and max_markers == stored:
        return stored
    count = min_markers + _below(key, np.uint64(0), max_markers - min_markers + 1)
    for slot in range(count):
        other = slot + _below(key, np.uint64(slot + 1), stored - slot)
        kept = pool_M[slot]
        pool_M[slot] = pool_M[other]
        pool_M[other] = kept
    return count


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _gather(
    marker_pos: np.ndarray,
    origin: np.ndarray,
    heading: np.ndarray,
    frame: np.ndarray,
    index: np.ndarray,
    half_width: int,
    rate: float,
    min_markers: int,
    seed: np.uint64,
    epoch: np.uint64,
    canonical_heading: bool,
    offset_std: float,
    jitter_std: float,
    features: np.ndarray,
    mask: np.ndarray,
    marker: np.ndarray,
) -> None:
    num_windows, max_markers, width, _ = features.shape
    pool_M = np.empty(marker_pos.shape[1], dtype=np.int32)
    noise_3 = np.empty(3)
    token_W3 = np.empty((width, 3))
    run_key = _mix(_mix(seed) ^ epoch)
    is_disturbed = offset_std > 0.0 or jitter_std > 0.0
    for b in range(num_windows):
        t = frame[b]
        key = _mix(run_key ^ index[b])
        count = _draw_markers_single(key, pool_M, min_markers, max_markers)
        origin_x, origin_y = np.float64(origin[t, 0]), np.float64(origin[t, 1])
        cosine, sine = 1.0, 0.0
        if canonical_heading:
            cosine, sine = np.float64(heading[t, 0]), np.float64(heading[t, 1])
        for slot in range(count):
            m = pool_M[slot]
            is_present = True
            for i in range(width):
                row_3 = marker_pos[t - half_width + i, m]
                x = np.float64(row_3[0]) - origin_x
                y = np.float64(row_3[1]) - origin_y
                z = np.float64(row_3[2])
                token_W3[i, 0] = cosine * x + sine * y
                token_W3[i, 1] = cosine * y - sine * x
                token_W3[i, 2] = z
                is_present = is_present and np.isfinite(x + y + z)
            if is_disturbed and is_present:
                _disturb_single(key, slot, offset_std, jitter_std, token_W3, noise_3)
            mask[b, slot] = is_present
            marker[b, slot] = m if is_present else -1
            if is_present:
                _write_token_single(token_W3, rate, features[b, slot])
            else:
                features[b, slot] = 0.0
        for slot in range(count, max_markers):
            mask[b, slot] = False
            marker[b, slot] = -1
            features[b, slot] = 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _disturb_single(
    key: np.uint64, slot: int, offset_std: float, jitter_std: float, token_W3: np.ndarray, noise_3: np.ndarray
) -> None:
    _normal_single(key, slot, 0, noise_3)
    for i in range(token_W3.shape[0]):
        for axis in range(3):
            token_W3[i, axis] += offset_std * noise_3[axis]
    if jitter_std > 0.0:
        for i in range(token_W3.shape[0]):
            _normal_single(key, slot, i + 1, noise_3)
            for axis in range(3):
                token_W3[i, axis] += jitter_std * noise_3[axis]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _write_token_single(token_W3: np.ndarray, rate: float, out_W6: np.ndarray) -> None:
    last = token_W3.shape[0] - 1
    for i in range(last + 1):
        before = max(i - 1, 0)
        after = min(i + 1, last)
        scale = rate / (after - before)
        for axis in range(3):
            out_W6[i, axis] = token_W3[i, axis]
            out_W6[i, 3 + axis] = (token_W3[after, axis] - token_W3[before, axis]) * scale
