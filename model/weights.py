"""Trained solvers on disk: safetensors with the network and its scales, and a model card beside it.

`NAME.safetensors` holds the tensors and, in its metadata, the architecture, so that the file alone can be loaded;
`NAME.json` is the card: data, licences, training settings, held-out errors, provenance; `NAME.md` shows it to people.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from dataset import atomic
from model.imdys import ImDyS, ImDySConfig
from model.metrics import NAMES, UNITS
from model.scaling import Scaling

DEFAULT_WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "imdys.safetensors"
"""Weights that ship with the repository and that `model.predict` uses unless told otherwise."""
FORMAT = "imdylab-imdys-1"
"""Layout of the file; raised when tensors are renamed or change their meaning."""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """One source of the training motions."""

    name: str
    """Folder or package the motions came from."""
    licence: str
    """Its licence."""
    sequences: int
    """Simulated sequences of the training part."""
    minutes: float
    """Their duration [min]."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a user must know to trust, cite or refuse a solver."""

    name: str
    """Identifier of these weights."""
    summary: str
    """What it was trained for, in a sentence or two."""
    sources: tuple[DataSource, ...] = ()
    """Training motions by source."""
    data_content: str = ""
    """Identity of the simulated data set (`Store.content`)."""
    train: dict[str, Any] = field(default_factory=dict)
    """Resolved training configuration."""
    test_clips: tuple[str, ...] = ()
    """Clips held out for the errors below."""
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    """Held-out errors by method (`solver`, baselines), then by metric of `model.metrics`."""
    run: dict[str, Any] = field(default_factory=dict)
    """Provenance of the training run (`dataset.provenance.run_record`)."""
    limits: tuple[str, ...] = ()
    """What it should not be used for, one sentence each."""


def save_solver(path: str | Path, model: ImDyS, card: ModelCard) -> Path:
    """Write weights and card, each file atomically; the weights last, so that a new file never has an old card.

    Args:
        path: Target, ending in `.safetensors`.
        model: Trained solver.
        card: Its description.

    Raises:
        ValueError: Another file ending.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: expected a name ending in .safetensors")
    atomic.write_json(path.with_suffix(".json"), dataclasses.asdict(card))
    atomic.write_text(path.with_suffix(".md"), render_card(card, model))
    metadata = {"format": FORMAT, "config": json.dumps(dataclasses.asdict(model.config))}
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    atomic.write_bytes(path, safetensors.torch.save(tensors, metadata))
    return path


def load_solver(path: str | Path = DEFAULT_WEIGHTS) -> ImDyS:
    """Read a solver, ready to predict.

    Raises:
        ValueError: The file is missing, unreadable, of another format, or its tensors do not fit its configuration.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path}: format: expected {FORMAT!r} in its metadata, found {metadata.get('format')!r}; give the weights that "
            "`python -m model.train` wrote"
        )
    try:
        config = json.loads(metadata["config"])
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: config: expected the solver's configuration in the metadata, found {error!r}; copy the weights again"
        ) from None
    return restore_solver(path, tensors, config)


def restore_solver(path: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> ImDyS:
    """Build a solver from its tensors and configuration; `path` is named in errors."""
    prefix = "scaling_"
    constants = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        model = ImDyS(ImDySConfig(**config), Scaling(**constants))
        model.load_state_dict(tensors)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"{path}: tensors: expected those of the solver that the file describes, found: {error}; train again, or use the "
            "code that wrote it"
        ) from error
    return model.eval()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        ValueError: The file is missing or not readable as safetensors.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; train with `python -m model.train`, or give other weights")
    try:
        with safetensors.safe_open(os.fspath(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path}: expected a safetensors file, found {path.stat().st_size} bytes of which the reader says: {error}; copy the "
            "weights again, or train with `python -m model.train`"
        ) from None


def read_card(path: str | Path) -> ModelCard:
    """Card beside weights.

    Raises:
        ValueError: It is missing or not a card.
    """
    path = Path(path).with_suffix(".json")
    if not path.is_file():
        raise ValueError(f"{path}: no card beside the weights; copy it from where the weights came")
    try:
        values = json.loads(path.read_text())
        sources = tuple(DataSource(**item) for item in values.pop("sources", ()))
        for name in ("test_clips", "limits"):
            values[name] = tuple(values.get(name, ()))
        return ModelCard(sources=sources, **values)
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path}: expected a model card, found {error}") from error


def render_card(card: ModelCard, model: ImDyS) -> str:
    """The card as Markdown."""
    count = sum(value.numel() for value in model.parameters())
    lines = [f"# {card.name}", "", card.summary, "", f"Design `{model.config.design}`, {count:,} parameters.", ""]
    if card.sources:
        lines += ["## Training motions", "", "| source | licence | sequences | minutes |", "|-|-|-|-|"]
        lines += [f"| {s.name} | {s.licence} | {s.sequences} | {s.minutes:.1f} |" for s in card.sources]
        minutes = sum(item.minutes for item in card.sources)
        lines += [f"| all | | {sum(item.sequences for item in card.sources)} | {minutes:.1f} |", ""]
    if card.errors:
        lines += ["## Errors on held-out clips", "", error_table(card.errors), ""]
    if card.test_clips:
        lines += [f"Held out: {', '.join(card.test_clips)}.", ""]
    if card.limits:
        lines += ["## Limits", "", *(f"- {item}" for item in card.limits), ""]
    if card.run:
        code, versions = card.run.get("code", {}), card.run.get("versions", {})
        made = f"`{card.run.get('command')}` at {card.run.get('time')}, commit {code.get('commit')}, "
        made += f"torch {versions.get('torch')}, numpy {versions.get('numpy')}; data set `{card.data_content[:16]}`."
        lines += ["## Made by", "", made, ""]
    return "\n".join(lines)


def error_table(errors: dict[str, dict[str, float]], suffix: str = "") -> str:
    """Markdown table of errors, a row a metric and a column a method."""
    methods = list(errors)
    lines = ["| error | unit | " + " | ".join(methods) + " |", "|-|-|" + "-|" * len(methods)]
    for name in NAMES:
        values = [errors[method].get(name + suffix) for method in methods]
        if any(value is not None for value in values):
            cells = " | ".join("" if value is None else f"{value:.4g}" for value in values)
            lines.append(f"| {NAMES[name]} | {UNITS[name]} | {cells} |")
    return "\n".join(lines)
