"""The gains of a policy give the paper's scores to that policy, walking as it did."""

import numpy as np
import pytest

from sim.gait.environment import GaitEnvironment
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.reward_gains import COP_SCORE, GRF_SCORE, reward_gains


def test_gains_give_the_scores_of_the_paper(expert):
    def noisy(observation, noise):
        return 0.3 * noise

    environment = GaitEnvironment(expert, EnvironmentConfig(target="relative", episode_steps=12), num_envs=6)
    try:
        found = reward_gains(environment, noisy, seed=3)
        again = reward_gains(environment, noisy, seed=3)
        assert found == again
        rng, observation, grf, cop = np.random.default_rng(3), environment.reset(3), [], []
        for _ in range(12):
            observation, _, _, _, info = environment.step(
                noisy(observation, rng.standard_normal((6, environment.action_size))).astype(np.float32)
            )
            grf.append(np.exp(-found.grf_gain * info["grf_error"]))
            cop.append(np.exp(-found.cop_gain * info["cop_error"]))
    finally:
        environment.close()
    assert np.mean(grf) == pytest.approx(GRF_SCORE, abs=1e-6)
    assert np.mean(cop) == pytest.approx(COP_SCORE, abs=1e-6)
    assert found.grf_error > 0.0
    assert found.cop_error > 0.0
