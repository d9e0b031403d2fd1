"""What is said of a collection's progress: signs of life while nothing is finished, and no claim beyond what is known."""

import dataclasses
import datetime
import fcntl
import json
import time

import pytest

from sim import progress
from sim.progress import FILE, Reporter, machine_fingerprint, read_progress, status_lines
from sim.resume import LOCK
from sim.tally import Tally


def _now(ago=0.0):
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=ago)).isoformat(timespec="seconds")


def _written(folder, **changes):
    """Progress of one of two items, changed so, in the folder's file."""
    Reporter(folder, 2, 1, 1).report(Tally())
    found = dataclasses.replace(read_progress(folder), **changes)
    (folder / FILE).write_text(json.dumps(dataclasses.asdict(found)))


def _state(folder):
    return status_lines(folder)[2].removeprefix("state     ")


def test_a_sign_of_life_is_given_while_nothing_is_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.01)
    monkeypatch.setattr(progress, "BEAT", 0.05)
    with Reporter(tmp_path, 2, 1, 1) as reporter:
        reporter.report(Tally())
        first = read_progress(tmp_path)
        deadline = time.monotonic() + 60
        while (found := read_progress(tmp_path)) == first and time.monotonic() < deadline:
            time.sleep(0.02)
    assert found.elapsed > first.elapsed and found.done == first.done == 1
    assert not found.is_finished and found.machine == machine_fingerprint() != ""
    last = (tmp_path / FILE).stat().st_mtime_ns
    time.sleep(0.2)
    assert (tmp_path / FILE).stat().st_mtime_ns == last, "none after the end"


def test_progress_that_cannot_be_written_is_a_warning_until_the_end(tmp_path, caplog):
    (tmp_path / FILE).mkdir()
    reporter = Reporter(tmp_path, 2, 1, 1)
    assert reporter.report(Tally()).done == 1
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [f"{tmp_path / FILE} is not up to date"]
    reporter.report(Tally())
    assert len(caplog.records) == 1, "not tried again at once"
    with pytest.raises(OSError, match="directory"):
        reporter.report(Tally(), is_last=True)


def test_all_items_done_is_not_yet_finished_until_the_last_shard_is_stored(tmp_path):
    _written(tmp_path, done=2)
    assert _state(tmp_path) == "stopped: start it again, it goes on"
    Reporter(tmp_path, 2, 2, 1).report(Tally(), is_last=True)
    assert _state(tmp_path) == "finished"


def test_on_the_machine_of_the_collection_its_lock_tells(tmp_path):
    _written(tmp_path, updated=_now(ago=4000))
    assert _state(tmp_path) == "stopped: start it again, it goes on"
    with open(tmp_path / LOCK, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert _state(tmp_path) == "at work"
    [said] = [line for line in status_lines(tmp_path) if line.startswith("heard of  ")]
    assert said.startswith("heard of  1:06:4")


@pytest.mark.parametrize(
    ("ago", "state"),
    [
        (5, "at work, or stopped a moment ago: it gives a sign of life every 20 s"),
        (600, "stopped, as it seems: it would give a sign of life every 20 s; start it again, it goes on"),
    ],
)
@pytest.mark.parametrize("machine", ["another0one0", ""])
def test_from_another_machine_only_the_last_sign_of_life_tells(tmp_path, machine, ago, state):
    """No lock is seen here, as on a file system that does not pass locks on."""
    _written(tmp_path, machine=machine, updated=_now(ago))
    assert _state(tmp_path) == state


def test_a_clock_that_is_behind_makes_no_negative_time(tmp_path):
    _written(tmp_path, machine="another0one0", updated=_now(ago=-30))
    assert _state(tmp_path).startswith("at work, or") and "heard of  0 s ago" in status_lines(tmp_path)[3]
