"""Proximal policy optimisation: collect steps of many environments, improve policy and value on them, repeat.

`train` runs it on anything that fulfils `sim.learning.environment.Environment`; a `Learner` is one training in memory. Noise
and minibatches are functions of seed and iteration, so a checkpoint holds no random state but the environment's own.

Axis legend: T steps of an iteration, E parallel environments, O entries of an observation, A entries of an action, B rows of a
minibatch; an iteration has T·E steps.

Source: Schulman et al. 2017, "Proximal policy optimization algorithms"; Schulman et al. 2016, "High-dimensional continuous
control using generalized advantage estimation"; Pardo et al. 2018, "Time limits in reinforcement learning" (truncation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sim.learning.config import PPOConfig
from sim.learning.environment import FINAL_OBSERVATION, Environment, Step, check_observation, check_step
from sim.learning.episodes import Episodes
from sim.learning.network import ActorCritic, gaussian_entropy, gaussian_kl, gaussian_log_prob
from sim.learning.running_statistics import RewardScale, RunningStatistics

RATE_FACTORS = (1.0 / 3.0, 1.5)
"""Between which the adaptive schedule changes the policy's rate from one iteration to the next."""
RATE_LIMITS = (1e-5, 1e-2)
"""Between which the adaptive schedule stays."""
_NOISE, _MINIBATCHES = 0, 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Rollout:
    """What an iteration collected, as the networks saw it."""

    observation_TEO: Tensor
    """Observations, normalised if the settings say so."""
    action_TEA: Tensor
    """Actions, unbounded."""
    mean_TEA: Tensor
    """Means of the policy that acted."""
    log_prob_TE: Tensor
    """Log-density of the actions under the policy that acted."""
    value_TE: Tensor
    """V(o_t) at collection."""
    advantage_TE: Tensor
    """Generalised advantage estimates, not normalised."""
    terms: dict[str, float]
    """Mean over the steps of the reward as the environment gave it (`reward`) and of every entry of `info`."""

    @property
    def target_TE(self) -> Tensor:
        """λ-returns that the value learns: advantage + value."""
        return self.advantage_TE + self.value_TE


def estimate_advantages(
    reward_TE: np.ndarray,
    value_TE: np.ndarray,
    next_value_TE: np.ndarray,
    done_TE: np.ndarray,
    *,
    discount: float,
    gae_lambda: float,
) -> np.ndarray:
    """Generalised advantage estimates A_t = δ_t + γλ (1 − done_t) A_{t+1} with δ_t = r_t + γ V(o_{t+1}) − V(o_t).

    Args:
        reward_TE: Rewards r_t.
        value_TE: V(o_t).
        next_value_TE: Worth of what follows step t: V(o_{t+1}) of the same episode; of the final observation where the
            episode was truncated; 0 where it terminated.
        done_TE: Whether step t was its episode's last, for either reason.
        discount: γ.
        gae_lambda: λ; 0 gives one-step errors, 1 the discounted return less V.

    Returns:
        Advantages, shape (T, E), of the rewards' type.
    """
    advantage_TE = np.empty_like(reward_TE)
    error_TE = reward_TE + discount * next_value_TE - value_TE
    running_E = np.zeros_like(reward_TE[0])
    for t in reversed(range(len(reward_TE))):
        running_E = error_TE[t] + discount * gae_lambda * ~done_TE[t] * running_E
        advantage_TE[t] = running_E
    return advantage_TE


def surrogate_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """−mean min(ρ A, clamp(ρ, 1 − ε, 1 + ε) A) with ρ = exp(log_prob − old_log_prob); all of shape (B,)."""
    ratio = torch.exp(log_prob - old_log_prob)
    return -torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage).mean()


def value_loss(value: Tensor, old_value: Tensor, target: Tensor, clip: float | None) -> Tensor:
    """½ mean (V − target)²; with a clip the worse of that and the same of V held within ± clip of the old value."""
    error = (value - target).square()
    if clip is not None:
        held = old_value + (value - old_value).clamp(-clip, clip)
        error = torch.maximum(error, (held - target).square())
    return 0.5 * error.mean()


