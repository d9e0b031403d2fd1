"""Train the solver on simulated motion: `python -m model.train --data DIR --out DIR [--preset demo]`.

Writes into the output folder: `config.json` (resolved settings), `metrics.jsonl` (a row every `evaluate_every` steps),
`checkpoint.safetensors` (to go on with `--resume`), the weights with their card, and `run.json`.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dataset import atomic, provenance
from dataset.command_line import run_command
from dataset.splits import split_sequences
from dataset.store import Store
from model.batches import Batch, BatchMaker
from model.card import make_card
from model.checkpoint import load_checkpoint, restore_optimiser, save_checkpoint
from model.config import TrainConfig, parse
from model.evaluate import held_out_errors, held_out_maker, solver_errors
from model.frames import Frames
from model.imdys import ImDyS
from model.loading import load_frames
from model.losses import loss_terms, total_loss
from model.markers import training_pool
from model.scaling import Scaling, measure_scaling
from model.weights import save_solver

_log = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
SCALING_WINDOWS = 4800
"""Windows from which the scales of inputs and outputs are measured."""
LINE_SECONDS = 30.0
"""Seconds between progress lines where there is no terminal for a progress bar."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training run made."""

    weights: Path
    """Trained solver."""
    steps: int
    """Optimiser steps, those before a resumption included."""
    errors: dict[str, dict[str, float]]
    """Errors on the test clips by method and metric; empty if the split left no test clip."""


def main(cfg: TrainConfig) -> TrainResult:
    """Train, evaluate on the test clips, and write weights with their card.

    Raises:
        ValueError: The data set is missing or too small, a held-out clip does not exist, or `resume` finds no fitting
            checkpoint.
    """
    torch.set_num_threads(cfg.threads)
    store = Store.open(cfg.data)
    parts = split_sequences(store.sequences, cfg.split, held_out=cfg.held_out)
    frames = load_frames(store, parts["train"], "training", cfg.augmentation.smoothing)
    labs = tuple(training_pool().labs.values())
    maker = BatchMaker(frames, training_pool().dense, labs, augmentation=cfg.augmentation, seed=cfg.seed)
    monitor = parts["validation"] if len(parts["validation"]) else parts["test"]
    watched = load_frames(store, monitor, "held-out") if len(monitor) else None
    cfg.out.mkdir(parents=True, exist_ok=True)
    atomic.write_json(cfg.out / CONFIG_FILE, provenance.plain(cfg))
    model = optimise(cfg, maker, watched)
    errors: dict[str, dict[str, float]] = {}
    if len(parts["test"]):
        errors = held_out_errors(model, load_frames(store, parts["test"], "test"))
    record = provenance.run_record("python -m model.train", cfg, seeds={"seed": cfg.seed}, errors=errors)
    card = make_card(cfg.name, store, parts["train"], parts["test"], errors, record)
    path = save_solver(cfg.out / f"{cfg.name}.safetensors", model, card)
    provenance.add_run(cfg.out, record)
    return TrainResult(weights=path, steps=num_steps(cfg, maker), errors=errors)


def num_steps(cfg: TrainConfig, maker: BatchMaker) -> int:
    """Optimiser steps of the whole run."""
    return cfg.steps if cfg.epochs is None else cfg.epochs * math.ceil(maker.num_windows / cfg.batch_size)


