"""Running statistics against NumPy on the whole."""

import numpy as np
import pytest

from dataset.stats import RunningStats


@pytest.mark.parametrize("parts", [[7], [1, 6], [2, 0, 5], [1] * 7])
def test_any_division_into_parts_gives_the_statistics_of_the_whole(parts) -> None:
    """Empty parts included."""
    rows = np.random.default_rng(1).normal(3.0, 2.0, (7, 4, 3))
    stats = RunningStats((4, 3))
    for part in np.split(rows, np.cumsum(parts)[:-1]):
        stats.add(part)
    np.testing.assert_allclose(stats.mean, rows.mean(0), rtol=1e-13)
    np.testing.assert_allclose(stats.std, rows.std(0), rtol=1e-13)
    np.testing.assert_array_equal(stats.min, rows.min(0))
    np.testing.assert_array_equal(stats.max, rows.max(0))


def test_a_small_spread_on_a_large_mean_does_not_cancel() -> None:
    """A sum of squares about zero would lose all digits here."""
    rows = 1e9 + np.random.default_rng(2).normal(0.0, 1e-3, (1000, 1))
    stats = RunningStats((1,))
    for part in np.array_split(rows, 10):
        stats.add(part)
    np.testing.assert_allclose(stats.std, rows.std(0), rtol=1e-4)  # float64 of 1e9 + x has steps of 1e-7


def test_values_that_are_not_finite_are_left_out_and_counted() -> None:
    """Centres of pressure are NaN in flight; a component that is never seen has count 0."""
    stats = RunningStats((2,))
    stats.add(np.array([[1.0, np.nan], [3.0, np.inf], [np.nan, np.nan]]))
    assert stats.mean.tolist() == [2.0, 0.0] and stats.std.tolist() == [1.0, 0.0]
    assert stats.count.tolist() == [2, 0] and stats.num_skipped.tolist() == [1, 3]


def test_scalars_and_wrong_shapes() -> None:
    """Rows may be plain numbers; another shape is an error."""
    stats = RunningStats()
    stats.add(np.array([1.0, 2.0, 6.0]))
    assert float(stats.mean) == 3.0 and stats.as_dict()["max"] == 6.0
    with pytest.raises(ValueError, match=r"rows: expected shape \(any, \), got \(2, 2\)"):
        stats.add(np.zeros((2, 2)))
