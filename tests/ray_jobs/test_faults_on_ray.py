"""Collections on Ray that run out of disk, find a damaged shard or lose a whole node: they end with the bytes of an undisturbed
one, for any number of workers. Killed workers and drivers: test_collect_on_ray.py."""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")

from ray.experimental import get_object_locations  # noqa: E402  after the skip

from ray_jobs.cluster import RayConfig, connect  # noqa: E402
from ray_jobs.ray_pool import RayPool  # noqa: E402
from sim import collect  # noqa: E402
from sim.imitate_clip import ImitationConfig  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
CLIPS = ("embedded/kick", "embedded/jump", "embedded/punch", "embedded/roll")
WORKERS = pytest.mark.parametrize("workers", [1, 2, 4])
pytestmark = pytest.mark.timeout(900)


def _config(out, shard_seconds=1.0):
    return collect.Config(
        motions=CLIPS, out=out, shard_seconds=shard_seconds, imitation=ImitationConfig(may_search=False),
        solutions=(ROOT / "solutions" / "embedded",),
    )  # fmt: skip


def _tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("shard-*/*"))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Files of collections without Ray, by length of a shard."""
    trees = {}
    for seconds in (1.0, 600.0):
        out = tmp_path_factory.mktemp("whole") / "set"
        collect.main(dataclasses.replace(_config(out, seconds), workers=1))
        trees[seconds] = _tree(out)
    assert [len({name.split("/")[0] for name in tree}) for tree in trees.values()] == [4, 1]
    return trees


def _on_ray(config, workers):
    return collect.main(config, lambda task, _: RayPool(task, workers, RayConfig(num_cpus=0.5)), "ray_jobs.collect")


class TestOneNode:
    @pytest.fixture(scope="class", autouse=True)
    def cluster(self):
        """A local Ray with two cores; four half-core items fit on it."""
        with connect(RayConfig(object_store_mb=100), 2):
            yield

    @WORKERS
    def test_a_full_disk_stops_the_collection_and_the_next_one_completes_it(self, tmp_path, undisturbed, workers):
        """A small file system of its own, with room for a part of the shards; then it is made larger."""
        disk, tree = tmp_path / "disk", undisturbed[1.0]
        disk.mkdir()
        size = sum(map(len, tree.values())) * 2 // 3
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode != 0:
            pytest.skip(f"no right to mount a small file system: {mounted.stderr.strip()}")
        try:
            with pytest.raises(OSError, match="No space left on device"):
                _on_ray(_config(disk / "set"), workers)
            assert not list((disk / "set").glob(".tmp-*"))
            assert _tree(disk / "set").items() < tree.items()
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            _on_ray(_config(disk / "set"), workers)
            assert _tree(disk / "set") == tree
        finally:
            subprocess.run(["umount", str(disk)], check=True)

    @WORKERS
    def test_a_damaged_shard_is_made_again(self, tmp_path, undisturbed, workers):
        tree = undisturbed[1.0]
        for name, data in tree.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(data)
        path = sorted(tmp_path.glob("shard-*/quat.npy"))[workers % 4]
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        result = _on_ray(_config(tmp_path), workers)
        assert result["items"] == 1 and len(result["set_aside"]) == 1
        assert _tree(tmp_path) == tree


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _descendants(root):
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _kill_tree(process):
    """SIGKILL for a process and all that came from it, as when a machine goes."""
    while (found := _descendants(process.pid)) != [process.pid] or process.poll() is None:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if process.poll() is not None:
            break
        time.sleep(0.05)


class TestTwoNodes:
    @pytest.fixture(scope="class", autouse=True)
    def head(self):
        """A head started with `ray start`, and the driver connected to it; a dead node is noticed in some seconds."""
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray-") as folder:
            for name, value in {
                "RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "1000",
                "RAY_health_check_timeout_ms": "10000", "RAY_health_check_failure_threshold": "5",
                "RAY_raylet_start_wait_time_s": "300", "RAY_USAGE_STATS_ENABLED": "0",
                "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            }.items():  # fmt: skip
                patch.setenv(name, value)
            port = _free_port()
            head = self._start("--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false")
            try:
                self._wait_for_port(head, port)
                with connect(RayConfig(address=f"127.0.0.1:{port}"), 2):
                    yield f"127.0.0.1:{port}"
            finally:
                _kill_tree(head)

    @staticmethod
    def _start(*options):
        command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block"]
        return subprocess.Popen(
            [*command, "--num-cpus=2", "--object-store-memory=100000000", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    @staticmethod
    def _wait_for_port(process, port):
        while True:
            assert process.poll() is None, "the head ended"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            time.sleep(0.1)

    @WORKERS
    def test_a_killed_node_takes_its_records_along_and_they_are_made_again(self, tmp_path, undisturbed, head, workers):
        """Nothing is on the disk yet when the node dies that holds finished records."""
        before = {node["NodeID"] for node in ray.nodes()}
        process = self._start(f"--address={head}")
        while not (new := [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in before]):
            assert process.poll() is None, "the second node ended"
            time.sleep(0.2)
        lost = []

        class NodeDies(RayPool):
            """As the pool, in a cluster whose second node is killed as soon as it holds the records of an item."""

            def wait(self):
                found = super().wait()
                for item in found if not lost else ():
                    places = get_object_locations([item.records])[item.records]["node_ids"]
                    if places == new:
                        lost.append(item.place)
                        _kill_tree(process)
                return found

        try:
            result = collect.main(
                _config(tmp_path / "set", 600.0), lambda task, _: NodeDies(task, workers, RayConfig(num_cpus=0.5))
            )
        finally:
            _kill_tree(process)
        assert lost and result["errors"] == {} and result["complete"] == 4
        assert _tree(tmp_path / "set") == undisturbed[600.0]
