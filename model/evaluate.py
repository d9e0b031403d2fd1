"""Held-out errors of a solver beside baselines: `python -m model.evaluate --weights W --data DIR [--baseline DIR]`.

Writes `evaluation.csv` (every method, metric and clip), `evaluation.md` (the table) and `evaluation.png` into the
output folder. Errors are mPJE in the paper's units (`model.metrics`).
"""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from dataset import atomic
from dataset.command_line import run_command
from dataset.place import Place
from dataset.splits import Part, SplitConfig, split_sequences
from dataset.store import Store
from model.batches import NO_AUGMENTATION, Augmentation, Batch, BatchMaker, make_targets
from model.frames import Frames
from model.imdys import ImDyS
from model.loading import load_frames
from model.losses import Targets
from model.markers import training_pool
from model.metrics import UNITS, ErrorSums, Estimate
from model.weights import DEFAULT_WEIGHTS, error_table, load_solver
from model.window_baselines import Baseline, matching_rows, mean_estimate, weight_over_true_contact

SOLVER, MEAN, CONTACT, SIMULATED = "solver", "training mean", "weight over true contact", "simulated baseline"
"""Names of the methods in tables."""
EVALUATION_BATCH = 2400
GATE = 0.5
"""Contact probability below which a body's force is taken as zero."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What to evaluate."""

    data: Place
    """Data set of simulated motion, folder or address."""
    weights: Path = DEFAULT_WEIGHTS
    """Trained solver."""
    out: Path = Path("evaluation")
    """Folder for table, csv and figure."""
    baseline: Path | None = None
    """Data set whose sequences of the same names are taken as predictions, e.g. the motions imitated once more."""
    part: Part | Literal["all"] = "test"
    """Part of the data set."""
    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    """Division of the recordings; must be the one of training."""
    held_out: tuple[str, ...] = ()
    """Clips held out in training besides the split."""
    markers: Literal["random", "plug_in_gait_39", "cmu_41", "opencap"] = "random"
    """Markers shown to the solver: random subsets of the dense set (paper), or a laboratory's set."""
    is_disturbed: bool = False
    """Disturb the markers as in training instead of showing them clean."""
    threads: int = 1
    """Torch threads."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Errors by method and metric, over all windows and by clip."""

    overall: dict[str, dict[str, float]]
    """Errors over all windows."""
    by_clip: dict[str, dict[str, dict[str, float]]]
    """Errors by clip, method and metric."""
    num_windows: int
    """Windows counted."""


def held_out_maker(
    frames: Frames, *, markers: str = "random", augmentation: Augmentation = NO_AUGMENTATION, seed: int = 1
) -> BatchMaker:
    """Batches for evaluation: clean random subsets unless asked otherwise, the same on every call."""
    pool = training_pool()
    if markers == "random":
        return BatchMaker(frames, pool.dense, augmentation=augmentation, seed=seed)
    chosen = dataclasses.replace(augmentation, lab_share=1.0, lab_dropout=0.0)
    return BatchMaker(frames, pool.dense, (pool.labs[markers],), augmentation=chosen, seed=seed)


@torch.no_grad()
def solver_estimate(model: ImDyS, batch: Batch) -> Estimate:
    """The solver's answer for a batch, forces gated by contact."""
    prediction = model(batch.groups)
    return Estimate(impulse=prediction.impulse, grf=prediction.gated_grf(GATE), foot_cop=prediction.foot_cop)


def solver_errors(model: ImDyS, maker: BatchMaker, windows: int) -> dict[str, float]:
    """Errors of the solver over a fixed sample of windows."""
    model.eval()
    batch, sums = maker.sample(windows).to(next(model.parameters()).device), ErrorSums()
    sums.add(solver_estimate(model, batch), batch.target)
    model.train()
    return sums.means()


def evaluate(
    model: ImDyS, frames: Frames, maker: BatchMaker, *, simulated: Frames | None = None, has_bar: bool = True
) -> Evaluation:
    """Errors of the solver and of every baseline over all windows, clip by clip.

    With `simulated`, every method is counted on the windows that the simulated baseline has, and on no others.
    """
    baselines: dict[str, Baseline] = {MEAN: mean_estimate(model.scaling), CONTACT: weight_over_true_contact}
    methods = [SOLVER, *baselines, *([SIMULATED] if simulated else [])]
    rows = matching_rows(frames, simulated) if simulated else None
    overall = {method: ErrorSums() for method in methods}
    by_clip: dict[str, dict[str, ErrorSums]] = {}
    count = 0
    clips = sorted(set(frames.clips))
    bar = tqdm(clips, desc="evaluating", unit="clip", file=sys.stderr, disable=None if has_bar else True)
    for clip in bar:
        sums = by_clip.setdefault(clip, {method: ErrorSums() for method in methods})
        for centre in clip_windows(frames, clip, rows):
            batch = maker.make(centre, np.random.default_rng([7, int(centre[0])]))
            estimates = {SOLVER: solver_estimate(model, batch)}
            estimates |= {name: baseline(batch.target) for name, baseline in baselines.items()}
            if simulated is not None and rows is not None:
                estimates[SIMULATED] = simulated_estimate(frames, simulated, centre, rows)
            for method, estimate in estimates.items():
                overall[method].add(estimate, batch.target)
                sums[method].add(estimate, batch.target)
            count += len(centre)
    return Evaluation(
        overall={method: item.means() for method, item in overall.items()},
        by_clip={clip: {method: item.means() for method, item in sums.items()} for clip, sums in by_clip.items()},
        num_windows=count,
    )


