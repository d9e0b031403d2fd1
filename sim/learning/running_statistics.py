"""Mean and variance of everything seen so far, to normalise observations and to scale rewards.

Axis legend: T steps of an iteration, E parallel environments, O entries of an observation.
"""

from __future__ import annotations

import numpy as np

LEAST_STD = 1e-4
"""Standard deviations below this are taken as this, so that a constant entry does not become noise."""


class RunningStatistics:
    """Mean and variance by entry, float64, over all rows given to `update`.

    Batches are merged by their counts, means and sums of squared deviations, so the order and the size of the batches only
    matter by rounding. Before the first batch: mean 0, standard deviation 1.

    Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = np.zeros(size)
        self.squares = np.zeros(size)

    def update(self, rows: np.ndarray) -> None:
        """Count rows, shape (E, O); float64 sums whatever their type."""
        rows = np.asarray(rows, dtype=np.float64)
        total = self.count + len(rows)
        mean = rows.sum(axis=0) / len(rows)
        shift = mean - self.mean
        self.squares += np.square(rows - mean).sum(axis=0) + np.square(shift) * (self.count * len(rows) / total)
        self.mean += shift * (len(rows) / total)
        self.count = total

    @property
    def std(self) -> np.ndarray:
        """Population standard deviation, shape (O,), not below `LEAST_STD`."""
        if not self.count:
            return np.ones_like(self.mean)
        return np.maximum(np.sqrt(self.squares / self.count), LEAST_STD)

    def normalise(self, rows: np.ndarray, clip: float) -> np.ndarray:
        """(rows − mean) / std, held within ± clip; shape (E, O), float32."""
        return np.clip((rows - self.mean) / self.std, -clip, clip).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """Everything, for a checkpoint."""
        return {"count": np.array(self.count), "mean": self.mean.copy(), "squares": self.squares.copy()}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a checkpoint."""
        self.count = int(state["count"])
        self.mean, self.squares = (np.array(state[name], dtype=np.float64) for name in ("mean", "squares"))


class RewardScale:
    """Divides rewards by the standard deviation of the discounted return, without shifting them.

    R_e ← discount · R_e + r_e, forgotten where an episode ends; the statistics are over all R_e of all steps so far.

    Source: Huang et al. 2022, "The 37 implementation details of proximal policy optimization", details 8 and 9 for MuJoCo; here
    the statistics move once an iteration, before its rewards are scaled.
    """

    def __init__(self, num_envs: int, discount: float) -> None:
        self.discount = discount
        self.discounted = np.zeros(num_envs)
        self.statistics = RunningStatistics(1)

    def scale(self, reward_TE: np.ndarray, done_TE: np.ndarray, clip: float) -> np.ndarray:
        """Count the rewards of an iteration's steps, shape (T, E), and return them scaled and held within ± clip."""
        returns_TE = np.empty(reward_TE.shape)
        for t, (reward, done) in enumerate(zip(reward_TE, done_TE)):
            self.discounted = self.discount * self.discounted + reward
            returns_TE[t] = self.discounted
            self.discounted[done] = 0.0
        self.statistics.update(returns_TE.reshape(-1, 1))
        return np.clip(reward_TE / self.statistics.std[0], -clip, clip).astype(reward_TE.dtype)

    def state(self) -> dict[str, np.ndarray]:
        """Everything, for a checkpoint."""
        return {"discounted": self.discounted.copy(), **self.statistics.state()}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a checkpoint."""
        self.discounted = np.array(state["discounted"], dtype=np.float64)
        self.statistics.set_state(state)
