"""Collections that are killed, run out of disk or find damage: they go on, and end with the bytes of an undisturbed one.

The collecting process is a fork of this one, which has the references of the clips at hand, so that a replay takes a moment; the
kill is a real one. Store writers killed at every single step: tests/dataset/test_store_crash.py.
"""

import dataclasses
import functools
import os
import random
import resource
import signal
import threading
import time
from pathlib import Path

import pytest
from shard_files import shard_files
from this_process import ThisProcess

from dataset.store import Store
from sim import work_items
from sim.collect import Config, main
from sim.imitate_clip import ImitationConfig, NotSavedError
from sim.resume import LOCK, clear_remains, is_collecting, only_collector

CLIPS = ("embedded/kick", "embedded/jump", "embedded/punch")
SOLUTIONS = Path(__file__).parent.parent.parent / "solutions" / "embedded"
REPLAYED = ImitationConfig(may_search=False)


def _config(out):
    return Config(motions=CLIPS, out=out, shard_seconds=1.0, imitation=REPLAYED, solutions=(SOLUTIONS,))


def _collect(config, workers=1, seed=0):
    return main(config, lambda task, _: ThisProcess(task, workers, seed))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Files of a collection that nothing happened to, and how long it takes [s]."""
    out = tmp_path_factory.mktemp("whole")
    _collect(_config(out))  # the first one makes the references
    started = time.monotonic()
    _collect(_config(tmp_path_factory.mktemp("again")))
    tree = shard_files(out)
    assert len({name.split("/")[0] for name in tree}) == 3, "a shard a clip"
    return tree, time.monotonic() - started


def _forked(work):
    pid = os.fork()
    if pid == 0:
        os.close(2)
        os.open(os.devnull, os.O_WRONLY)
        try:
            work()
        except OSError:
            os._exit(28)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid


def _ended(pid):
    return os.waitpid(pid, 0)[1]


def test_a_collector_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path, undisturbed):
    tree, seconds = undisturbed
    draw, kills = random.Random(7), 0
    for _ in range(6):
        pid = _forked(lambda: _collect(_config(tmp_path / "set")))
        deadline = time.monotonic() + draw.uniform(0.05, 0.6) * seconds
        while time.monotonic() < deadline and not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            time.sleep(0.01)
        if not ended[0]:
            os.kill(pid, signal.SIGKILL)
            kills += os.WIFSIGNALED(_ended(pid))
    assert kills > 0
    assert not is_collecting(tmp_path / "set"), "the lock goes with the process"
    result = _collect(_config(tmp_path / "set"))
    assert shard_files(tmp_path / "set") == tree
    assert result["set_aside"] == [] and not list((tmp_path / "set").glob(".tmp-*"))


@pytest.mark.parametrize("workers", [2, 4])
def test_the_order_in_which_items_finish_changes_no_byte(tmp_path, undisturbed, workers):
    _collect(_config(tmp_path / "set"), workers, seed=workers)
    assert shard_files(tmp_path / "set") == undisturbed[0]


def test_a_full_disk_stops_the_collection_and_the_next_one_completes_it(tmp_path, undisturbed):
    def limited(limit):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        _collect(_config(tmp_path / "set"))

    sizes = sorted(len(data) for name, data in undisturbed[0].items() if name.endswith("quat.npy"))
    for limit in (sizes[0] - 1, sizes[-1] - 1):
        status = _ended(_forked(functools.partial(limited, limit)))
        assert os.WEXITSTATUS(status) == 28, "an OSError, not a crash"
        assert not list((tmp_path / "set").glob(".tmp-*")) and Store.create(tmp_path / "set").incomplete == ()
    assert len(Store.create(tmp_path / "set").shards) < 3
    _collect(_config(tmp_path / "set"))
    assert shard_files(tmp_path / "set") == undisturbed[0]


def test_a_solution_that_cannot_be_written_stops_the_collection_and_is_no_failure_of_its_clip(
    tmp_path, arm_swing, quick_search
):
    """A failure would be stored where there is room for so little, and stay beside the shard of the next run."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "swing.txt").write_text(arm_swing(1.2))
    config = Config(motions=(str(tmp_path / "here"),), out=tmp_path / "whole", solutions=(), imitation=quick_search)
    _collect(config)
    disturbed = dataclasses.replace(config, out=tmp_path / "set")
    in_the_way = disturbed.out / "solutions" / "here"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()
    with pytest.raises(NotSavedError, match="solutions/here"):
        _collect(disturbed)
    assert shard_files(disturbed.out) == {}
    in_the_way.unlink()
    assert _collect(disturbed)["complete"] == 1 and shard_files(disturbed.out) == shard_files(config.out) != {}


