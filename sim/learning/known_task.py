"""Proof of PPO on tasks whose results are published: `python -m sim.learning.known_task`.

Trains the `benchmark` preset on gymnasium's MuJoCo tasks and writes `docs/results/ppo_known_task.csv` (a row a run, beside the
published figure), `ppo_known_task_curves.csv` (return over steps) and `ppo_known_task.png`. Runs that are in the folder already
go on from their last checkpoint with `--resume`; finished ones are only read. `--read-only` trains nothing and reports the
runs as far as they have come.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset import atomic, figure_style, provenance
from dataset.command_line import run_command
from sim.learning.checkpoint import checkpoints, load_checkpoint
from sim.learning.config import PPOConfig, benchmark
from sim.learning.environment import Environment
from sim.learning.episodes import Episodes
from sim.learning.gym_task import GymTask
from sim.learning.learner_state import restore
from sim.learning.policy import Policy
from sim.learning.ppo import Learner
from sim.learning.progress import read_metrics
from sim.learning.train import train

_log = logging.getLogger(__name__)

TABLE, CURVES, FIGURE = "ppo_known_task.csv", "ppo_known_task_curves.csv", "ppo_known_task.png"
EVALUATION_SEED = 10_000
"""Seed of the evaluation episodes, away from those of the trainings."""


@dataclass(frozen=True, kw_only=True)
class KnownTask:
    """A task, how long it is trained here, and what was published for it."""

    steps: int
    """Environment steps of a training."""
    seeds: int
    """Trainings."""
    published: float
    """Published average episodic return after a million steps of training, mean over seeds."""
    spread: float
    """Published standard deviation over seeds."""


TASKS: dict[str, KnownTask] = {
    "InvertedPendulum-v5": KnownTask(steps=100_000, seeds=3, published=963.09, spread=22.20),
    "Hopper-v5": KnownTask(steps=1_000_000, seeds=1, published=2382.86, spread=271.74),
}
"""Tasks of the proof.

Source: CleanRL, docs/benchmark/ppo_continuous_action.md (three seeds, one million steps; the tasks' version 4: version 5 gives no
reward for the step that falls, and cleans up what is observed)."""


@dataclass(frozen=True, kw_only=True)
class KnownTaskConfig:
    """What is trained and where it goes."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks, of those above."""
    seeds: int | None = None
    """Trainings of each task; each task's own number if None."""
    steps: int | None = None
    """Environment steps of each training; each task's own number if None."""
    episodes: int = 10
    """Episodes of the evaluation of each trained policy, without noise."""
    runs: Path = Path("runs/known_task")
    """Folder of the trainings, RUNS/TASK/SEED."""
    out: Path = Path("docs/results")
    """Folder of tables and figure."""
    resume: bool = False
    """Go on from the checkpoints in the folder of the trainings."""
    read_only: bool = False
    """Train nothing; tables and figure of the runs as far as their last checkpoints."""
    threads: int = 1
    """Torch threads."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.tasks) - set(TASKS)):
            raise ValueError(f"tasks: expected some of {sorted(TASKS)}, got {unknown}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training."""

    task: str
    seed: int
    steps: int
    training_return: float
    """Mean of the last 100 training episodes, noise included, as in what was published."""
    evaluation_return: float
    """Mean of the evaluation episodes, without noise."""
    evaluation_sd: float
    published_return: float
    published_sd: float
    published_steps: int = 1_000_000


