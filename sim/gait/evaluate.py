"""Trained policies over the whole trial: walked from the expert's first frame in one episode, without noise, all recorded.

Axis legend: N control steps, S substeps, F = 2 feet (left, right).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sim.gait.environment import GaitEnvironment
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.expert_file import Expert
from sim.gait.rewards import KINEMATIC_TERMS
from sim.gait.segments import NUM_COORDINATES, NUM_QPOS, NUM_QVEL

REWARDS = ("kinematic", "grf", "cop", *KINEMATIC_TERMS)
"""Rewards of a step that are kept."""
Actor = Callable[[np.ndarray], np.ndarray]
"""Actions (1, A) of observations (1, O)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Walk:
    """What a policy did. A step that ended in a fall is not in it, so N is smaller than the trial then."""

    qpos: np.ndarray
    """Generalised positions at the frames, the start included, shape (N + 1, 24)."""
    qvel: np.ndarray
    """Generalised velocities, shape (N + 1, 23)."""
    torque: np.ndarray
    """Joint torque that acted in every substep [N·m], shape (N, S, 17)."""
    ground: np.ndarray
    """Force [N] and moment about the world origin [N·m] of the ground on each foot, world, shape (N, S, F, 6)."""
    residual: np.ndarray
    """Residual force, world [N], and moment, pelvis's axes [N·m], held over each step, shape (N, 6)."""
    rewards: Mapping[str, np.ndarray]
    """Rewards of the steps by name (`REWARDS`), each shape (N,)."""
    fell: bool
    """Whether the walk ended before the trial did."""

    @property
    def num_steps(self) -> int:
        """Control steps N."""
        return len(self.torque)

    @property
    def wrench(self) -> np.ndarray:
        """Wrench of the ground on each foot, mean over each control step, shape (N, F, 6)."""
        return self.ground.mean(axis=1)


def walk_trial(
    expert: Expert, config: EnvironmentConfig, policies: Sequence[Actor], *, residual_factor: float = 1.0
) -> list[Walk]:
    """Walk the whole trial with every policy: from the expert's first frame to its last in one episode each.

    The policies walk side by side in one environment; walkers do not touch each other, so a walk does not depend on the others.

    Args:
        expert: The measured walk.
        config: Environment that the policies were trained in; its limits on the length of episodes and on straying do not
            apply, only falls end a walk.
        policies: Each gives the action (1, 23) to an observation (1, 46).
        residual_factor: Multiplies the residual wrench; 0 takes it away.

    Raises:
        ValueError: whatever the environment refuses.
    """
    whole = dataclasses.replace(config, episode_steps=expert.num_frames, stray_limit=None)
    environment = GaitEnvironment(expert, whole, num_envs=len(policies))
    environment.residual_factor = residual_factor
    try:
        return _walk(environment, policies)
    finally:
        environment.close()


def _walk(environment: GaitEnvironment, policies: Sequence[Actor]) -> list[Walk]:
    steps, count = environment.expert.num_frames - 1, len(policies)
    observation = environment.reset_at(np.zeros(count, dtype=np.int64))
    records = _Records(environment, steps)
    walked = np.full(count, steps)
    for step in range(steps):
        action = np.concatenate([policy(observation[k : k + 1]) for k, policy in enumerate(policies)])
        observation, _, terminated, _, info = environment.step(action)
        # Who fell starts anew somewhere else: from there on it is no longer this walk.
        walked = np.where(terminated, np.minimum(walked, step), walked)
        records.keep(step, environment, info)
        if (walked <= step).all():
            break
    return [records.walk(k, int(walked[k]), fell=bool(walked[k] < steps)) for k in range(count)]


class _Records:
    """What happened in all steps of all walkers."""

    def __init__(self, environment: GaitEnvironment, steps: int) -> None:
        count, substeps = environment.num_envs, environment.config.physics.substeps
        self.qpos, self.qvel = np.empty((count, steps + 1, NUM_QPOS)), np.empty((count, steps + 1, NUM_QVEL))
        self.qpos[:, 0], self.qvel[:, 0] = environment.qpos, environment.qvel
        self.torque = np.empty((count, steps, substeps, NUM_COORDINATES))
        self.ground = np.empty((count, steps, substeps, 2, 6))
        self.residual = np.empty((count, steps, 6))
        self.rewards = {name: np.empty((count, steps)) for name in REWARDS}

    def keep(self, step: int, environment: GaitEnvironment, info: Mapping[str, np.ndarray]) -> None:
        record = environment.last
        assert record is not None
        self.qpos[:, step + 1], self.qvel[:, step + 1] = record.qpos[:, -1], record.qvel[:, -1]
        self.torque[:, step], self.ground[:, step] = record.torque, record.ground
        self.residual[:, step] = record.residual
        for name, values in self.rewards.items():
            values[:, step] = info[name]

    def walk(self, k: int, steps: int, *, fell: bool) -> Walk:
        return Walk(
            qpos=self.qpos[k, : steps + 1], qvel=self.qvel[k, : steps + 1], torque=self.torque[k, :steps],
            ground=self.ground[k, :steps], residual=self.residual[k, :steps], fell=fell,
            rewards={name: values[k, :steps] for name, values in self.rewards.items()},
        )  # fmt: skip
