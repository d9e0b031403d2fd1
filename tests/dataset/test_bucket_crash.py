"""Writers into an object store killed in the middle of an upload: all of a shard is read or nothing, then the same bytes."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataset import merge
from dataset.shard_writer import prepare_shard
from dataset.storage import open_storage
from dataset.store import Store

pytest.importorskip("moto", reason="moto, the S3 server of the tests, is not installed (extra `dev`)")
import s3_server

ROOT = Path(__file__).parent.parent.parent
KILLS = 6


@pytest.fixture
def local(tmp_path, three_sequences, monkeypatch):
    """A data set of two shards in a folder, and its files by name."""
    monkeypatch.setenv("IMDYLAB_CACHE", str(tmp_path / "cache"))
    store = Store.create(tmp_path / "local")
    store.append(three_sequences[:2])
    store.append(three_sequences[2:])
    return store.path, {str(path.relative_to(store.path)): path.read_bytes() for path in store.path.glob("shard-*/*")}


def _merge(folder, place):
    command = [sys.executable, "-m", "dataset.merge", str(folder), "--out", place]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _merge_until(folder, server, path, **cut):
    """Merge through a wire that kills the writer at the cut; returns the bytes that were sent and whether it was killed."""
    writers = []
    wire = s3_server.Wire(server, on_cut=lambda: writers[0].send_signal(signal.SIGKILL), **cut)
    writers.append(_merge(folder, s3_server.address(wire.server, path)))
    error = writers[0].communicate()[1]
    wire.close()
    assert writers[0].returncode in (0, -signal.SIGKILL), error
    assert wire.is_cut == (writers[0].returncode != 0)
    return wire.sent, wire.is_cut


def test_a_writer_killed_in_the_middle_of_an_upload_leaves_a_data_set_that_the_next_one_completes(s3, local):
    """At bytes drawn by chance over all that is sent, and just before each of the two marks."""
    folder, expected = local
    s3_server.make_bucket(s3, "crash")
    sent, was_killed = _merge_until(folder, s3, "crash/whole")
    assert not was_killed and sent > sum(map(len, expected.values()))
    draw = random.Random(3)
    cuts = [{"after": int(sent * (number + draw.random()) / KILLS)} for number in range(KILLS)]
    cuts += [{"before": f"PUT /crash/before-{number}/{name}/_SUCCESS".encode()} for number, name in
             enumerate(sorted({name.partition("/")[0] for name in expected}))]  # fmt: skip
    seen = set()
    for number, cut in enumerate(cuts, -KILLS):
        path = f"crash/before-{number}"
        assert _merge_until(folder, s3, path, **cut)[1]
        found = {name: data for name, data in s3_server.objects(s3, path).items() if name.startswith("shard-")}
        store = Store.create(s3_server.address(s3, path))
        for shard in store.shards:
            assert shard.find_damage() == [], "what is marked is whole"
        assert not {name for name in found if found[name] != expected[name]}, "no half object under a real name"
        seen.add((len(store.shards), len(store.incomplete)))
        merge.main(merge.MergeConfig(folders=(folder,), out=s3_server.address(s3, path)))
        found = s3_server.objects(s3, path)
        assert {name: data for name, data in found.items() if name.startswith("shard-")} == expected
        assert "run.json" in found
    assert (0, 1) in seen and (1, 1) in seen, "cut before the first mark, and between the two"


def test_two_writers_of_the_same_shard_at_a_time_store_it_once(s3, local):
    folder, expected = local
    s3_server.make_bucket(s3, "twice")
    writers = [_merge(folder, s3_server.address(s3, "twice/set")) for _ in range(2)]
    for writer in writers:
        error = writer.communicate()[1]
        assert writer.returncode == 0, error
    found = s3_server.objects(s3, "twice/set")
    assert {name: data for name, data in found.items() if name.startswith("shard-")} == expected


def test_what_the_store_lost_is_noticed_before_the_mark(s3_folder, three_sequences, tmp_path):
    """A file that changes under the writer's hands has not the size that the manifest states: no mark is set."""
    bucket = open_storage(s3_folder)
    with prepare_shard(tmp_path / "work", three_sequences) as prepared:
        (prepared.folder / "quat.npy").write_bytes(b"cut")
        with pytest.raises(OSError, match=r"quat.npy.*: expected the \d+ bytes that were uploaded, found 3; try again"):
            bucket.publish(prepared)
    assert Store.create(s3_folder).shards == ()
