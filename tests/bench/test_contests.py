"""Every contender of every kernel benchmark passes its own gate, at a size that a test can afford."""

from dataclasses import replace

import numpy as np
import pytest

from bench import bench_gather, bench_grf, bench_markers, bench_momentum, bench_windows
from bench.harness import Case, Contender

pytestmark = pytest.mark.thorough

SMALL = {
    "grf": (bench_grf, {"frames": 60}),
    "momentum": (bench_momentum, {"transitions": 40}),
    "markers": (bench_markers, {"frames": 70}),
    "windows": (bench_windows, {"frames": 500, "windows": 70}),
    "gather": (bench_gather, {"rows": (90, 60), "runs": 70}),
}


def _small_contests(kernel: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Case, list[Contender]]]:
    module, sizes = SMALL[kernel]
    monkeypatch.setattr(module.cases, "BENCH_CASES", tuple(replace(case, **sizes) for case in module.cases.BENCH_CASES))
    return list(module.contests("cpu"))


@pytest.mark.parametrize("kernel", SMALL)
def test_every_contender_is_right_and_there_is_ours_and_a_rival(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for case, contenders in _small_contests(kernel, monkeypatch):
        assert case.kernel == kernel and case.items in SMALL[kernel][1].values()
        assert case.bytes and (case.flops or kernel == "gather")  # which only copies
        assert "numba" in [item.impl for item in contenders] and any(item.is_rival for item in contenders)
        for contender in contenders:
            contender.check()


def test_a_wrong_result_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate of the ground reactions refuses a force that is off by half a percent in one body of one frame."""

    def off(**arguments: object) -> tuple[np.ndarray, np.ndarray]:
        force, cop = right(**arguments)
        force[3, 1] *= 1.005
        return force, cop

    right = bench_grf.numpy_bincount
    monkeypatch.setattr(bench_grf, "numpy_bincount", off)
    (_, contenders), *_ = _small_contests("grf", monkeypatch)
    with pytest.raises(AssertionError, match=r"force differs by 0\.00[45]"):
        next(item for item in contenders if item.impl == "numpy bincount").check()
