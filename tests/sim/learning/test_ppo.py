"""The losses by hand, the first gradient against the plain policy gradient, schedules, and that it learns."""

import dataclasses

import numpy as np
import pytest
import torch
import tyro

from sim.learning.config import NetworkConfig, PPOConfig, benchmark, fast, paper
from sim.learning.environment import FINAL_OBSERVATION
from sim.learning.learner_state import learner_tensors
from sim.learning.network import ActorCritic, gaussian_entropy, gaussian_kl, gaussian_log_prob
from sim.learning.point_mass import PointMass
from sim.learning.ppo import RATE_LIMITS, Learner, adapted_rate, surrogate_loss, value_loss


def test_gaussian_formulas_agree_with_torch_distributions():
    torch.manual_seed(0)
    mean, other, action = torch.randn(3, 7, 4, dtype=torch.float64)
    log_std, other_log_std = torch.randn(2, 4, dtype=torch.float64)
    normal = torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)
    second = torch.distributions.Independent(torch.distributions.Normal(other, other_log_std.exp()), 1)
    torch.testing.assert_close(gaussian_log_prob(action, mean, log_std), normal.log_prob(action))
    torch.testing.assert_close(gaussian_entropy(log_std).expand(7), normal.entropy())
    divergence = torch.distributions.kl_divergence(normal, second)
    torch.testing.assert_close(gaussian_kl(mean, log_std, other, other_log_std), divergence)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 1.0, -1.0, -1.0),
        (1.5, 1.0, -1.2, 0.0),  # good and already more likely: nothing more to gain
        (1.5, -1.0, 1.5, 1.5),  # bad and more likely: pushed back
        (0.5, -1.0, 0.8, 0.0),  # bad and already less likely
        (0.5, 1.0, -0.5, -0.5),
    ],
)
def test_surrogate_is_clipped_only_where_it_would_gain(ratio, advantage, loss, slope):
    """d loss / d log-density is −ρ·A where the ratio counts and 0 where it is clipped."""
    log_prob = torch.tensor([np.log(ratio)], requires_grad=True)
    found = surrogate_loss(log_prob, torch.zeros(1), torch.tensor([advantage]), 0.2)
    found.backward()
    assert float(found.detach()) == pytest.approx(loss)
    assert float(log_prob.grad) == pytest.approx(slope)


def test_clipped_value_loss_takes_the_worse_of_both():
    """Old 0, target 1: a value of 0.5 held at 0.2 counts as 0.2; a value of −0.5 counts itself."""
    value, old, target = torch.tensor([0.5, -0.5]), torch.zeros(2), torch.ones(2)
    assert float(value_loss(value, old, target, None)) == pytest.approx((0.25 + 2.25) / 4)
    assert float(value_loss(value, old, target, 0.2)) == pytest.approx((0.64 + 2.25) / 4)


def test_the_first_gradient_is_the_plain_policy_gradient(small):
    """Before any step the ratio is 1, so the surrogate's gradient is that of −mean A log π."""
    learner = Learner(PointMass(), small(network=NetworkConfig(hidden=(16,), is_log_std_learned=True)))
    learner.iterate()  # so that observations are normalised and the policy is no longer the initial one
    rollout = learner.collect()
    observation, action = rollout.observation_TEO.flatten(0, 1), rollout.action_TEA.flatten(0, 1)
    old_log_prob, advantage = rollout.log_prob_TE.flatten(), rollout.advantage_TE.flatten()
    parameters = list(learner.network.policy_parameters().values())
    log_prob = gaussian_log_prob(action, learner.network.policy(observation), learner.network.log_std)
    torch.testing.assert_close(log_prob.exp() / old_log_prob.exp(), torch.ones_like(log_prob), atol=1e-5, rtol=0)
    clipped = torch.autograd.grad(surrogate_loss(log_prob, old_log_prob, advantage, 0.2), parameters, retain_graph=True)
    plain = torch.autograd.grad(-(advantage * log_prob).mean(), parameters)
    for one, other in zip(clipped, plain):
        assert float(other.abs().max()) > 1e-4
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_rate_follows_the_divergence_within_its_limits():
    """A divergence four times the target halves the rate; the change and the rate itself are bounded."""
    assert adapted_rate(1e-3, 0.04, 0.01) == pytest.approx(5e-4)
    assert adapted_rate(1e-3, 0.01 / 1.21, 0.01) == pytest.approx(1.1e-3)
    assert adapted_rate(1e-3, 1.0, 0.01) == pytest.approx(1e-3 / 3.0)
    assert adapted_rate(1e-3, 0.0, 0.01) == pytest.approx(1.5e-3)
    assert adapted_rate(RATE_LIMITS[0], 1.0, 0.01) == RATE_LIMITS[0]
    assert adapted_rate(RATE_LIMITS[1], 0.0, 0.01) == RATE_LIMITS[1]


