"""The gait study: what rewards on measured forces add to the imitation of a motion: `python -m sim.gait.study --expert TRIAL`.

Trains one policy on R^k alone and goes on from its checkpoint in four ways (R^k; with R^grf; with R^cop; with both) for every
seed, walks the whole trial with each policy, and writes `results.json`, `report.html` and the figures to OUT. A study that was
stopped goes on with `--resume`. `--evaluate-only` trains nothing: it evaluates the study in OUT or, where there is none, the
policies that come with the project.
"""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dataset import atomic, provenance
from dataset.command_line import run_command
from dataset.lab.plates import LOAD_THRESHOLD
from dataset.user_paths import require_output_folder
from sim.gait import arms
from sim.gait.arms import ARMS, PRESETS, GaitPreset
from sim.gait.expert import make_expert
from sim.gait.expert_build import ExpertConfig
from sim.gait.expert_file import Expert, load_expert
from sim.gait.mean_cycles import average
from sim.gait.signals import expert_signals
from sim.gait.study_evaluation import Evaluated, check_policies, collect, evaluate, open_policies
from sim.gait.study_report import summary_text, write_report
from sim.gait.study_results import without_nan
from sim.gait.trained import RESULTS_FILE, Curve, find_policies, read_curves
from sim.gait.trial_files import find_files
from sim.learning.checkpoint import checkpoints
from sim.learning.train import CONFIG_FILE

_log = logging.getLogger(__name__)

