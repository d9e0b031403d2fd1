"""Writers that are killed at every step or run out of disk: all of a shard is read or nothing, writing again completes it."""

import errno
import os
import resource
import signal
import subprocess

import pytest
from shard_files import shard_files

from dataset import atomic
from dataset.shard import Shard
from dataset.storage import open_storage
from dataset.store import Store

STEPS = ("fsync", "rename", "replace", "mkdir")
"""Calls before and after which the disk holds something else; writes in between are covered by what they leave: part of a file
under a temporary name."""


def _killed_at(step: int, work) -> bool:
    """Do the work in a process that kills itself before the given system call; False if the work ends before that."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def counted(call):
            def wrapper(*arguments, **named):
                nonlocal count
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                return call(*arguments, **named)

            return wrapper

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("writer", ["append", "copy"])
def test_a_writer_killed_at_any_step_leaves_a_data_set_that_another_completes(
    tmp_path, three_sequences, writer
) -> None:
    """Every system call that changes what is on the disk, one after another, until none is left."""
    whole = tmp_path / "whole"
    source = Shard(Store.create(whole).append(three_sequences))
    expected, seen, step = shard_files(whole), set(), 0

    def work() -> None:
        if writer == "append":
            Store.create(folder).append(three_sequences)
        else:
            open_storage(folder).copy(source)

    while True:
        folder = tmp_path / f"{writer}-{step}"
        folder.mkdir()
        was_killed = _killed_at(step, work)
        store = Store.create(folder)
        assert len(store) in (0, 3)
        seen.add((len(store), len(store.incomplete)))
        assert not store.shards or shard_files(folder) == expected
        work()
        assert shard_files(folder) == expected
        step += 1
        if not was_killed:
            break
    assert step > 15
    assert seen == {(0, 0), (0, 1), (3, 0)}, "killed before the rename, before the mark, and after it"


def test_a_file_that_may_not_grow_stops_the_writer_and_leaves_nothing(tmp_path, three_sequences) -> None:
    """As on a full disk: an error that names the reason, no shard, no temporary file; the next writer succeeds."""
    expected = _tree_of_undisturbed(tmp_path, three_sequences)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for limit in (200, 4096, 20_000, 30_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError) as caught:
                Store.create(tmp_path / "set").append(three_sequences)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.errno == errno.EFBIG
        assert list((tmp_path / "set").iterdir()) == []
    signal.signal(signal.SIGXFSZ, handler)
    Store.create(tmp_path / "set").append(three_sequences)
    assert shard_files(tmp_path / "set") == expected


def test_a_full_disk_stops_the_writer_and_leaves_nothing(tmp_path, three_sequences) -> None:
    """A small file system of its own, filled to different heights."""
    expected = _tree_of_undisturbed(tmp_path, three_sequences)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a small file system: {mounted.stderr.strip()}")
    try:
        for room in (4096, 50_000, 120_000):
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            (disk / "filling").write_bytes(bytes(free - room))
            with pytest.raises(OSError) as caught:
                Store.create(disk / "set").append(three_sequences)
            assert caught.value.errno == errno.ENOSPC
            assert not (disk / "set").exists() or list((disk / "set").iterdir()) == []
            (disk / "filling").unlink()
        Store.create(disk / "set").append(three_sequences)
        assert shard_files(disk / "set") == expected
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _tree_of_undisturbed(tmp_path, three_sequences):
    Store.create(tmp_path / "whole").append(three_sequences)
    return shard_files(tmp_path / "whole")


def test_a_temporary_name_is_never_read(tmp_path, three_sequences) -> None:
    """Also where a whole shard lies under it."""
    folder = Store.create(tmp_path).append(three_sequences)
    folder.rename(folder.with_name(f"{atomic.TEMPORARY_PREFIX}{folder.name}"))
    assert len(Store.create(tmp_path)) == 0
