"""What a training run says about itself: rows of metrics.jsonl."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from dataset import atomic, provenance

METRICS_FILE = "metrics.jsonl"


class MetricsLog:
    """Rows of metrics.jsonl: means of the training terms since the last row, and held-out errors.

    A resumed run drops rows after its checkpoint, so that no step appears twice.
    """

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        lines = path.read_text().splitlines() if start and path.is_file() else []
        self._lines = [line for line in lines if json.loads(line)["step"] <= start]
        self._sums: dict[str, float] = {}
        self._count = 0
        self._began = time.monotonic()

    def add(self, terms: dict[str, float]) -> None:
        """Count one step."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def seconds_a_step(self) -> float:
        """Mean wall time of a step since the last row [s]."""
        return (time.monotonic() - self._began) / max(1, self._count)

    def write(self, step: int, epoch: int, batch_size: int, errors: dict[str, float]) -> dict[str, Any]:
        """Write a row, return it, and start the next."""
        rate = round(batch_size / self.seconds_a_step(), 1)
        terms = {name: round(value / self._count, 6) for name, value in self._sums.items()}
        row = provenance.plain(
            {"step": step, "epoch": epoch, "windows_per_s": rate, "train": terms, "held_out": errors}
        )
        self._lines.append(json.dumps(row))
        atomic.write_text(self._path, "\n".join(self._lines) + "\n")
        self._sums, self._count, self._began = {}, 0, time.monotonic()
        return row


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Rows of a run's metrics.jsonl so far, in order; none if it has not written any."""
    path = folder / METRICS_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def row_line(row: dict[str, Any]) -> str:
    """A row for a person."""
    errors = {name: row["held_out"][name] for name in ("grf", "impulse") if name in row["held_out"]}
    held_out = "".join(f", held-out {name} {value:.4g}" for name, value in errors.items())
    return f"step {row['step']}: loss {row['train']['loss']:.4g}{held_out}, {row['windows_per_s']:.0f} windows/s"
