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
from model.losses import TERMS, LossWeights, loss_terms, term_counts, total_loss
from model.markers import training_pool
from model.metrics_log import METRICS_FILE, MetricsLog
from model.parallel import Workers
from model.scaling import Scaling, measure_scaling
from model.weights import save_solver

_log = logging.getLogger(__name__)

ALONE = Workers()
"""The one worker of a training without others."""
CONFIG_FILE = "config.json"
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


def main(cfg: TrainConfig, workers: Workers = ALONE) -> TrainResult:
    """Train, evaluate on the test clips, and write weights with their card.

    Called by each of several workers with the same settings, it trains one solver with all of them, to the same result but
    for rounding (`model.parallel`); the first one evaluates and writes the files.

    Returns:
        Of other workers than the first, without errors.

    Raises:
        ValueError: The data set is missing or too small, a held-out clip does not exist, `resume` finds no fitting
            checkpoint, there is no such device, or a batch has fewer windows than there are workers.
    """
    torch.set_num_threads(cfg.threads)
    check_device(cfg.device)
    check_share(cfg, workers.count)
    store = Store.open(cfg.data)
    parts = split_sequences(store.sequences, cfg.split, held_out=cfg.held_out)
    frames = load_frames(store, parts["train"], "training", cfg.augmentation.smoothing)
    labs = tuple(training_pool().labs.values())
    maker = BatchMaker(frames, training_pool().dense, labs, augmentation=cfg.augmentation, seed=cfg.seed)
    path, settings = cfg.out / f"{cfg.name}.safetensors", resumable(cfg, store)
    if not workers.is_first:
        optimise(cfg, maker, None, settings, workers)
        return TrainResult(weights=path, steps=num_steps(cfg, maker), errors={})
    monitor = parts["validation"] if len(parts["validation"]) else parts["test"]
    watched = load_frames(store, monitor, "held-out") if len(monitor) else None
    cfg.out.mkdir(parents=True, exist_ok=True)
    atomic.write_json(cfg.out / CONFIG_FILE, provenance.plain(cfg))
    model = optimise(cfg, maker, watched, settings, workers)
    errors: dict[str, dict[str, float]] = {}
    if len(parts["test"]):
        errors = held_out_errors(model, load_frames(store, parts["test"], "test"))
    record = provenance.run_record(
        "python -m model.train", cfg, seeds={"seed": cfg.seed}, errors=errors, workers=workers.count
    )
    card = make_card(cfg.name, store, parts["train"], parts["test"], errors, record)
    save_solver(path, model, card)
    provenance.add_run(cfg.out, record)
    return TrainResult(weights=path, steps=num_steps(cfg, maker), errors=errors)