@pytest.mark.parametrize(("rate", "target"), [(1e-4, 0.01), (1e-2, 0.001)])
def test_adaptive_schedule_brings_the_divergence_to_its_target(small, rate, target):
    """From a rate far too low or far too high; left alone it stays far from it."""

    def divergence(schedule):
        config = small(policy_rate=rate, target_kl=target, schedule=schedule, iteration_steps=1024, minibatch=256)
        learner = Learner(PointMass(), config)
        # It varies from one iteration to the next by factors, hence the geometric mean.
        return np.exp(np.mean([np.log(learner.iterate()[1]["last_kl"]) for _ in range(20)][-8:]))

    assert 0.4 * target < divergence("adaptive_kl") < 2.5 * target
    assert abs(np.log(divergence("constant") / target)) > np.log(4.0)


def test_linear_schedule_falls_to_the_last_iteration_and_constant_stays(small):
    for schedule, expected in (("linear", [4e-4, 3e-4, 2e-4, 1e-4]), ("constant", [4e-4] * 4)):
        learner = Learner(PointMass(), small(schedule=schedule, policy_rate=4e-4, value_rate=8e-4))
        found = []
        for _ in range(4):
            learner.iterate()
            rates = [
                optimiser.param_groups[0]["lr"] for optimiser in (learner.policy_optimiser, learner.value_optimiser)
            ]
            assert rates[1] == pytest.approx(2 * rates[0])
            found.append(rates[0])
        assert found == pytest.approx(expected)


def test_standard_deviation_moves_only_where_it_is_learned(small):
    for is_learned in (False, True):
        network = NetworkConfig(hidden=(16,), log_std=-1.0, is_log_std_learned=is_learned)
        learner = Learner(PointMass(), small(network=network))
        learner.iterate()
        assert bool((learner.network.log_std == -1.0).all()) is not is_learned


def test_every_step_is_learned_from_once_an_epoch(small, monkeypatch):
    """250 steps in minibatches of 96: 96, 96 and 58, three times over, each advantage as often as the others."""
    learner = Learner(PointMass(num_envs=10), small(iteration_steps=250))
    seen = []
    monkeypatch.setattr(
        "sim.learning.ppo.surrogate_loss",
        lambda log_prob, old, advantage, clip: (
            seen.append(advantage.clone()) or surrogate_loss(log_prob, old, advantage, clip)
        ),
    )
    rollout = learner.collect()
    learner.update(rollout)
    assert [len(part) for part in seen] == [96, 96, 58] * 3
    advantage = rollout.advantage_TE.flatten()
    expected = ((advantage - advantage.mean()) / (advantage.std() + 1e-8)).sort().values
    for epoch in range(3):
        torch.testing.assert_close(torch.cat(seen[3 * epoch : 3 * epoch + 3]).sort().values, expected)
    assert not torch.equal(seen[0], seen[3])


def test_equal_seeds_give_equal_trainings_and_others_do_not(small):
    def final(seed):
        learner = Learner(PointMass(), small(seed=seed))
        for _ in range(2):
            learner.iterate()
        return learner_tensors(learner)

    first, again, other = final(1), final(1), final(2)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["network.policy.0.weight"], other["network.policy.0.weight"])


