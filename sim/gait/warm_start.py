"""A policy that begins where a regulator ends: it learns the regulator's actions, on the states that its own lead to.

The regulator (`sim.gait.regulator`) knows the frame of the trial, the policy only the gait phase. Rounds of walking and learning:
first the regulator walks, then the policy itself, always with the policy's noise, and in every state the regulator says what it
would have done. At last the value learns the returns of the policy's walks. What follows is PPO as ever; this only spares it the
hundreds of thousands of steps of falling.

Source: Ross, Gordon & Bagnell 2011, "A reduction of imitation learning and structured prediction to no-regret online learning".

Axis legend: T steps, B walkers, N rows.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dataset import provenance
from sim.gait.environment import ACTION_SIZE, GaitEnvironment
from sim.gait.expert_file import Expert
from sim.gait.regulator import Regulator, RegulatorConfig, deviation, find_regulator
from sim.learning.checkpoint import save_checkpoint
from sim.learning.config import PPOConfig
from sim.learning.learner_state import learner_tensors
from sim.learning.policy import Policy
from sim.learning.ppo import Learner

_log = logging.getLogger(__name__)

HUBER = 0.3
"""Error of an action beyond which it counts linearly: a regulator's wild answers far from the walk weigh little."""


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """How a policy learns a regulator."""

    regulator: RegulatorConfig = field(default_factory=RegulatorConfig)
    """The regulator."""
    rounds: int = 8
    """Rounds of walking and learning."""
    steps: int = 64
    """Control steps of every walker in a round."""
    epochs: int = 15
    """Passes over all states so far after each round, and of the value at the end."""
    minibatch: int = 512
    """States a gradient."""
    rate: float = 1e-3
    """Learning rate; falls to a tenth over the rounds."""


def warm_start(expert: Expert, environment: GaitEnvironment, ppo: PPOConfig, config: WarmStart, folder: Path) -> Path:
    """Teach a new policy a regulator; returns the checkpoint's file, for `sim.learning.train(initial=...)`.

    Args:
        expert: The measured walk.
        environment: Walkers of the kinematic arm.
        ppo: Settings of the learner, whose networks, noise and seed these are.
        config: How.
        folder: Where the checkpoint goes.

    Raises:
        FloatingPointError: whatever the regulator refuses.
    """
    regulator = find_regulator(expert, environment.config, config.regulator)
    learner = Learner(environment, ppo)
    generator = np.random.default_rng((ppo.seed, 7))
    optimiser = torch.optim.Adam(learner.network.policy.parameters(), lr=config.rate)
    seen: list[np.ndarray] = []
    wanted: list[np.ndarray] = []
    length = 0.0
    for turn in range(config.rounds):
        walked = _walk(learner, regulator if turn == 0 else None, regulator, config.steps, generator)
        seen.append(walked.observation.reshape(-1, walked.observation.shape[-1]))
        wanted.append(walked.answer.reshape(-1, ACTION_SIZE))
        learner.statistics.update(seen[-1])
        for group in optimiser.param_groups:
            group["lr"] = config.rate * 0.1 ** (turn / max(config.rounds - 1, 1))
        rows = learner.statistics.normalise(np.concatenate(seen), ppo.observation_clip)
        error = _fit(learner.network.policy, optimiser, rows, np.concatenate(wanted), config, generator)
        length = walked.done.size / max(int(walked.done.sum()), 1)
        _log.info("warm start %d of %d: %.0f steps between ends, error %.3f", turn + 1, config.rounds, length, error)
    walked = _walk(learner, None, regulator, 2 * config.steps, generator)
    returns, known = _returns(walked, ppo.discount)
    rows = learner.statistics.normalise(walked.observation.reshape(-1, seen[0].shape[1]), ppo.observation_clip)
    optimiser = torch.optim.Adam(learner.network.value.parameters(), lr=config.rate)
    keep = known.ravel()
    _fit(learner.network.value, optimiser, rows[keep], returns.reshape(-1, 1)[keep], config, generator)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "settings": {"ppo": provenance.plain(ppo), "warm_start": provenance.plain(config)},
        "steps_between_ends": length, "versions": provenance.package_versions(),
    }  # fmt: skip
    tensors = learner_tensors(learner)
    kept = {name: value for name, value in tensors.items() if name.startswith(("network.", "statistics."))}
    return save_checkpoint(folder, 0, kept, facts)


@dataclass(frozen=True, kw_only=True)
class _Walked:
    observation: np.ndarray  # (T, B, 46)
    answer: np.ndarray  # the regulator's actions there (T, B, 23)
    reward: np.ndarray  # (T, B)
    done: np.ndarray  # (T, B)


def _walk(
    learner: Learner, actor: Regulator | None, regulator: Regulator, steps: int, generator: np.random.Generator
) -> _Walked:
    """Let the actor, or the policy where there is none, walk with the policy's noise."""
    environment = learner.environment
    assert isinstance(environment, GaitEnvironment)
    policy, std = Policy.of(learner), float(learner.network.log_std.exp()[0])
    observations, answers, rewards, ends = [], [], [], []
    for _ in range(steps):
        frame = environment.frame
        e = deviation(environment.expert, frame, environment.qpos, environment.qvel)
        answer = regulator.act(frame, e)
        observations.append(learner.observation)
        answers.append(answer)
        action = answer if actor is not None else policy(learner.observation)
        noise = std * generator.standard_normal(action.shape)
        learner.observation, reward, terminated, truncated, _ = environment.step((action + noise).astype(np.float32))
        rewards.append(reward)
        ends.append(terminated | truncated)
    return _Walked(
        observation=np.stack(observations), answer=np.stack(answers).astype(np.float32), reward=np.stack(rewards),
        done=np.stack(ends),
    )  # fmt: skip


def _fit(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    rows: np.ndarray,
    wanted: np.ndarray,
    config: WarmStart,
    generator: np.random.Generator,
) -> float:
    """Train a network on rows; root mean square error of the last pass."""
    inputs, targets = torch.from_numpy(rows), torch.from_numpy(np.asarray(wanted, dtype=np.float32))
    squares: list[Tensor] = []
    for _ in range(config.epochs):
        order = torch.from_numpy(generator.permutation(len(inputs)))
        squares = []
        for index in order.split(config.minibatch):
            found = network(inputs[index])
            loss = nn.functional.huber_loss(found, targets[index], delta=HUBER)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            squares.append((found.detach() - targets[index]).square().mean())
    return float(torch.stack(squares).mean().sqrt())


def _returns(walked: _Walked, discount: float) -> tuple[np.ndarray, np.ndarray]:
    """Discounted rewards to the end of each episode, and where that end or at least half of the walk is ahead, (T, B)."""
    returns = np.zeros_like(walked.reward)
    known = np.zeros(walked.reward.shape, dtype=bool)
    running, ended = np.zeros(walked.reward.shape[1]), np.zeros(walked.reward.shape[1], dtype=bool)
    steps = len(walked.reward)
    for t in reversed(range(steps)):
        running = walked.reward[t] + discount * np.where(walked.done[t], 0.0, running)
        ended |= walked.done[t]
        returns[t], known[t] = running, ended | (t < steps // 2)
    return returns, known
