"""Everything of a `Learner` that a continuation needs, as named arrays and numbers, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from sim.learning.environment import ResumableEnvironment
from sim.learning.ppo import Learner, set_rate


def learner_tensors(learner: Learner) -> dict[str, np.ndarray]:
    """Networks, moments, statistics, running episodes and, where it has a state, the environment; copies."""
    out = {f"network.{name}": value.numpy().copy() for name, value in learner.network.state_dict().items()}
    for optimiser, parameters in _optimisers(learner):
        for name, parameter in parameters.items():
            for key, value in optimiser.state[parameter].items():
                out[f"adam.{name}.{key}"] = value.detach().numpy().copy()
    for part, owner in _statistics(learner).items():
        out |= {f"{part}.{name}": value for name, value in owner.state().items()}
    out["observation"] = learner.observation.copy()
    if isinstance(learner.environment, ResumableEnvironment):
        out |= {f"environment.{name}": np.array(value) for name, value in learner.environment.state().items()}
    return out


def learner_counters(learner: Learner) -> dict[str, Any]:
    """The numbers that belong to the arrays, ready for JSON."""
    return {"iteration": learner.iteration, "steps": learner.steps, "policy_rate": learner.policy_rate}


def start_from(learner: Learner, tensors: dict[str, np.ndarray]) -> None:
    """Take networks and observation statistics of a checkpoint; everything else stays new: fine-tuning.

    Raises:
        ValueError: The checkpoint's networks have other shapes.
    """
    weights = {name: torch.from_numpy(value.copy()) for name, value in part_of(tensors, "network.").items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    expected = {name: tuple(value.shape) for name, value in learner.network.state_dict().items()}
    if found != expected:
        raise ValueError(
            f"checkpoint: expected networks of shapes {expected}, got {found}; give the settings and the environment it was "
            "made with"
        )
    learner.network.load_state_dict(weights)
    learner.statistics.set_state(part_of(tensors, "statistics."))


def restore(learner: Learner, tensors: dict[str, np.ndarray], counters: dict[str, Any]) -> None:
    """Go on from a checkpoint of the same settings, bit for bit if the environment has a state.

    An environment without one starts new episodes, from a seed that differs from one continuation to the next.

    Raises:
        ValueError: The checkpoint is of other networks or of another environment.
    """
    start_from(learner, tensors)
    for optimiser, parameters in _optimisers(learner):
        for name, parameter in parameters.items():
            moments = part_of(tensors, f"adam.{name}.")
            optimiser.state[parameter] = {key: torch.from_numpy(value.copy()) for key, value in moments.items()}
    for part, owner in _statistics(learner).items():
        owner.set_state(part_of(tensors, f"{part}."))
    learner.iteration, learner.policy_rate = int(counters["iteration"]), float(counters["policy_rate"])
    set_rate(learner.policy_optimiser, learner.policy_rate)
    if isinstance(learner.environment, ResumableEnvironment):
        learner.environment.set_state(part_of(tensors, "environment."))
        learner.observation = tensors["observation"].copy()
    else:
        learner.observation = learner.environment.reset(learner.config.seed + learner.iteration)
        learner.episodes.abandon()
        learner.reward_scale.discounted[:] = 0.0


def part_of(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Entries whose names begin so, without the beginning."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimisers(learner: Learner) -> tuple[tuple[torch.optim.Adam, dict[str, nn.Parameter]], ...]:
    network = learner.network
    return (
        (learner.policy_optimiser, network.policy_parameters()),
        (learner.value_optimiser, network.value_parameters()),
    )


def _statistics(learner: Learner) -> dict[str, Any]:
    return {
        "statistics": learner.statistics, "reward_scale": learner.reward_scale, "episodes": learner.episodes,
    }  # fmt: skip
