"""Sampled Gauss-Newton steps: exact where residuals are linear, and inside the span of the samples."""

import numpy as np
import pytest

from sim.imitation.tracker.sampled_gauss_newton import damped_steps


@pytest.fixture
def linear():
    """Residuals J x - y of 40 rows in 6 unknowns: matrix, right side."""
    generator = np.random.default_rng(1)
    return generator.normal(size=(40, 6)), generator.normal(size=40)


def changes(linear, center, deviations):
    matrix, wanted = linear
    return deviations @ matrix.T, matrix @ center - wanted


def test_with_enough_samples_a_linear_problem_is_solved_in_one_step(linear):
    generator = np.random.default_rng(2)
    center, deviations = generator.normal(size=6), generator.normal(size=(9, 6))
    step = damped_steps(deviations, *changes(linear, center, deviations), (1e-10,))[0]
    np.testing.assert_allclose(center + step, np.linalg.lstsq(*linear, rcond=None)[0], atol=1e-6)


def test_with_few_samples_it_is_the_best_point_of_their_span(linear):
    generator = np.random.default_rng(3)
    center, deviations = generator.normal(size=6), generator.normal(size=(3, 6))
    change, residual = changes(linear, center, deviations)
    step = damped_steps(deviations, change, residual, (1e-12,))[0]
    assert np.linalg.lstsq(deviations.T, step, rcond=None)[1][0] < 1e-16
    left = linear[0] @ (center + step) - linear[1]
    np.testing.assert_allclose(change @ left, 0.0, atol=1e-6)  # no direction of the span helps any more


def test_damping_shortens_the_step(linear):
    generator = np.random.default_rng(4)
    center, deviations = generator.normal(size=6), generator.normal(size=(5, 6))
    steps = damped_steps(deviations, *changes(linear, center, deviations), (0.01, 0.1, 1.0, 10.0))
    length = np.linalg.norm(steps, axis=1)
    assert np.all(np.diff(length) < 0.0)
