"""The GPU benchmark times the same physics: bare steps, traces and sums end where MuJoCo ends, and nothing is cut."""

import numpy as np
import pytest

pytest.importorskip("mujoco_warp")
from bench.bench_warp import ManyWorlds

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(900)]  # a cold cache on a busy machine


def test_all_contenders_do_the_same_work_as_mujoco_itself():
    work = ManyWorlds("cpu", 2, 1)
    expected = work.by_mujoco()
    sums = work.sums()
    for found in (work.bare(), work.trace(), sums.qpos[:, -1]):
        assert np.abs(found - expected).max() < 1e-5
    assert np.abs(expected[0] - expected[1]).max() > 1e-4  # each environment has targets of its own
    assert [item.num_frames for item in work.records()] == [2, 2]
