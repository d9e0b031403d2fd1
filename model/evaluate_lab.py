"""Foot forces against force plates over real walking trials: the table of `python -m model.evaluate_lab --out DIR`.

Axis legend: F = 2 feet (left, right).
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dataset.atomic import write_json, write_text
from dataset.command_line import run_command
from dataset.lab.plates import MeasuredFeet, measure_feet
from dataset.lab.read import read_trial
from dataset.schema import LabTrial
from dataset.skeleton import FEET
from model.baselines import TRAINING_MEAN, Predictor, constant_force, lab_baselines
from model.lab_metrics import Comparison, LabErrors, best_delay, compare, summarise
from model.lab_trials import USES, LabFile, disclosure, tuned_on, walking_trials
from model.physics.forces import FootForces
from model.physics.mass import mass_from_forces
from model.scaling import Scaling
from model.trial_kinetics import load_trained, solver_predictors
from model.weights import DEFAULT_WEIGHTS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EvaluateLabConfig:
    """What to evaluate."""

    out: Path
    """Folder for `lab_table.json` and `lab_table.md`."""
    data: Path | None = None
    """Folder with `lab/`; default: the environment variable IMDYLAB_DATA."""
    groups: tuple[str, ...] = ()
    """Rows to evaluate; empty for all walking trials."""
    weights: Path = DEFAULT_WEIGHTS
    """Trained solver; the shipped one is left out, with a warning, where it does not exist."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Errors of one predictor on one group."""

    group: str
    """Data set and condition."""
    tuned_on: str
    """Whether anything was chosen on this data set (`model.lab_trials`)."""
    predictor: str
    """Name of the predictor."""
    num_trials: int
    """Trials that count."""
    failed: tuple[str, ...]
    """Trials the predictor refused, with its reason."""
    shipped: LabErrors
    """Errors with the forces as they are in the files."""
    synchronised: LabErrors
    """Errors after shifting the plates by one fitted constant per subject."""
    delay_ms: dict[str, float]
    """Fitted delay of the plates per subject [ms]."""


def training_mean(scaling: Scaling) -> np.ndarray:
    """Mean force on each foot in a solver's training data [N/kg], heading axes, shape (F, 3)."""
    mean = scaling.grf_mean.double().numpy()
    return np.stack([mean[list(bodies)].sum(axis=0) for bodies in FEET])


def default_predictors(weights: Path = DEFAULT_WEIGHTS) -> dict[str, Predictor]:
    """Baselines, marker-only physics and, where there are weights, their training mean, the solver, and it under Newton.

    Raises:
        ValueError: weights other than the shipped ones do not exist, or they cannot be read.
    """
    if weights == DEFAULT_WEIGHTS and not weights.is_file():
        logger.warning("%s: no weights, so the table has no solver; train with `python -m model.train`", weights)
        return lab_baselines()
    solver = load_trained(weights)
    mean = constant_force(training_mean(solver.model.scaling))
    return {TRAINING_MEAN: mean} | lab_baselines() | solver_predictors(solver)


def load(file: LabFile) -> tuple[LabTrial, MeasuredFeet, float]:
    """Read a trial, assign its plates and settle the mass [kg]."""
    trial = read_trial(file.markers, file.forces)
    measured = measure_feet(trial)
    mass = mass_from_forces(trial, measured) if file.mass_from_forces or trial.mass is None else trial.mass
    return trial, measured, float(mass)


def _common(items: list[Comparison]) -> list[Comparison]:
    """The comparisons of several predictors on one trial restricted to the frames that all of them answered."""
    valid = np.logical_and.reduce([item.valid for item in items])
    return [dataclasses.replace(item, valid=valid) for item in items]


