"""The whole chain on one machine: `make demo` or `python -m bench.demo --out out/demo`.

Motion capture that comes with a public package is imitated by a simulated human (stored tracker solutions are replayed),
its torques and ground reactions become a data set, a small solver is trained on it and judged on clips it has not seen, a
held-out motion is written as a C3D with force plates, and its forces are predicted from the markers. With IMDYLAB_DATA
set a real walking trial is predicted too. About ten minutes at most on two cores.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

from dataset.body.default import make_body
from dataset.body.marker_sets import marker_set
from dataset.command_line import run_command
from dataset.lab.c3d import write_c3d
from dataset.lab.simulated import lay_plates, simulated_trial
from dataset.splits import SplitConfig
from dataset.store import Store
from model import config, evaluate, predict, train
from model.weights import DEFAULT_WEIGHTS
from sim import collect
from sim.imitate_clip import ImitationConfig, find_solutions
from sim.imitation.solution import load_solution

HELD_OUT = "embedded/walk"
"""Clip that the solver never sees in training and whose forces are predicted."""
SEARCHED = ("embedded/walk", "embedded/run")
"""Clips that are searched where no stored solution fits: enough to train on one and predict the other."""
SOLUTIONS = Path(__file__).resolve().parents[1] / "solutions" / "embedded"
"""Stored tracker solutions of the embedded clips."""
REAL_TRIAL = Path("lab/schreiber2019/2014004/2014004_C4_02.c3d")
"""Real walking trial below IMDYLAB_DATA."""
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """From motion capture to the forces of a trial."""

    out: Path = Path("out/demo")
    """Folder for data set, weights, trial and reports; a data set that is there already is gone on with."""
    steps: int = 400
    """Optimiser steps of the small solver; one minute of motion is soon learnt by heart. On the markers of the held-out walk it
    misses each foot's force by 2.4 N/kg, the shipped weights by 0.6."""
    workers: int = 0
    """Processes of the collection; 0 for one a core."""


