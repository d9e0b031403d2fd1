"""Merging: shards keep their bytes, what is there twice is refused or left out, damage does not travel."""

import dataclasses

import pytest
from shard_files import shard_files

from dataset.manifest import Dropped
from dataset.merge import MergeConfig, main
from dataset.provenance import read_runs
from dataset.store import Store

FELL = Dropped(clip="made-up/flip", subject="made-up-person", seed=3, reason="fell", seconds=1.5)


@pytest.fixture
def two(tmp_path, three_sequences):
    """Data sets `a` with two sequences and a loss, `b` with one."""
    Store.create(tmp_path / "a").append(three_sequences[:2], [FELL])
    Store.create(tmp_path / "b").append(three_sequences[2:])
    return tmp_path / "a", tmp_path / "b"


def test_shards_are_copied_byte_for_byte_and_merging_again_changes_nothing(tmp_path, two) -> None:
    """The same data set whatever the order; the inputs stay, and the run says what they were."""
    before = shard_files(tmp_path / "a") | shard_files(tmp_path / "b")
    store = main(MergeConfig(folders=two, out=tmp_path / "out"))
    assert shard_files(tmp_path / "out") == before == shard_files(tmp_path / "a") | shard_files(tmp_path / "b")
    assert len(store) == 3 and store.dropped == (FELL,)
    assert main(MergeConfig(folders=two[::-1], out=tmp_path / "other")).content == store.content
    again = main(MergeConfig(folders=(*two, tmp_path / "other"), out=tmp_path / "out"))
    assert again.content == store.content and shard_files(tmp_path / "out") == before
    sources = read_runs(tmp_path / "out")[0]["result"]["sources"]
    assert [source["content"] for source in sources] == [Store.open(folder).content for folder in two]


def test_a_sequence_in_two_shards_is_refused_or_left_out(tmp_path, two, three_sequences) -> None:
    """By name, and by solution, subject, seed and start under another name."""
    twin = dataclasses.replace(three_sequences[2], name="copied-2", clip="copied/sway")
    Store.create(tmp_path / "c").append([twin, dataclasses.replace(three_sequences[0], solution="f" * 64)])
    with pytest.raises(
        ValueError, match=r"found 'copied-2', the same record as 'made-up-2'; give `--overlap skip` to leave 2"
    ):
        main(MergeConfig(folders=(*two, tmp_path / "c"), out=tmp_path / "out"))
    assert list((tmp_path / "out").glob("*")) == []
    fresh = dataclasses.replace(three_sequences[1], name="made-up-3", clip_start=0.4)
    Store.create(tmp_path / "d").append([twin, fresh])
    store = main(MergeConfig(folders=(*two, tmp_path / "d"), out=tmp_path / "out", overlap="skip"))
    assert sorted(info.name for info in store.sequences) == ["made-up-0", "made-up-1", "made-up-2", "made-up-3"]


def test_a_damaged_shard_is_not_merged(tmp_path, two) -> None:
    """Found while copying; nothing of it is published, and what was whole stays."""
    path = next((tmp_path / "b").glob("shard-*")) / "grf.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"b/shard-\w+/grf.npy: expected sha256"):
        main(MergeConfig(folders=two, out=tmp_path / "out"))
    left = Store.open(tmp_path / "out")
    assert len(left) == 2 and not left.incomplete and not list((tmp_path / "out").glob(".tmp-*"))


def test_nothing_to_read_is_refused(tmp_path) -> None:
    """At least one data set."""
    with pytest.raises(ValueError, match="folders: expected at least one data set to read, got none"):
        main(MergeConfig(folders=(), out=tmp_path / "out"))
