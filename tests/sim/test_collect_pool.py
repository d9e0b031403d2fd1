"""Real worker processes under kill -9: the worker's item is done again, and no worker outlives its collector."""

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from shard_files import shard_files

from sim.collect import Config, main
from sim.imitate_clip import ImitationConfig

SOLUTIONS = Path(__file__).parent.parent.parent / "solutions" / "embedded"
pytestmark = pytest.mark.timeout(600)


def _config(out):
    imitation = ImitationConfig(may_search=False)
    clips = ("embedded/kick", "embedded/punch")
    return Config(motions=clips, out=out, shard_seconds=1.0, workers=1, imitation=imitation, solutions=(SOLUTIONS,))


def _children(pid):
    """Worker processes of a collector, by what they were started to do."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"\nPPid:\t{pid}\n" in entry.joinpath("status").read_text():
                found += [int(entry.name)] if b"spawn_main" in entry.joinpath("cmdline").read_bytes() else []
        except OSError:
            continue
    return found


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_kills_of_worker_and_collector_change_no_byte_and_leave_no_process(tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "set"
    killed = []

    def kill_a_worker():
        for _ in range(6000):
            for pid in _children(os.getpid()):
                time.sleep(0.5)
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=kill_a_worker)
    thread.start()
    result = main(_config(whole))
    thread.join()
    assert killed and result["errors"] == {} and result["complete"] == 2

    collector = os.fork()
    if collector == 0:
        main(_config(out))
        os._exit(0)
    while not any(out.glob("shard-*/_SUCCESS")):
        assert os.waitpid(collector, os.WNOHANG) == (0, 0)
        time.sleep(0.02)
    workers = _children(collector)
    os.kill(collector, signal.SIGKILL)
    os.waitpid(collector, 0)
    assert workers
    deadline = time.monotonic() + 60
    while any(_is_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_is_alive(pid) for pid in workers)
    main(dataclasses.replace(_config(out), workers=2))
    assert shard_files(out) == shard_files(whole)
