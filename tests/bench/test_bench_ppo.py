"""The learner's benchmark checks its contenders and counts its arithmetic."""

import pytest

from bench import bench_ppo

pytestmark = pytest.mark.thorough


def test_contenders_of_the_learner_are_right_and_their_arithmetic_is_counted():
    work = bench_ppo.Work(threads=1)
    work.check_collect()
    work.check_update()
    work.check_gradients()
    assert work.steps == 8192
    # 46·512 + 512·256 + 256·23 and ·1 multiplications; forward 1 + 5 times, backward twice 5 times less the first layer's inputs.
    policy, value, first = 160_512, 154_880, 46 * 512
    assert work.flops() == 2 * 8192 * (16 * (policy + value) - 5 * 2 * first)
