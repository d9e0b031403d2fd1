"""Where Ray jobs run: an existing cluster, or a local Ray that lives as long as the job."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sim.collect_pool import ONE_THREAD

ROOT = Path(__file__).resolve().parent.parent
LOCAL = "local"
"""Address that means a Ray of this job's own, whatever `RAY_ADDRESS` says."""


@dataclass(frozen=True, kw_only=True)
class RayConfig:
    """Where and on what the work is done: items of a collection, workers of a training, runs of a sweep."""

    address: str = ""
    """Cluster to use: `auto` on one of its machines, or HOST:6379 of its head; by default that of the job or the shell
    (`RAY_ADDRESS`), else a local Ray is started and ended with the job; `local` always does the latter."""
    num_cpus: float = 1.0
    """Cores that an item, a worker or a run takes."""
    num_gpus: float = 0.0
    """GPUs that an item, a worker or a run takes; a fraction shares one."""
    retries: int = 3
    """How often an item or a run is tried again, or a training goes on, whose worker or node died."""
    object_store_mb: int = 512
    """Memory for records under way, where a local Ray is started [MB]; more of them are spilled to the disk."""

    def __post_init__(self) -> None:
        for name, amount in (("num_cpus", self.num_cpus), ("num_gpus", self.num_gpus)):
            if not 0.0 <= amount < math.inf:
                raise ValueError(f"{name}: expected zero or more, got {amount:g}")
        if self.num_gpus > 1.0 and self.num_gpus % 1.0:
            raise ValueError(f"num_gpus: expected a fraction of one GPU or a whole number, got {self.num_gpus:g}")
        if not self.num_cpus and not self.num_gpus:
            raise ValueError("num_cpus: expected that work takes a core or a GPU, got none of either; give one of them")
        if self.retries < 0:
            raise ValueError(f"retries: expected zero or more, got {self.retries}")

    @property
    def each(self) -> dict[str, float]:
        """What one item, worker or run takes, in Ray's words; nothing that it takes none of."""
        return {name: amount for name, amount in (("CPU", self.num_cpus), ("GPU", self.num_gpus)) if amount}


def load_ray(part: str = "ray") -> ModuleType:
    """Ray, or a part of it.

    Raises:
        ValueError: It is not installed, or not with what that part needs.
    """
    try:
        return importlib.import_module(part)
    except ImportError as error:
        raise ValueError(
            f"{part}: expected Ray with all its parts that are used here, found: {error}; install them, "
            "`make env EXTRAS=demo,dev,ray`"
        ) from None


@contextlib.contextmanager
def connect(config: RayConfig, workers: int) -> Iterator[None]:
    """Connected to the cluster, or to a local Ray with so many cores that ends with the block; its logs stay if the block fails.

    Raises:
        ValueError: No cluster answers at the address, it refuses the token, or Ray is not installed.
    """
    ray = load_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # a machine at work takes longer than the half minute
    os.environ.setdefault("RAY_agent_register_timeout_ms", "300000")  # as do the helpers of a node
    os.environ.setdefault("RAY_worker_register_timeout_seconds", "300")  # and its workers
    # Ray does not count what it kills where memory is short: such work would be tried again without end.
    os.environ.update(RAY_task_oom_retries=str(config.retries))
    address = config.address or os.environ.get("RAY_ADDRESS", "")
    if address and address != LOCAL:
        origin = "address" if config.address else "RAY_ADDRESS"
        _require_cluster(origin, address)
        try:
            ray.init(address=address, runtime_env={"env_vars": ONE_THREAD}, log_to_driver=False)
        except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
            ray.shutdown()
            raise _refused(origin, address, error) from error
        try:
            yield
        finally:
            ray.shutdown()
        return
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    folder = tempfile.mkdtemp(prefix="ray-")
    try:
        # Workers inherit the environment of the node. A runtime environment would keep them from taking the processes that Ray
        # starts at once, and start others.
        with _environment(ONE_THREAD | {"PYTHONPATH": path}):
            ray.init(
                address=LOCAL, num_cpus=cores_for(config, workers), include_dashboard=False, log_to_driver=False,
                object_store_memory=config.object_store_mb * 1_000_000, _temp_dir=folder,
            )  # fmt: skip
        yield
    finally:
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for what is started in the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def cores_for(config: RayConfig, workers: int) -> int:
    """Whole cores on which so many items, workers or runs have room at a time."""
    return max(1, math.ceil(round(workers * config.num_cpus, 4)))  # Ray counts in ten thousandths


def _require_cluster(origin: str, address: str) -> None:
    """Refuse a dashboard's or a client's address, and a `host:port` where nobody listens: Ray itself would try for minutes."""
    if address.startswith(("http://", "https://")):
        raise ValueError(
            f"{origin}: expected a cluster that work can be sent to (HOST:6379, or `auto` on one of its machines), found "
            f"{address!r}, which takes jobs; send this one there (`ray job submit --address {address} --working-dir . -- "
            "python …`), or work on this machine with --ray.address local"
        )
    if address.startswith("ray://"):
        raise ValueError(
            f"{origin}: expected a cluster that this process can join (HOST:6379, or `auto` on one of its machines), found "
            f"{address!r}, which serves clients outside of it; submit a job to its http://HEAD:8265 instead"
        )
    host, _, port = address.rpartition(":")
    if "/" in address or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise _refused(origin, address, error) from None


def _refused(origin: str, address: str, error: BaseException) -> ValueError:
    said = " ".join(str(error).split())
    advice = "start one, or work on this machine with --ray.address local"
    inner: BaseException | None = error
    while inner is not None:
        if "AuthenticationError" in f"{type(inner).__name__} {inner}":  # Ray may pass it on as text only
            said = "one that asks for another token"
            advice = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token"
        inner = inner.__cause__ or inner.__context__
    return ValueError(f"{origin}: expected a Ray cluster at {address!r}, found: {said}; {advice}")


def room(config: RayConfig) -> int:
    """Items, workers or runs that the connected cluster has room for at a time, each on one machine.

    Raises:
        ValueError: There is none for a single one; it would be waited for without end.
    """
    machines = [node["Resources"] for node in load_ray().nodes() if node["Alive"]]
    places = places_on(machines, config)
    if places == 0:
        for name, amount in config.each.items():
            most = max((machine.get(name, 0.0) for machine in machines), default=0.0)
            if amount > most:
                option = f"num_{name.lower()}s"
                raise ValueError(
                    f"{option}: expected at most {most:g} {name}, which the largest machine has, got {amount:g} for each; use a "
                    f"smaller --ray.{option.replace('_', '-')}, or a larger machine"
                )
        wanted = " and ".join(f"{amount:g} {name}" for name, amount in config.each.items())
        raise ValueError(f"num_cpus: expected a machine with {wanted} in the cluster, found none; ask for less")
    return places


def places_on(machines: Sequence[Mapping[str, float]], config: RayConfig) -> int:
    """Items, workers or runs that have room at a time on machines with these resources, none of them divided."""
    return sum(
        min(int(machine.get(name, 0.0) / amount + 1e-9) for name, amount in config.each.items()) for machine in machines
    )
