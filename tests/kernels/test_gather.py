"""Runs of rows out of several pieces: agreement with the reference, nothing beyond a border, maps stay maps."""

import numpy as np
import pytest

from kernels import _threads, gather
from kernels.gather import cases

BACKENDS = ("reference", "numba")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_runs_are_the_rows_of_the_arrays_end_to_end(case: cases.Case, backend: str) -> None:
    """Against one concatenated array; an output of other values is written everywhere."""
    made = cases.make(case)
    whole = np.concatenate(made["arrays"])
    rows = made["first"][:, None] + np.arange(case.length)
    out = np.full((case.runs, case.length, *case.row_shape), 7, case.dtype)
    got = gather.gather_runs(gather.join(made["arrays"]), made["first"], case.length, out=out, backend=backend)
    assert got is out and got.dtype == whole.dtype
    np.testing.assert_array_equal(got, whole[rows])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_leaves_its_piece_or_the_rows_is_refused(backend: str) -> None:
    """The next piece is another shard: its rows do not continue this one's."""
    pieces = gather.join([np.zeros((5, 2)), np.zeros((4, 2))])
    assert gather.gather_runs(pieces, np.array([0, 2, 5]), 3, backend=backend).shape == (3, 3, 2)
    for first in (3, 4, 7):
        with pytest.raises(
            ValueError, match=f"expected runs of 3 rows inside one piece, got one from row {first} beyond"
        ):
            gather.gather_runs(pieces, np.array([0, first]), 3, backend=backend)
    for first in (-1, 9):
        with pytest.raises(ValueError, match=r"first: expected values in \[0, 9\)"):
            gather.gather_runs(pieces, np.array([first]), 1, backend=backend)


def test_many_threads_give_the_same_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are shared out; each is written once."""
    case = cases.Case(name="many", rows=(700, 500, 800), row_shape=(24, 3), length=6, runs=3001, note="several threads")
    made = cases.make(case)
    pieces = gather.join(made["arrays"])
    expected = gather.gather_runs(pieces, made["first"], 6, backend="reference")
    _threads.set_num_threads(4)
    try:
        np.testing.assert_array_equal(gather.gather_runs(pieces, made["first"], 6, backend="numba"), expected)
    finally:
        _threads.set_num_threads(None)


def test_memory_maps_and_writable_arrays_are_joined_and_left_alone(tmp_path) -> None:
    """A map is read-only, a new array is not: both may be pieces of one, and the caller's array stays writable."""
    np.save(tmp_path / "rows.npy", np.arange(12.0).reshape(6, 2))
    fresh = np.arange(12.0, 20.0).reshape(4, 2)
    pieces = gather.join([np.load(tmp_path / "rows.npy", mmap_mode="r"), fresh])
    np.testing.assert_array_equal(
        gather.gather_runs(pieces, np.array([8, 1]), 2, backend="numba"),
        np.arange(20.0).reshape(10, 2)[[[8, 9], [1, 2]]],
    )
    assert fresh.flags.writeable


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "arrays: expected at least one array, got none"),
        (
            [np.zeros((3, 2)), np.zeros((3, 3))],
            r"expected rows of float64 \(2,\) in all as in the first, got float64 \(3,\)",
        ),
        ([np.zeros((3, 2)), np.zeros((3, 2), "f4")], "got float32"),
        ([np.zeros((3, 4))[:, ::2]], r"arrays\[0\]: expected a C-contiguous"),
        ([np.array([None, {}])], "expected rows of object"),
    ],
)
def test_arrays_that_cannot_be_joined_are_refused(arrays, message) -> None:
    """One dtype and row shape, contiguous, no objects."""
    with pytest.raises(ValueError, match=message):
        gather.join(arrays)


def test_lengths_and_outputs_are_checked() -> None:
    """At least one row; an output of the right shape."""
    pieces = gather.join([np.zeros((5, 2))])
    with pytest.raises(ValueError, match="length: expected at least 1 row, got 0"):
        gather.gather_runs(pieces, np.array([0]), 0)
    with pytest.raises(ValueError, match="out: expected"):
        gather.gather_runs(pieces, np.array([0]), 2, out=np.zeros((1, 2, 3)))
