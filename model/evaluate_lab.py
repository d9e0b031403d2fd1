"""Foot forces against force plates over real walking trials: the table of `python -m model.evaluate_lab --out DIR`.

Axis legend: F = 2 feet (left, right).
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dataset.atomic import write_json, write_text
from dataset.lab.plates import MeasuredFeet, measure_feet
from dataset.lab.read import read_trial
from dataset.schema import LabTrial
from model.baselines import Predictor, mean_predictor, weight_over_contact
from model.lab_metrics import Comparison, LabErrors, best_delay, compare, summarise
from model.physics.estimate import marker_physics
from model.physics.forces import FootForces
from model.physics.mass import mass_from_forces
from model.trial_kinetics import load_trained, solver_predictors
from model.weights import DEFAULT_WEIGHTS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LabFile:
    """One trial of the evaluation."""

    group: str
    """Row of the table."""
    subject: str
    """Person; the time offset of the synchronised rows is fitted per subject."""
    markers: Path
    """C3D or TRC file."""
    forces: Path | None = None
    """MOT file with the forces, where the marker file has no plates."""
    mass_from_forces: bool = False
    """Take the mass from the plates instead of the file (the model's mass is known to be wrong, or there is none)."""


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


def walking_trials(data: Path) -> list[LabFile]:
    """The real walking trials below `data/lab` that have full-body markers and plates.

    Raises:
        FileNotFoundError: the folder holds none of them.
    """
    lab, found = data / "lab", []
    for speed, name in (("C4", "schreiber2019 preferred"), ("C5", "schreiber2019 fast")):
        found += [
            LabFile(group=name, subject=path.parent.name, markers=path)
            for path in sorted(lab.glob(f"schreiber2019/*/*_{speed}_*.c3d"))
        ]
    for path in sorted(lab.glob("opencap_subject4/MarkerData/walking*.trc")):
        forces = path.parent.parent / "GRF" / f"{path.stem}_grf.mot"
        found.append(
            LabFile(group="opencap_subject4", subject="subject4", markers=path, forces=forces, mass_from_forces=True)
        )
    for kind in ("Straight", "Turn"):
        found += [
            LabFile(group=f"biomechzoo_children {kind.lower()}", subject=path.parent.parent.name, markers=path)
            for path in sorted(lab.glob(f"biomechzoo_children/*/{kind}/*.c3d"))
        ]
    walk = lab / "rajagopal2015" / "walk"
    if (walk / "markers_walk.trc").exists():
        found.append(
            LabFile(
                group="rajagopal2015",
                subject="subject",
                markers=walk / "markers_walk.trc",
                forces=walk / "grf_walk.mot",
                mass_from_forces=True,
            )
        )
    overground = lab / "lenhart2015" / "overground_17.trc"
    if overground.exists():  # its model's 62 kg and its plates' 73.6 kg disagree
        found.append(
            LabFile(
                group="lenhart2015",
                subject="subject",
                markers=overground,
                forces=overground.with_name("overground_17_grf.mot"),
                mass_from_forces=True,
            )
        )
    treadmill = lab / "gaitalytics" / "treadmill_events.c3d"
    if treadmill.exists():
        found.append(LabFile(group="gaitalytics treadmill", subject="SI02", markers=treadmill))
    if not found:
        raise FileNotFoundError(
            f"{lab}: expected the laboratory trials of data/README.md, found none; unpack the "
            "data and set "
            "IMDYLAB_DATA or --data"
        )
    return found


def default_predictors(weights: Path = DEFAULT_WEIGHTS) -> dict[str, Predictor]:
    """The baselines, the marker-only physics and, where there are weights, the solver alone and anchored to Newton.

    Raises:
        ValueError: weights other than the shipped ones do not exist, or they cannot be read.
    """
    predictors = {"mean": mean_predictor(), "weight over contact": weight_over_contact, "physics": marker_physics}
    if weights == DEFAULT_WEIGHTS and not weights.is_file():
        logger.warning("%s: no weights, so the table has no solver; train with `python -m model.train`", weights)
        return predictors
    return predictors | solver_predictors(load_trained(weights))


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
    """Write `lab_table.json` (rows and trials) and `lab_table.md` into a folder, each atomically."""
    write_json(
        out / "lab_table.json", {"rows": [_plain(dataclasses.asdict(row)) for row in rows], "trials": list(records)}
    )
    write_text(out / "lab_table.md", table_markdown(rows))


def _plain(value: Any) -> Any:
    """The same structure with None for numbers that do not exist (a correlation with a constant)."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def main(cfg: EvaluateLabConfig, predictors: Mapping[str, Predictor] | None = None) -> list[Row]:
    """Evaluate predictors (default: baselines and physics) on the walking trials and write the table."""
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


if __name__ == "__main__":
    import tyro

    print(table_markdown(main(tyro.cli(EvaluateLabConfig))))
