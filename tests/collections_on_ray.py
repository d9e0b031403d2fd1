"""Small collections that the tests of Ray disturb, and the clusters of their own that they run on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_port import free_port, wait_for

from dataset.place import Place
from ray_jobs.cluster import RayConfig
from sim import collect
from sim.imitate_clip import ImitationConfig

ROOT = Path(__file__).parent.parent
CLIPS = tuple(f"embedded/{name}" for name in ("kick", "punch", "getup_facedown", "getup_faceup", "jump", "walk"))
"""The shortest first: when it is done and written, others are not."""
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "300", "RAY_agent_register_timeout_ms": "300000",  # a machine at work is slow
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_num_workers_soft_limit": "5",  # four items and a shard keep their processes from test to test
    # A dead node is noticed in some seconds; one that only stands still for half a minute is not taken for dead.
    "RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "10000", "RAY_health_check_failure_threshold": "3",
}  # fmt: skip


TOKEN = "0123456789abcdef0123456789abcdef"
"""What the clusters ask for, as Ray has them do by default; nothing is looked for in the home folder or left there."""


def config(out: Place, shard_seconds: float = 1.0) -> collect.Config:
    """A collection of a shard a clip, all replayed."""
    return collect.Config(
        motions=CLIPS, out=out, shard_seconds=shard_seconds, imitation=ImitationConfig(may_search=False),
        solutions=(ROOT / "solutions" / "embedded",),
    )  # fmt: skip


OPTIONS = ["--motions", *CLIPS, "--shard-seconds", "1", "--imitation.no-may-search", "--ray.num-cpus", "0.5"]
"""The same on the command line."""


def on_ray(cfg: collect.Config, workers: int, pool: Any = None, **ray: Any) -> dict[str, Any]:
    """Collect on the Ray that is connected, half a core an item."""
    from ray_jobs.ray_pool import RayPool

    kind, where = pool or RayPool, RayConfig(num_cpus=0.5, **ray)
    return collect.main(cfg, lambda task, _: kind(task, workers, where), "ray_jobs.collect")


@contextlib.contextmanager
def ray_settings() -> Iterator[None]:
    """The environment of a test's own cluster."""
    own = RAY_SETTINGS | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    own["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        _read_settings()
        yield
    _read_settings()


def _read_settings() -> None:
    """Ray reads its environment once, when it is imported; let it look again."""
    from ray._raylet import AuthenticationTokenLoader, Config

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def ray_start(*options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node started by `ray start`; with all that came from it it is killed when the block ends."""
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block"]
    node = subprocess.Popen(
        [*command, "--num-cpus=2", "--object-store-memory=100000000", *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield node
    finally:
        kill_tree(node)


@contextlib.contextmanager
def ray_head() -> Iterator[str]:
    """Address of a head of its own."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        ray_start("--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false") as head,
    ):
        wait_for(head, port)
        yield f"127.0.0.1:{port}"


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a process and all that came from it, as when a machine goes; all are stopped before, so none starts another."""
    found: set[int] = set()
    while process.poll() is None and (new := _with_descendants(process.pid) - found):
        _signal(new, signal.SIGSTOP)
        found |= new
    _signal(found, signal.SIGKILL)
    process.wait()


def _signal(processes: set[int], number: int) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _with_descendants(root: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return set(found)
