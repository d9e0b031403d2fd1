"""A task of microseconds: push a point to the origin. Shows the contract, feeds tests and measures the learner alone.

Axis legend: E parallel environments, D dimensions of the space.
"""

from __future__ import annotations

import numpy as np

from sim.learning.environment import FINAL_OBSERVATION, Step, generator_state, set_generator_state

TIME_STEP = 0.1
"""Duration of a step [s]."""
FRICTION = 0.5
"""Share of the velocity lost in a second [1/s]."""
LIMIT = 4.0
"""Distance from the origin at which an episode terminates [m]."""
PUSH = 2.0
"""Acceleration of an action of 1 [m/s²]; actions count between −1 and 1."""


class PointMass:
    """E points in D dimensions: observation position and velocity (2 D), action acceleration (D).

    Reward exp(−|x|²) − 0.01·mean a²; episodes start at rest, uniformly in ± 1 m, terminate beyond `LIMIT`, and are truncated
    after `length` steps.
    """

    def __init__(self, num_envs: int = 16, dimensions: int = 1, length: int = 50) -> None:
        self.num_envs, self.length = num_envs, length
        self.observation_size, self.action_size = 2 * dimensions, dimensions
        self._generator = np.random.default_rng(0)
        self._position, self._velocity = (np.zeros((num_envs, dimensions)) for _ in range(2))
        self._age = np.zeros(num_envs, dtype=np.int64)

    def reset(self, seed: int) -> np.ndarray:
        """Start all points anew."""
        self._generator = np.random.default_rng(seed)
        self._restart(np.ones(self.num_envs, dtype=bool))
        return self._observe()

    def step(self, action: np.ndarray) -> Step:
        """Push for a tenth of a second."""
        push = np.clip(action, -1.0, 1.0).astype(np.float64)
        self._velocity += TIME_STEP * (PUSH * push - FRICTION * self._velocity)
        self._position += TIME_STEP * self._velocity
        self._age += 1
        squared = np.square(self._position).sum(axis=1)
        near, effort = np.exp(-squared), np.square(push).mean(axis=1)
        terminated = squared > LIMIT**2
        truncated = self._age >= self.length
        final = self._observe()
        self._restart(terminated | truncated)
        info = {"near": near, "effort": effort, FINAL_OBSERVATION: final}
        return self._observe(), near - 0.01 * effort, terminated, truncated, info

    def state(self) -> dict[str, np.ndarray]:
        """Positions, velocities, ages and the random generator."""
        return {
            "position": self._position.copy(), "velocity": self._velocity.copy(), "age": self._age.copy(),
            "generator": generator_state(self._generator),
        }  # fmt: skip

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state."""
        if state["position"].shape != self._position.shape:
            raise ValueError(f"state: expected positions {self._position.shape}, got {state['position'].shape}")
        self._position, self._velocity = state["position"].copy(), state["velocity"].copy()
        self._age = state["age"].copy()
        set_generator_state(self._generator, state["generator"])

    def _restart(self, rows: np.ndarray) -> None:
        count = int(rows.sum())
        self._position[rows] = self._generator.uniform(-1.0, 1.0, (count, self.action_size))
        self._velocity[rows] = 0.0
        self._age[rows] = 0

    def _observe(self) -> np.ndarray:
        return np.concatenate([self._position, self._velocity], axis=1, dtype=np.float32)
