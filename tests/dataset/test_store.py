"""The store: what goes in comes out, the same data give the same bytes, and nothing damaged is read silently."""

import dataclasses
import hashlib
import json
import os
import time

import numpy as np
import pytest

from dataset.fields import FIELDS
from dataset.manifest import MANIFEST, SUCCESS, Dropped
from dataset.schema import Subject
from dataset.shard import Shard
from dataset.shard_writer import prepare_shard
from dataset.store import Store

FELL = Dropped(clip="made-up/flip", subject="made-up-person", seed=3, reason="fell", seconds=1.5)


def _tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_appended_is_read_back_exactly(tmp_path, three_sequences) -> None:
    """All arrays bit for bit in their declared dtypes, all facts of the manifest, dropped items."""
    Store.create(tmp_path / "set").append(three_sequences, dropped=[FELL])
    store = Store.open(tmp_path / "set")
    assert len(store) == 3 and store.num_frames == 94 and store.seconds == pytest.approx(91 / 30)
    assert store.dropped == (FELL,)
    assert [subject.name for subject in store.subjects] == ["made-up-person", "made-up-tall"]
    for want, have in zip(three_sequences, store, strict=True):
        for field in dataclasses.fields(want):
            first, second = getattr(want, field.name), getattr(have, field.name)
            if isinstance(first, np.ndarray):
                assert first.dtype == second.dtype, field.name
                np.testing.assert_array_equal(first, second, err_msg=field.name)
            else:
                assert first == second, field.name
    assert store.read(2).name == store.sequences[2].name == "made-up-2"


def test_the_same_sequences_give_the_same_bytes_and_appending_again_changes_nothing(tmp_path, three_sequences) -> None:
    """No time, host or path is in a shard; idempotent for retried work."""
    first, second = (Store.create(tmp_path / name) for name in ("a", "b"))
    folder = first.append(three_sequences)
    second.append(three_sequences)
    before = _tree(tmp_path / "a")
    assert before == _tree(tmp_path / "b")
    assert first.append(three_sequences) == folder == Store.open(tmp_path / "a").append(three_sequences)
    assert _tree(tmp_path / "a") == before and len(first) == 3


def test_appending_adds_a_shard_and_leaves_the_others_alone(tmp_path, three_sequences) -> None:
    """Old files keep their bytes and times; order follows content, not time of writing."""
    store = Store.create(tmp_path / "set")
    old = store.append(three_sequences[:2])
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in old.iterdir()}
    store.append(three_sequences[2:])
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in old.iterdir()} == before
    other = Store.create(tmp_path / "other")
    other.append(three_sequences[2:])
    other.append(three_sequences[:2])
    names = [info.name for info in Store.open(tmp_path / "set").sequences]
    assert names == [info.name for info in store.sequences] == [info.name for info in other.sequences]
    assert store.content == other.content


def test_arrays_are_memory_mapped_aligned_and_readable_by_numpy_alone(tmp_path, three_sequences) -> None:
    """Each file is plain .npy with its data at a multiple of 64 bytes, and fields are maps, not copies."""
    folder = Store.create(tmp_path).append(three_sequences)
    store = Store.open(tmp_path)
    for field in FIELDS:
        mapped = store.fields(field.name)[0]
        assert isinstance(mapped, np.memmap) and mapped.offset % 64 == 0 and not mapped.flags.writeable
        np.testing.assert_array_equal(mapped, np.load(folder / field.file, allow_pickle=False))
    offsets = np.load(folder / "offsets.npy", allow_pickle=False)
    assert offsets.tolist() == [0, 40, 63, 94] == store.frame_offsets.tolist()
    assert store.transition_offsets.tolist() == [0, 39, 61, 91]


def test_flat_rows_are_gathered_across_shards(tmp_path, three_sequences) -> None:
    """Row numbers run over all shards in order, for frames and for transitions."""
    store = Store.create(tmp_path)
    for item in three_sequences:
        store.append([item])
    whole = {name: np.concatenate([getattr(item, name) for item in store]) for name in ("grf", "impulse")}
    rng = np.random.default_rng(0)
    for name, array in whole.items():
        rows = rng.integers(0, len(array), (7, 2))
        np.testing.assert_array_equal(store.gather(name, rows), array[rows])
    start = store.transition_offsets[2]
    np.testing.assert_array_equal(store.gather("impulse", np.array([start]))[0], store.read(2).impulse[0])
    with pytest.raises(ValueError, match=r"rows: expected 0 to 90, got 91 to 91"):
        store.gather("impulse", np.array([91]))


