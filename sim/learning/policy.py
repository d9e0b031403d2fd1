"""A trained policy by itself: what acts, without what learned it. One safetensors file and a JSON beside it.

Axis legend: E parallel environments, O entries of an observation, A entries of an action.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch

from dataset import atomic
from sim.learning.config import NetworkConfig
from sim.learning.learner_state import part_of
from sim.learning.network import ActorCritic
from sim.learning.ppo import Learner
from sim.learning.running_statistics import RunningStatistics


class Policy:
    """Mean action of an observation: network((o − mean) / std), or of the bare observation where nothing is normalised."""

    def __init__(self, network: ActorCritic, statistics: RunningStatistics | None, observation_clip: float) -> None:
        self.network, self.statistics, self.observation_clip = network, statistics, observation_clip

    @classmethod
    def of(cls, learner: Learner) -> Policy:
        """The policy that a learner has now; it moves with the learner."""
        config = learner.config
        statistics = learner.statistics if config.is_observation_normalised else None
        return cls(learner.network, statistics, config.observation_clip)

    def __call__(self, observation: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        """Actions (E, A), float32, of observations (E, O): the mean, plus noise (E, A) times the standard deviation if given."""
        if self.statistics is not None:
            observation = self.statistics.normalise(observation, self.observation_clip)
        with torch.no_grad():
            mean = self.network.policy(torch.from_numpy(np.asarray(observation, dtype=np.float32))).numpy()
            std = self.network.log_std.exp().numpy()
        return mean if noise is None else mean + std * noise.astype(np.float32)


def save_policy(path: Path, policy: Policy, facts: dict[str, Any]) -> None:
    """Write PATH (safetensors) and, beside it as .json, its shape and whatever facts belong to it."""
    network = policy.network
    tensors = {f"policy.{name}": value.numpy() for name, value in network.policy.state_dict().items()}
    tensors["log_std"] = network.log_std.detach().numpy()
    if policy.statistics is not None:
        tensors |= {f"statistics.{name}": value for name, value in policy.statistics.state().items()}
    shape = {
        "observation_size": network.observation_size, "action_size": network.action_size,
        "observation_clip": policy.observation_clip, "network": asdict(network.config),
    }  # fmt: skip
    atomic.write_bytes(
        path, safetensors.numpy.save({name: np.array(value, order="C") for name, value in tensors.items()})
    )
    atomic.write_json(path.with_suffix(".json"), {**shape, **facts})


def load_policy(path: Path) -> Policy:
    """Read a policy.

    Raises:
        ValueError: Nothing there, or not a policy.
    """
    try:
        facts = json.loads(path.with_suffix(".json").read_text())
        tensors = safetensors.numpy.load(path.read_bytes())
        config = NetworkConfig(**(facts["network"] | {"hidden": tuple(facts["network"]["hidden"])}))
        network = ActorCritic(facts["observation_size"], facts["action_size"], config)
        weights = {name: torch.from_numpy(value) for name, value in part_of(tensors, "policy.").items()}
        network.policy.load_state_dict(weights)
        with torch.no_grad():
            network.log_std.copy_(torch.from_numpy(tensors["log_std"]))
        statistics = None
        if saved := part_of(tensors, "statistics."):
            statistics = RunningStatistics(facts["observation_size"])
            statistics.set_state(saved)
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename}: expected a trained policy, found nothing") from error
    except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path}: expected a trained policy with its .json, found {error}") from error
    return Policy(network, statistics, float(facts["observation_clip"]))
