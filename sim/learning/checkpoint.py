"""Checkpoints of a training: named arrays (safetensors) and, written last, what belongs to them (JSON).

A checkpoint of iteration 40 is `checkpoint_000040.safetensors` and `checkpoint_000040.json`; it exists once the JSON does,
which holds the arrays' checksum. The last two are kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from dataset import atomic

KEPT = 2
"""Checkpoints that stay in the folder."""
_NAME = re.compile(r"checkpoint_(\d{6,})\.json")


def save_checkpoint(folder: Path, iteration: int, tensors: dict[str, np.ndarray], facts: dict[str, Any]) -> Path:
    """Write a checkpoint, then remove all but the last `KEPT`; returns the JSON's path."""
    path = folder / f"checkpoint_{iteration:06d}.json"
    data = safetensors.numpy.save({name: np.array(value, order="C") for name, value in tensors.items()})
    atomic.write_bytes(path.with_suffix(".safetensors"), data)
    atomic.write_json(path, {**facts, "sha256": hashlib.sha256(data).hexdigest()})
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """JSON files of the finished checkpoints, by iteration."""
    found = [(int(match[1]), path) for path in folder.glob("*.json") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def load_checkpoint(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and facts of the last checkpoint of a run's folder, or of the one whose JSON is named.

    Raises:
        ValueError: There is none, or it is damaged.
    """
    if path.is_dir():
        found = checkpoints(path)
        if not found:
            raise ValueError(f"{path}: expected a checkpoint to go on from, found none; start without --resume")
        path = found[-1]
    arrays = path.with_suffix(".safetensors")
    try:
        facts = json.loads(path.read_text())
        data = arrays.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{path}: expected a checkpoint with its arrays, found no {error.filename}") from error
    except ValueError as error:
        raise ValueError(
            f"{path}: expected JSON, found {error}; delete this checkpoint to go on from the one before"
        ) from error
    if not isinstance(facts, dict) or hashlib.sha256(data).hexdigest() != facts.get("sha256"):
        raise ValueError(
            f"{arrays}: expected the arrays that {path.name} names by checksum, found others; "
            "delete this checkpoint to go on from the one before"
        )
    return safetensors.numpy.load(data), facts
