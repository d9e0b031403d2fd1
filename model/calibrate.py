"""Judge and calibrate prediction on simulated motion held out of training: `python -m model.calibrate --data DIR`.

Every held-out sequence is worn as a laboratory marker set with noise, predicted like a real trial (the body's proportions
are taken as known), and compared with the forces that really acted. Two things come out: the errors of the solver alone,
anchored to Newton and of marker-only physics, which decide what `predict` does by default without looking at any real
plate; and the calibration of the standard deviation, written beside the weights.

Axis legend: T frames at 30 Hz, F = 2 feet (left, right).
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from dataset.body.default import make_body
from dataset.body.marker_sets import marker_set
from dataset.command_line import run_command
from dataset.lab.simulated import foot_wrench, simulated_trial
from dataset.place import Place
from dataset.schema import Dynamics
from dataset.splits import Part, SplitConfig, split_sequences
from dataset.store import Store
from model.lab_metrics import forces_at
from model.markers import LAB_SETS
from model.metrics import FOOT_FORCE
from model.physics.estimate import marker_physics
from model.spread import fit_calibration, save_calibration
from model.trial_kinetics import TrainedSolver, anchored, load_trained, predict_trial
from model.weights import DEFAULT_WEIGHTS

SHORTEST = 20
"""Sequences with fewer frames are left out: Newton needs a stretch to filter."""


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """Errors and uncertainty on held-out simulated motion."""

    data: Place
    """Data set of simulated motion, folder or address."""
    weights: Path = DEFAULT_WEIGHTS
    """Trained solver; its calibration is written beside it."""
    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    """Division of the recordings; must be the one of training."""
    held_out: tuple[str, ...] = ()
    """Clips held out in training besides the split."""
    part: Part = "test"
    """Part of the data set."""
    limit: int = 200
    """Most sequences."""
    noise: float = 0.0005
    """White noise on every marker coordinate [m]."""


def sequence_errors(record: Dynamics, solver: TrainedSolver, number: int, noise: float) -> dict[str, np.ndarray]:
    """Predicted minus true force on the feet [N/kg] by method, shape (T, F, 3), and `spread` and `truth` [N/kg] likewise.

    Args:
        record: Recorded simulation.
        solver: Solver without a calibration.
        number: Chooses the marker set (laboratory sets in turn) and seeds the noise.
        noise: Standard deviation of a marker coordinate [m].
    """
    body, mass = make_body(record.subject), record.subject.mass
    trial = simulated_trial(record, body, marker_set(LAB_SETS[number % len(LAB_SETS)]), noise=noise, seed=number)
    alone = predict_trial(trial, mass, solver=solver, subject=record.subject, method="imdys")
    truth = foot_wrench(record)[:, :, :3] / mass
    truth[alone.is_edge_T] = np.nan
    found = {
        "imdys": alone.grf_TF3 / mass - truth,
        "imdys+physics": anchored(alone).grf_TF3 / mass - truth,
        "spread": alone.grf_sd_TF3 / mass,
        "truth": truth,
    }
    try:
        physics = forces_at(marker_physics(trial, mass), alone.time_T) / mass - truth
    except ValueError:  # a marker set without what the segments need, or a stretch too short to filter
        physics = np.full(truth.shape, np.nan)
    return found | {"physics": physics}


def error_lines(pooled: dict[str, np.ndarray]) -> list[str]:
    """Per-foot errors of every method on the frames that all of them answered."""
    methods = ("imdys", "imdys+physics", "physics")
    known = np.logical_and.reduce([np.isfinite(pooled[name]).all(axis=(1, 2)) for name in methods])
    loaded = pooled["truth"][known][:, :, 2] > FOOT_FORCE
    lines = [f"{int(known.sum())} frames, per-foot error [N/kg]: all, loaded feet, loaded vertical"]
    for name in methods:
        error = pooled[name][known]
        size = np.linalg.norm(error, axis=2)
        lines.append(
            f"  {name:14s} {size.mean():.3f} {size[loaded].mean():.3f} {np.abs(error[:, :, 2])[loaded].mean():.3f}"
        )
    return lines


def main(cfg: CalibrateConfig) -> list[str]:
    """Errors as text; writes the calibration beside the weights.

    Raises:
        ValueError: no weights, no data, or no held-out sequence long enough.
    """
    solver = dataclasses.replace(load_trained(cfg.weights), calibration=None)
    store = Store.open(cfg.data)
    part = split_sequences(store.sequences, cfg.split, held_out=cfg.held_out)[cfg.part]
    numbers = [i for i in part if store.sequences[i].num_frames >= SHORTEST]
    if not numbers:
        raise ValueError(f"{cfg.data}: expected {cfg.part} sequences of at least {SHORTEST} frames, found none")
    chosen = [numbers[k] for k in np.unique(np.linspace(0, len(numbers) - 1, min(cfg.limit, len(numbers))).astype(int))]
    parts: dict[str, list[np.ndarray]] = {}
    for count, number in enumerate(tqdm(chosen, "held out", unit="sequence", file=sys.stderr, disable=None)):
        for name, values in sequence_errors(store.read(int(number)), solver, count, cfg.noise).items():
            parts.setdefault(name, []).append(values)
    pooled = {name: np.concatenate(values) for name, values in parts.items()}
    data = f"{len(chosen)} {cfg.part} sequences of {store.content[:16]}"
    calibration = fit_calibration(pooled["imdys"], pooled["spread"], data=data)
    path = save_calibration(cfg.weights, calibration)
    return [
        *error_lines(pooled),
        f"standard deviation: sd² = {calibration.floor_vertical:.2f}² + ({calibration.gain_vertical:.2f} spread)² vertical, "
        f"{calibration.floor_horizontal:.2f}² + ({calibration.gain_horizontal:.2f} spread)² horizontal [N/kg]; "
        f"{100 * calibration.inside:.0f} % of the errors inside",
        f"wrote {path}",
    ]


def run() -> None:
    """The command line."""
    print(*main(tyro.cli(CalibrateConfig)), sep="\n")


if __name__ == "__main__":
    sys.exit(run_command("calibrate", run))
