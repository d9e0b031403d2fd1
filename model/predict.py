"""Forces and torques of a real trial: `python -m model.predict trial.c3d --out DIR [--mass KG] [--compare]`.

Writes `kinetics.npz` (`model.kinetics`), `grf.mot` (OpenSim external loads, Y up) and `report.html`, one file that shows
what came out, what was done to the data and how far it can be trusted.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import tyro

from dataset.command_line import run_command
from dataset.lab.external_loads import write_grf_mot
from dataset.lab.plates import measure_feet
from dataset.lab.read import read_trial
from dataset.lab.static_mass import static_mass
from dataset.schema import LabTrial
from dataset.user_paths import require_output_folder
from model.comparison import compare_methods
from model.kinetics import Kinetics, write_kinetics
from model.physics.mass import mass_from_forces
from model.report import summary_text, write_report
from model.trial_kinetics import Method, load_trained, predict_trial
from model.weights import DEFAULT_WEIGHTS

__all__ = ["PredictConfig", "PredictResult", "main", "predict_trial"]


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Predict ground reaction forces and joint torques of a trial from its markers."""

    trial: tyro.conf.Positional[Path]
    """Marker file: C3D or TRC."""
    out: Path = Path("prediction")
    """Folder for kinetics.npz, grf.mot and report.html."""
    mass: float | None = None
    """Body mass [kg]; default: that of the static trial or of the file."""
    static: Path | None = None
    """Trial of quiet standing on the plates to take the mass from."""
    mass_from_forces: bool = False
    """Take the mass from this trial's own force plates (then the prediction is not from markers alone)."""
    height: float | None = None
    """Standing height [m]; default: that of the file, else found from the markers."""
    forces: Path | None = None
    """MOT or STO file with measured forces, for --compare."""
    compare: bool = False
    """Overlay the measured forces and show the errors of this prediction and of the baselines."""
    weights: Path = DEFAULT_WEIGHTS
    """Trained solver."""
    method: Method = "imdys+physics"
    """`imdys`: the solver alone; `imdys+physics`: its slow total replaced by Newton's (`model.physics.anchor`)."""


@dataclass(frozen=True, kw_only=True)
class PredictResult:
    """What a prediction made."""

    kinetics: Kinetics
    """The prediction."""
    files: tuple[Path, ...]
    """Files written."""
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    """Errors against measured forces by method (with --compare)."""


def choose_mass(cfg: PredictConfig, trial: LabTrial) -> tuple[float, str]:
    """Body mass [kg] and where it comes from: given, static trial, this trial's plates if asked, or the file.

    Raises:
        ValueError: none of them, or the static trial or the plates do not give one.
    """
    if cfg.mass is not None:
        return cfg.mass, "given"
    if cfg.static is not None:
        return static_mass(read_trial(cfg.static, require_known=False)), f"static trial {cfg.static.name}"
    if cfg.mass_from_forces:
        return mass_from_forces(trial, measure_feet(trial)), "force plates of this trial"
    if trial.mass is not None:
        return trial.mass, "file"
    raise ValueError(
        f"{trial.path}: mass: expected the body mass in the file, found none; pass --mass KG, or --static with a trial of "
        "quiet standing on the plates"
        + (", or --mass-from-forces" if trial.plates or trial.foot_wrench is not None else "")
    )


def main(cfg: PredictConfig) -> PredictResult:
    """Predict a trial and write its files.

    Raises:
        ValueError: bad input: the text names file, field, expected, found and what to do.
        FileNotFoundError: a file does not exist.
    """
    require_output_folder(cfg.out)
    trial = read_trial(cfg.trial, cfg.forces)
    mass, source = choose_mass(cfg, trial)
    if cfg.compare and not trial.plates and trial.foot_wrench is None:
        raise ValueError(
            f"{trial.path}: forces: expected force plates to compare with, found none; give --forces with a MOT or STO file, or "
            "leave out --compare"
        )
    solver = load_trained(cfg.weights)
    kinetics = predict_trial(trial, mass, solver=solver, height=cfg.height, method=cfg.method, mass_source=source)
    comparison = compare_methods(trial, kinetics) if cfg.compare else None
    cfg.out.mkdir(parents=True, exist_ok=True)
    files = [cfg.out / name for name in ("kinetics.npz", "grf.mot", "report.html")]
    write_kinetics(files[0], kinetics)
    write_mot(files[1], kinetics)
    write_report(files[2], kinetics, trial, comparison)
    errors = {} if comparison is None else {name: asdict(item) for name, item in comparison.methods.items()}
    return PredictResult(kinetics=kinetics, files=tuple(files), errors=errors)


def write_mot(path: Path, kinetics: Kinetics) -> None:
    """Write grf.mot for OpenSim: Y up, points on the floor that was found.

    Frames without an answer are zero force; the free moment is zero (it is not predicted).
    """
    known = np.asarray(np.all(np.isfinite(kinetics.grf_TF3), axis=(1, 2)))
    grf = np.where(known[:, None, None], kinetics.grf_TF3, 0.0)
    write_grf_mot(path, kinetics.time_T, grf, kinetics.cop_TF2, np.zeros(grf.shape[:2]), floor=kinetics.floor)


def run() -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    result = main(tyro.cli(PredictConfig))
    print(summary_text(result.kinetics, result.errors))
    print(*(f"wrote {path}" for path in result.files), sep="\n")


if __name__ == "__main__":
    sys.exit(run_command("predict", run))