def settings(config: KnownTaskConfig, task: str, seed: int) -> PPOConfig:
    """Settings of one training: the preset for as many whole iterations as the steps allow."""
    base = benchmark()
    steps = config.steps or TASKS[task].steps
    iterations = max(1, steps // base.iteration_steps)
    return dataclasses.replace(base, iterations=iterations, seed=seed, threads=config.threads)


def learned(config: KnownTaskConfig, task: str, seed: int, folder: Path) -> Learner:
    """Train one run to its end, or read it as far as it has come.

    Raises:
        ValueError: A run in the folder was made with other settings, or there is none to read.
    """
    wanted = settings(config, task, seed)
    if not config.read_only:
        resume = config.resume and bool(checkpoints(folder))
        return train(GymTask(task), wanted, folder, resume=resume, task={"name": task})
    learner = Learner(GymTask(task), wanted)
    tensors, facts = load_checkpoint(folder)
    restore(learner, tensors, facts["counters"])
    return learner


def evaluate(environment: Environment, policy: Policy, episodes: int, seed: int = EVALUATION_SEED) -> np.ndarray:
    """Returns of the first so many episodes that a policy without noise plays in one environment."""
    observation = environment.reset(seed)
    count = Episodes(environment.num_envs)
    while count.finished < episodes:
        observation, reward, terminated, truncated, _ = environment.step(policy(observation))
        count.count(reward, terminated | truncated)
    return count.returns[:episodes]


def main(config: KnownTaskConfig) -> list[Row]:
    """Train, evaluate, write tables and figure.

    Raises:
        ValueError: gymnasium is missing, or a run in the folder was made with other settings.
    """
    rows: list[Row] = []
    curves: dict[tuple[str, int], np.ndarray] = {}
    for name in config.tasks:
        known = TASKS[name]
        for seed in range(config.seeds or known.seeds):
            folder = config.runs / name / str(seed)
            _log.info("%s, seed %d", name, seed)
            learner = learned(config, name, seed, folder)
            metrics = read_metrics(folder)[: learner.iteration]
            returns = evaluate(GymTask(name), Policy.of(learner), config.episodes)
            rows.append(
                Row(
                    task=name, seed=seed, steps=metrics[-1]["steps"], training_return=metrics[-1]["episode_return"],
                    evaluation_return=float(returns.mean()), evaluation_sd=float(returns.std()),
                    published_return=known.published, published_sd=known.spread,
                )
            )  # fmt: skip
            curves[name, seed] = np.array([(row["steps"], row["episode_return"]) for row in metrics], dtype=np.float64)
    write_results(config, rows, curves)
    return rows


def write_results(config: KnownTaskConfig, rows: list[Row], curves: dict[tuple[str, int], np.ndarray]) -> None:
    """Tables, figure and record of the run."""
    config.out.mkdir(parents=True, exist_ok=True)
    names = [field.name for field in dataclasses.fields(Row)]
    lines = [[_text(getattr(row, name)) for name in names] for row in rows]
    atomic.write_text(config.out / TABLE, _csv([names, *lines]))
    points = [
        [task, str(seed), f"{steps:.0f}", f"{value:.1f}"]
        for (task, seed), curve in curves.items()
        for steps, value in curve
        if np.isfinite(value)
    ]
    atomic.write_text(config.out / CURVES, _csv([["task", "seed", "steps", "episode_return"], *points]))
    draw(curves, config.out / FIGURE)
    record = provenance.run_record("python -m sim.learning.known_task", config, results=rows, preset=benchmark())
    provenance.add_run(config.runs, record)


def draw(curves: dict[tuple[str, int], np.ndarray], path: Path) -> Path:
    """Return over steps of every training, a panel a task, with the published figure as a band."""
    tasks = list(dict.fromkeys(task for task, _ in curves))
    with figure_style.style():
        figure, panels = figure_style.new_figure(1, len(tasks), width=3.6 * len(tasks), height=3.1, squeeze=False)
        for panel, task in zip(panels[0], tasks):
            known = TASKS[task]
            own = {seed: curve for (name, seed), curve in curves.items() if name == task}
            for (seed, curve), colour in zip(own.items(), figure_style.CYCLE):
                panel.plot(curve[:, 0] / 1e3, curve[:, 1], color=colour, label=f"seed {seed}")
            low, high = known.published - known.spread, known.published + known.spread
            panel.axhspan(low, high, color=figure_style.BASELINE, alpha=0.2, linewidth=0)
            panel.axhline(
                known.published, color=figure_style.BASELINE, linestyle="--", label="published, after 1 M steps (± SD)"
            )  # fmt: skip
            panel.set_ylim(bottom=0.0)
            figure_style.label(
                panel, x=("Environment steps", "thousand"), y=("Return, last 100 episodes", ""), title=task
            )
        widest = max(panels[0], key=lambda panel: len(panel.lines))
        figure.legend(*widest.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        return figure_style.save(figure, path)


def _text(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _csv(lines: list[list[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def run() -> None:
    """The command line."""
    import tyro

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for row in main(tyro.cli(KnownTaskConfig, description=__doc__)):
        print(
            f"{row.task}, seed {row.seed}: {row.training_return:.0f} in training, {row.evaluation_return:.0f} without noise, "
            f"published {row.published_return:.0f} ± {row.published_sd:.0f}"
        )


if __name__ == "__main__":
    sys.exit(run_command("known_task", run))
