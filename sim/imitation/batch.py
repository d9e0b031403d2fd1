"""Search of a whole list of clips: one process a core, one clip each, resumable.

`python -m sim.imitation.batch --plan solutions/plan.csv --root DIR --out solutions` tracks every planned stretch on one of the
collection subjects (in turn) and writes one solution file a stretch; those that exist already are left alone. A clip that
cannot be read or tracked is reported and does not stop the others.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from dataset.body.default import make_body
from dataset.body.subjects import SUBJECTS
from dataset.motion.plan import PlannedStretch, planned_motion, read_plan
from dataset.schema import Subject
from sim.humanoid import Humanoid, make_humanoid
from sim.imitation.solution import load_solution, save_solution
from sim.imitation.tracker.clip import RetryConfig
from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.solve import solve

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `python -m sim.imitation.batch`."""

    plan: Path
    """List of stretches (`dataset.motion.plan`)."""
    root: Path
    """Folder of the motion data."""
    out: Path
    """Folder of the solutions."""
    workers: int = 2
    """Processes."""
    seed: int = 0
    """Seed of every search."""
    search: SearchConfig = field(default_factory=lambda: SearchConfig(samples=24))
    """Search settings; cheaper than for a single clip: what fails is searched again harder."""
    retry: RetryConfig = field(default_factory=lambda: RetryConfig(ladder=((1.0, 0), (1.5, 1))))
    """When and how the search goes back."""
    limit: int = 0
    """Stop after this many stretches; 0 for all."""


@dataclass(frozen=True)
class Job:
    """One stretch on one subject."""

    stretch: PlannedStretch
    subject: Subject
    root: Path
    path: Path
    seed: int
    search: SearchConfig
    retry: RetryConfig


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    name: str
    seconds: float
    tracked: float
    wall: float
    failure: str = ""


def solution_path(out: Path, stretch: PlannedStretch, subject: Subject, seed: int) -> Path:
    """File of a stretch's solution."""
    stem = Path(stretch.clip).with_suffix("").as_posix().removeprefix(f"{stretch.source}/").replace("/", "-")
    return out / stretch.source / f"{stem}_{stretch.start_s:.3f}_{subject.name}_{seed}.npz"


@lru_cache(maxsize=len(SUBJECTS))
def _humanoid(subject: Subject) -> Humanoid:
    return make_humanoid(make_body(subject))


def run_job(job: Job) -> Outcome:
    """Read, retarget, search and store one stretch; failures come back as text."""
    name, started = job.path.stem, time.perf_counter()
    try:
        humanoid = _humanoid(job.subject)
        motion = planned_motion(job.stretch, job.root, humanoid.body)
        solution = solve(humanoid, motion, seed=job.seed, search=job.search, retry=job.retry)
        save_solution(job.path, solution)
    except ValueError as error:
        return Outcome(name, job.stretch.duration, 0.0, time.perf_counter() - started, str(error))
    knots = sum(len(stretch.offsets) - 1 for stretch in solution.stretches)
    return Outcome(name, job.stretch.duration, knots / 15.0, time.perf_counter() - started)


def jobs(config: Config) -> Iterator[Job]:
    """Stretches still to do, each with the subject that its place in the list gives it."""
    for place, stretch in enumerate(read_plan(config.plan)):
        subject = SUBJECTS[place % len(SUBJECTS)]
        path = solution_path(config.out, stretch, subject, config.seed)
        if path.exists():
            load_solution(path)
            continue
        yield Job(stretch, subject, config.root, path, config.seed, config.search, config.retry)


def main(config: Config) -> list[Outcome]:
    """Track the list; returns what became of each stretch."""
    from tqdm import tqdm

    todo = list(jobs(config))[: config.limit or None]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    outcomes: list[Outcome] = []
    with (
        get_context("spawn").Pool(config.workers, maxtasksperchild=None) as pool,
        tqdm(total=round(sum(job.stretch.duration for job in todo)), unit="s", desc="tracking") as bar,
    ):
        for outcome in pool.imap_unordered(run_job, todo):
            outcomes.append(outcome)
            bar.update(round(outcome.seconds))
            share = 100.0 * outcome.tracked / max(outcome.seconds, 1e-9)
            bar.write(f"{outcome.name}: {share:.0f} % in {outcome.wall / outcome.seconds:.1f} s/s {outcome.failure}")
    return outcomes


if __name__ == "__main__":
    import tyro

    logging.basicConfig(level=logging.WARNING)
    main(tyro.cli(Config))