def check_device(device: str) -> None:
    """Refuse a GPU where there is none.

    Raises:
        ValueError: It is `cuda` and PyTorch sees no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device: expected a CUDA device for 'cuda', found none that PyTorch {torch.__version__} sees; use --device cpu, "
            "or a PyTorch build and driver for this machine's GPU"
        )


def check_share(cfg: TrainConfig, workers: int) -> None:
    """Refuse a number of workers that cannot share a batch.

    Raises:
        ValueError: There is no worker, or not a window for each.
    """
    if not 1 <= workers <= cfg.batch_size:
        raise ValueError(
            f"workers: expected 1 to {cfg.batch_size}, a window of each batch at least for everyone, got {workers}; change "
            "it or batch_size"
        )


def num_steps(cfg: TrainConfig, maker: BatchMaker) -> int:
    """Optimiser steps of the whole run."""
    return cfg.steps if cfg.epochs is None else cfg.epochs * math.ceil(maker.num_windows / cfg.batch_size)


def optimise(
    cfg: TrainConfig, maker: BatchMaker, watched: Frames | None, settings: dict[str, Any], workers: Workers = ALONE
) -> ImDyS:
    """Run the optimiser to the last step, from the checkpoint if asked, and return the trained solver, on the CPU.

    Args:
        cfg: Settings of the run.
        maker: Training batches.
        watched: Held-out frames whose errors are logged.
        settings: What the checkpoint must share (`resumable`).
        workers: This worker's place among those that train together.
    """
    model, optimiser, start = begin(cfg, maker, settings, workers)
    log = MetricsLog(cfg.out / METRICS_FILE, start)
    total, weights = num_steps(cfg, maker), cfg.loss
    steps_an_epoch = math.ceil(maker.num_windows / cfg.batch_size)
    bar = tqdm(
        total=total, initial=start, desc="training", unit="step", file=sys.stderr,
        disable=None if workers.is_first else True,
    )  # fmt: skip
    printed = time.monotonic()
    step = start
    while step < total:
        epoch, skip = divmod(step, steps_an_epoch)
        for batch in maker.epoch(epoch, cfg.batch_size, skip=skip, share=workers.share):
            for group in optimiser.param_groups:
                group["lr"] = cfg.learning_rate * learning_rate_factor(cfg, step, total)
            terms = train_step(model, optimiser, batch.to(cfg.device), weights, cfg.clip, workers)
            log.add(terms)
            step += 1
            bar.update()
            if workers.is_first and bar.disable and time.monotonic() - printed > LINE_SECONDS:
                printed = time.monotonic()
                _log.info("step %d of %d, %.1f minutes left", step, total, log.seconds_a_step() * (total - step) / 60)
            if step % cfg.evaluate_every == 0 or step == total:
                row: dict[str, Any] = {}
                if workers.is_first:
                    errors = solver_errors(model, held_out_maker(watched), cfg.evaluate_windows) if watched else {}
                    row = log.write(step, epoch, cfg.batch_size, errors)
                    save_checkpoint(cfg.out, model, optimiser, step, settings)
                workers.report(row)
            if step == total:
                break
    bar.close()
    return model.eval().cpu()


def begin(
    cfg: TrainConfig, maker: BatchMaker, settings: dict[str, Any], workers: Workers
) -> tuple[ImDyS, torch.optim.AdamW, int]:
    """Solver, optimiser and step to start from: new, or those of the checkpoint; the same bits for all workers.

    The first worker decides, since a worker that died may have left its last checkpoint while others were starting again.
    """
    torch.manual_seed(cfg.seed)
    moments, start = None, 0
    if workers.agree(int(cfg.resume), cfg.device):
        model, moments, start = load_checkpoint(cfg.out, settings)
    else:
        model = ImDyS(cfg.network, measured_scaling(cfg, maker))
    model = model.to(cfg.device)
    optimiser = make_optimiser(cfg, model)
    if moments is not None:
        restore_optimiser(optimiser, model, moments)
    workers.follow_first(model, optimiser)
    return model, optimiser, workers.agree(start, cfg.device)


def resumable(cfg: TrainConfig, store: Store) -> dict[str, Any]:
    """What a resumed run must share: the data, and all settings but those of where files lie, how often, and on what."""
    settings = provenance.plain(cfg) | {"data_content": store.content}
    for name in ("data", "out", "name", "resume", "evaluate_every", "evaluate_windows", "threads", "device"):
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
    model: ImDyS, optimiser: torch.optim.Optimizer, batch: Batch, weights: LossWeights, clip: float, workers: Workers
) -> dict[str, float]:
    """One optimiser step with the shares of a batch that all workers have.

    Returns:
        Every loss term of the whole batch, unweighted, with `loss` (weighted sum) and `gradient` (norm before clipping).

    Raises:
        FloatingPointError: The loss is not finite; all workers raise it.
    """
    parts = workers.parts(term_counts(batch.target))
    optimiser.zero_grad(set_to_none=True)
    values = torch.zeros_like(parts)
    if batch.groups:  # a last batch of fewer windows than workers leaves some without
        terms = loss_terms(model(batch.groups), batch.target, model.scaling)
        own = {name: part * terms[name] for name, part in zip(TERMS, parts)}
        total_loss(own, weights).backward()
        values = torch.stack([own[name].detach() for name in TERMS])
    values = dict(zip(TERMS, workers.add_up(model.parameters(), values)))
    loss = total_loss(values, weights)
    if not torch.isfinite(loss):
        found = {name: float(value) for name, value in values.items()}
        raise FloatingPointError(f"loss: expected a finite value, got {found}")
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()
    return dict(zip(["loss", "gradient", *TERMS], torch.stack([loss, norm, *values.values()]).tolist()))


def run() -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    print(main(parse()).weights)


if __name__ == "__main__":
    sys.exit(run_command("train", run))
