"""Settings of PPO, and presets as functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Shape of the policy and of the value network."""

    hidden: tuple[int, ...] = (512, 256)
    """Widths of the hidden layers (KAIL: 512 and 256)."""
    activation: Literal["relu", "tanh"] = "relu"
    """Non-linearity after each hidden layer (KAIL: ReLU)."""
    log_std: float = -2.3
    """Natural logarithm of the actions' standard deviation at the start (KAIL: −2.3)."""
    is_log_std_learned: bool = False
    """Whether the standard deviation moves; False keeps it (KAIL)."""

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden: expected widths of at least 1, got {self.hidden}")


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """A training by proximal policy optimisation. The resolved settings are written beside the results."""

    iterations: int = 900
    """Rounds of collecting and learning (KAIL: 900)."""
    iteration_steps: int = 50_000
    """Least number of environment steps an iteration, over all environments (KAIL: 50,000); a whole number of steps of every
    environment is made, so the last fraction is rounded up."""
    epochs: int = 10
    """Passes over an iteration's steps (KAIL: 10)."""
    minibatch: int = 2048
    """Steps a gradient (KAIL: 2,048); the last minibatch of an epoch holds what is left."""
    discount: float = 0.95
    """γ, the worth of a reward one step later (KAIL: 0.95)."""
    gae_lambda: float = 0.95
    """λ of generalised advantage estimation (KAIL: 0.95)."""
    clip: float = 0.2
    """ε, how far the probability ratio counts from 1 (KAIL: 0.2)."""
    value_clip: float | None = None
    """How far a value counts from the value at collection; None for no limit."""
    entropy_weight: float = 0.0
    """Weight of the policy's entropy; moves nothing where the standard deviation is fixed."""
    policy_rate: float = 5e-5
    """Learning rate of the policy (KAIL: 5e-5)."""
    value_rate: float = 1e-3
    """Learning rate of the value (KAIL: 1e-3)."""
    schedule: Literal["constant", "linear", "adaptive_kl"] = "constant"
    """constant; linear: both rates fall to 0 at the last iteration; adaptive_kl: the policy's rate follows `target_kl`."""
    target_kl: float = 0.01
    """Divergence from the collecting policy in an iteration's last epoch [nat] that adaptive_kl aims at."""
    gradient_clip: float = 40.0
    """Largest gradient norm of each network by itself (RFC, the parent of KAIL: 40)."""
    adam_epsilon: float = 1e-8
    """Adam's ε."""
    is_observation_normalised: bool = True
    """Whether the networks see observations shifted and scaled by the mean and standard deviation of all so far (RFC)."""
    observation_clip: float = 5.0
    """Largest size of a normalised observation (RFC: 5)."""
    is_reward_scaled: bool = False
    """Whether rewards are divided by the standard deviation of the discounted return."""
    reward_clip: float = 10.0
    """Largest size of a scaled reward."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The networks."""
    seed: int = 0
    """Seed of weights, environments, noise and minibatches."""
    threads: int = 1
    """Torch threads. More disturb the simulator's; another number may give other roundings."""
    checkpoint_every: int = 10
    """Iterations between checkpoints; the last iteration always has one."""

    def __post_init__(self) -> None:
        for name in ("iterations", "iteration_steps", "epochs", "minibatch", "threads", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in (
            "clip",
            "policy_rate",
            "value_rate",
            "target_kl",
            "gradient_clip",
            "observation_clip",
            "reward_clip",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        for name in ("discount", "gae_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: expected a number from 0 to 1, got {getattr(self, name)}")
        if self.value_clip is not None and not self.value_clip > 0:
            raise ValueError(f"value_clip: expected a positive number or None, got {self.value_clip}")


def paper() -> PPOConfig:
    """KAIL's settings; where the paper is silent (gradient clip, normalisation of observations) those of RFC, its parent.

    Source: KAIL section II-C; RFC's released configuration for what the paper leaves out.
    """
    return PPOConfig()


def fast() -> PPOConfig:
    """The same in a fraction of the steps: small iterations, wider exploration, a policy rate that follows the divergence."""
    return PPOConfig(
        iterations=150, iteration_steps=8192, epochs=5, minibatch=1024, policy_rate=3e-4, value_rate=1e-3,
        schedule="adaptive_kl", target_kl=0.02, gradient_clip=1.0, network=NetworkConfig(log_std=-2.0),
    )  # fmt: skip


def benchmark() -> PPOConfig:
    """Settings under which PPO's published results on MuJoCo tasks were made: one million steps.

    Source: Huang et al. 2022, "The 37 implementation details of proximal policy optimization"; CleanRL's defaults for
    continuous actions. Differs from theirs in that each network's gradient is clipped by itself, and advantages are
    normalised over the iteration instead of the minibatch.
    """
    return PPOConfig(
        iterations=488, iteration_steps=2048, epochs=10, minibatch=64, discount=0.99, gae_lambda=0.95, value_clip=0.2,
        policy_rate=3e-4, value_rate=3e-4, schedule="linear", gradient_clip=0.5, adam_epsilon=1e-5, observation_clip=10.0,
        is_reward_scaled=True, network=NetworkConfig(hidden=(64, 64), activation="tanh", log_std=0.0, is_log_std_learned=True),
        checkpoint_every=2,
    )  # fmt: skip


PRESETS: dict[str, Callable[[], PPOConfig]] = {"paper": paper, "fast": fast, "benchmark": benchmark}
"""Presets by name."""
