"""The two networks of PPO: a Gaussian policy and a value, separate, of the same shape.

Axis legend: B rows of a batch, O entries of an observation, A entries of an action.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from sim.learning.config import NetworkConfig

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
_LOG_TWO_PI = math.log(2.0 * math.pi)


class ActorCritic(nn.Module):
    """Policy N(mean(o), diag exp(2·log_std)) and value V(o); the standard deviation does not depend on the observation.

    Weights start orthogonal with gain √2, the policy's last layer with 0.01 (so that the first actions are nearly pure noise
    about 0), the value's with 1; biases at 0.
    """

    def __init__(self, observation_size: int, action_size: int, config: NetworkConfig) -> None:
        super().__init__()
        self.observation_size, self.action_size, self.config = observation_size, action_size, config
        self.policy = _perceptron(observation_size, action_size, config, gain=0.01)
        self.value = _perceptron(observation_size, 1, config, gain=1.0)
        log_std = torch.full((action_size,), config.log_std)
        self.log_std = nn.Parameter(log_std, requires_grad=config.is_log_std_learned)

    def policy_parameters(self) -> dict[str, nn.Parameter]:
        """What the policy's optimiser moves, by name."""
        names = [f"policy.{name}" for name, _ in self.policy.named_parameters()]
        return self._named([*names, "log_std"] if self.log_std.requires_grad else names)

    def value_parameters(self) -> dict[str, nn.Parameter]:
        """What the value's optimiser moves, by name."""
        return self._named([f"value.{name}" for name, _ in self.value.named_parameters()])

    def values(self, observation: Tensor) -> Tensor:
        """V(o), shape (B,), of observations (B, O)."""
        return self.value(observation).squeeze(-1)

    def _named(self, names: list[str]) -> dict[str, nn.Parameter]:
        parameters = dict(self.named_parameters())
        return {name: parameters[name] for name in names}


def gaussian_log_prob(action: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Σ_a log N(action_a; mean_a, exp(log_std_a)²), shape (B,), of actions and means (B, A) and log_std (A,)."""
    standard = (action - mean) * torch.exp(-log_std)
    return (-0.5 * standard.square() - log_std - 0.5 * _LOG_TWO_PI).sum(-1)


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Entropy of a diagonal Gaussian [nat], Σ_a (log_std_a + ½ log 2πe), of log_std (A,)."""
    return (log_std + 0.5 * (1.0 + _LOG_TWO_PI)).sum()


def gaussian_kl(old_mean: Tensor, old_log_std: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(old ‖ new) [nat] of diagonal Gaussians, shape (B,), of means (B, A) and log_std (A,).

    Σ_a [log(σ/σ_old) + (σ_old² + (μ_old − μ)²) / (2σ²) − ½].
    """
    ratio = torch.exp(2.0 * (old_log_std - log_std))
    shift = (old_mean - mean) * torch.exp(-log_std)
    return (log_std - old_log_std + 0.5 * (ratio + shift.square() - 1.0)).sum(-1)


def _perceptron(inputs: int, outputs: int, config: NetworkConfig, gain: float) -> nn.Sequential:
    widths = (inputs, *config.hidden)
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(widths):
        layers += [_linear(width, following, math.sqrt(2.0)), _ACTIVATIONS[config.activation]()]
    return nn.Sequential(*layers, _linear(widths[-1], outputs, gain))


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
