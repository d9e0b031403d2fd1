"""Collection as Ray tasks: the bytes of one without Ray, for any number of workers, after kills of worker and driver."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")

from dataset.provenance import read_runs  # noqa: E402  after the skip
from ray_jobs import collect as on_ray  # noqa: E402
from ray_jobs.cluster import RayConfig, connect  # noqa: E402
from ray_jobs.ray_pool import RayPool  # noqa: E402
from ray_jobs.status import Config as StatusConfig  # noqa: E402
from ray_jobs.status import main as status  # noqa: E402
from sim import collect  # noqa: E402
from sim.imitate_clip import ImitationConfig  # noqa: E402
from sim.progress import read_progress  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
CLIPS = ("embedded/kick", "embedded/jump", "embedded/punch", "embedded/roll")
pytestmark = pytest.mark.timeout(600)


def _config(out):
    imitation = ImitationConfig(may_search=False)
    return collect.Config(
        motions=CLIPS, out=out, shard_seconds=1.0, imitation=imitation, solutions=(ROOT / "solutions" / "embedded",)
    )


def _tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("shard-*/*"))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Files of a collection without Ray."""
    out = tmp_path_factory.mktemp("whole") / "set"
    collect.main(dataclasses.replace(_config(out), workers=1))
    tree = _tree(out)
    assert len({name.split("/")[0] for name in tree}) == 4, "a shard a clip"
    return tree


@pytest.fixture(scope="module")
def cluster():
    """A local Ray with two cores; four half-core items fit on it."""
    with connect(RayConfig(object_store_mb=100), 2):
        yield ray.get_runtime_context().gcs_address


def _on_ray(out, workers):
    return collect.main(
        _config(out), lambda task, _: RayPool(task, workers, RayConfig(num_cpus=0.5)), "ray_jobs.collect"
    )


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_bytes_are_those_of_a_collection_without_ray(tmp_path, undisturbed, cluster, workers):
    result = _on_ray(tmp_path / "set", workers)
    assert _tree(tmp_path / "set") == undisturbed
    assert result["items"] == result["complete"] == 4 and result["workers"] == workers
    assert read_runs(tmp_path / "set")[0]["command"] == "ray_jobs.collect"
    assert _on_ray(tmp_path / "set", workers)["items"] == 0


def test_a_killed_worker_is_replaced_and_changes_no_byte(tmp_path, undisturbed, cluster, own_processes):
    killed = []

    def kill_first():
        for _ in range(3000):
            for pid in own_processes(b"ray::_imitate")[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=kill_first)
    thread.start()
    result = _on_ray(tmp_path / "set", 2)
    thread.join()
    assert killed and result["errors"] == {}
    assert _tree(tmp_path / "set") == undisturbed


def test_a_killed_driver_leaves_a_data_set_that_the_next_one_completes(tmp_path, undisturbed, cluster):
    out = tmp_path / "set"
    arguments = [
        "--motions",
        *CLIPS,
        "--out",
        str(out),
        "--shard-seconds",
        "1",
        "--imitation.no-may-search",
        "--workers",
        "1",
    ]
    driver = subprocess.Popen(
        [sys.executable, "ray_jobs/collect.py", *arguments, "--ray.address", cluster],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    while driver.poll() is None and not any(out.glob("shard-*/_SUCCESS")):
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    assert any(out.glob("shard-*/_SUCCESS"))
    lines = status(StatusConfig(out=out))
    assert "of 4 items" in lines[1] and read_progress(out).items == 4
    _on_ray(out, 2)
    assert _tree(out) == undisturbed
    assert "state     finished" in status(StatusConfig(out=out))[2]


def test_an_address_without_a_cluster_is_explained(tmp_path):
    config = on_ray.Config(out=tmp_path / "set", ray=RayConfig(address="127.0.0.1:1"))
    with pytest.raises(ValueError, match=r"address: expected a Ray cluster at '127.0.0.1:1', found .*refused"):
        on_ray.main(config)
