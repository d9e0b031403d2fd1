"""What a training says while it runs: a progress bar on stderr and a line an iteration in `metrics.jsonl`."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dataset import atomic, provenance

_log = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
LINE_SECONDS = 30.0
"""Seconds between progress lines where there is no terminal for a progress bar."""


class MetricsLog:
    """Rows of metrics.jsonl; a continuation drops those after its checkpoint, so that no iteration appears twice."""

    def __init__(self, path: Path, iteration: int) -> None:
        self._path = path
        lines = path.read_text().splitlines() if iteration and path.is_file() else []
        kept = [line for line in lines if _iteration(line) <= iteration]
        atomic.write_text(path, "".join(line + "\n" for line in kept))

    def write(self, row: dict[str, Any]) -> None:
        """Append a row in one write."""
        with open(self._path, "ab", buffering=0) as stream:
            stream.write((json.dumps(provenance.plain(row)) + "\n").encode())
            os.fsync(stream.fileno())


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Rows of a run's metrics, by iteration.

    Raises:
        ValueError: There are none.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        raise ValueError(f"{path}: expected the metrics of a training, found nothing")
    return [json.loads(line) for line in path.read_text().splitlines()]


class Progress:
    """Bar over environment steps: rate, time left, the reward and its parts, length of the episodes."""

    def __init__(self, total: int, done: int) -> None:
        disable = True if os.environ.get("TQDM_DISABLE") else None  # None: where there is no terminal
        self._bar = tqdm(
            total=total, initial=done, desc="training", unit="step", unit_scale=True, file=sys.stderr, disable=disable
        )
        self._began = self._printed = time.monotonic()
        self._total, self._done, self._first = total, done, done

    def update(self, row: dict[str, Any]) -> None:
        """Show a row of the metrics."""
        self._bar.update(row["steps"] - self._done)
        self._done = row["steps"]
        parts = {name: f"{value:.3g}" for name, value in row["terms"].items()}
        parts |= {"return": f"{row['episode_return']:.4g}", "length": f"{row['episode_length']:.0f}"}
        self._bar.set_postfix(parts)
        if self._bar.disable and time.monotonic() - self._printed > LINE_SECONDS:
            self._printed = time.monotonic()
            rate = (self._done - self._first) / (self._printed - self._began)
            left = (self._total - self._done) / rate / 60.0
            said = ", ".join(f"{name} {value}" for name, value in parts.items())
            _log.info("step %d of %d, %.0f steps/s, %.1f minutes left: %s", self._done, self._total, rate, left, said)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()


def _iteration(line: str) -> float:
    """Iteration of a row; infinite where a kill cut the line short."""
    try:
        return json.loads(line)["iteration"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
