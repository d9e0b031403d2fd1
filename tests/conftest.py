"""What all tests share: real data where it is at hand, a skip with its reason where something is missing."""

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out timings unless they are asked for; skip what this machine cannot run, and say what is missing."""
    if not config.getoption("benchmark_only", default=False):
        timings = [item for item in items if "benchmark" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=timings)
        items[:] = [item for item in items if item not in timings]
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
