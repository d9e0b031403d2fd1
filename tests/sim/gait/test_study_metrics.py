import numpy as np
import pytest

from sim.gait import study_metrics as metrics

STRIKES = np.array([0.0, 40.0, 80.0])


def sagittal(frames=80):
    """Fore-aft and vertical force of one foot: loaded in the first 60 % of each cycle."""
    phase = ((np.arange(frames) + 0.5) % 40.0) / 40.0
    loaded = phase < 0.6
    force = np.stack([0.2 * np.sin(2 * np.pi * phase / 0.6), np.sin(np.pi * phase / 0.6)], axis=1)
    return np.where(loaded[:, None], force, 0.0), loaded


def test_a_constant_offset_is_its_error():
    reference = np.random.default_rng(0).normal(size=(81, 2))
    np.testing.assert_allclose(metrics.cycle_rmse(reference + 3.0, reference, STRIKES), [3.0, 3.0])
    # One leg off by 3 and 4 units: root of the mean of 9 and 16.
    np.testing.assert_allclose(metrics.cycle_rmse(reference + np.array([3.0, 4.0]), reference, STRIKES), np.sqrt(12.5))


def test_cycles_are_told_apart():
    reference = np.zeros((81, 1))
    mine = np.where(np.arange(81)[:, None] > 40, 2.0, 0.0)
    first, second = metrics.cycle_rmse(mine, reference, STRIKES)
    assert first == 0.0
    assert 1.9 < second < 2.0
    blind = np.where(np.arange(81)[:, None] == 20, np.nan, reference)
    found = metrics.cycle_rmse(mine, blind, STRIKES)
    assert np.isnan(found[0])
    assert found[1] == second


def test_the_mean_cycle_forgives_no_spread_of_the_walk():
    # The expert's cycles are 0 and 2, their mean 1: a walk that copies both is 1 away from the mean, one that walks it is not.
    reference = np.where(np.arange(81)[:, None] > 40, 2.0, 0.0)
    smooth = np.ones((81, 1))
    np.testing.assert_allclose(metrics.profile_rmse(reference, reference, STRIKES), [1.0, 1.0], atol=0.03)
    np.testing.assert_allclose(metrics.profile_rmse(smooth, reference, STRIKES), 0.0, atol=0.2)
    np.testing.assert_allclose(metrics.cycle_rmse(reference, reference, STRIKES), 0.0)


def test_correlation_ignores_scale_and_offset_and_knows_sign():
    reference = np.random.default_rng(1).normal(size=(81, 2))
    np.testing.assert_allclose(metrics.cycle_correlation(3.0 * reference + 7.0, reference, STRIKES), 1.0)
    np.testing.assert_allclose(metrics.cycle_correlation(-reference, reference, STRIKES), -1.0)
    assert np.isnan(metrics.cycle_correlation(np.ones((81, 2)), reference, STRIKES)).all()


@pytest.mark.parametrize("angle", [0.0, 0.3, -1.2, 3.0])
def test_a_turned_force_gives_its_phase(angle):
    force, loaded = sagittal()
    z = (force[:, 0] + 1j * force[:, 1]) * np.exp(1j * angle)
    turned = np.stack([5.0 * z.real + 2.0, 5.0 * z.imag - 1.0], axis=1)  # neither scale nor mean counts
    for found in metrics.stance_correlations(turned, force, loaded, STRIKES):
        assert abs(found) == pytest.approx(1.0)
        assert np.angle(found) == pytest.approx(angle)


def test_another_shape_correlates_less():
    force, loaded = sagittal()
    flat = np.where(loaded[:, None], [0.0, 0.5], 0.0) + 0.05 * np.random.default_rng(2).normal(size=force.shape)
    assert all(abs(found) < 0.6 for found in metrics.stance_correlations(flat, force, loaded, STRIKES))
    still = np.ones_like(force)
    assert all(np.isnan(abs(found)) for found in metrics.stance_correlations(still, force, loaded, STRIKES))


def test_stances_are_the_loaded_steps_of_a_foot_after_each_strike():
    _, loaded = sagittal()
    first, second = metrics.stances(loaded, STRIKES)
    np.testing.assert_array_equal(first, np.arange(24))
    np.testing.assert_array_equal(second, np.arange(40, 64))
    # The step in which a foot lands is the first of its stance, however little of it has load.
    first, second = metrics.stances(np.ones(80, dtype=bool), np.array([0.0, 40.9, 80.0]))
    np.testing.assert_array_equal(first, np.arange(40))
    np.testing.assert_array_equal(second, np.arange(40, 80))


def test_an_offset_of_the_centre_of_pressure_is_its_error():
    difference = np.full((80, 2), np.nan)
    difference[5:20, 0] = 10.0
    difference[25:38, 1] = -10.0
    difference[45:60, 0] = 3.0
    difference[60:75, 1] = 4.0
    np.testing.assert_allclose(metrics.stance_rmse(difference, STRIKES), [10.0, np.sqrt(12.5)])
    assert np.isnan(metrics.stance_rmse(np.full((80, 2), np.nan), STRIKES)).all()


def test_both_feet_share_the_cycle_in_which_theirs_begins():
    left, right = np.array([0.5, 0.9]), np.array([0.7, np.nan])
    found = metrics.by_cycle([left, right], [np.array([20.0, 60.0]), np.array([0.0, 40.0])], STRIKES)
    np.testing.assert_allclose(found, [0.6, 0.9])
    assert np.isnan(metrics.by_cycle([left[:1]], [np.array([20.0])], STRIKES)[1])


def test_means_about_the_frames_cut_the_middle_substep():
    substeps = np.arange(6.0).reshape(2, 3, 1)  # 0 1 2 | 3 4 5
    # Half a step is 1.5 substeps: 0 and half of 1; half of 1, 2, 3, half of 4; half of 4 and 5.
    np.testing.assert_allclose(metrics.frame_means(substeps)[:, 0], [0.5 / 1.5, (0.5 + 2 + 3 + 2) / 3, 7.0 / 1.5])
    constant = np.full((5, 15, 2), 4.2)
    np.testing.assert_allclose(metrics.frame_means(constant), 4.2)
    even = np.arange(8.0).reshape(2, 4)
    np.testing.assert_allclose(metrics.frame_means(even), [0.5, 3.5, 6.5])


def test_the_paired_test_is_students():
    from scipy.stats import t

    rng = np.random.default_rng(3)
    first, shift = rng.normal(size=30), rng.normal(0.4, 1.0, size=30)
    statistic = shift.mean() / (shift.std(ddof=1) / np.sqrt(30))
    assert metrics.paired_p(first + shift, first) == pytest.approx(2 * t.sf(abs(statistic), 29))
    shift[4] = np.nan  # left out in both
    kept = shift[np.isfinite(shift)]
    statistic = kept.mean() / (kept.std(ddof=1) / np.sqrt(29))
    assert metrics.paired_p(first + shift, first) == pytest.approx(2 * t.sf(abs(statistic), 28))
    assert metrics.paired_p(first, first) == 1.0
    assert np.isnan(metrics.paired_p(first[:1], first[:1] + 1.0))
