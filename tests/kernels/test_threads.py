"""Rows are shared out completely and once, whatever the number of threads."""

import multiprocessing
import os

import numpy as np
import pytest

from kernels import _threads


@pytest.fixture(autouse=True)
def _as_before():
    yield
    _threads.set_num_threads(None)


def _add_one(first: int, last: int, rows: np.ndarray) -> None:
    rows[first:last] += 1


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rows", [0, 1, 4, 17])
def test_every_row_is_worked_on_once(threads: int, rows: int) -> None:
    """Also when there are fewer rows than threads."""
    _threads.set_num_threads(threads)
    counts = np.zeros(rows, int)
    _threads.over_rows(_add_one, rows, 1, counts)
    assert (counts == 1).all()


def test_few_rows_are_not_split() -> None:
    """Below the least number of rows the caller's thread does all of it in one call."""
    _threads.set_num_threads(4)
    calls = []
    _threads.over_rows(lambda first, last: calls.append((first, last)), 9, 10)
    assert calls == [(0, 9)]


def test_an_error_of_any_piece_reaches_the_caller() -> None:
    """Not only that of the piece which the calling thread works on."""
    _threads.set_num_threads(3)

    def fail_at_end(first: int, last: int) -> None:
        if last == 9:
            raise RuntimeError("last piece")

    with pytest.raises(RuntimeError, match="last piece"):
        _threads.over_rows(fail_at_end, 9, 1)


def test_the_environment_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """OMP_NUM_THREADS where it is set, every core of the process where it is not."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert _threads.num_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert _threads.num_threads() == len(os.sched_getaffinity(0))
    with pytest.raises(ValueError, match="expected at least 1 thread, got 0"):
        _threads.set_num_threads(0)


def _in_child(queue: multiprocessing.SimpleQueue) -> None:
    counts = np.zeros(8, int)
    _threads.over_rows(_add_one, 8, 1, counts)
    queue.put(counts.tolist())


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_works_with_threads_of_its_own() -> None:
    """The parent's threads do not exist in the child: waiting for them would never end."""
    _threads.set_num_threads(2)
    _threads.over_rows(_add_one, 8, 1, np.zeros(8, int))
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    child.join(20)
    assert not child.is_alive() and child.exitcode == 0
    assert queue.get() == [1] * 8
