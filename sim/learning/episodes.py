"""Returns and lengths of the episodes that training went through.

Axis legend: E parallel environments.
"""

from __future__ import annotations

import numpy as np

RECENT = 100
"""Episodes whose mean return and length are shown."""


class Episodes:
    """Return and length of the running episodes, and of the last `RECENT` finished ones, oldest first."""

    def __init__(self, num_envs: int) -> None:
        self.running_return = np.zeros(num_envs)
        self.running_length = np.zeros(num_envs, dtype=np.int64)
        self.returns = np.zeros(0)
        self.lengths = np.zeros(0, dtype=np.int64)
        self.finished = 0

    def count(self, reward: np.ndarray, done: np.ndarray) -> None:
        """Count a step's rewards (E,), as the environment gave them, and close the episodes that it ended."""
        self.running_return += reward
        self.running_length += 1
        if done.any():
            self.returns = np.concatenate([self.returns, self.running_return[done]])[-RECENT:]
            self.lengths = np.concatenate([self.lengths, self.running_length[done]])[-RECENT:]
            self.finished += int(done.sum())
            self.running_return[done] = 0.0
            self.running_length[done] = 0

    def abandon(self) -> None:
        """Forget the running episodes."""
        self.running_return[:] = 0.0
        self.running_length[:] = 0

    @property
    def mean_return(self) -> float:
        """Mean return of the last episodes; NaN before the first has ended."""
        return float(self.returns.mean()) if len(self.returns) else float("nan")

    @property
    def mean_length(self) -> float:
        """Mean length of the last episodes [steps]; NaN before the first has ended."""
        return float(self.lengths.mean()) if len(self.lengths) else float("nan")

    def state(self) -> dict[str, np.ndarray]:
        """Everything, for a checkpoint."""
        return {name: np.array(value) for name, value in vars(self).items()}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a checkpoint."""
        for name in ("running_return", "running_length", "returns", "lengths"):
            setattr(self, name, state[name].copy())
        self.finished = int(state["finished"])