def test_the_point_is_brought_to_the_origin_in_seconds(small):
    """A task of seconds: 20,000 steps take the reward from what noise gives to near its bound of 1."""
    network = NetworkConfig(hidden=(64, 64), activation="tanh", log_std=-1.0)
    learner = Learner(
        PointMass(), small(iteration_steps=1024, epochs=5, minibatch=256, value_rate=5e-3, network=network)
    )
    before = learner.iterate()[0]["reward"]
    for _ in range(19):
        terms, learning = learner.iterate()
    assert before < 0.75
    assert terms["reward"] > 0.9 and terms["near"] > terms["reward"]
    assert learning["explained"] > 0.2
    assert learner.episodes.mean_return > 44.0 and learner.episodes.mean_length == pytest.approx(50.0, abs=2.0)


def test_bad_environments_are_refused_by_name(small):
    """What breaks the contract is named, and nothing that is not a number is learned from."""

    class Wrong(PointMass):
        change: dict

        def step(self, action):
            parts = dict(zip(("observation", "reward", "terminated", "truncated", "info"), super().step(action)))
            return tuple({**parts, **self.change}.values())

    def collect(**change):
        environment = Wrong(num_envs=3, length=4)
        environment.change = change
        Learner(environment, small()).collect()

    with pytest.raises(ValueError, match=r"observation: expected float32 \(3, 2\), got float64 \(3, 2\)"):
        collect(observation=np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"reward: expected shape \(3,\), got \(3, 1\)"):
        collect(reward=np.zeros((3, 1)))
    with pytest.raises(ValueError, match="terminated: expected bool, got float64"):
        collect(terminated=np.zeros(3))
    with pytest.raises(ValueError, match=r"info\['near'\]: expected shape \(3,\), got \(\)"):
        collect(info={"near": np.float64(1.0)})
    with pytest.raises(ValueError, match=FINAL_OBSERVATION):
        collect(info={})
    with pytest.raises(FloatingPointError, match=r"reward: .* step 0 of iteration 0, environment 1"):
        collect(reward=np.array([0.0, np.nan, 0.0]))
    with pytest.raises(FloatingPointError, match=r"observation: .* step 1 of iteration 0, environment"):
        collect(observation=np.array([[0.0, 0.0], [0.0, 0.0], [np.inf, 0.0]], dtype=np.float32))


def test_presets_hold_the_published_settings():
    """KAIL section II-C, word for word."""
    kail = paper()
    assert (kail.iteration_steps, kail.epochs, kail.minibatch, kail.iterations) == (50_000, 10, 2048, 900)
    assert (kail.discount, kail.gae_lambda, kail.clip) == (0.95, 0.95, 0.2)
    assert (kail.policy_rate, kail.value_rate, kail.schedule) == (5e-5, 1e-3, "constant")
    assert kail.network == NetworkConfig(hidden=(512, 256), activation="relu", log_std=-2.3, is_log_std_learned=False)
    assert (fast().epochs, fast().network.log_std, fast().schedule) == (5, -2.0, "adaptive_kl")
    assert fast().is_observation_normalised and benchmark().network.hidden == (64, 64)
    network = ActorCritic(46, 23, kail.network)
    assert [tuple(layer.weight.shape) for layer in network.policy if hasattr(layer, "weight")] == [
        (512, 46), (256, 512), (23, 256)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minibatch": 0}, "minibatch: expected at least 1, got 0"),
        ({"policy_rate": 0.0}, "policy_rate: expected a positive number, got 0.0"),
        ({"discount": 1.5}, "discount: expected a number from 0 to 1, got 1.5"),
        ({"value_clip": -1.0}, "value_clip: expected a positive number or None, got -1.0"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(paper(), **change)
    with pytest.raises(ValueError, match=r"hidden: expected widths of at least 1, got \(\)"):
        NetworkConfig(hidden=())


def test_settings_are_options_of_a_command_line():
    """A preset gives the defaults, every field can be changed, as in the other command lines."""
    config = tyro.cli(
        PPOConfig, default=fast(), args=["--network.hidden", "64", "32", "--value-clip", "0.3", "--seed", "4"]
    )
    expected = dataclasses.replace(fast().network, hidden=(64, 32))
    assert config == dataclasses.replace(fast(), network=expected, value_clip=0.3, seed=4)
