"""Collections into an object store: the bytes of one into a folder, killed in the middle of an upload, damaged, and resumed."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from this_process import ThisProcess

from dataset.provenance import read_runs
from dataset.storage import open_storage
from dataset.store import Store
from sim.collect import Config, main
from sim.imitate_clip import ImitationConfig, find_solutions
from sim.progress import status_lines

pytest.importorskip("moto", reason="moto, the S3 server of the tests, is not installed (extra `dev`)")
import s3_server

ROOT = Path(__file__).parent.parent.parent
CLIPS = ("embedded/kick", "embedded/punch")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("IMDYLAB_CACHE", str(tmp_path / "cache"))


def _config(out):
    return Config(
        motions=CLIPS, out=out, shard_seconds=1.0, imitation=ImitationConfig(may_search=False),
        solutions=(ROOT / "solutions" / "embedded",),
    )  # fmt: skip


def _collect(config):
    return main(config, lambda task, _: ThisProcess(task))


def _shards(server, path):
    return {name: data for name, data in s3_server.objects(server, path).items() if name.startswith("shard-")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Files of a collection into a folder."""
    out = tmp_path_factory.mktemp("whole") / "set"
    _collect(_config(out))
    tree = {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.glob("shard-*/*"))}
    assert len({name.partition("/")[0] for name in tree}) == 2, "a shard a clip"
    return tree


def test_a_collection_killed_in_the_middle_of_an_upload_is_completed_by_the_next_one(s3, undisturbed):
    """The second shard is being uploaded when the collector and its workers die."""
    s3_server.make_bucket(s3, "killed")
    collectors = []
    wire = s3_server.Wire(
        s3, after=sum(map(len, undisturbed.values())) - 20_000,
        on_cut=lambda: collectors[0].send_signal(signal.SIGKILL),
    )  # fmt: skip
    options = ["--shard-seconds", "1", "--imitation.no-may-search", "--workers", "1"]
    place = s3_server.address(wire.server, "killed/set")
    collectors.append(
        subprocess.Popen(
            [sys.executable, "-m", "sim.collect", "--motions", *CLIPS, "--out", place, *options],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
    )  # fmt: skip
    error = collectors[0].communicate()[1]
    wire.close()
    assert wire.is_cut and collectors[0].returncode == -signal.SIGKILL, error
    place = s3_server.address(s3, "killed/set")
    found = _shards(s3, "killed/set")
    assert found and {name: undisturbed[name] for name in found} == found
    assert len(Store.create(place).shards) == 1 and "1 half-written" in status_lines(place)[0]
    result = _collect(_config(place))
    assert _shards(s3, "killed/set") == undisturbed
    assert result["items"] == 1 and result["set_aside"] == []
    assert status_lines(place)[2].startswith("state     finished")
    assert [run["command"] for run in read_runs(place)] == ["sim.collect"]
    assert _collect(_config(place))["items"] == 0


def test_a_damaged_shard_is_unmarked_and_made_again(s3, s3_folder, undisturbed):
    path = s3_folder.removeprefix("s3://").partition("?")[0]
    bucket = open_storage(s3_folder)
    _collect(_config(s3_folder))
    assert _shards(s3, path) == undisturbed
    first, second = sorted({name.partition("/")[0] for name in undisturbed})
    data = bytearray(undisturbed[f"{first}/quat.npy"])
    data[-1] ^= 1
    for name, file, damage in (
        (first, "quat.npy", bytes(data)),
        (second, "manifest.json", b"{"),
        (first, "cop.npy", b""),
    ):
        bucket.write_file(f"{name}/{file}", damage)
        result = _collect(_config(s3_folder))
        assert result["items"] == 1 and result["set_aside"] == [f"{name}, without its mark"], file
        assert _shards(s3, path) == undisturbed, file


def test_solutions_that_were_searched_are_kept_beside_the_data_and_replayed(
    s3_folder, tmp_path, arm_swing, quick_search
):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "swing.txt").write_text(arm_swing(1.2))
    config = Config(motions=(str(tmp_path / "here"),), out=s3_folder, solutions=(), imitation=quick_search)
    assert _collect(config)["searched_s"] > 0
    solutions = open_storage(s3_folder).at("solutions")
    [place] = find_solutions((solutions,)).values()
    assert str(place).startswith("s3://") and ".npz" in str(place)
    elsewhere = dataclasses.replace(config, out=tmp_path / "set", solutions=(solutions,))
    assert _collect(elsewhere)["searched_s"] == 0
    assert Store.open(elsewhere.out).content == Store.open(s3_folder).content
