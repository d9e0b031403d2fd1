"""Train the solver with each of several settings on a Ray cluster, by Ray Tune, and compare the results.

`python ray_jobs/sweep.py --data DIR --out DIR --presets demo --vary learning-rate=2e-3,5e-3 network.width=64,128` trains with
each combination, a folder OUT/RUN each, and writes OUT/sweep.csv and OUT/sweep.md. Values of `--vary` are those of the options of
`python -m model.train`. Repeated, it goes on: what is finished is not trained again, what is begun goes on from its checkpoint.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import itertools
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]  # run as a file, the packages are beside its folder

import tyro

from dataset import atomic
from dataset.command_line import run_command
from dataset.place import Place, absolute
from dataset.store import Store
from model.checkpoint import CHECKPOINT, load_checkpoint
from model.config import TrainConfig, parse
from model.metrics_log import read_rows
from model.parallel import Workers
from model.train import main as train
from model.train import resumable
from model.weights import read_card
from ray_jobs.cluster import RayConfig, connect, load_ray, room

_log = logging.getLogger(__name__)

COLUMNS = ("grf", "foot_loaded", "impulse", "foot_cop")
"""Errors of the solver on the test clips that the tables show."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `ray_jobs/sweep.py`."""

    data: Place
    """Data set of simulated motion, folder or address."""
    out: Path
    """Folder for the runs and the tables; every node sees it under this name."""
    presets: tuple[str, ...] = ("demo",)
    """Presets of `model.train` to begin from."""
    vary: tuple[str, ...] = ()
    """Options to vary, NAME=VALUE,VALUE,… each; every combination is a run."""
    fixed: tuple[str, ...] = ()
    """Options that all runs share, NAME=VALUE each."""
    ray: RayConfig = dataclasses.field(default_factory=RayConfig)
    """Where."""
    workers: int = 2
    """Runs at a time, where a local Ray is started; a cluster decides by its cores."""


def plan(config: Config) -> dict[str, TrainConfig]:
    """Settings of every run, by its name.

    Raises:
        ValueError: An option is not NAME=VALUE, does not exist, or has a value that it cannot have.
    """
    varied = [[(name, value) for value in values.split(",")] for name, values in map(_option, config.vary)]
    fixed = [_option(text) for text in config.fixed]
    found = {}
    for preset, chosen in itertools.product(config.presets, itertools.product(*varied)):
        name = "_".join([preset, *(f"{option}={value}" for option, value in chosen)]).replace("/", "-")
        options = [f"--{option}={value}" for option, value in (*fixed, *chosen)]
        places = ["--data", str(absolute(config.data)), "--out", str((config.out / name).resolve())]
        try:
            found[name] = parse(["--preset", preset, *places, *options])
        except SystemExit:
            raise ValueError(f"vary: expected options of `python -m model.train`, got {options}; see above") from None
    return found


def _option(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise ValueError(f"vary: expected NAME=VALUE, got {text!r}; for example learning-rate=2e-3,5e-3")
    return name.lstrip("-"), value


def main(config: Config) -> Path:
    """Train what is not finished, write the tables, and return the folder.

    Raises:
        ValueError: Options, data or the cluster cannot be used, or a folder holds a run with other settings.
        ChildProcessError: A run did not finish; the tables hold the others.
    """
    load_ray("ray.tune")
    runs, store = plan(config), Store.open(config.data)
    left = {name: cfg for name, cfg in runs.items() if not _is_finished(cfg, store)}
    if left:
        with connect(config.ray, min(config.workers, len(left))):
            _train(left, config)
    write_tables(config.out, runs)
    unfinished = [name for name, cfg in runs.items() if not _weights(cfg).is_file()]
    if unfinished:
        raise ChildProcessError(
            f"{config.out}: expected {len(runs)} runs to finish, found {len(unfinished)} that did not: {', '.join(unfinished)}; "
            "see sweep.md, repeat the command to go on"
        )
    return config.out


def _weights(cfg: TrainConfig) -> Path:
    return cfg.out / f"{cfg.name}.safetensors"


def _is_finished(cfg: TrainConfig, store: Store) -> bool:
    """True if the run's folder holds its weights; a folder of other settings or data is refused."""
    if (cfg.out / CHECKPOINT).is_file():
        load_checkpoint(cfg.out, resumable(cfg, store))
    return _weights(cfg).is_file()


def _train(runs: dict[str, TrainConfig], config: Config) -> None:
    from ray import tune

    each = {"cpu": config.ray.num_cpus, "gpu": config.ray.num_gpus}
    room(config.ray)
    settings = {"cuda": config.ray.num_gpus > 0, "runs": runs}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_run, settings=settings), each),
        param_space={"run": tune.grid_search(list(runs))},
        run_config=tune.RunConfig(
            name="ray", storage_path=str(config.out.resolve()), verbose=0,
            failure_config=tune.FailureConfig(max_failures=config.ray.retries),
        ),
    )  # fmt: skip
    with contextlib.redirect_stdout(sys.stderr):  # Tune has a banner; the output is the table
        results = tuner.fit()
    for result in results:
        name = (result.config or {}).get("run")
        _log.info("%s: %s", name, f"failed, {result.error}" if result.error else "ended")


def _run(chosen: dict[str, str], settings: dict[str, Any]) -> None:
    """One run; a training whose loss is no number is not tried again."""
    from ray import tune

    cfg: TrainConfig = settings["runs"][chosen["run"]]
    device = "cuda" if settings["cuda"] else cfg.device
    cfg = dataclasses.replace(cfg, device=device, resume=(cfg.out / CHECKPOINT).is_file())
    try:
        train(cfg, Workers(report=tune.report))
    except FloatingPointError as error:
        logging.getLogger(__name__).error("%s", error)


def write_tables(out: Path, runs: dict[str, TrainConfig]) -> None:
    """Write sweep.csv and sweep.md: a row a run, its last loss and its errors on the test clips, best force first."""
    rows = []
    for name, cfg in runs.items():
        written = read_rows(cfg.out)
        errors = read_card(_weights(cfg)).errors.get("solver", {}) if _weights(cfg).is_file() else {}
        last: dict[str, Any] = written[-1] if written else {"step": 0, "train": {}}
        state = "finished" if _weights(cfg).is_file() else "not finished"
        row = {"run": name, "state": state, "steps": last["step"], "loss": last["train"].get("loss", "")}
        rows.append(row | {column: errors.get(column, "") for column in COLUMNS})
    rows.sort(key=lambda row: (row["grf"] == "", row["grf"] or 0.0, row["loss"] == "", row["loss"] or 0.0))
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row.values()] for row in rows]
    header = ["run", "state", "steps", "loss", *COLUMNS]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *cells])
    atomic.write_text(out / "sweep.csv", buffer.getvalue())
    lines = [f"| {' | '.join(line)} |" for line in (header, ["-"] * len(header), *cells)]
    atomic.write_text(out / "sweep.md", "\n".join(lines) + "\n")


def run() -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    print((main(tyro.cli(Config, description=__doc__)) / "sweep.md").read_text(), end="")


if __name__ == "__main__":
    sys.exit(run_command("sweep", run))
