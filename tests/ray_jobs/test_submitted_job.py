"""The command of the manual: a collection sent to a cluster as a job, with its code and the cluster's token."""

import contextlib
import os
import subprocess
import sys
import tempfile

import pytest

pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
pytest.importorskip("aiohttp", reason="Ray is installed without its part that takes jobs (extra `ray`)")

from collections_on_ray import OPTIONS, ROOT, TOKEN, ray_settings, ray_start
from local_port import free_port, wait_for
from shard_files import shard_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@contextlib.contextmanager
def _head_that_takes_jobs():
    """Address of a cluster's dashboard."""
    with (
        ray_settings(),
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
    ):
        patch.delenv("PYTHONPATH")  # a job brings its code along
        port = free_port()
        options = (f"--port={free_port()}", f"--dashboard-port={port}", f"--temp-dir={folder}")
        with ray_start("--head", "--include-dashboard=true", *options) as head:
            wait_for(head, port)
            yield f"http://127.0.0.1:{port}"


def test_a_submitted_collection_makes_the_bytes_of_one_without_ray(tmp_path, undisturbed):
    job = ["job", "submit", "--working-dir", ".", "--", sys.executable, "ray_jobs/collect.py"]
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", *job]
    with _head_that_takes_jobs() as address:
        done = subprocess.run(
            [*command, *OPTIONS, "--out", str(tmp_path / "set")], cwd=ROOT, env=os.environ | {"RAY_ADDRESS": address},
            capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert f"{tmp_path / 'set'}: this run kept" in said, "the result is in the job's log"
    assert TOKEN not in said
    assert shard_files(tmp_path / "set") == undisturbed