def optimise(cfg: TrainConfig, maker: BatchMaker, watched: Frames | None) -> ImDyS:
    """Run the optimiser to the last step, from the checkpoint if asked, and return the trained solver."""
    settings = resumable(cfg)
    torch.manual_seed(cfg.seed)
    if cfg.resume:
        model, moments, start = load_checkpoint(cfg.out, settings)
        optimiser = make_optimiser(cfg, model)
        restore_optimiser(optimiser, model, moments)
    else:
        model, start = ImDyS(cfg.network, measured_scaling(cfg, maker)), 0
        optimiser = make_optimiser(cfg, model)
    log = MetricsLog(cfg.out / METRICS_FILE, start)
    total, weights = num_steps(cfg, maker), cfg.loss
    steps_an_epoch = math.ceil(maker.num_windows / cfg.batch_size)
    bar = tqdm(total=total, initial=start, desc="training", unit="step", file=sys.stderr, disable=None)
    printed = time.monotonic()
    step = start
    while step < total:
        epoch, skip = divmod(step, steps_an_epoch)
        for batch in maker.epoch(epoch, cfg.batch_size, skip=skip):
            for group in optimiser.param_groups:
                group["lr"] = cfg.learning_rate * learning_rate_factor(cfg, step, total)
            terms = train_step(model, optimiser, batch, weights, cfg.clip)
            log.add(terms)
            step += 1
            bar.update()
            if bar.disable and time.monotonic() - printed > LINE_SECONDS:
                printed = time.monotonic()
                _log.info("step %d of %d, %.1f minutes left", step, total, log.seconds_a_step() * (total - step) / 60)
            if step % cfg.evaluate_every == 0 or step == total:
                errors = solver_errors(model, held_out_maker(watched), cfg.evaluate_windows) if watched else {}
                log.write(step, epoch, cfg.batch_size, errors)
                save_checkpoint(cfg.out, model, optimiser, step, settings)
            if step == total:
                break
    bar.close()
    return model.eval()


def resumable(cfg: TrainConfig) -> dict[str, Any]:
    """Settings that a resumed run must share: all but where files lie and how often they are written."""
    settings = provenance.plain(cfg)
    for name in ("data", "out", "name", "resume", "evaluate_every", "evaluate_windows", "threads"):
        del settings[name]
    return json.loads(json.dumps(settings))


def measured_scaling(cfg: TrainConfig, maker: BatchMaker) -> Scaling:
    """Scales from one large disturbed batch, so that noise counts as part of the inputs."""
    batch = maker.sample(SCALING_WINDOWS)
    tokens = torch.cat([tokens[mask] for tokens, mask in batch.groups])
    return measure_scaling(tokens, batch.target.impulse, batch.target.grf, is_whitened=cfg.is_whitened)


def make_optimiser(cfg: TrainConfig, model: ImDyS) -> torch.optim.AdamW:
    """AdamW over all parameters, in the order of `named_parameters`."""
    return torch.optim.AdamW(model.parameters(), lr=cfg.learning_rate, weight_decay=cfg.weight_decay, eps=1e-8)


def learning_rate_factor(cfg: TrainConfig, step: int, total: int) -> float:
    """Factor on the learning rate: linear warm-up, then constant or half a cosine down to zero at the end."""
    if step < cfg.warmup:
        return (step + 1) / cfg.warmup
    if cfg.schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - cfg.warmup) / max(1, total - cfg.warmup)))


def train_step(
    model: ImDyS, optimiser: torch.optim.Optimizer, batch: Batch, weights: Any, clip: float
) -> dict[str, float]:
    """One optimiser step.

    Returns:
        Every loss term, unweighted, with `loss` (weighted sum) and `gradient` (norm before clipping).

    Raises:
        FloatingPointError: The loss is not finite.
    """
    terms = loss_terms(model(batch.groups), batch.target, model.scaling)
    loss = total_loss(terms, weights)
    if not torch.isfinite(loss):
        values = {name: float(term) for name, term in terms.items()}
        raise FloatingPointError(f"loss: expected a finite value, got {values}")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()
    values = torch.stack([loss.detach(), norm, *(term.detach() for term in terms.values())]).tolist()
    return dict(zip(["loss", "gradient", *terms], values))


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

    def write(self, step: int, epoch: int, batch_size: int, errors: dict[str, float]) -> None:
        """Write a row and start the next."""
        rate = round(batch_size / self.seconds_a_step(), 1)
        terms = {name: round(value / self._count, 6) for name, value in self._sums.items()}
        row = {"step": step, "epoch": epoch, "windows_per_s": rate, "train": terms, "held_out": errors}
        self._lines.append(json.dumps(provenance.plain(row)))
        atomic.write_text(self._path, "\n".join(self._lines) + "\n")
        self._sums, self._count, self._began = {}, 0, time.monotonic()


def run() -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    print(main(parse()).weights)


if __name__ == "__main__":
    sys.exit(run_command("train", run))
