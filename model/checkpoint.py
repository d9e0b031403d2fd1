"""State of an interrupted training run: one safetensors file, replaced atomically.

It holds the network, its scales, the optimiser's moments and, in its metadata, the step and the settings. Batches are a
function of seed and step, so nothing else is needed to go on as if nothing had happened.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from dataset import atomic
from model.imdys import ImDyS
from model.weights import read_tensors, restore_solver

CHECKPOINT = "checkpoint.safetensors"
"""File name in a training run's folder."""
_MODEL, _OPTIMISER = "model.", "optimiser."


def save_checkpoint(
    folder: Path, model: ImDyS, optimiser: torch.optim.Optimizer, step: int, settings: dict[str, Any]
) -> None:
    """Write the state after `step` optimiser steps."""
    tensors = {_MODEL + name: value.contiguous() for name, value in model.state_dict().items()}
    names = [name for name, _ in model.named_parameters()]
    for index, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"{_OPTIMISER}{names[index]}.{key}"] = value.contiguous()
    metadata = {"step": str(step), "settings": json.dumps(settings)}
    atomic.write_bytes(folder / CHECKPOINT, safetensors.torch.save(tensors, metadata))


def load_checkpoint(folder: Path, settings: dict[str, Any]) -> tuple[ImDyS, dict[str, Tensor], int]:
    """Network, optimiser tensors and step of a checkpoint made with the same settings.

    Raises:
        ValueError: No checkpoint there, it is damaged, or it was made with other settings, which are named.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"{path}: no checkpoint to resume from; start without --resume")
    tensors, metadata = read_tensors(path)
    try:
        saved, step = json.loads(metadata["settings"]), int(metadata["step"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected a training checkpoint, found {error}") from error
    differing = sorted(name for name in saved.keys() | settings.keys() if saved.get(name) != settings.get(name))
    if differing:
        pairs = ", ".join(f"{name} {saved.get(name)!r} -> {settings.get(name)!r}" for name in differing)
        raise ValueError(f"{path}: made with other settings ({pairs}); resume with the same ones or use another --out")
    network = {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
    moments = {name.removeprefix(_OPTIMISER): value for name, value in tensors.items() if name.startswith(_OPTIMISER)}
    return restore_solver(path, network, saved["network"]).train(), moments, step


def restore_optimiser(optimiser: torch.optim.Optimizer, model: ImDyS, moments: dict[str, Tensor]) -> None:
    """Put saved moments back, by parameter name."""
    state = optimiser.state_dict()
    state["state"] = {
        index: {name: moments[f"{parameter}.{name}"] for name in ("step", "exp_avg", "exp_avg_sq")}
        for index, (parameter, _) in enumerate(model.named_parameters())
    }
    optimiser.load_state_dict(state)
