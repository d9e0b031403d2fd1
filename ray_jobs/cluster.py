"""Where Ray jobs run: an existing cluster, or a local Ray that lives as long as the job."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sim.collect_pool import ONE_THREAD

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class RayConfig:
    """Where and on what the work is done: items of a collection, workers of a training, runs of a sweep."""

    address: str = ""
    """Cluster to use: `auto`, or the address of its head; by default that of the job (`RAY_ADDRESS`), else a local Ray is
    started and ended with the job."""
    num_cpus: float = 1.0
    """Cores that an item, a worker or a run takes."""
    num_gpus: float = 0.0
    """GPUs that an item, a worker or a run takes; a fraction shares one."""
    retries: int = 3
    """How often an item or a run is tried again, or a training goes on, whose worker or node died."""
    object_store_mb: int = 512
    """Memory for records under way, where a local Ray is started [MB]; more of them are spilled to the disk."""


def load_ray(part: str = "ray") -> ModuleType:
    """Ray, or a part of it.

    Raises:
        ValueError: It is not installed, or not with what that part needs.
    """
    try:
        return importlib.import_module(part)
    except ImportError as error:
        raise ValueError(
            f"{part}: expected Ray with its parts for training, found: {error}; install them, `make env EXTRAS=demo,dev,ray`"
        ) from None


@contextlib.contextmanager
def connect(config: RayConfig, workers: int) -> Iterator[None]:
    """Connected to the cluster, or to a local Ray with so many cores that ends with the block; its logs stay if the block fails.

    Raises:
        ValueError: No cluster answers at the address, or Ray is not installed.
    """
    ray = load_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # a machine at work takes longer than the half minute
    os.environ.setdefault("RAY_agent_register_timeout_ms", "300000")  # as do the helpers of a node
    address = config.address or os.environ.get("RAY_ADDRESS", "")
    if address:
        _require_answer(address)
        try:
            ray.init(address=address, runtime_env={"env_vars": ONE_THREAD}, log_to_driver=False)
        except (ConnectionError, RuntimeError) as error:
            raise ValueError(
                f"address: expected a Ray cluster at {address!r}, found {error}; start one, or leave it out"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()
        return
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    folder = tempfile.mkdtemp(prefix="ray-")
    try:
        ray.init(
            address="local", num_cpus=max(1, round(workers * config.num_cpus)), include_dashboard=False, log_to_driver=False,
            object_store_memory=config.object_store_mb * 1_000_000, _temp_dir=folder,
            runtime_env={"env_vars": {**ONE_THREAD, "PYTHONPATH": path}},
        )  # fmt: skip
        yield
    finally:
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def _require_answer(address: str) -> None:
    """Refuse a `host:port` where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if "/" in address or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ValueError(
            f"address: expected a Ray cluster at {address!r}, found {error}; start one, or leave it out"
        ) from None
