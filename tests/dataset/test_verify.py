"""Checks of stored data: sound sequences pass, and each kind of planted fault is found and named."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from dataset.manifest import MANIFEST, SUCCESS, content_of, encode_manifest
from dataset.shard import hash_file
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


def test_values_out_of_range_are_found(build_dynamics) -> None:
    """One frame each, by the length of the vector."""
    planted = {
        "impulse": "impulse: expected at most 60 N·m·s, found 70.7 in transition 3",
        "ang_vel": "ang_vel: expected at most 200 rad/s, found 707 in frame 3",
    }
    for (name, complaint), size in zip(planted.items(), (50.0, 500.0), strict=True):
        found = check_sequence(_changed(build_dynamics(), name, _set((3, 4), [size, size, 0.0])))
        assert found == [complaint]
    found = check_sequence(_changed(build_dynamics(), "root_vel", _set(3, [0.0, 0.0, -31.0])))
    assert "root_vel: expected at most 30 m/s, found 31 in frame 3" in found
    found = check_sequence(_changed(build_dynamics(), "grf_mean", _set((3, 4, 0), 101 * 64.0 * 9.81)))
    assert "grf_mean: expected at most 100 body weights, found 101 in transition 3" in found


def test_one_record_under_two_names_is_found(tmp_path, three_sequences) -> None:
    """Same solution, subject, seed and start; another start is another record. Published by whom nobody asked."""
    twin = dataclasses.replace(three_sequences[1], name="twin")
    other = dataclasses.replace(three_sequences[1], name="other", clip_start=7.0)
    storage = Store.create(tmp_path).storage
    with storage.prepare([*three_sequences, twin, other]) as prepared:
        storage.publish(prepared)
    (complaint,) = verify_store(Store.open(tmp_path))
    assert "sequence 'twin' is the same record as 'made-up-1'" in complaint


def test_offsets_and_counts_that_disagree_with_the_sequences_are_found(tmp_path, three_sequences) -> None:
    """A writer's error, with right hashes: only the arrays and the manifest contradict each other."""
    folder = Store.create(tmp_path).append(three_sequences)
    manifest = json.loads((folder / MANIFEST).read_text())
    offsets = np.array([0, 41, 63, 94])
    np.save(folder / "offsets.npy", offsets)
    manifest["fields"][-1] |= {"sha256": hash_file(folder / "offsets.npy")}
    manifest["counts"]["frames"] = 95
    manifest["content"] = content_of(manifest)
    (folder / MANIFEST).write_bytes(encode_manifest(manifest))
    (folder / SUCCESS).write_text(hashlib.sha256(encode_manifest(manifest)).hexdigest())
    first, second = verify_store(Store.open(tmp_path))
    assert "offsets: expected those of the sequences' lengths, found others" in first
    assert "counts: expected 94 frames, found 95" in second


def test_a_manifest_that_points_out_of_its_shard_is_refused(tmp_path, three_sequences) -> None:
    """A data set from a stranger reads nothing but its own files."""
    folder = Store.create(tmp_path).append(three_sequences)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["fields"][0]["file"] = "../../root_pos.npy"
    (folder / MANIFEST).write_bytes(encode_manifest(manifest))
    (folder / SUCCESS).write_text(hashlib.sha256(encode_manifest(manifest)).hexdigest())
    with pytest.raises(ValueError, match=r"expected a file of the shard for each field, found '../../root_pos.npy'"):
        Store.open(tmp_path)
