"""Settings of a training run, and presets as functions."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from dataset.place import Place
from dataset.splits import SplitConfig
from model.batches import Augmentation
from model.imdys import ImDySConfig
from model.losses import LossWeights


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run of the solver. The resolved settings are written beside the results."""

    data: Place
    """Data set of simulated motion, folder or address (made by `python -m sim.collect`)."""
    out: Path
    """Folder for weights, checkpoint, metrics and settings."""
    name: str = "imdys"
    """Name of the weights: OUT/NAME.safetensors."""
    network: ImDySConfig = field(default_factory=ImDySConfig)
    """Architecture."""
    loss: LossWeights = field(default_factory=LossWeights)
    """Loss terms."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """How training windows differ from the simulator's perfect markers."""
    is_whitened: bool = True
    """Whiten the input features; False gives each feature unit variance by itself."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Shares of recordings for training, validation and test."""
    held_out: tuple[str, ...] = ()
    """Clips whose recordings are for testing whatever the split says."""
    batch_size: int = 2400
    """Windows a step (paper: 2,400)."""
    steps: int = 20000
    """Optimiser steps; `epochs` overrides it."""
    epochs: int | None = None
    """Passes over the training windows instead of `steps` (paper: 140)."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW (released code: 1e-3). With this warm-up and fall the small network stands five times it,
    and short runs need it: after 400 steps of 1,200 windows, 5e-3 was where 2e-3 was after 800."""
    weight_decay: float = 1e-7
    """Weight decay of AdamW (released code)."""
    clip: float = 5.0
    """Largest gradient norm (released code)."""
    warmup: int = 100
    """Steps over which the learning rate rises linearly."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up: fall to zero along a half cosine, or stay."""
    seed: int = 0
    """Seed of weights and batches."""
    threads: int = 1
    """Torch threads; more than one gains little at this width and disturbs neighbours."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the network computes; windows are made by the processor."""
    evaluate_every: int = 1000
    """Steps between held-out errors in metrics.jsonl and checkpoints."""
    evaluate_windows: int = 4800
    """Most windows of the held-out errors during training."""
    resume: bool = False
    """Go on from the checkpoint in `out`."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "warmup", "threads", "evaluate_every", "evaluate_windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"epochs: expected at least 1, got {self.epochs}")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")


def smoke(data: Place, out: Path) -> TrainConfig:
    """Seconds: shows that everything runs, teaches nothing."""
    return TrainConfig(data=data, out=out, batch_size=64, steps=30, warmup=5, evaluate_every=15, evaluate_windows=128)


def demo(data: Place, out: Path) -> TrainConfig:
    """About two minutes on one core: clearly better than the baselines on the embedded clips."""
    return TrainConfig(
        data=data, out=out, batch_size=600, steps=2400, learning_rate=5e-3, evaluate_every=1000, evaluate_windows=2400,
        split=SplitConfig(validation=0.0, test=0.15),
    )  # fmt: skip


def full(data: Place, out: Path) -> TrainConfig:
    """About an hour on one core: the committed weights."""
    return TrainConfig(data=data, out=out, learning_rate=2e-3)


def paper(data: Place, out: Path) -> TrainConfig:
    """The published recipe as far as it is known: 140 epochs, constant learning rate, clean random subsets only."""
    clean = Augmentation(
        lab_share=0.0, lab_dropout=0.0, mirror_share=0.0, smoothed_share=0.0, offset_size=0.0, jitter_size=0.0,
        heading_size=0.0, origin_size=0.0, floor_size=0.0,
    )  # fmt: skip
    return TrainConfig(
        data=data, out=out, epochs=140, schedule="constant", augmentation=clean, is_whitened=False,
        loss=LossWeights(foot_cop=0.0),
    )  # fmt: skip


PRESETS: dict[str, Callable[[Path, Path], TrainConfig]] = {"smoke": smoke, "demo": demo, "full": full, "paper": paper}
"""Presets by the name that `--preset` takes."""


Config = TypeVar("Config", bound=TrainConfig)


def parse(arguments: Sequence[str] | None = None, kind: type[Config] = TrainConfig) -> Config:
    """Settings from the command line: `--preset NAME` chooses the defaults, every other option overrides one field.

    Args:
        arguments: Those of the process by default.
        kind: What to make; a class with more settings has more options.

    Raises:
        ValueError: Unknown preset.
    """
    import tyro

    rest = list(sys.argv[1:] if arguments is None else arguments)
    name = "full"
    for index, argument in enumerate(rest):
        if argument == "--preset" and index + 1 < len(rest):
            name = rest[index + 1]
            del rest[index : index + 2]
            break
        if argument.startswith("--preset="):
            name = rest.pop(index).partition("=")[2]
            break
    if name not in PRESETS:
        raise ValueError(f"--preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    unset = PRESETS[name](Path("DATA"), Path("OUT"))
    values = {item.name: getattr(unset, item.name) for item in dataclasses.fields(unset)}
    default = kind(**(values | {"data": tyro.MISSING, "out": tyro.MISSING}))
    description = f"Train the solver. Preset: {name} ({', '.join(PRESETS)} by --preset NAME)."
    return tyro.cli(kind, default=default, args=rest, description=description)
