"""What the tests of Ray share: which processes of a test's own Ray do its work, and what an undisturbed collection gives."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def same_priority() -> Iterator[None]:
    """Ray's workers are as important as other tests. By default they are nice, and get nothing beside tests that compute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture(scope="session")
def own_processes() -> Callable[[bytes], list[int]]:
    """Finds processes whose command line begins so and that descend from this test."""
    return _own_processes


def _own_processes(title: bytes) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.joinpath("cmdline").read_bytes().startswith(title):
                found.append(int(entry.name))
        except OSError:
            continue
    return sorted(pid for pid in found if _is_ours(pid))


def _is_ours(pid: int) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            return False
    return False


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a collection without Ray that nothing happened to: a shard a clip."""
    from collections_on_ray import CLIPS, config
    from shard_files import shard_files
    from this_process import ThisProcess

    from sim import collect

    out = tmp_path_factory.mktemp("whole") / "set"
    collect.main(config(out), lambda task, _: ThisProcess(task))
    files = shard_files(out)
    assert len({name.split("/")[0] for name in files}) == len(CLIPS)
    return files
