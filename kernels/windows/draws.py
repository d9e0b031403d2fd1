"""What a window is shown through, drawn from (seed, epoch, window) alone: markers, mirror image, noise, order of frames.

A counter-based generator, so no draw depends on the batch a window is in, on the batch size, on the number of workers or
on what was drawn before; a resumed run draws what the interrupted one would have drawn.

Number n of a window is mix(key + n g), key = mix(mix(mix(seed) + epoch) + window), with splitmix64's mixing function and
increment g, all modulo 2^64. Numbers are used as follows: 0 size of the subset, 1 mirror image, 2 place in the noise table,
3 and 4 sizes of the noise, 5 whether the frames are shuffled, 6 to 5 + Q their order, then one a marker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from kernels import _check
from kernels.windows.reference import Disturbance

_FIRST_ORDER = 6


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    """How windows may differ from the recording."""

    least_markers: int
    """Smallest random subset."""
    most_markers: int
    """Largest random subset: the number of tokens M."""
    mirror_share: float = 0.0
    """Share of windows that are reflected left to right."""
    offset_size: float = 0.0
    """Largest standard deviation of a marker's constant displacement over a window [m]."""
    jitter_size: float = 0.0
    """Largest standard deviation of a marker's displacement drawn anew each frame [m]; large ones are a prior's negatives."""
    shuffled_share: float = 0.0
    """Share of windows whose frames are shown in another order: the other kind of a prior's negatives."""
    half_width: int = 2
    """W: a window holds Q = 2 W + 2 frames."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Arguments of `make_tokens` for some windows."""

    index: np.ndarray
    """Marker of each token, ascending, then -1 up to the largest subset, shape (B, M), int32."""
    is_mirrored: np.ndarray
    """Shape (B,), bool."""
    order: np.ndarray
    """Frames in the order in which they are shown, shape (B, Q), int64."""
    is_shuffled: np.ndarray
    """True where `order` is not ascending, shape (B,), bool."""
    start: np.ndarray
    """First entry read from the noise table, shape (B,), int64."""
    offset_size: np.ndarray
    """Shape (B,), float64 [m]."""
    jitter_size: np.ndarray
    """Shape (B,), float64 [m]."""

    def disturbance(self, table: np.ndarray) -> Disturbance:
        """Noise of these windows, from a table of normal numbers of the length they were drawn for."""
        return Disturbance(
            table=table, start=self.start, offset_size=self.offset_size, jitter_size=self.jitter_size
        )  # fmt: skip


def draw_windows(
    seed: int, epoch: int, window: np.ndarray, *, num_markers: int, table_length: int, config: DrawConfig
) -> Draws:
    """Draw what each window is shown through.

    A subset has a size uniform in [least, most] and is uniform among the subsets of that size (selection sampling: marker p
    of P is taken with the chance of what is still wanted among what is left). A shuffled order is never the recorded one.

    Args:
        seed: Of the run, 0 or more.
        epoch: Pass over the data, 0 or more.
        window: Number of each window in the data set, shape (B,), integers, 0 or more.
        num_markers: P markers to choose from; they are numbered from 0.
        table_length: Length L of the noise table.
        config: How windows may differ.

    Raises:
        ValueError: A number is out of range, or the table is too short for the largest subset.
    """
    frames = 2 * config.half_width + 2
    room = table_length - 3 * (frames + 1) * config.most_markers + 1
    if seed < 0 or epoch < 0 or config.half_width < 0:
        raise ValueError(f"seed, epoch, half_width: expected 0 or more, got {seed}, {epoch}, {config.half_width}")
    if not 0 <= config.least_markers <= config.most_markers <= num_markers:
        raise ValueError(
            f"least_markers, most_markers: expected 0 <= least <= most <= {num_markers},"
            f" got {config.least_markers} and {config.most_markers}"
        )
    if room < 1:
        raise ValueError(f"table_length: expected at least {table_length - room + 1}, got {table_length}")
    _check.bind_axes(window=(window, "B"))
    _check.check_index("window", window, 2**62)
    batch = len(window)
    draws = Draws(
        index=np.empty((batch, config.most_markers), np.int32), is_mirrored=np.empty(batch, bool),
        order=np.empty((batch, frames), np.int64), is_shuffled=np.empty(batch, bool), start=np.empty(batch, np.int64),
        offset_size=np.empty(batch), jitter_size=np.empty(batch),
    )  # fmt: skip
    with np.errstate(over="ignore"):  # where the JIT is off: arithmetic modulo 2^64 is meant
        _draw(
            np.uint64(seed % 2**64), np.uint64(epoch), window.astype(np.uint64), num_markers, room,
            config.least_markers, config.mirror_share, config.offset_size, config.jitter_size, config.shuffled_share,
            draws.index, draws.is_mirrored, draws.order, draws.is_shuffled, draws.start, draws.offset_size,
            draws.jitter_size,
        )  # fmt: skip
    return draws


