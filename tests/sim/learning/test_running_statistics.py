"""Running statistics are those of all rows at once, whatever the batches; rewards are scaled by the return's spread."""

import numpy as np
import pytest

from sim.learning.running_statistics import LEAST_STD, RewardScale, RunningStatistics


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("sizes", [(1,), (1, 1, 1), (5, 1, 17, 128)])
def test_statistics_are_those_of_all_rows_at_once(sizes, offset):
    """A large offset would ruin a sum of squares; float32 rows are summed in float64."""
    rng = np.random.default_rng(0)
    rows = (offset + rng.standard_normal((sum(sizes), 3)) * [1.0, 5.0, 0.2]).astype(np.float32)
    statistics = RunningStatistics(3)
    for part in np.split(rows, np.cumsum(sizes)[:-1]):
        statistics.update(part)
    exact = rows.astype(np.float64)
    assert statistics.count == len(rows)
    np.testing.assert_allclose(statistics.mean, exact.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(statistics.std, np.maximum(exact.std(axis=0), LEAST_STD), rtol=1e-9)
    normalised = statistics.normalise(rows, clip=3.0)
    assert normalised.dtype == np.float32 and abs(normalised).max() <= 3.0
    if len(rows) > 100:
        assert abs(normalised.mean(axis=0)).max() < 0.1 and abs(normalised.std(axis=0) - 1.0).max() < 0.1


def test_statistics_change_nothing_before_the_first_row_and_do_not_blow_up_a_constant():
    statistics = RunningStatistics(2)
    rows = np.array([[3.0, -2.0]], dtype=np.float32)
    np.testing.assert_array_equal(statistics.normalise(rows, clip=5.0), rows)
    for _ in range(4):
        statistics.update(rows)
    np.testing.assert_array_equal(statistics.normalise(rows, clip=5.0), np.zeros((1, 2)))


def test_statistics_continue_from_their_state():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 9, 4))
    whole, cut = RunningStatistics(4), RunningStatistics(4)
    whole.update(first)
    cut.set_state(whole.state())
    for statistics in (whole, cut):
        statistics.update(second)
    assert whole.count == cut.count == 18
    np.testing.assert_array_equal(whole.squares, cut.squares)


def test_rewards_are_divided_by_the_standard_deviation_of_the_discounted_return():
    """Discount 0.5, rewards 2, 2, 2 with an end after the second: returns 2, 3, 2."""
    scale = RewardScale(1, 0.5)
    reward, done = np.full((3, 1), 2.0, dtype=np.float32), np.array([[False], [True], [False]])
    np.testing.assert_allclose(scale.scale(reward, done, clip=100.0), reward / np.std([2.0, 3.0, 2.0]), rtol=1e-6)
    # The next iteration goes on from the running return: 0.5·2 + 2 = 3.
    np.testing.assert_allclose(
        scale.scale(reward[:1], done[:1], clip=100.0), reward[:1] / np.std([2, 3, 2, 3]), rtol=1e-6
    )
    assert scale.scale(reward[:1], done[:1], clip=0.7).item() == pytest.approx(0.7)
