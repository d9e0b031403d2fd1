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
PARTS = 6
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("IMDYLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def local(tmp_path, three_sequences):
    """Folder of a data set of two shards, and its files by name."""
    store = Store.create(tmp_path / "local")
    store.append(three_sequences[:2])
    store.append(three_sequences[2:])
    return store.path, {str(path.relative_to(store.path)): path.read_bytes() for path in store.path.glob("shard-*/*")}


def _shards(server, path):
    return {name: data for name, data in s3_server.objects(server, path).items() if name.startswith("shard-")}


def _merge(folder, place):
    command = [sys.executable, "-m", "dataset.merge", str(folder), "--out", place]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.parametrize("part", [*range(PARTS), "first mark", "second mark"])
def test_a_writer_killed_in_the_middle_of_an_upload_leaves_a_data_set_that_the_next_one_completes(s3, local, part):
    """At a byte drawn by chance in each part of all that is sent, and when it is about to mark a shard."""
    folder, expected = local
    path = f"crash/{str(part).replace(' ', '-')}"
    s3_server.make_bucket(s3, "crash")
    if isinstance(part, int):
        cut = {"after": int(sum(map(len, expected.values())) * (part + random.Random(part).random()) / PARTS)}
    else:
        name = sorted({name.partition("/")[0] for name in expected})[part == "second mark"]
        cut = {"before": f"PUT /{path}/{name}/_SUCCESS".encode()}
    writers = []
    wire = s3_server.Wire(s3, on_cut=lambda: writers[0].send_signal(signal.SIGKILL), **cut)
    writers.append(_merge(folder, s3_server.address(wire.server, path)))
    error = writers[0].communicate()[1]
    wire.close()
    assert wire.is_cut and writers[0].returncode == -signal.SIGKILL, error
    store = Store.create(s3_server.address(s3, path))
    assert [shard.find_damage() for shard in store.shards] == [[]] * len(store.shards), "what is marked is whole"
    found = _shards(s3, path)
    assert {name: expected[name] for name in found} == found, "no half object under a real name"
    if not isinstance(part, int):
        assert (len(store.shards), len(store.incomplete)) == (int(part == "second mark"), 1)
    merge.main(merge.MergeConfig(folders=(folder,), out=s3_server.address(s3, path)))
    assert _shards(s3, path) == expected


def test_a_connection_that_breaks_in_the_middle_of_an_upload_is_made_again(s3, local):
    folder, expected = local
    s3_server.make_bucket(s3, "broken")
    wire = s3_server.Wire(s3, after=20_000)
    merge.main(merge.MergeConfig(folders=(folder,), out=s3_server.address(wire.server, "broken/set")))
    wire.close()
    assert wire.is_cut and _shards(s3, "broken/set") == expected


def test_two_writers_of_the_same_shard_at_a_time_store_it_once(s3, local):
    folder, expected = local
    s3_server.make_bucket(s3, "twice")
    writers = [_merge(folder, s3_server.address(s3, "twice/set")) for _ in range(2)]
    for writer in writers:
        error = writer.communicate()[1]
        assert writer.returncode == 0, error
    assert _shards(s3, "twice/set") == expected


def test_what_the_store_lost_is_noticed_before_the_mark(s3_folder, three_sequences, tmp_path):
    """A file that changes under the writer's hands has not the size that the manifest states: no mark is set."""
    bucket = open_storage(s3_folder)
    with prepare_shard(tmp_path / "work", three_sequences) as prepared:
        (prepared.folder / "quat.npy").write_bytes(b"cut")
        with pytest.raises(OSError, match=r"quat.npy.*: expected the \d+ bytes that were uploaded, found 3; try again"):
            bucket.publish(prepared)
    assert Store.create(s3_folder).shards == ()