_GAMMA, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32, _S11 = (np.uint64(bits) for bits in (27, 30, 31, 32, 11))


@njit(error_model="numpy")
def _mix(bits: np.uint64) -> np.uint64:
    bits = (bits ^ (bits >> _S30)) * _MIX_1
    bits = (bits ^ (bits >> _S27)) * _MIX_2
    return bits ^ (bits >> _S31)


@njit(error_model="numpy")
def _below(key: np.uint64, number: int, bound: int) -> np.int64:
    """Integer in [0, bound), bound below 2^31, from the upper half of a number."""
    upper = _mix(key + np.uint64(number) * _GAMMA) >> _S32
    return np.int64((upper * np.uint64(bound)) >> _S32)


@njit(error_model="numpy")
def _unit(key: np.uint64, number: int) -> float:
    """Number in [0, 1) from 53 bits."""
    return np.float64(_mix(key + np.uint64(number) * _GAMMA) >> _S11) * 2.0**-53


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(
    seed: np.uint64, epoch: np.uint64, window_B: np.ndarray, num_markers: int, room: int, least: int, mirror_share: float,
    offset: float, jitter: float, shuffled_share: float, index_BM: np.ndarray, is_mirrored_B: np.ndarray,
    order_BQ: np.ndarray, is_shuffled_B: np.ndarray, start_B: np.ndarray, offset_B: np.ndarray, jitter_B: np.ndarray,
) -> None:  # fmt: skip
    most, frames = index_BM.shape[1], order_BQ.shape[1]
    run = _mix(_mix(seed) + epoch)
    for b in range(len(window_B)):
        key = _mix(run + window_B[b])
        wanted = least + _below(key, 0, most - least + 1)
        is_mirrored_B[b] = _unit(key, 1) < mirror_share
        start_B[b] = _below(key, 2, room)
        offset_B[b], jitter_B[b] = offset * _unit(key, 3), jitter * _unit(key, 4)
        for q in range(frames):
            order_BQ[b, q] = q
        is_shuffled_B[b] = _unit(key, 5) < shuffled_share
        if is_shuffled_B[b]:
            is_moved = False
            for q in range(frames - 1, 0, -1):
                other = _below(key, _FIRST_ORDER + q, q + 1)
                is_moved = is_moved or other != q
                order_BQ[b, q], order_BQ[b, other] = order_BQ[b, other], order_BQ[b, q]
            if not is_moved:
                order_BQ[b, 0], order_BQ[b, frames - 1] = order_BQ[b, frames - 1], order_BQ[b, 0]
        taken = 0
        for p in range(num_markers):
            if taken < wanted and _below(key, _FIRST_ORDER + frames + p, num_markers - p) < wanted - taken:
                index_BM[b, taken] = p
                taken += 1
        for m in range(taken, most):
            index_BM[b, m] = -1