def clip_windows(frames: Frames, clip: str, rows: np.ndarray | None) -> Iterator[np.ndarray]:
    """Usable frames of a clip in batches; with `rows`, only those with a counterpart at t and t + 1."""
    is_clip = np.array([name == clip for name in frames.clips])
    centre = frames.usable[is_clip[frames.sequence_of(frames.usable)]]
    if rows is not None:
        centre = centre[(rows[centre] >= 0) & (rows[centre + 1] == rows[centre] + 1)]
    for start in range(0, len(centre), EVALUATION_BATCH):
        yield centre[start : start + EVALUATION_BATCH]


def simulated_estimate(frames: Frames, simulated: Frames, centre: np.ndarray, rows: np.ndarray) -> Estimate:
    """Another simulation's values as an estimate, seen from the windows' own frames."""
    origin = np.zeros((len(centre), 3), np.float32)
    origin[:, :2] = frames.pelvis[centre, :2]
    target: Targets = make_targets(simulated, rows[centre], origin, frames.heading[centre], np.zeros(len(centre), bool))
    return Estimate(impulse=target.impulse, grf=target.grf, foot_cop=target.foot_cop)


def held_out_errors(model: ImDyS, frames: Frames) -> dict[str, dict[str, float]]:
    """Errors of the solver and the baselines on held-out frames, clean random markers."""
    return evaluate(model, frames, held_out_maker(frames)).overall


def main(cfg: EvaluateConfig) -> Evaluation:
    """Evaluate and write csv, table and figure.

    Raises:
        ValueError: Weights or data are missing or damaged, or the part has no sequence.
    """
    from model.evaluation_figure import draw_evaluation

    torch.set_num_threads(cfg.threads)
    model = load_solver(cfg.weights)
    store = Store.open(cfg.data)
    parts = split_sequences(store.sequences, cfg.split, held_out=cfg.held_out)
    numbers = np.arange(len(store)) if cfg.part == "all" else parts[cfg.part]
    augmentation = Augmentation() if cfg.is_disturbed else NO_AUGMENTATION
    frames = load_frames(store, numbers, cfg.part, augmentation.smoothing if cfg.is_disturbed else None)
    simulated = None
    if cfg.baseline is not None:
        other = Store.open(cfg.baseline)
        simulated = load_frames(other, np.arange(len(other)), "baseline")
    maker = held_out_maker(frames, markers=cfg.markers, augmentation=augmentation)
    result = evaluate(model, frames, maker, simulated=simulated)
    if not result.num_windows:
        raise ValueError(f"{cfg.baseline}: no sequence of the {cfg.part} part has a namesake there; nothing to compare")
    write_tables(cfg.out, result)
    draw_evaluation(cfg.out / "evaluation.png", model, frames, maker, result)
    return result


def write_tables(folder: Path, result: Evaluation) -> None:
    """Write `evaluation.csv` (clip, method, metric, unit, value; clip `all` first) and `evaluation.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["clip", "method", "metric", "unit", "value"])
    for clip, methods in {"all": result.overall, **result.by_clip}.items():
        for method, metrics in methods.items():
            for metric, value in metrics.items():
                unit = UNITS[metric.removesuffix("_constant_mass")]
                writer.writerow([clip, method, metric, unit, f"{value:.6g}"])
    atomic.write_text(folder / "evaluation.csv", buffer.getvalue())
    lines = [
        f"# Held-out errors ({result.num_windows:,} windows, {len(result.by_clip)} clips)", "",
        "Mean per-joint errors, divided by each subject's own mass.", "", error_table(result.overall), "",
        "The same divided by one constant mass, 76.3869 kg, as in the ImDy paper.", "",
        error_table(result.overall, "_constant_mass"), "",
    ]  # fmt: skip
    atomic.write_text(folder / "evaluation.md", "\n".join(lines))


def run() -> None:
    """The command line."""
    import tyro

    print(error_table(main(tyro.cli(EvaluateConfig)).overall))


if __name__ == "__main__":
    sys.exit(run_command("evaluate", run))
