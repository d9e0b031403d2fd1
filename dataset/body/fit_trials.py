"""How well the body fits real people: proportions from a standing trial, then poses of a walk, in millimetres.

`python -m dataset.body.fit_trials --data "$IMDYLAB_DATA" --out docs/body_fit.csv`

Each row is one person: proportions are fitted on one frame of the standing trial (mass given, height given where the files know
it), and the walk is then fitted with those proportions fixed. Columns in mm are root mean squares over all landmarks used.
`hip_mm` is the mean distance of the two hip centres from functional hip centres, where the files have them.
"""

from __future__ import annotations

import csv
import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from dataset.atomic import write_text
from dataset.body.default import make_body
from dataset.body.fit import fit_pose, fit_subject
from dataset.command_line import run_command
from dataset.kinematics import forward_kinematics
from dataset.lab.read import read_trial
from dataset.schema import LabTrial, Motion, Subject
from dataset.skeleton import BODY_INDEX

OPENCAP_MASS: Final[float] = 60.1
"""Mass [kg] of `opencap_subject4` from the forces of its standing trial; its files do not say."""

COLUMNS: tuple[str, ...] = (
    "person", "mass_kg", "height_given_m", "height_fitted_m", "markers", "standing_mm", "walking_mm", "worst_label",
    "shape_sd", "hip_mm", "fit_s", "walk_frames_per_s",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FitTrialsConfig:
    """Where the trials are and where the table goes."""

    data: Path
    """Folder of the data (`IMDYLAB_DATA`)."""
    out: Path
    """Table to write (.csv)."""


def _trials(data: Path) -> list[tuple[str, Path, Path, float]]:
    """(person, standing trial, walk, age in years)."""
    lab = data / "lab"
    found: list[tuple[str, Path, Path, float]] = [
        ("opencap_subject4", static, static.with_name("walking2.trc"), 30.0)
        for static in sorted((lab / "opencap_subject4").rglob("static1.trc"))
    ]
    for folder in sorted((lab / "biomechzoo_children").glob("HC*")):
        pair = (*sorted(folder.glob("Static/*.c3d"))[:1], *sorted(folder.glob("Straight/*.c3d"))[:1])
        if len(pair) == 2:
            found.append((f"biomechzoo {folder.name}", *pair, 10.0))
    for folder in sorted((lab / "schreiber2019").glob("20*")):
        pair = (*sorted(folder.glob("*_ST.c3d"))[:1], *sorted(folder.glob("*_C4_*.c3d"))[:1])
        if len(pair) == 2:
            found.append((f"schreiber2019 {folder.name}", *pair, 30.0))
    return found


def _hip_error(subject: Subject, motion: Motion, trial: LabTrial) -> float:
    """Mean distance [m] of the hip centres from the trial's functional ones; NaN where it has none."""
    if not {"L_HJC", "R_HJC"} <= set(trial.marker_names):
        return float("nan")
    joints, _ = forward_kinematics(make_body(subject).offset, motion.root_pos, motion.quat)
    functional = trial.markers[:, [trial.marker_names.index("L_HJC"), trial.marker_names.index("R_HJC")]]
    return float(np.nanmean(np.linalg.norm(joints[:, [BODY_INDEX["L_Hip"], BODY_INDEX["R_Hip"]]] - functional, axis=2)))


def fit_row(person: str, static_path: Path, walk_path: Path, years: float) -> dict[str, str]:
    """One row of the table."""
    static, walk = read_trial(static_path), read_trial(walk_path)
    mass = walk.mass or static.mass or OPENCAP_MASS
    height = static.height if "biomechzoo" in person else None
    start = time.process_time()
    subject, report = fit_subject(
        static.marker_names, static.markers, mass=mass, height=height, age=years, name=person, max_frames=1
    )
    fit_seconds = time.process_time() - start
    body = make_body(subject)
    start = time.process_time()
    motion, residual = fit_pose(body, walk.marker_names, walk.markers, frame_rate=walk.marker_rate)
    frames_per_second = walk.num_frames / (time.process_time() - start)
    values = (
        person, f"{mass:.1f}", f"{static.height or walk.height:.3f}" if static.height or walk.height else "",
        f"{subject.height:.3f}", str(len(report.per_marker)), f"{1e3 * report.rms:.1f}",
        f"{1e3 * np.sqrt(np.nanmean(residual**2)):.1f}", max(report.per_marker, key=lambda label: report.per_marker[label]),
        f"{report.shape_size:.2f}", f"{1e3 * _hip_error(subject, motion, walk):.0f}", f"{fit_seconds:.1f}",
        f"{frames_per_second:.0f}",
    )  # fmt: skip
    return dict(zip(COLUMNS, values))


def main(cfg: FitTrialsConfig) -> list[dict[str, str]]:
    """Fit everybody, write the table, return its rows."""
    from tqdm import tqdm

    trials = _trials(cfg.data)
    if not trials:
        raise ValueError(
            f"{cfg.data}: expected lab/opencap_subject4, lab/biomechzoo_children or lab/schreiber2019, found none"
        )
    rows = [fit_row(*trial) for trial in tqdm(trials, desc="people", file=sys.stderr)]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(cfg.out, text.getvalue())
    return rows


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(FitTrialsConfig, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("fit_trials", run))