def evaluate(
    files: Sequence[LabFile], predictors: Mapping[str, Predictor], *, progress: bool = True
) -> tuple[list[Row], list[dict[str, object]]]:
    """Compare predictors with the plates, group by group, on the frames that all of them answered.

    Args:
        files: Trials.
        predictors: Name -> predictor.
        progress: Show a progress bar.

    Returns:
        Rows (group × predictor) and one record a trial (name, mass, valid frames, rejected stretches, per-foot error).
    """
    groups: dict[str, list[tuple[str, LabTrial, MeasuredFeet, float, dict[str, FootForces]]]] = {}
    failed: dict[tuple[str, str], list[str]] = {}
    records: list[dict[str, object]] = []
    for file in tqdm(files, desc="trials", unit="trial", disable=not progress):
        trial, measured, mass = load(file)
        answers: dict[str, FootForces] = {}
        for name, predictor in predictors.items():
            try:
                answers[name] = predictor(trial, mass)
            except ValueError as error:
                failed.setdefault((file.group, name), []).append(f"{trial.name}: {error}")
        groups.setdefault(file.group, []).append((file.subject, trial, measured, mass, answers))
        record: dict[str, object] = {
            "group": file.group,
            "subject": file.subject,
            "trial": trial.name,
            "mass_kg": round(mass, 2),
            "rejected": list(measured.notes),
        }
        shown = _common([compare(trial, measured, forces, mass) for forces in answers.values()]) if answers else []
        for name, item in zip(answers, shown):
            record["valid_frames"] = int(item.valid.sum())
            if item.valid.any():
                record[name] = round(summarise([item]).all_frames, 4)
        records.append(record)
    rows = []
    for group, items in groups.items():
        complete = [item for item in items if item[4]]
        for name in predictors:
            mine = [item for item in complete if name in item[4]]
            if not mine:
                continue
            delays = {
                subject: best_delay([(t, m, answers[name], mass) for s, t, m, mass, answers in mine if s == subject])
                for subject in sorted({item[0] for item in mine})
            }
            tables = []
            for synchronise in (False, True):
                comparisons = []
                for subject, trial, measured, mass, answers in mine:
                    delay = delays[subject] if synchronise else 0.0
                    shown = _common(
                        [compare(trial, measured, forces, mass, delay=delay) for forces in answers.values()]
                    )
                    comparisons.append(shown[list(answers).index(name)])
                tables.append(summarise(comparisons))
            rows.append(
                Row(
                    group=group,
                    tuned_on=tuned_on(group),
                    predictor=name,
                    num_trials=len(mine),
                    failed=tuple(failed.get((group, name), [])),
                    shipped=tables[0],
                    synchronised=tables[1],
                    delay_ms={subject: 1000.0 * delay for subject, delay in delays.items()},
                )
            )
    return rows, records


def table_markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; forces in N/kg."""
    head = (
        "group",
        "tuned on",
        "predictor",
        "trials",
        "frames (DS %)",
        "all",
        "loaded",
        "DS",
        "loaded vertical",
        "r vertical (loaded)",
        "nRMSE V %",
        "BW error %",
        "CoP SS mm",
        "sync: all",
        "loaded",
        "DS",
        "delay ms",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + " - |" * len(head)]
    for row in rows:
        a, b = row.shipped, row.synchronised
        delays = list(row.delay_ms.values())
        spread = f"{np.mean(delays):.0f} [{min(delays):.0f} {max(delays):.0f}]"
        lines.append(
            "| "
            + " | ".join(
                [
                    row.group,
                    row.tuned_on,
                    row.predictor,
                    str(row.num_trials),
                    f"{a.num_frames} ({100 * a.double_support_share:.0f})",
                    f"{a.all_frames:.2f}",
                    f"{a.loaded:.2f}",
                    f"{a.double_support:.2f}",
                    f"{a.loaded_vertical:.2f}",
                    f"{a.vertical_correlation:.3f} ({a.vertical_correlation_loaded:.2f})",
                    f"{a.vertical_nrmse:.1f}",
                    f"{a.body_weight_error:+.1f}",
                    f"{a.cop_single_support:.0f}",
                    f"{b.all_frames:.2f}",
                    f"{b.loaded:.2f}",
                    f"{b.double_support:.2f}",
                    spread,
                ]
            )
            + " |"
        )
    return "\n".join(lines) + "\n"


def write_report(out: Path, rows: Sequence[Row], records: Sequence[dict[str, object]]) -> None:
    """Write `lab_table.json` (rows, trials, uses of each set) and `lab_table.md` (with the uses), each atomically."""
    plain = [_plain(dataclasses.asdict(row)) for row in rows]
    write_json(out / "lab_table.json", {"rows": plain, "trials": list(records), "chosen_on": USES})
    write_text(out / "lab_table.md", f"{table_markdown(rows)}\n{disclosure()}")


def _plain(value: Any) -> Any:
    """The same structure with None for numbers that do not exist (a correlation with a constant)."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def main(cfg: EvaluateLabConfig, predictors: Mapping[str, Predictor] | None = None) -> list[Row]:
    """Evaluate predictors (default: `default_predictors`) on the walking trials and write the table."""
    data = cfg.data or (Path(os.environ["IMDYLAB_DATA"]) if os.environ.get("IMDYLAB_DATA") else None)
    if data is None:
        raise ValueError(
            "data: expected the folder of the real data, found neither --data nor IMDYLAB_DATA; "
            "unpack the data "
            "(see the README) and set one of them"
        )
    files = [file for file in walking_trials(data) if not cfg.groups or file.group in cfg.groups]
    if not files:
        names = sorted({file.group for file in walking_trials(data)})
        raise ValueError(f"groups: expected some of {names}, found {list(cfg.groups)}")
    rows, records = evaluate(files, default_predictors(cfg.weights) if predictors is None else predictors)
    write_report(cfg.out, rows, records)
    logger.info("wrote %s", cfg.out / "lab_table.md")
    return rows


def run() -> None:
    """The command line."""
    import tyro

    print(table_markdown(main(tyro.cli(EvaluateLabConfig))), disclosure(), sep="\n")


if __name__ == "__main__":
    sys.exit(run_command("evaluate_lab", run))