def test_a_manifest_states_unit_frame_and_hash_of_every_field(tmp_path, three_sequences) -> None:
    """What a stranger needs to read the files without this code."""
    folder = Store.create(tmp_path).append(three_sequences)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["schema"] == 1 and folder.name == f"shard-{manifest['content'][:16]}"
    by_name = {entry["name"]: entry for entry in manifest["fields"]}
    assert set(by_name) == {field.name for field in FIELDS} | {"offsets"}
    assert by_name["impulse"]["unit"] == "N·m·s" and by_name["impulse"]["frame"] == "child body"
    assert by_name["grf"]["shape"] == [94, 24, 3] and by_name["grf"]["dtype"] == "<f4"
    assert all(len(entry["sha256"]) == 64 and entry["bytes"] > 0 for entry in by_name.values())
    assert manifest["sequences"][1] | {"solution": ""} == {
        "name": "made-up-1", "clip": "made-up/turn", "seed": 1, "substep": 1 / 120, "clip_start": 0.3,
        "controller": "made-up", "solution": "", "perturbation": "", "flags": ["made_up"], "subject": 0, "start": 40,
        "num_frames": 23,
    }  # fmt: skip


def test_a_shard_without_its_mark_is_ignored_or_refused(tmp_path, three_sequences) -> None:
    """Half-written shards and temporary folders are not data; if nothing else is there, the error says so."""
    store = Store.create(tmp_path)
    complete, cut = store.append(three_sequences[:1]), store.append(three_sequences[1:])
    (cut / SUCCESS).unlink()
    (tmp_path / ".tmp-shard-123-abc").mkdir()
    reopened = Store.open(tmp_path)
    assert [info.name for info in reopened.sequences] == ["made-up-0"] and reopened.incomplete == (cut,)
    with pytest.raises(ValueError, match=f"{cut.name}: expected a complete shard with _SUCCESS, found none"):
        Shard(cut)
    (complete / SUCCESS).unlink()
    with pytest.raises(
        ValueError, match="expected a data set with at least one complete shard, found only half-written"
    ):
        Store.open(tmp_path)


def test_writing_again_completes_a_shard_whose_writer_died(tmp_path, three_sequences) -> None:
    """Killed between rename and mark: good files are marked, damaged ones are replaced."""
    folder = Store.create(tmp_path).append(three_sequences)
    before = _tree(tmp_path)
    for damage in (None, "quat.npy"):
        (folder / SUCCESS).unlink()
        if damage:
            data = bytearray((folder / damage).read_bytes())
            data[-1] ^= 1
            (folder / damage).write_bytes(data)
        Store.create(tmp_path).append(three_sequences)
        assert _tree(tmp_path) == before


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path, three_sequences) -> None:
    """An error inside, or a full disk, removes the temporary folder and publishes nothing."""
    with pytest.raises(RuntimeError, match="stop"), prepare_shard(tmp_path, three_sequences):
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_is_named_with_its_size(tmp_path, three_sequences) -> None:
    """Found when opening, before any row is read."""
    folder = Store.create(tmp_path).append(three_sequences)
    size = (folder / "grf.npy").stat().st_size
    os.truncate(folder / "grf.npy", size - 8)
    with pytest.raises(
        ValueError, match=rf"grf.npy: expected {size} bytes as in manifest.json, found {size - 8} bytes"
    ):
        Store.open(tmp_path)
    (folder / "grf.npy").unlink()
    with pytest.raises(ValueError, match=rf"grf.npy: expected {size} bytes as in manifest.json, found no file"):
        Store.open(tmp_path)


def test_a_changed_byte_is_found_by_its_hash(tmp_path, three_sequences) -> None:
    """In an array by `find_damage`, in the manifest already when opening."""
    folder = Store.create(tmp_path).append(three_sequences)
    data = bytearray((folder / "impulse.npy").read_bytes())
    data[-1] ^= 1
    (folder / "impulse.npy").write_bytes(data)
    (complaint,) = Store.open(tmp_path).shards[0].find_damage()
    assert "impulse.npy: expected sha256" in complaint
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"seed": 1', '"seed": 7'))
    with pytest.raises(ValueError, match=r"manifest.json: expected sha256 .* as in _SUCCESS, found"):
        Store.open(tmp_path)


def test_a_file_of_another_shape_or_with_pickled_objects_is_refused(tmp_path, three_sequences) -> None:
    """The array must be what the manifest says, and objects are never unpickled."""
    folder = Store.create(tmp_path).append(three_sequences)
    shard = Shard(folder)
    np.save(folder / "is_edge.npy", np.zeros(93, bool))
    with pytest.raises(ValueError, match=r"is_edge.npy: expected an array \|b1 \(94,\) as in manifest.json, found"):
        shard.field("is_edge")
    np.save(folder / "root_pos.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"root_pos.npy: expected an array <f4 \(94, 3\), found .*Python objects"):
        shard.field("root_pos")


def test_another_schema_version_is_refused_with_both_numbers(tmp_path, three_sequences) -> None:
    """A data set of a later version is not half understood."""
    folder = Store.create(tmp_path).append(three_sequences)
    data = (folder / MANIFEST).read_text().replace('"schema": 1', '"schema": 2').encode()
    (folder / MANIFEST).write_bytes(data)
    (folder / SUCCESS).write_text(hashlib.sha256(data).hexdigest())
    with pytest.raises(ValueError, match=r"manifest.json: expected schema version 1, found 2"):
        Store.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "expected a unique name for each, got ''"),
        ({"name": "made-up-1"}, "expected a unique name for each, got 'made-up-1' twice"),
        ({"subject": Subject(name="made-up-person", mass=99.0)}, "'made-up-person' stands for two different people"),
    ],
)
def test_records_that_cannot_be_told_apart_are_refused(tmp_path, three_sequences, change, message) -> None:
    """Names of sequences are unique, and a subject's name means one body."""
    three_sequences[0] = dataclasses.replace(three_sequences[0], **change)
    with pytest.raises(ValueError, match=message):
        Store.create(tmp_path).append(three_sequences)
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_not_finite_are_refused_with_sequence_field_and_frame(tmp_path, three_sequences) -> None:
    """NaN has a meaning in `cop` only."""
    three_sequences[1].impulse[5, 2, 0] = np.nan
    with pytest.raises(
        ValueError, match="'made-up-1': field impulse: expected finite values, found others in transition 5"
    ):
        Store.create(tmp_path).append(three_sequences)


