"""Results written past the caches: a large array that is only written need not be read first.

An ordinary store to memory that is in no cache first fetches its line, so an array that is written costs its size twice.
A kernel that writes much gathers a block of its rows in an array that stays in the first cache and hands it on from there.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels._lane_memory import load_4, put, store, store_past_cache, take
from kernels._lanes import as_in, spread_8

_CACHED_BYTES = 1 << 22
"""Results up to this size [B] are left in the caches, where whoever reads them finds them."""
_ALIGNMENT = 16


def is_past_cache(*results: np.ndarray) -> bool:
    """True where results together are so large that they would not stay in a cache; False for odd addresses."""
    size = sum(result.nbytes for result in results)
    return size > _CACHED_BYTES and all(result.flags.aligned for result in results)


@numba.njit(error_model="numpy")
def copy_out(target: np.ndarray, at: int, source: np.ndarray, count: int, past_cache: bool) -> None:
    """Write the first `count` numbers of `source` to `target`, flat, from `at` on; same dtype."""
    if not past_cache:
        for i in range(count):  # compiled to one copy of memory, which a slice is not
            put(target, at + i, take(source, i))
        return
    size = target.itemsize
    head = min(-(target.ctypes.data + at * size) % _ALIGNMENT // size, count)
    for i in range(head):
        target[at + i] = source[i]
    whole = head + (count - head) // 4 * 4
    for i in range(head, whole, 4):
        store_past_cache(target, at + i, load_4(source, i))
    for i in range(whole, count):
        target[at + i] = source[i]


@numba.njit(error_model="numpy")
def fill(target: np.ndarray, value: float) -> None:
    """Set every number of a flat array whose length is a multiple of eight."""
    eight = as_in(target, spread_8(value))
    for i in range(0, len(target), 8):
        store(target, i, eight)
