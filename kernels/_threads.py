"""Several threads over the rows of one compiled call: rows are independent, so no result depends on their number.

Compiled functions release the interpreter lock, so plain threads carry them. No OpenMP team is started: one that a
process has used kills every process forked from it, and one that spins takes cores from the simulation beside it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

_TURNS = 4
"""Pieces a thread of a large call: a core that others slow down, or a thread that wakes late, takes fewer."""
_pool: ThreadPoolExecutor | None = None
_limit: int | None = None


def num_threads() -> int:
    """Threads of a call: what `set_num_threads` said, else OMP_NUM_THREADS, else the cores this process may use."""
    if _limit is not None:
        return _limit
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(said) if said.isdigit() and int(said) > 0 else len(os.sched_getaffinity(0))


def set_num_threads(count: int | None) -> None:
    """Fix the threads of later calls of this process; None goes back to the environment.

    Raises:
        ValueError: Fewer than one.
    """
    global _limit
    if count is not None and count < 1:
        raise ValueError(f"count: expected at least 1 thread, got {count}")
    _limit = count
    _forget_pool()


def over_rows(work: Callable[..., None], num_rows: int, least_rows: int, *arguments: object) -> None:
    """Call `work(first, last, *arguments)` so that every row of [0, num_rows) is in one call.

    Args:
        work: Compiled function that releases the interpreter lock and writes its own rows only.
        num_rows: Rows in all.
        least_rows: Rows that are worth a thread: fewer are not split (handing over takes about 20 us).
        arguments: The rest of its arguments.
    """
    most = num_rows // max(least_rows, 1)
    threads = min(num_threads(), most)
    if threads <= 1:
        work(0, num_rows, *arguments)
        return
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(num_threads() - 1, 1), thread_name_prefix="kernels")
    pieces = min(most, _TURNS * threads)
    bounds = [num_rows * piece // pieces for piece in range(pieces + 1)]
    turns = deque(pairwise(bounds))

    def take_turns() -> None:
        while turns:
            try:
                first, last = turns.popleft()
            except IndexError:  # another thread had the last one
                return
            work(first, last, *arguments)

    others = [_pool.submit(take_turns) for _ in range(threads - 1)]
    try:
        take_turns()
    finally:
        for other in others:  # arrays must not outlive threads that write into them
            other.result()


def _forget_pool() -> None:
    global _pool
    _pool = None


os.register_at_fork(after_in_child=_forget_pool)  # a child has the object but none of its threads
