"""Data sets on an object store, against a real S3 server: the bytes of a local one, a mark last, a cache that only speeds up."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dataset import inspect, merge
from dataset.manifest import Dropped
from dataset.provenance import add_run, read_runs, run_record
from dataset.shard import hash_file
from dataset.shard_cache import cache_folder
from dataset.storage import open_storage, read_file, write_file
from dataset.store import Store
from dataset.verify import verify_store

pytest.importorskip("moto", reason="moto, the S3 server of the tests, is not installed (extra `dev`)")
import s3_server
from shard_files import shard_files

FELL = Dropped(clip="made-up/flip", subject="made-up-person", seed=3, reason="fell", seconds=1.5)
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("IMDYLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def local(tmp_path, three_sequences):
    """A data set of two shards in a folder."""
    store = Store.create(tmp_path / "local")
    store.append(three_sequences[:2], [FELL])
    store.append(three_sequences[2:])
    return store


def _stored(s3, s3_folder):
    names = s3_server.objects(s3, s3_folder.removeprefix("s3://").partition("?")[0])
    return {name: data for name, data in names.items() if name.startswith("shard-")}


def test_appending_stores_the_bytes_of_a_folder_and_reading_gives_them_back(s3, s3_folder, local, three_sequences):
    store = Store.create(s3_folder)
    assert store.shards == () and store.incomplete == ()
    store.append(three_sequences[:2], [FELL])
    store.append(three_sequences[2:])
    assert _stored(s3, s3_folder) == shard_files(local.path)
    opened = Store.open(s3_folder)
    assert opened.content == local.content == store.content and opened.dropped == (FELL,)
    for want, have in zip(local, opened, strict=True):
        for field in dataclasses.fields(want):
            np.testing.assert_array_equal(getattr(want, field.name), getattr(have, field.name))
    first = np.array([0, 50, 70])
    np.testing.assert_array_equal(opened.windows("quat", first, 6), local.windows("quat", first, 6))
    assert isinstance(opened.fields("grf")[0], np.memmap)
    store.append(three_sequences[2:])
    assert _stored(s3, s3_folder) == shard_files(local.path), "appending again changes nothing"
    with pytest.raises(ValueError, match="expected new sequences, found 'made-up-1' there already"):
        store.append(three_sequences[1:2])


def test_only_what_is_asked_for_is_fetched_and_only_once(s3_folder, local):
    for shard in local.shards:
        open_storage(s3_folder).copy(shard)
    store = Store.open(s3_folder)
    cached = {path.name for path in cache_folder().rglob("*") if path.is_file()}
    assert cached == {"manifest.json", "_SUCCESS"}
    store.fields("grf")
    files = list(cache_folder().rglob("grf.npy"))
    assert len(files) == 2 and not list(cache_folder().rglob("quat.npy"))
    assert {path.parent.parent.name for path in files} == {
        hash_file(shard.path / "manifest.json") for shard in local.shards
    }
    before = {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*")}
    again = Store.open(s3_folder)
    again.fields("grf")
    assert {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*")} == before
    subprocess.run(["rm", "-r", cache_folder()], check=True)
    np.testing.assert_array_equal(again.fields("quat")[0], local.fields("quat")[0])
    assert np.array_equal(Store.open(s3_folder).fields("grf")[0], local.fields("grf")[0]), "cleared and fetched again"


def test_without_its_mark_a_shard_is_ignored_and_writing_again_completes_it(s3, s3_folder, local):
    bucket = open_storage(s3_folder)
    for shard in local.shards:
        bucket.copy(shard)
    cut, whole = (shard.path.name for shard in local.shards)
    bucket.set_aside(cut)
    bucket.write_file(f"{cut}/quat.npy", b"other bytes")
    store = Store.open(s3_folder)
    assert [shard.path.name for shard in store.shards] == [whole] and store.incomplete == (bucket.at(cut),)
    assert verify_store(store) == [f"{bucket.at(cut)}: half-written shard, ignored by readers; delete it"]
    bucket.copy(local.shards[0])
    assert _stored(s3, s3_folder) == shard_files(local.path)
    for shard in local.shards:
        bucket.set_aside(shard.path.name)
    with pytest.raises(ValueError, match=rf"found only half-written shards: {cut}, {whole}; delete them"):
        Store.open(s3_folder)


def test_damage_in_the_store_is_found_and_never_enters_the_cache(s3_folder, local):
    bucket = open_storage(s3_folder)
    for shard in local.shards:
        bucket.copy(shard)
    name = local.shards[0].path.name
    data = bytearray(local.shards[0].file("quat.npy").read_bytes())
    data[-1] ^= 1
    bucket.write_file(f"{name}/quat.npy", bytes(data))
    store = Store.open(s3_folder)
    with pytest.raises(ValueError, match=rf"{name}/quat.npy\?.*: expected sha256 .*, found .*; delete the shard"):
        store.fields("quat")
    assert not list(cache_folder().rglob(f"{name}/quat.npy")) and not list(cache_folder().rglob(".tmp-*"))
    [complaint] = store.shards[0].find_damage()
    assert f"{name}/quat.npy" in complaint and "expected sha256" in complaint
    bucket.write_file(f"{name}/quat.npy", bytes(data[:-1]))
    with pytest.raises(ValueError, match=rf"quat.npy\?.*: expected {len(data)} bytes .*, found {len(data) - 1} bytes"):
        Store.open(s3_folder)
    bucket.write_file(f"{name}/manifest.json", b"{}")
    subprocess.run(["rm", "-r", cache_folder()], check=True)
    with pytest.raises(ValueError, match=r"manifest.json\?.*: expected sha256 .* as in _SUCCESS, found"):
        Store.open(s3_folder)
    for mark in (b"", b"../../../../tmp/elsewhere"):
        bucket.write_file(f"{name}/_SUCCESS", mark)
        with pytest.raises(ValueError, match=r"_SUCCESS\?.*: expected the sha256 of manifest.json, found"):
            Store.open(s3_folder)


def test_a_file_of_the_cache_that_changed_is_found_and_fetched_again(s3_folder, local, caplog):
    for shard in local.shards:
        open_storage(s3_folder).copy(shard)
    store = Store.open(s3_folder)
    [path] = [store.shards[0].file("quat.npy")]
    path.write_bytes(bytes(path.stat().st_size))
    assert store.shards[0].find_damage() == [] and "has changed and is fetched again" in caplog.text
    np.testing.assert_array_equal(Store.open(s3_folder).fields("quat")[0], local.fields("quat")[0])
    manifest = store.shards[1].path / "manifest.json"
    manifest.write_text("{}")
    assert Store.open(s3_folder).content == local.content


def test_commands_read_and_merge_addresses(s3, s3_folder, local, tmp_path, capsys):
    add_run(local.storage, run_record("test"))
    merged = merge.main(merge.MergeConfig(folders=(local.path,), out=s3_folder))
    assert merged.content == local.content and _stored(s3, s3_folder) == shard_files(local.path)
    result = inspect.main(inspect.InspectConfig(folder=s3_folder, verify=True))
    assert result.complaints == [] and result.summary.sequences == 3
    shown = capsys.readouterr().out
    assert s3_folder in shown and "dataset.merge" in shown
    back = merge.main(merge.MergeConfig(folders=(s3_folder,), out=tmp_path / "back"))
    assert shard_files(back.path) == shard_files(local.path)
    assert [run["command"] for run in read_runs(s3_folder)] == ["dataset.merge"]


def test_small_files_are_read_and_replaced(s3_folder):
    bucket = open_storage(s3_folder)
    assert bucket.read_file("solutions/a/x.npz") is None and bucket.list_files("solutions", ".npz") == []
    for data in (b"1", b"22"):
        write_file(bucket.at("solutions", "a", "x.npz"), data)
    assert bucket.list_files("solutions", ".npz") == bucket.list_files("", ".npz") == ["solutions/a/x.npz"]
    assert read_file(bucket.at("solutions/a/x.npz")) == b"22"
    with pytest.raises(FileNotFoundError, match="expected an object, found none"):
        read_file(bucket.at("solutions/b.npz"))


def test_a_missing_bucket_is_explained(s3, three_sequences):
    nowhere = s3_server.address(s3, "nobody-made-this/set")
    with pytest.raises(ValueError, match="expected a data set with at least one complete shard, found none"):
        Store.open(nowhere)
    with pytest.raises(
        OSError, match=r"nobody-made-this/set/shard-.*: expected the object store to do as it was asked"
    ):
        Store.create(nowhere).append(three_sequences)


def test_keys_are_in_nothing_that_is_written_or_said(local, tmp_path):
    """Right keys, keys that the server refuses, a key in the address: outputs, objects and the cache hold none of them."""
    secrets = {
        "AWS_ACCESS_KEY_ID": "AKNEVERSHOWNANYWHERE", "AWS_SECRET_ACCESS_KEY": "never-to-be-shown-secret",
        "AWS_SESSION_TOKEN": "never-to-be-shown-token",
    }  # fmt: skip

    def run(*arguments):
        environment = os.environ | secrets | {"IMDYLAB_TRACEBACK": "", "RUST_BACKTRACE": "1"}
        done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env=environment, capture_output=True)
        assert not [secret for secret in secrets.values() if secret.encode() in done.stdout + done.stderr]
        return done.returncode, (done.stdout + done.stderr).decode()

    with s3_server.s3_server() as server:
        s3_server.make_bucket(server, "keys")
        place = s3_server.address(server, "keys/set")
        assert run("dataset.merge", str(local.path), "--out", place)[0] == 0
        assert run("dataset.inspect", place, "--verify")[0] == 0
        assert run("ray_jobs.status", place)[0] == 0
        written = s3_server.objects(server, "keys")
        assert "set/run.json" in written and b"keys/set" in written["set/run.json"]
    written |= {str(path): path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert len(written) > 40
    assert not [name for name, data in written.items() if any(secret.encode() in data for secret in secrets.values())]
    with s3_server.s3_server(INITIAL_NO_AUTH_ACTION_COUNT="0") as strict:
        status, said = run("dataset.merge", str(local.path), "--out", s3_server.address(strict, "keys/set"))
        assert status == 2 and "the keys that this machine has for it" in said and len(said.strip().splitlines()) == 1
    key = f"{secrets['AWS_ACCESS_KEY_ID']}:{secrets['AWS_SECRET_ACCESS_KEY']}"
    for command in ("dataset.inspect", "ray_jobs.status"):
        status, said = run(command, f"s3://{key}@bucket/set")
        assert status == 2 and "keys do not belong into addresses" in said
