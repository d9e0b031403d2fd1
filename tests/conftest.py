"""What all tests share: real data where it is at hand, a skip with its reason where something is missing."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CLUSTERS = "tests/ray_jobs/"
"""Tests that start clusters: they are long, mostly wait, and slow each other down where many run at a time."""
_FIRST_HALF = ("test_collect_on_ray.py", "test_sweep.py")
"""Of these files, what takes as long as the rest of them."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file goes to one worker; files with clusters go to two, which take them first."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ClustersTogether(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return f"{CLUSTERS} {file.endswith(_FIRST_HALF)}" if file.startswith(CLUSTERS) else file

    return ClustersTogether(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out timings unless asked for; clusters first; skip what this machine cannot run, and say what is missing."""
    if not config.getoption("benchmark_only", default=False):
        timings = [item for item in items if "benchmark" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=timings)
        items[:] = [item for item in items if item not in timings]
    items.sort(key=lambda item: not item.nodeid.startswith(CLUSTERS))
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_items:
        import torch

        if not torch.cuda.is_available():
            _skip(gpu_items, "no CUDA device")
    if not os.environ.get("IMDYLAB_DATA"):
        _skip(
            [item for item in items if item.get_closest_marker("data")],
            "IMDYLAB_DATA is not set to the folder of the real motions and trials",
        )
    if not os.environ.get("IMDYLAB_ISAAC_PYTHON"):
        _skip(
            [item for item in items if item.get_closest_marker("isaac")],
            "IMDYLAB_ISAAC_PYTHON does not name an interpreter that has Isaac Gym",
        )


def _skip(items: list[pytest.Item], reason: str) -> None:
    for item in items:
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real motions and trials; a test that uses it is skipped where there is none."""
    folder = os.environ.get("IMDYLAB_DATA")
    if not folder:
        pytest.skip("IMDYLAB_DATA is not set to the folder of the real motions and trials")
    return Path(folder)


@pytest.fixture(scope="session")
def s3_keys() -> Iterator[None]:
    """Keys of the S3 servers of tests are in the environment, to the end: who starts processes that need them asks for this."""
    from s3_server import KEY, SECRET

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session")
def s3(s3_keys: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of an S3-compatible server; keys and a cache of its own are in the environment."""
    pytest.importorskip("moto", reason="moto, the S3 server of the tests, is not installed (extra `dev`)")
    from s3_server import s3_server

    with pytest.MonkeyPatch.context() as patch, s3_server() as server:
        patch.setenv("IMDYLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield server


@pytest.fixture
def s3_folder(s3: str, request: pytest.FixtureRequest) -> str:
    """Address of an empty folder in a bucket of the test's own."""
    from s3_server import address, make_bucket

    name = f"bucket-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"
    make_bucket(s3, name)
    return address(s3, f"{name}/set")


@pytest.fixture(scope="session")
def sway_sequences() -> list[Any]:
    """Twenty toy sequences of four people."""
    from toy_dynamics import sway_dynamics

    return [sway_dynamics(seed) for seed in range(20)]


@pytest.fixture(scope="session")
def second_worker() -> ModuleType:
    """Trainings that two processes share."""
    import second_worker

    return second_worker