def adapted_rate(rate: float, divergence: float, target: float) -> float:
    """Policy's next learning rate, rate · √(target / divergence) within `RATE_FACTORS` and `RATE_LIMITS`.

    For a small step the divergence grows with the square of the rate, so this aims at the target, and only goes there slowly.

    Args:
        rate: Learning rate of the iteration.
        divergence: Mean divergence of the policy from the one that collected, over the iteration's last epoch [nat].
        target: What it should have been [nat].
    """
    factor = math.sqrt(target / max(divergence, 1e-12))
    rate *= min(max(factor, RATE_FACTORS[0]), RATE_FACTORS[1])
    return min(max(rate, RATE_LIMITS[0]), RATE_LIMITS[1])


class Learner:
    """One training: networks, optimisers, statistics and the environments' present.

    Raises:
        ValueError: The environment's observations are not what the contract says.
    """

    def __init__(self, environment: Environment, config: PPOConfig) -> None:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config, self.environment = config, environment
        self.network = ActorCritic(environment.observation_size, environment.action_size, config.network)
        self.policy_optimiser = _adam(self.network.policy_parameters(), config.policy_rate, config.adam_epsilon)
        self.value_optimiser = _adam(self.network.value_parameters(), config.value_rate, config.adam_epsilon)
        self.policy_rate = config.policy_rate
        self.statistics = RunningStatistics(environment.observation_size)
        self.reward_scale = RewardScale(environment.num_envs, config.discount)
        self.episodes = Episodes(environment.num_envs)
        self.iteration = 0
        self.observation = environment.reset(config.seed)
        check_observation(environment, self.observation)

    @property
    def steps_each(self) -> int:
        """Steps of every environment in an iteration, T."""
        return math.ceil(self.config.iteration_steps / self.environment.num_envs)

    @property
    def steps(self) -> int:
        """Environment steps so far, over all environments."""
        return self.iteration * self.steps_each * self.environment.num_envs

    def collect(self) -> Rollout:
        """Act for an iteration and judge what came of it.

        Raises:
            FloatingPointError: An observation or a reward is not finite; names step and environment.
            ValueError: A step breaks the contract.
        """
        count, environment, log_std = self.steps_each, self.environment, self.network.log_std.detach().clone()
        shape = (count, environment.num_envs)
        noise = self._generator(_NOISE).standard_normal((*shape, environment.action_size), dtype=np.float32)
        noise_TEA = torch.from_numpy(noise)
        observation_TEO = torch.empty(*shape, environment.observation_size)
        mean_TEA, action_TEA = torch.empty_like(noise_TEA), torch.empty_like(noise_TEA)
        outcome = _Outcome(shape)
        with torch.no_grad():
            for t in range(count):
                observation_TEO[t] = torch.from_numpy(self._seen(self.observation, is_counted=True))
                mean_TEA[t] = self.network.policy(observation_TEO[t])
                torch.addcmul(mean_TEA[t], noise_TEA[t], log_std.exp(), out=action_TEA[t])
                step = environment.step(action_TEA[t].numpy().copy())
                if t == 0 and self.iteration == 0:
                    check_step(environment, step)
                self.observation = step[0]
                outcome.add(t, step)
                self.episodes.count(step[1], outcome.done_TE[t])
            value_TE = self.network.values(observation_TEO.flatten(0, 1)).view(shape)
            log_prob_TE = gaussian_log_prob(action_TEA, mean_TEA, log_std)
        self._require_finite(observation_TEO.numpy(), outcome.reward_TE)
        reward_TE = outcome.reward_TE
        if self.config.is_reward_scaled:
            reward_TE = self.reward_scale.scale(reward_TE, outcome.done_TE, self.config.reward_clip)
        advantage_TE = estimate_advantages(
            reward_TE, value_TE.numpy(), self._next_values(value_TE.numpy(), outcome), outcome.done_TE,
            discount=self.config.discount, gae_lambda=self.config.gae_lambda,
        )  # fmt: skip
        return Rollout(
            observation_TEO=observation_TEO, action_TEA=action_TEA, mean_TEA=mean_TEA, log_prob_TE=log_prob_TE,
            value_TE=value_TE, advantage_TE=torch.from_numpy(advantage_TE), terms=outcome.means(),
        )  # fmt: skip

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Improve both networks on an iteration's steps.

        Returns:
            Means over the minibatches: losses, divergence [nat], share of clipped ratios, gradient norms; the policy's
            learning rate, its standard deviation, the last minibatch's divergence, and the share of the targets' variance
            that the values had explained at collection.

        Raises:
            FloatingPointError: A loss is not finite.
        """
        cfg, network = self.config, self.network
        batch = _Batch.of(rollout)
        old_log_std = network.log_std.detach().clone()
        generator = self._generator(_MINIBATCHES)
        self._start_schedule()
        rows: list[Tensor] = []
        for _ in range(cfg.epochs):
            order = torch.from_numpy(generator.permutation(len(batch.advantage)))
            for index in order.split(cfg.minibatch):
                part = batch.take(index)
                mean = network.policy(part.observation)
                log_prob = gaussian_log_prob(part.action, mean, network.log_std)
                policy_loss = surrogate_loss(log_prob, part.log_prob, part.advantage, cfg.clip)
                loss = policy_loss - cfg.entropy_weight * gaussian_entropy(network.log_std)
                with torch.no_grad():
                    divergence = gaussian_kl(part.mean, old_log_std, mean, network.log_std).mean()
                    clipped = ((log_prob - part.log_prob).exp() - 1.0).abs().gt(cfg.clip).float().mean()
                error = value_loss(network.values(part.observation), part.value, part.target, cfg.value_clip)
                norms = self._descend(loss + error)
                rows.append(torch.stack([policy_loss.detach(), error.detach(), divergence, clipped, *norms]))
        names = ("policy_loss", "value_loss", "kl", "clipped", "policy_gradient", "value_gradient")
        means = dict(zip(names, torch.stack(rows).mean(0).tolist()))
        if not all(math.isfinite(value) for value in means.values()):
            raise FloatingPointError(
                f"iteration {self.iteration}: expected finite losses, got {means}; lower the rates"
            )
        left = (batch.target - batch.value).var() / batch.target.var().clamp_min(1e-12)
        means |= {"policy_rate": self.policy_rate, "std": float(network.log_std.detach().exp().mean())}
        if cfg.schedule == "adaptive_kl":
            last = torch.stack(rows[-(len(rows) // cfg.epochs) :])[:, names.index("kl")]
            self.policy_rate = adapted_rate(self.policy_rate, float(last.mean()), cfg.target_kl)
        return means | {"last_kl": float(rows[-1][names.index("kl")]), "explained": 1.0 - float(left)}

    def iterate(self) -> tuple[dict[str, float], dict[str, float]]:
        """One iteration; the terms of the collected rewards and what the update says of itself."""
        rollout = self.collect()
        learning = self.update(rollout)
        self.iteration += 1
        return rollout.terms, learning

    def _generator(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.config.seed, self.iteration, purpose))

    def _start_schedule(self) -> None:
        if self.config.schedule == "linear":
            left = 1.0 - self.iteration / self.config.iterations
            self.policy_rate = left * self.config.policy_rate
            set_rate(self.value_optimiser, left * self.config.value_rate)
        set_rate(self.policy_optimiser, self.policy_rate)

    def _descend(self, loss: Tensor) -> list[Tensor]:
        """A step of both optimisers against one sum of losses, for the networks share nothing; gradient norms before clipping."""
        optimisers = (self.policy_optimiser, self.value_optimiser)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norms = [
            nn.utils.clip_grad_norm_(_parameters(optimiser), self.config.gradient_clip) for optimiser in optimisers
        ]
        for optimiser in optimisers:
            optimiser.step()
        return norms

    def _seen(self, observation: np.ndarray, *, is_counted: bool) -> np.ndarray:
        """Observation as the networks see it, counted in the statistics or not."""
        if not self.config.is_observation_normalised:
            return observation
        if is_counted:
            self.statistics.update(observation)
        return self.statistics.normalise(observation, self.config.observation_clip)

    def _next_values(self, value_TE: np.ndarray, outcome: _Outcome) -> np.ndarray:
        """Worth of what follows each step: see `estimate_advantages`."""
        next_value_TE = np.concatenate([value_TE[1:], self._values(self.observation)[None]])
        next_value_TE[outcome.terminated_TE] = 0.0
        if outcome.final:
            next_value_TE[outcome.truncated_TE] = self._values(np.concatenate(outcome.final))
        return next_value_TE

    def _values(self, observation: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.network.values(torch.from_numpy(self._seen(observation, is_counted=False))).numpy()

    def _require_finite(self, observation_TEO: np.ndarray, reward_TE: np.ndarray) -> None:
        for name, bad in (("observation", ~np.isfinite(observation_TEO).all(-1)), ("reward", ~np.isfinite(reward_TE))):
            if bad.any():
                step, environment = np.argwhere(bad)[0]
                raise FloatingPointError(
                    f"{name}: expected finite values, got another in step {step} of iteration {self.iteration}, "
                    f"environment {environment}"
                )


class _Outcome:
    """What the environments gave back in an iteration."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.reward_TE = np.empty(shape, dtype=np.float32)
        self.terminated_TE, self.truncated_TE, self.done_TE = (np.empty(shape, dtype=bool) for _ in range(3))
        self.final: list[np.ndarray] = []
        self._sums: dict[str, np.ndarray | float] = {}

    def add(self, t: int, step: Step) -> None:
        """Count step t; an environment that both terminated and was truncated has terminated."""
        _, reward, terminated, truncated, info = step
        self.reward_TE[t], self.terminated_TE[t], self.truncated_TE[t] = reward, terminated, truncated & ~terminated
        self.done_TE[t] = terminated | truncated
        if self.truncated_TE[t].any():
            if FINAL_OBSERVATION not in info:
                raise ValueError(
                    f"step: info[{FINAL_OBSERVATION!r}]: expected the observations before the reset, for an environment "
                    f"was truncated, got {sorted(info)}"
                )
            self.final.append(np.asarray(info[FINAL_OBSERVATION], dtype=np.float32)[self.truncated_TE[t]])
        for name, value in info.items():
            if name != FINAL_OBSERVATION:
                self._sums[name] = self._sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """Mean over the steps of the reward and of every entry of `info`."""
        parts = {name: float(np.mean(value)) / len(self.reward_TE) for name, value in self._sums.items()}
        return {"reward": float(self.reward_TE.mean(dtype=np.float64)), **parts}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    """A rollout, or rows of it, with time and environments in one axis and advantages of mean 0 and variance 1."""

    observation: Tensor
    action: Tensor
    mean: Tensor
    log_prob: Tensor
    value: Tensor
    target: Tensor
    advantage: Tensor

    @classmethod
    def of(cls, rollout: Rollout) -> _Batch:
        advantage = rollout.advantage_TE.flatten()
        return cls(
            observation=rollout.observation_TEO.flatten(0, 1), action=rollout.action_TEA.flatten(0, 1),
            mean=rollout.mean_TEA.flatten(0, 1), log_prob=rollout.log_prob_TE.flatten(),
            value=rollout.value_TE.flatten(), target=rollout.target_TE.flatten(),
            advantage=(advantage - advantage.mean()) / (advantage.std() + 1e-8),
        )  # fmt: skip

    def take(self, index: Tensor) -> _Batch:
        return _Batch(**{name: value[index] for name, value in vars(self).items()})


def _adam(parameters: dict[str, nn.Parameter], rate: float, epsilon: float) -> torch.optim.Adam:
    return torch.optim.Adam(list(parameters.values()), lr=rate, eps=epsilon, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give an optimiser another learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def _parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]
