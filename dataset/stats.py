"""Mean, standard deviation and range of arrays that do not fit in memory, updated part by part."""

from __future__ import annotations

from typing import Any

import numpy as np


class RunningStats:
    """Statistics over the rows of all parts added so far, for each component of a row.

    Two sets of rows with counts n, m, means a, b and sums of squares P, Q about their means merge to the mean
    a + (b - a) m / (n + m) and the sum of squares P + Q + (b - a)^2 n m / (n + m), which does not cancel as sums of
    squares about zero do. NaN and infinite values are left out, component by component, and counted.

    Source: Chan, Golub, LeVeque 1979 (pairwise updating of the variance).

    Args:
        shape: Shape of one row.
    """

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.count = np.zeros(shape, np.int64)
        """Finite values seen."""
        self.num_skipped = np.zeros(shape, np.int64)
        """Values left out because they are not finite."""
        self.mean = np.zeros(shape)
        """Mean; 0 where nothing was seen."""
        self.min = np.full(shape, np.inf)
        """Least value."""
        self.max = np.full(shape, -np.inf)
        """Greatest value."""
        self._squares = np.zeros(shape)

    def add(self, rows: np.ndarray) -> None:
        """Take in rows, shape (any, *shape).

        Raises:
            ValueError: Rows of another shape.
        """
        if rows.shape[1:] != self.mean.shape:
            raise ValueError(f"rows: expected shape (any, {', '.join(map(str, self.mean.shape))}), got {rows.shape}")
        values = np.asarray(rows, dtype=np.float64)
        finite = np.isfinite(values)
        count = finite.sum(axis=0)
        self.num_skipped += len(rows) - count
        kept = np.where(finite, values, 0.0)
        mean = kept.sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(finite, values - mean, 0.0) ** 2).sum(axis=0)
        self.min = np.minimum(self.min, np.where(finite, values, np.inf).min(axis=0, initial=np.inf))
        self.max = np.maximum(self.max, np.where(finite, values, -np.inf).max(axis=0, initial=-np.inf))
        self._merge(count, mean, squares)

    def _merge(self, count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
        total = np.maximum(self.count + count, 1)
        shift = np.where(count > 0, mean - self.mean, 0.0)
        self._squares += squares + shift**2 * self.count * count / total
        self.mean = self.mean + shift * count / total
        self.count = self.count + count

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of the population; 0 where fewer than one value was seen."""
        return np.sqrt(self._squares / np.maximum(self.count, 1))

    def as_dict(self) -> dict[str, Any]:
        """Statistics as plain lists for JSON."""
        return {
            "count": self.count.tolist(), "mean": self.mean.tolist(), "std": self.std.tolist(),
            "min": self.min.tolist(), "max": self.max.tolist(), "num_skipped": self.num_skipped.tolist(),
        }  # fmt: skip