def test_a_name_that_is_there_already_is_refused(tmp_path, three_sequences) -> None:
    """The same sequence in another grouping would be in the data twice."""
    store = Store.create(tmp_path)
    store.append(three_sequences[:2])
    with pytest.raises(ValueError, match="expected new sequences, found 'made-up-1' there already"):
        store.append(three_sequences[1:])
    assert len(store) == 2


def test_missing_folders_and_names_are_explained(tmp_path, three_sequences) -> None:
    """No folder, an empty folder, an unknown clip, an unknown field."""
    with pytest.raises(ValueError, match="expected the folder of a data set, found nothing"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected a data set with at least one complete shard, found none"):
        Store.open(tmp_path)
    store = Store.create(tmp_path)
    with pytest.raises(ValueError, match="expected at least one sequence or dropped item, got none"):
        store.append([])
    store.append(three_sequences)
    assert store.find("made-up-2") == 2 and store.find("made-up/turn") == 1
    with pytest.raises(ValueError, match="expected a sequence or clip 'walk', found others: made-up-0, made-up-1"):
        store.find("walk")
    with pytest.raises(ValueError, match=r"field: expected one of \['ang_vel', .*got 'torque'"):
        store.fields("torque")


def test_one_record_under_two_names_is_refused(tmp_path, three_sequences) -> None:
    """Same solution, subject, seed, start and perturbation, in another shard or in the same; each makes it another record."""
    store = Store.create(tmp_path)
    store.append(three_sequences[:1])
    twin = dataclasses.replace(three_sequences[0], name="twin", clip="made-up/copied")
    with pytest.raises(ValueError, match=r"'twin', the same record as 'made-up-0' .* leave it out"):
        store.append([twin])
    with pytest.raises(ValueError, match="'twin', the same record as 'made-up-1'"):
        store.append([three_sequences[1], dataclasses.replace(three_sequences[1], name="twin")])
    assert [info.name for info in Store.open(tmp_path).sequences] == ["made-up-0"]
    others = [
        dataclasses.replace(twin, name=f"other-{number}", **change)
        for number, change in enumerate((
            {"solution": "f" * 64}, {"subject": Subject(name="somebody-else")}, {"seed": 9}, {"clip_start": 7.0},
            {"perturbation": "pushed"},
        ))
    ]  # fmt: skip
    unknown = [dataclasses.replace(twin, name=f"unknown-{number}", solution="") for number in range(2)]
    store.append([*others, *unknown])
    assert len(Store.open(tmp_path)) == 8


def test_a_shard_may_hold_dropped_items_only(tmp_path) -> None:
    """Work that failed is remembered, so that success rates are known and nobody tries again unknowingly."""
    Store.create(tmp_path).append([], dropped=[FELL])
    store = Store.open(tmp_path)
    assert len(store) == 0 and store.dropped == (FELL,) and store.fields("grf")[0].shape == (0, 24, 3)


def test_a_data_set_of_many_sequences_opens_quickly(tmp_path, build_dynamics) -> None:
    """9000 sequences in one manifest, a third of the paper's number: opening stays far below a second."""
    item = build_dynamics(frames=2)
    Store.create(tmp_path).append(
        [dataclasses.replace(item, name=f"made-up-{i}", solution=f"{i:016x}") for i in range(9000)]
    )
    start = time.process_time()  # of this process alone: other work on the machine does not count
    store = Store.open(tmp_path)
    assert len(store) == 9000
    assert time.process_time() - start < 1.0


def test_windows_are_the_rows_of_one_sequence_across_shards(tmp_path, three_sequences) -> None:
    """Runs of flat rows, the same as slices of the sequence that was stored; none leaves its shard."""
    store = Store.create(tmp_path)
    for item in three_sequences:
        store.append([item])
    windows = {name: store.windows(name, getattr(store, offsets)[:3] + 4, 6) for name, offsets in
               (("quat", "frame_offsets"), ("impulse", "transition_offsets"), ("is_edge", "frame_offsets"))}  # fmt: skip
    for number, item in enumerate(store):
        for name, got in windows.items():
            np.testing.assert_array_equal(got[number], getattr(item, name)[4:10])
    with pytest.raises(ValueError, match="expected runs of 6 rows inside one piece"):
        store.windows("quat", store.frame_offsets[1:2] - 5, 6)
