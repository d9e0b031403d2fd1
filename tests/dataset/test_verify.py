"""Checks of stored data: sound sequences pass, and each kind of planted fault is found and named."""

import dataclasses

import numpy as np
import pytest

from dataset.store import Store
from dataset.verify import check_sequence, verify_store


def test_sound_sequences_pass(tmp_path, three_sequences) -> None:
    """Nothing is reported for records that agree with each other."""
    Store.create(tmp_path).append(three_sequences)
    assert verify_store(Store.open(tmp_path)) == []


def _changed(item, name, change):
    array = getattr(item, name).copy()
    change(array)
    return dataclasses.replace(item, **{name: array})


def _set(index, value):
    def change(array):
        array[index] = value

    return change


def _scale(factor):
    def change(array):
        array *= factor

    return change


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        (
            "closure_error",
            _set(3, 1e-6),
            "closure_error: expected at most 1e-08 body weights, found 1e-06 in transition 3",
        ),
        (
            "closure_error",
            _set(4, np.nan),
            "closure_error: expected at most 1e-08 body weights, found nan in transition 4",
        ),
        ("quat", _set((5, 2), [1.0, 0.1, 0, 0]), "quat: expected at most 1e-05, found 0.00499 in frame 5"),
        ("cop", _set((9, 7), np.nan), "cop: expected a value where and only where the vertical force reaches 1.0 N"),
        ("cop", _set((9, 0), 0.0), "cop: expected a value where and only where the vertical force reaches 1.0 N"),
        ("free_moment", _set((9, 0), 1.0), "free_moment: expected 0 where there is no centre of pressure"),
        ("cop", _scale(9.0), "cop: expected at most 2.5 m from the pelvis"),
        ("grf_mean", _scale(1.05), "grf and grf_mean: expected at most 0.0001 body weights apart"),
        ("root_vel", _scale(3.0), "root_vel: expected the derivative of root_pos, found it off by"),
        ("ang_vel", _scale(-1.0), "ang_vel: expected the derivative of quat, found it off by"),
        ("impulse", _set((1, 2, 0), np.inf), "expected finite values, found others in impulse"),
    ],
)
def test_each_planted_fault_is_found_and_nothing_else(build_dynamics, name, change, complaint) -> None:
    """One fault, one complaint that names field, limit and value."""
    found = check_sequence(_changed(build_dynamics(), name, change))
    assert len(found) == 1 and complaint in found[0]


def test_a_floor_that_pulls_is_found_and_contradicts_the_transitions(build_dynamics) -> None:
    """40 N downwards on a body in one frame, which no transition knows of."""
    pull, tiling = check_sequence(_changed(build_dynamics(), "grf", _set((6, 3, 2), -40.0)))
    assert pull == "grf: expected at most 0.001 body weights of pull, found 0.0637 in frame 6"
    assert "grf and grf_mean" in tiling and "in body 3" in tiling


def test_a_stretch_cut_out_of_a_longer_one_is_not_held_to_tiling(build_dynamics) -> None:
    """Its first and last window reach beyond it, so the sums need not agree."""
    item = _changed(build_dynamics(), "is_edge", _set(0, False))
    assert check_sequence(_changed(item, "grf_mean", _scale(1.05))) == []


def test_a_poor_momentum_balance_of_the_whole_set_is_reported(tmp_path, three_sequences) -> None:
    """The limit is on the median over all transitions, not on one."""
    three_sequences[0].momentum_error[:] = 0.2
    Store.create(tmp_path).append(three_sequences)
    assert verify_store(Store.open(tmp_path)) == []
    three_sequences[2].momentum_error[:] = 0.2
    store = Store.create(tmp_path / "poor")
    store.append(three_sequences)
    (complaint,) = verify_store(store)
    assert "momentum_error: expected a median of at most 0.01 body weights, found 0.2000" in complaint


def test_damage_and_leftovers_are_reported(tmp_path, three_sequences) -> None:
    """A changed byte, a half-written shard and a sequence that is there twice."""
    store = Store.create(tmp_path)
    folder, cut = store.append(three_sequences[:2]), store.append(three_sequences[2:])
    data = bytearray((folder / "momentum_error.npy").read_bytes())
    data[-1] ^= 1
    (folder / "momentum_error.npy").write_bytes(data)
    (cut / "_SUCCESS").unlink()
    complaints = verify_store(Store.open(tmp_path))
    assert len(complaints) == 2
    assert "half-written shard" in complaints[0] and "momentum_error.npy: expected sha256" in complaints[1]
    twice = Store.create(tmp_path / "twice")
    twice.append(three_sequences[:1])
    Store.create(tmp_path / "else").append(three_sequences[:2])
    (tmp_path / "else").joinpath(Store.open(tmp_path / "else").shards[0].path.name).rename(
        tmp_path / "twice" / "shard-x"
    )
    (complaint,) = verify_store(Store.open(tmp_path / "twice"))
    assert "sequence 'made-up-0' occurs 2 times" in complaint
