"""Advantages: against the definition written out, by hand, and with the value of what a time limit cut off."""

import numpy as np
import pytest
import torch

from sim.learning.environment import FINAL_OBSERVATION
from sim.learning.point_mass import PointMass
from sim.learning.ppo import Learner, estimate_advantages


def slow_advantages(reward, value, next_value, done, discount, gae_lambda):
    """Σ_l (γλ)^l δ_{t+l} up to the episode's last step, term by term in double precision."""
    steps, count = reward.shape
    out = np.zeros((steps, count))
    for e in range(count):
        for t in range(steps):
            weight = 1.0
            for k in range(t, steps):
                out[t, e] += weight * (reward[k, e] + discount * next_value[k, e] - value[k, e])
                weight *= discount * gae_lambda
                if done[k, e]:
                    break
    return out


@pytest.mark.parametrize(("steps", "count"), [(1, 1), (2, 3), (37, 5)])
@pytest.mark.parametrize(("discount", "gae_lambda"), [(0.99, 0.95), (0.95, 0.0), (0.9, 1.0), (0.0, 0.7)])
def test_advantages_are_the_sum_of_the_discounted_errors_within_an_episode(steps, count, discount, gae_lambda):
    rng = np.random.default_rng(steps)
    reward, value, next_value = rng.standard_normal((3, steps, count))
    done = rng.random((steps, count)) < 0.2
    found = estimate_advantages(reward, value, next_value, done, discount=discount, gae_lambda=gae_lambda)
    np.testing.assert_allclose(
        found, slow_advantages(reward, value, next_value, done, discount, gae_lambda), atol=1e-12
    )


def test_full_traces_give_the_discounted_return_less_the_value():
    """Three steps that terminate, by hand: 1 + 0.5·2 + 0.25·4 = 3, less V = 0.5."""
    reward, value = np.array([[1.0], [2.0], [4.0]]), np.array([[0.5], [7.0], [-3.0]])
    next_value = np.array([[7.0], [-3.0], [0.0]])
    done = np.array([[False], [False], [True]])
    found = estimate_advantages(reward, value, next_value, done, discount=0.5, gae_lambda=1.0)
    assert found[0, 0] == pytest.approx(2.5)


def test_what_a_time_limit_cut_off_is_completed_with_the_value_of_the_final_observation(small):
    """One-step errors of a collection, held against the environment played again with the same actions."""
    config = small(gae_lambda=0.0, is_observation_normalised=False)
    environment = PointMass(num_envs=4, length=7)
    learner = Learner(environment, config)
    rollout = learner.collect()
    values = learner.network.values
    again = PointMass(num_envs=4, length=7)
    observation, cut = again.reset(config.seed), 0
    with torch.no_grad():
        for t in range(learner.steps_each):
            np.testing.assert_array_equal(rollout.observation_TEO[t], observation)
            following, reward, terminated, truncated, info = again.step(rollout.action_TEA[t].numpy())
            ahead = np.where(truncated[:, None], info[FINAL_OBSERVATION], following)
            worth = values(torch.from_numpy(ahead)).numpy() * ~terminated
            error = reward + config.discount * worth - values(torch.from_numpy(observation)).numpy()
            np.testing.assert_allclose(rollout.advantage_TE[t], error, atol=1e-5)
            cut += truncated.sum()
            observation = following
    assert cut >= 30


def test_a_fall_is_worth_nothing_even_where_the_clock_ran_out_too(small):
    """Terminated and truncated at once counts as terminated: its error is r − V."""

    class Falls(PointMass):
        def step(self, action):
            observation, reward, _, _, info = super().step(action)
            return observation, reward, np.ones(self.num_envs, dtype=bool), np.ones(self.num_envs, dtype=bool), info

    learner = Learner(Falls(num_envs=2), small(gae_lambda=0.0, is_observation_normalised=False))
    rollout = learner.collect()
    again = Falls(num_envs=2)
    again.reset(0)
    reward = again.step(rollout.action_TEA[0].numpy())[1]
    np.testing.assert_allclose(rollout.advantage_TE[0], reward - rollout.value_TE[0].numpy(), atol=1e-6)
    assert abs(rollout.value_TE).min() > 1e-4