@dataclass(kw_only=True)
class Summary:
    """What each stage took and made."""

    rows: list[tuple[str, float, str]] = field(default_factory=list)
    """(stage, seconds, result)."""

    def run(self, stage: str, advice: str, work: Callable[[], tuple[Result, str]]) -> Result:
        """Run one stage, time it and keep its one-line result.

        Raises:
            SystemExit: the stage failed; the message says which and what to do.
        """
        print(f"--- {stage}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        try:
            result, text = work()
        except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
            raise SystemExit(f"demo: {stage} failed: {error}\n{advice}") from error
        seconds = time.perf_counter() - started
        self.rows.append((stage, seconds, text))
        print(f"    {seconds:.0f} s: {text}", file=sys.stderr, flush=True)
        return result

    def table(self) -> str:
        """The rows as text."""
        width = max(len(row[0]) for row in self.rows)
        lines = [f"{stage:<{width}}  {seconds:6.1f} s  {text}" for stage, seconds, text in self.rows]
        return "\n".join([*lines, f"{'all':<{width}}  {sum(row[1] for row in self.rows):6.1f} s"])


def collect_clips(cfg: DemoConfig) -> tuple[Path, str]:
    """Replay the stored solutions of the embedded clips; where none fits this machine, search two clips."""
    folder = cfg.out / "data"
    base = collect.Config(
        out=folder, workers=cfg.workers, solutions=(SOLUTIONS,), imitation=ImitationConfig(may_search=False)
    )
    for seed, clips in _stored_clips().items():
        collect.main(dataclasses.replace(base, motions=clips, seeds=(seed,)))
    if HELD_OUT not in _clips(folder):
        print("    no stored solution fits this machine: walk and run are searched (minutes)", file=sys.stderr)
        folder = cfg.out / "searched"
        collect.main(dataclasses.replace(base, out=folder, motions=SEARCHED, imitation=ImitationConfig()))
    if HELD_OUT not in _clips(folder):
        raise ValueError(f"{folder}: expected records of {HELD_OUT}, found {sorted(_clips(folder))}")
    store = Store.open(folder)
    return folder, f"{store.seconds:.1f} s of simulated motion of {len(_clips(folder))} clips"


def _stored_clips() -> dict[int, tuple[str, ...]]:
    """Embedded clips that have a stored solution, by the seed it was found with (each clip once)."""
    seed_of: dict[str, int] = {}
    for path in find_solutions((SOLUTIONS,)).values():
        solution = load_solution(path)
        seed_of.setdefault(solution.clip, solution.seed)
    return {
        seed: tuple(sorted(clip for clip, own in seed_of.items() if own == seed))
        for seed in sorted(set(seed_of.values()))
    }


def _clips(folder: Path) -> set[str]:
    """Clips that a data set has records of, without the stretch; none where there is no data set."""
    try:
        return {info.clip for info in Store.open(folder).sequences}
    except ValueError:
        return set()


def train_small(cfg: DemoConfig, data: Path) -> tuple[Path, str]:
    """Train a small solver on everything but the held-out clip.

    Its features are not whitened: directions that a minute of motion hardly shows would count as much as the others. With walk,
    run and jump held out in turn, 300 steps left 2.2, 2.9, 2.9 N/kg of error in a foot's force instead of 3.2, 4.7, 3.0.
    """
    settings = dataclasses.replace(
        config.demo(data, cfg.out / "weights"), steps=cfg.steps, name="demo", held_out=(HELD_OUT,),
        split=SplitConfig(validation=0.0, test=0.0), evaluate_every=max(1, cfg.steps // 3), is_whitened=False,
    )  # fmt: skip
    made = train.main(settings)
    return made.weights, f"{made.steps} steps, weights {made.weights}"


def evaluate_small(cfg: DemoConfig, data: Path, weights: Path) -> tuple[None, str]:
    """Errors on the held-out clip beside the baselines."""
    found = evaluate.main(
        evaluate.EvaluateConfig(
            data=data, weights=weights, out=cfg.out / "evaluation", split=SplitConfig(validation=0.0, test=0.0),
            held_out=(HELD_OUT,),
        )
    )  # fmt: skip
    parts = [
        f"{method} {0.5 * (errors['foot_left'] + errors['foot_right']):.2f}" for method, errors in found.overall.items()
    ]
    return None, f"foot force error on {HELD_OUT} [N/kg]: {', '.join(parts)}"


def write_trial(cfg: DemoConfig, data: Path) -> tuple[Path, str]:
    """Write the longest record of the held-out clip as a C3D: Plug-in Gait markers and a plate under each step."""
    store = Store.open(data)
    mine = [i for i, info in enumerate(store.sequences) if info.clip == HELD_OUT]
    record = store.read(max(mine, key=lambda i: store.sequences[i].num_frames))
    path = cfg.out / "held_out.c3d"
    trial = simulated_trial(record, make_body(record.subject), marker_set("plug_in_gait_39"), noise=0.0005)
    laid = lay_plates(trial)
    write_c3d(path, laid)
    return path, f"{path}: {trial.time[-1]:.1f} s, {len(trial.marker_names)} markers, {len(laid.plates)} plates"


def predict_trial(cfg: DemoConfig, trial: Path, weights: Path, name: str) -> tuple[predict.PredictResult, str]:
    """Predict a trial and compare it with its plates."""
    made = predict.main(predict.PredictConfig(trial=trial, out=cfg.out / name, weights=weights, compare=True))
    errors = ", ".join(f"{method} {item['all_frames']:.2f}" for method, item in made.errors.items())
    return made, f"per-foot error [N/kg]: {errors or 'no frame fully on plates'}"


def main(cfg: DemoConfig) -> Summary:
    """Run all stages; returns their times and results.

    Raises:
        SystemExit: a stage failed.
    """
    torch.set_num_threads(1)
    cfg.out.mkdir(parents=True, exist_ok=True)
    summary = Summary()
    again = f"Delete {cfg.out} and run `make demo` again; if it fails once more, the message above says why."
    data = summary.run(
        "collect",
        "The embedded clips are inside the pybullet wheel: pip must be able to fetch it once (or set IMDYLAB_CACHE).",
        lambda: collect_clips(cfg),
    )
    weights = summary.run("train", again, lambda: train_small(cfg, data))
    summary.run("evaluate", again, lambda: evaluate_small(cfg, data, weights))
    trial = summary.run("write a C3D", again, lambda: write_trial(cfg, data))
    summary.run("predict the C3D (demo)", again, lambda: predict_trial(cfg, trial, weights, "held_out"))
    reports = [cfg.out / "held_out" / "report.html"]
    if DEFAULT_WEIGHTS.is_file():  # what half an hour of training motion does that one minute cannot
        summary.run(
            f"predict the C3D ({DEFAULT_WEIGHTS.stem})",
            again,
            lambda: predict_trial(cfg, trial, DEFAULT_WEIGHTS, "held_out_shipped"),
        )
        reports.append(cfg.out / "held_out_shipped" / "report.html")
    real = Path(os.environ["IMDYLAB_DATA"]) / REAL_TRIAL if os.environ.get("IMDYLAB_DATA") else None
    if real is not None:
        chosen = DEFAULT_WEIGHTS if DEFAULT_WEIGHTS.is_file() else weights
        summary.run(
            f"predict a real trial ({chosen.stem})",
            "IMDYLAB_DATA must hold lab/schreiber2019; unset it to leave the real trial out.",
            lambda: predict_trial(cfg, real, chosen, "real"),
        )
        reports.append(cfg.out / "real" / "report.html")
    print(summary.table())
    if real is None:
        print("IMDYLAB_DATA is not set: no real trial was predicted.")
    print(*(f"report: {path.resolve().as_uri()}" for path in reports), sep="\n")
    return summary


def run() -> None:
    """The command line."""
    import tyro

    # Before any worker starts: each is meant to keep one core busy.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    main(tyro.cli(DemoConfig, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("demo", run))