MAIN_EXPERT = Path("lab/uhlrich_treadmill60s")
"""Trial of the study in the folder that IMDYLAB_DATA points to."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Options of the study."""

    out: Path
    """Folder of the study: runs, results.json, report.html, figures."""
    expert: Path | None = None
    """Trial (folder or motion file), or an expert (.npz) that sim.gait.expert wrote; where not given, the 60 s on a treadmill in
    the folder that IMDYLAB_DATA points to."""
    preset: Literal["fast", "paper"] = "fast"
    """Settings of environment and learner."""
    seeds: int = 3
    """Fine-tunings of each arm: seeds 0, 1, ..."""
    pretrain_iterations: int | None = None
    """Iterations of pre-training; the preset's where not given."""
    finetune_iterations: int | None = None
    """Iterations of every arm; the preset's where not given."""
    threads: int = 1
    """Threads that step the walkers of one training; the result does not depend on it."""
    workers: int = 1
    """Arms and seeds that are trained side by side, a process each; the result does not depend on it."""
    resume: bool = False
    """Go on with the study in OUT."""
    evaluate_only: bool = False
    """Train nothing; all seeds that there are."""
    policies: Path | None = None
    """With --evaluate-only: folder of the policies; where not given OUT or, if it has none, the project's own."""
    residual_factor: float = 1.0
    """Multiplies the residual wrench in the evaluation; 0 shows what the policies are worth without it."""

    def __post_init__(self) -> None:
        for name in ("seeds", "threads", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.policies is not None and not self.evaluate_only:
            raise ValueError("policies: expected together with --evaluate-only; a training makes its own")


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """A study that was evaluated."""

    results: dict[str, Any]
    """What `results.json` holds, with NaN where that has null."""
    curves: dict[str, Curve]
    """Rewards over steps by run."""
    evaluated: Evaluated
    """Walks, measures and mean cycles."""


def main(config: StudyConfig, preset: GaitPreset | None = None) -> dict[str, Any]:
    """Conduct a study and write `results.json`, `report.html` and the figures.

    Args:
        config: Options.
        preset: Settings instead of the named preset's.

    Returns:
        What `results.json` holds, with NaN where that has null.

    Raises:
        ValueError: as `conduct`.
    """
    study = conduct(config, preset)
    atomic.write_json(config.out / RESULTS_FILE, without_nan(study.results))
    evaluated = study.evaluated.arms
    means = {arm: average([one.means for (name, _), one in evaluated.items() if name == arm]) for arm in ARMS}
    write_report(config.out, study.results, study.curves, means, study.evaluated.measured)
    seeds = {f"seed{seed}": seed for seed in study.results["seeds"]}
    provenance.add_run(config.out, provenance.run_record("sim.gait.study", config, seeds=seeds))
    return study.results


def conduct(config: StudyConfig, preset: GaitPreset | None = None) -> Study:
    """Train unless told not to, and evaluate.

    Raises:
        ValueError: an expert without forces or cycles, a folder that holds another study, policies that are missing or of
            another model, other settings or another expert.
    """
    out = require_output_folder(config.out)
    expert = open_expert(config.expert)
    expert_signals(expert, LOAD_THRESHOLD)  # refuses what cannot be compared, before anything is trained
    if config.evaluate_only:
        source, seeds = config.policies or (out if find_policies(out) else arms.WEIGHTS), None
    else:
        source, seeds = out, range(config.seeds)
        train_study(expert, _preset(config, preset), config)
    policies = open_policies(source, seeds)
    notes = check_policies(expert, policies)
    _log.info("evaluating %d policies of %s", len(policies.all), source)
    evaluated = evaluate(expert, policies, config.residual_factor)
    results = collect(expert, policies, evaluated) | {"notes": notes, "residual_factor": config.residual_factor}
    return Study(results=results, curves=read_curves(source), evaluated=evaluated)


def open_expert(path: Path | None) -> Expert:
    """The expert of a trial, or of a file that holds one.

    Raises:
        ValueError: no trial given and no data, or whatever the readers refuse.
    """
    if path is None:
        if "IMDYLAB_DATA" not in os.environ:
            raise ValueError(
                "expert: expected a trial, got none, and IMDYLAB_DATA is not set; give --expert TRIAL, or set it to the folder "
                "of the laboratory data"
            )
        path = Path(os.environ["IMDYLAB_DATA"]) / MAIN_EXPERT
    if path.suffix == ".npz":
        return load_expert(path)
    return make_expert(find_files(path), ExpertConfig())[0]


def _preset(config: StudyConfig, preset: GaitPreset | None) -> GaitPreset:
    wanted = {name: getattr(config, name) for name in ("pretrain_iterations", "finetune_iterations")}
    changed = {name: value for name, value in wanted.items() if value is not None}
    return dataclasses.replace(preset or PRESETS[config.preset](), **changed)


def train_study(expert: Expert, preset: GaitPreset, config: StudyConfig) -> None:
    """Pre-train once, then every arm and seed; with `resume`, go on where it was stopped.

    Raises:
        ValueError: the folder holds runs and the study is not to go on with them, or they are of other settings.
    """
    begun = [path.parent.name for path in sorted(config.out.glob(f"*/{CONFIG_FILE}"))]
    if begun and not config.resume:
        raise ValueError(
            f"{config.out}: expected a folder without a study, found {', '.join(begun[:4])}; add --resume to go on with it, "
            "--evaluate-only to evaluate it, or give another folder"
        )

    def goes_on(run: Path) -> bool:
        return config.resume and run.is_dir() and bool(checkpoints(run))

    _log.info("pre-training")
    first = config.out / arms.PRETRAINED
    arms.pretrain(expert, preset, config.out, num_threads=config.threads, resume=goes_on(first))
    jobs = [
        _Arm(expert, preset, config.out, arm, seed, config.threads, goes_on(arms.arm_folder(config.out, arm, seed)))
        for seed in range(config.seeds)
        for arm in ARMS
    ]
    if config.workers == 1:
        for job in jobs:
            job.train()
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of numerical libraries
    with ProcessPoolExecutor(config.workers, context) as pool:
        begun = [pool.submit(job.train_beside_others) for job in jobs]
        try:
            for each in as_completed(begun):
                each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(frozen=True, eq=False)
class _Arm:
    """One training, for this process or another."""

    expert: Expert
    preset: GaitPreset
    out: Path
    arm: arms.Arm
    seed: int
    threads: int
    resume: bool

    def train(self) -> None:
        _log.info("arm %s, seed %d", self.arm, self.seed)
        arms.finetune(
            self.expert, self.preset, self.arm, self.out, seed=self.seed, num_threads=self.threads, resume=self.resume
        )

    def train_beside_others(self) -> None:
        """`train` in a process of its own: lines that say whose they are instead of a progress bar."""
        os.environ["TQDM_DISABLE"] = "1"
        line = f"{self.arm}, seed {self.seed}: %(message)s"
        logging.basicConfig(level=logging.INFO, format=line, stream=sys.stderr, force=True)
        self.train()


def run() -> None:
    """The command line."""
    import tyro

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    config = tyro.cli(StudyConfig, description=__doc__)
    print(summary_text(main(config)))
    print(f"written: {config.out / RESULTS_FILE}, report.html and its figures")


if __name__ == "__main__":
    sys.exit(run_command("study", run))