def _flip(shard):
    data = bytearray((shard / "quat.npy").read_bytes())
    data[-1] ^= 1
    (shard / "quat.npy").write_bytes(data)


def _unmark_and_flip(shard):
    (shard / "_SUCCESS").unlink()
    _flip(shard)


DAMAGE = {
    "byte": _flip,
    "cut": lambda shard: os.truncate(shard / "grf.npy", 1000),
    "gone": lambda shard: (shard / "cop.npy").unlink(),
    "manifest": lambda shard: (shard / "manifest.json").write_text("{"),
    "mark": lambda shard: (shard / "_SUCCESS").write_text(""),
    "half-written": _unmark_and_flip,
}


def test_damaged_and_half_written_shards_are_made_again(tmp_path, undisturbed):
    tree, _ = undisturbed
    for name, data in tree.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    shards = sorted(tmp_path.glob("shard-*"))
    for number, (kind, damage) in enumerate(DAMAGE.items()):
        damage(shards[number % 3])
        result = _collect(_config(tmp_path))
        assert result["items"] == 1 and len(result["set_aside"]) == (kind != "half-written"), kind
        assert shard_files(tmp_path) == tree, kind
    assert len(list(tmp_path.glob(".damaged-shard-*"))) == len(DAMAGE) - 1


def test_two_collections_do_not_share_a_data_set(tmp_path):
    import fcntl

    with open(tmp_path / LOCK, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_collecting(tmp_path)
        with pytest.raises(
            ValueError, match="expected a data set that nobody collects into, found a collection at work"
        ):
            _collect(_config(tmp_path))


def test_who_asks_how_far_a_collection_is_does_not_keep_it_from_beginning(tmp_path):
    """To see whether somebody collects the lock is taken for a moment."""
    import fcntl

    with open(tmp_path / LOCK, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.3, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        with only_collector(tmp_path):
            assert is_collecting(tmp_path)


def test_what_a_killed_writer_left_of_a_solution_is_removed(tmp_path):
    folder = tmp_path / "solutions" / "walks"
    folder.mkdir(parents=True)
    (folder / ".tmp-a.npz-12-34").write_bytes(b"half")
    (folder / "a.npz").write_bytes(b"whole")
    clear_remains(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["a.npz"]


def test_a_clip_under_two_names_is_stored_once(tmp_path, arm_swing, quick_search):
    """The same motion as two files: one solution, one subject, one seed, so the second is a duplicate and counted."""
    for name in ("first", "second"):
        (tmp_path / "here" / name).mkdir(parents=True)
        (tmp_path / "here" / name / "swing.txt").write_text(arm_swing(1.2))
    config = Config(motions=(str(tmp_path / "here"),), out=tmp_path / "set", solutions=(), imitation=quick_search)
    result = _collect(config)
    store = Store.open(config.out)
    assert [info.clip for info in store.sequences] == ["first/swing@0.00"]
    [loss] = [loss for loss in store.dropped if loss.reason == "duplicate"]
    assert loss.clip == "second/swing@0.00" and loss.seconds == pytest.approx(store.seconds)
    assert result["items"] == 2 and _collect(config)["items"] == 0


def test_a_stretch_that_had_no_solution_is_tried_again_and_the_others_of_its_file_are_not(
    tmp_path, arm_swing, quick_search, monkeypatch
):
    monkeypatch.setattr(work_items, "LONGEST_STRETCH", 1.2)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "swing.txt").write_text(arm_swing(2.3))
    config = Config(motions=(str(tmp_path / "here"),), out=tmp_path / "all", solutions=(), imitation=quick_search)
    assert _collect(config)["asked_s"] == pytest.approx(2.3, abs=0.1)
    names = sorted(info.clip for info in Store.open(config.out).sequences)
    assert len(names) == 2
    first, second = sorted((config.out / "solutions").rglob("*.npz"))
    kept = second.rename(tmp_path / second.name)
    partial = dataclasses.replace(
        config, out=tmp_path / "set", solutions=(config.out / "solutions",),
        imitation=dataclasses.replace(quick_search, may_search=False),
    )  # fmt: skip
    assert _collect(partial)["items_by_loss"] == {"no_solution": 1}
    assert [info.clip for info in Store.open(partial.out).sequences] == names[:1]
    again = _collect(partial)
    assert again["items"] == 1 and again["kept_s"] == 0.0, "tried again, the whole stretch left alone"
    assert _collect(dataclasses.replace(partial, keep_failed=True))["items"] == 0
    kept.rename(second)
    assert _collect(partial)["asked_s"] == pytest.approx(1.15, abs=0.1)
    store = Store.open(partial.out)
    assert sorted(info.clip for info in store.sequences) == names and _collect(partial)["items"] == 0
    assert first.is_file()
