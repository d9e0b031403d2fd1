"""MuJoCo tasks of gymnasium behind the learner's contract, for the proof on known results; gymnasium is optional.

Axis legend: E parallel environments, O entries of an observation, A entries of an action.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from sim.learning.environment import FINAL_OBSERVATION, Step, generator_state, set_generator_state


class GymTask:
    """E copies of a gymnasium MuJoCo task, stepped one after the other; actions are clipped to the task's bounds.

    Raises:
        ValueError: gymnasium is not installed, has no such task, or the task is not one of MuJoCo with continuous actions.
    """

    def __init__(self, name: str, num_envs: int = 1) -> None:
        gymnasium = _gymnasium()
        try:
            # The checker asks at every step what the tests ask once.
            self._tasks: list[Any] = [gymnasium.make(name, disable_env_checker=True) for _ in range(num_envs)]
        except gymnasium.error.Error as error:
            raise ValueError(f"{name}: expected a task that gymnasium has, got {error}") from error
        space = self._tasks[0].action_space
        if not isinstance(self._tasks[0], gymnasium.wrappers.TimeLimit) or not hasattr(
            self._tasks[0].unwrapped, "data"
        ):
            raise ValueError(f"{name}: expected a MuJoCo task with a time limit, got {self._tasks[0]}")
        self.num_envs = num_envs
        self.observation_size, self.action_size = self._tasks[0].observation_space.shape[0], space.shape[0]
        self._low, self._high = space.low, space.high
        self._signature = mujoco.mjtState.mjSTATE_INTEGRATION

    def reset(self, seed: int) -> np.ndarray:
        """Start all copies anew, each with a seed of its own."""
        seeds = np.random.SeedSequence(seed).generate_state(self.num_envs)
        return self._stack([task.reset(seed=int(own))[0] for task, own in zip(self._tasks, seeds)])

    def step(self, action: np.ndarray) -> Step:
        """Step every copy; `info` holds what the task calls `reward_...`."""
        reward = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, dtype=bool), np.zeros(self.num_envs, dtype=bool)
        terms: dict[str, np.ndarray] = {}
        final: list[np.ndarray] = []
        seen: list[np.ndarray] = []
        for row, task in enumerate(self._tasks):
            clipped = np.clip(action[row], self._low, self._high)
            observation, reward[row], terminated[row], truncated[row], info = task.step(clipped)
            for key, value in info.items():
                if key.startswith("reward_"):
                    terms.setdefault(key.removeprefix("reward_"), np.zeros(self.num_envs))[row] = value
            final.append(observation)
            seen.append(task.reset()[0] if terminated[row] or truncated[row] else observation)
        return self._stack(seen), reward, terminated, truncated, {**terms, FINAL_OBSERVATION: self._stack(final)}

    def state(self) -> dict[str, np.ndarray]:
        """Of every copy: the integrator's state with the solver's warm start, the clock, the random generator."""
        return {
            "physics": np.stack([self._physics(task) for task in self._tasks]),
            "elapsed": np.array([task._elapsed_steps for task in self._tasks], dtype=np.int64),
            "generator": np.stack([generator_state(task.unwrapped.np_random) for task in self._tasks]),
        }

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state."""
        expected = (self.num_envs, len(self._physics(self._tasks[0])))
        if state["physics"].shape != expected:
            raise ValueError(f"state: expected physics {expected}, got {state['physics'].shape}")
        for row, task in enumerate(self._tasks):
            task.reset()  # wrappers refuse to step before a reset
            inner = task.unwrapped
            mujoco.mj_setState(inner.model, inner.data, state["physics"][row], self._signature)
            task._elapsed_steps = int(state["elapsed"][row])
            set_generator_state(inner.np_random, state["generator"][row])

    def _physics(self, task: Any) -> np.ndarray:
        model, data = task.unwrapped.model, task.unwrapped.data
        out = np.empty(mujoco.mj_stateSize(model, self._signature))
        mujoco.mj_getState(model, data, out, self._signature)
        return out

    def _stack(self, observations: list[np.ndarray]) -> np.ndarray:
        return np.stack(observations).astype(np.float32)


def _gymnasium() -> Any:
    try:
        import gymnasium
        import gymnasium.envs.mujoco  # asks for imageio
    except ImportError as error:
        raise ValueError(
            f"gymnasium: expected it with its MuJoCo tasks, found {error}; pip install 'gymnasium[mujoco]'"
        ) from error
    return gymnasium
