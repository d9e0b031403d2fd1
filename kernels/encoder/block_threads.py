"""Blocks of a batch shared out over threads, each block computed by one of them.

Torch shares out every single operation instead; on blocks that fit a cache most operations are too short for that. Of
several blocks no result depends on the number of threads: each is computed by one, and what they give is joined in order.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

_Block = TypeVar("_Block")
_Result = TypeVar("_Result")
_pool: tuple[int, ThreadPoolExecutor] | None = None


def over_blocks(work: Callable[[_Block], _Result], blocks: Sequence[_Block]) -> list[_Result]:
    """`[work(block) for block in blocks]` without gradients, on as many threads as torch may use."""
    threads = min(torch.get_num_threads(), len(blocks))
    if threads <= 1:
        with torch.no_grad():
            return [work(block) for block in blocks]

    def without_gradients(block: _Block) -> _Result:
        with torch.no_grad():  # a new thread records gradients whatever its starter does
            return work(block)

    return list(_workers(torch.get_num_threads()).map(without_gradients, blocks))


def _workers(threads: int) -> ThreadPoolExecutor:
    global _pool
    if _pool is None or _pool[0] != threads:
        pool = ThreadPoolExecutor(threads, "encoder-blocks")
        # Torch keeps the number for each thread, and the last one said for threads to come: all of these are started now,
        # so that what it was for others can be said again.
        start = threading.Barrier(threads)
        list(pool.map(_be_one_of_many, [start] * threads))
        torch.set_num_threads(threads)
        _pool = (threads, pool)
    return _pool[1]


def _be_one_of_many(start: threading.Barrier) -> None:
    start.wait()
    # A thread takes over the common number when it first asks for it; only after that it can have one of its own.
    torch.get_num_threads()
    torch.set_num_threads(1)


def _forget_pool() -> None:
    global _pool
    _pool = None


os.register_at_fork(after_in_child=_forget_pool)  # a child has the object but none of its threads
