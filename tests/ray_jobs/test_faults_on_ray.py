"""Collections on Ray that run out of disk, find a damaged shard or lose a whole node: they end with the bytes of an undisturbed
one, for any number of workers. Killed workers and drivers: test_collect_on_ray.py."""

import os
import subprocess
import sys
import time

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")

from collections_on_ray import (  # noqa: E402  after the skip
    CLIPS,
    OPTIONS,
    ROOT,
    TOKEN,
    config,
    kill_tree,
    on_ray,
    ray_head,
    ray_settings,
    ray_start,
)
from ray.experimental import get_object_locations  # noqa: E402
from shard_files import shard_files  # noqa: E402

from ray_jobs.cluster import RayConfig, connect  # noqa: E402
from ray_jobs.ray_pool import RayPool  # noqa: E402

THOROUGH = pytest.mark.thorough
WORKERS = pytest.mark.parametrize("workers", [pytest.param(1, marks=THOROUGH), 2, pytest.param(4, marks=THOROUGH)])
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def head():
    """A head that asks for a token, and this process as the driver."""
    with ray_settings(), ray_head() as address, connect(RayConfig(address=address), 2):
        yield address


@WORKERS
def test_a_full_disk_stops_the_collection_and_the_next_one_completes_it(tmp_path, undisturbed, workers):
    """A small file system of its own, with room for a part of the shards; then it is made larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(map(len, undisturbed.values())) // 2
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a small file system: {mounted.stderr.strip()}")
    try:
        with pytest.raises(OSError, match="No space left on device"):
            on_ray(config(disk / "set"), workers)
        assert not list((disk / "set").glob(".tmp-*"))
        assert shard_files(disk / "set").items() < undisturbed.items()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        on_ray(config(disk / "set"), workers)
        assert shard_files(disk / "set") == undisturbed
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@WORKERS
def test_a_damaged_shard_is_made_again(tmp_path, undisturbed, workers):
    for name, data in undisturbed.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    path = sorted(tmp_path.glob("shard-*/quat.npy"))[workers]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    result = on_ray(config(tmp_path), workers)
    assert result["items"] == 1 and len(result["set_aside"]) == 1
    assert shard_files(tmp_path) == undisturbed


@WORKERS
def test_a_killed_node_takes_its_records_along_and_they_are_made_again(tmp_path, undisturbed, head, workers):
    """The second node dies when it holds the records of an item and its shard is not on the disk yet."""
    before = {node["NodeID"] for node in ray.nodes()}
    with ray_start(f"--address={head}") as node:
        while not (
            new := [found["NodeID"] for found in ray.nodes() if found["Alive"] and found["NodeID"] not in before]
        ):
            assert node.poll() is None, "the second node ended"
            time.sleep(0.1)
        lost = []

        class NodeDies(RayPool):
            """As the pool, in a cluster whose second node is killed as soon as it holds the records of an item."""

            def wait(self):
                found = super().wait()
                for item in found if not lost else ():
                    if get_object_locations([item.records])[item.records]["node_ids"] == new:
                        lost.append(item.place)
                        kill_tree(node)
                return found

        result = on_ray(config(tmp_path / "set"), workers, NodeDies)
    assert lost and result["errors"] == {} and result["complete"] == len(CLIPS)
    assert shard_files(tmp_path / "set") == undisturbed


@THOROUGH
def test_a_machine_whose_memory_is_full_ends_the_collection_in_words(tmp_path):
    """Ray kills what works there, and by itself would begin it again without end."""
    full = {
        "RAY_memory_usage_threshold": "0.01",
        "RAY_memory_monitor_refresh_ms": "20",
        "RAY_task_oom_retry_delay_base_ms": "1",
    }
    done = subprocess.run(
        [sys.executable, "ray_jobs/collect.py", *OPTIONS, "--motions", "embedded/kick", "--out", str(tmp_path / "set"),
         "--ray.address", "local", "--ray.retries", "1"],
        cwd=ROOT, env=os.environ | full, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    advice = "its machine ran out of memory; let fewer items run at a time, with --workers or a larger --ray.num-cpus"
    assert f"embedded/kick/neutral172/0: at each of 2 attempts {advice}" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("collect: a shard without records: ") and advice in last


@pytest.mark.parametrize("token", ["", pytest.param(TOKEN[::-1], marks=THOROUGH)])
def test_a_cluster_that_refuses_the_token_is_explained(tmp_path, head, token):
    environment = os.environ | {"RAY_AUTH_TOKEN": token, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "ray_jobs/collect.py", *OPTIONS, "--out", str(tmp_path / "set"), "--ray.address", head],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and TOKEN not in done.stderr + done.stdout
    assert done.stderr.splitlines()[-1] == (
        f"collect: address: expected a Ray cluster at '{head}', found: one that asks for another token; set RAY_AUTH_MODE=token "
        "and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token"
    )
