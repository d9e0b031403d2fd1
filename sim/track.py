"""Make the simulated humanoid imitate clips and say how well it does.

`python -m sim.track walk run` searches (or replays, where a stored solution fits) and prints a row a clip; `python -m sim.track
embedded` takes all 15 embedded clips; a clip may also be a motion file. `--view` writes an animation of the imitation beside its
reference. Solutions are kept under `--solutions`. Whether a clip is complete is judged on the replay that is shown, against the
motion.
"""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from dataset.atomic import write_text
from dataset.body.default import make_body
from dataset.body.subjects import SUBJECTS, subject_by_name
from dataset.command_line import run_command
from dataset.schema import Motion
from sim.humanoid import Humanoid, make_humanoid
from sim.imitate_clip import StoredSolutions, find_solutions
from sim.imitation.assess import Assessment, assess, is_tracked_throughout
from sim.imitation.solution import Solution, body_hash, load_solution, motion_hash, save_solution
from sim.imitation.tracker.clip import RetryConfig
from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.reference import ReferenceTrajectory, make_reference
from sim.imitation.tracker.solve import Replay, replay, solve
from sim.work_items import ClipRef, list_clips


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `python -m sim.track`."""

    clips: Annotated[tuple[str, ...], tyro.conf.Positional] = ("walk",)
    """Names of embedded clips, `embedded` for all of them, or motion files."""
    subjects: tuple[str, ...] = (SUBJECTS[0].name,)
    """Who imitates (`dataset.body.subjects`); each imitates every clip."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds tried in turn until the clip is complete."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """Search settings."""
    planner: str = ""
    """Device on which `mujoco_warp` plans (`cuda`, `cuda:N`, `cpu`), with hundreds of `search.samples`; empty for MuJoCo here."""
    retry: RetryConfig = field(default_factory=RetryConfig)
    """When the search goes back, and the error below which a clip counts as tracked."""
    solutions: Path = Path("solutions/embedded")
    """Where solutions are looked for and kept."""
    is_fresh: bool = False
    """Search even where a stored solution fits."""
    workers: int = 0
    """Processes, one clip each; 0 for one a core."""
    table: Path | None = None
    """CSV file for the table."""
    view: bool = False
    """Write an HTML animation of each imitation beside its reference."""
    out: Path = Path("out/track")
    """Folder of the animations."""
    explain: bool = False
    """Also print which joint of a file drives which body."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    clip: str
    """Name."""
    subject: str
    """Who imitates."""
    is_complete: bool
    """The replay follows the motion from its first to its last frame (`sim.imitation.assess.is_tracked_throughout`)."""
    is_exact: bool
    """At each second the replay's state is bit for bit the search's; without it another build or processor computed it."""
    tracked: float
    """Seconds tracked."""
    seconds: float
    """Length of the clip [s]."""
    retries: int
    """Times the search went back, over all seeds tried."""
    search_rate: float
    """Wall time of the search a second of motion on one core [s/s], all seeds searched now; 0 where stored ones did."""
    assessment: Assessment | None
    """Figures of the longest stretch; None if nothing was tracked."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Attempt:
    """A solution and what it does here."""

    solution: Solution
    parts: list[Replay]
    is_complete: bool

    @property
    def is_exact(self) -> bool:
        return all(part.exact_seconds == len(part.stretch.state_hash) for part in self.parts)

    @property
    def tracked(self) -> float:
        """Seconds tracked."""
        return sum(part.trace.num_substeps * part.trace.substep for part in self.parts)


def _attempt(
    config: Config, humanoid: Humanoid, motion: Motion, reference: ReferenceTrajectory, solution: Solution
) -> _Attempt:
    parts = replay(humanoid, motion, solution)
    is_complete = is_tracked_throughout(humanoid, reference, solution, parts, config.retry.success_error)
    return _Attempt(solution=solution, parts=parts, is_complete=is_complete)


def _solve_or_load(
    config: Config, humanoid: Humanoid, motion: Motion, reference: ReferenceTrajectory, stored: StoredSolutions
) -> tuple[_Attempt, int, float]:
    """The best attempt, how often the searches went back, and their wall time [s].

    Stored solutions first, in the order of the seeds: a complete one ends it. Then the seeds are searched of which there is none,
    or one that this machine does not reproduce.
    """
    key = (motion_hash(motion), body_hash(humanoid.body, humanoid.config))
    attempts: list[_Attempt] = []
    seeds = list(config.seeds)
    for seed in config.seeds if not config.is_fresh else ():
        if (*key, seed) in stored:
            attempts.append(_attempt(config, humanoid, motion, reference, load_solution(stored[(*key, seed)])))
            if attempts[-1].is_complete:
                return attempts[-1], 0, 0.0
            if attempts[-1].is_exact:
                seeds.remove(seed)
    wall, retries, searched = 0.0, 0, []
    for seed in seeds:
        started = time.perf_counter()
        solution = solve(humanoid, motion, seed=seed, search=config.search, retry=config.retry, planner=config.planner)
        wall, retries = wall + time.perf_counter() - started, retries + solution.num_retries
        searched.append(_attempt(config, humanoid, motion, reference, solution))
        if searched[-1].is_complete:
            break
    best = max((*searched, *attempts), key=lambda attempt: (attempt.is_complete, attempt.tracked))
    if any(best is attempt for attempt in searched):
        save_solution(_solution_file(config.solutions, motion, best.solution), best.solution)
    return best, retries, wall


def _solution_file(folder: Path, motion: Motion, solution: Solution) -> Path:
    """Where a solution is kept: its name says clip, subject and seed, and a part of the hash if another motion has the name."""
    name = f"{motion.name.replace('/', '-')}_{solution.subject.name}_{solution.seed}"
    file = folder / f"{name}.npz"
    try:
        is_free = not file.exists() or load_solution(file).motion_hash == solution.motion_hash
    except ValueError:  # a damaged file, which was warned of when the folder was read
        is_free = True
    return file if is_free else folder / f"{name}_{solution.motion_hash[:8]}.npz"


def track_motion(config: Config, humanoid: Humanoid, motion: Motion, stored: StoredSolutions) -> Row:
    """Imitate one motion that is already on the subject's body; search only if no stored solution follows it."""
    reference = make_reference(humanoid, motion)
    best, retries, wall = _solve_or_load(config, humanoid, motion, reference, stored)
    longest = max(best.parts, key=lambda part: part.trace.num_substeps, default=None)
    if config.view and longest is not None:
        from sim.track_view import write_track_view

        page = f"{motion.name.replace('/', '-')}_{humanoid.body.subject.name}.html"
        write_track_view(config.out / page, humanoid, reference, longest)
    return Row(
        clip=motion.name, subject=humanoid.body.subject.name, is_complete=best.is_complete, is_exact=best.is_exact,
        tracked=best.tracked, seconds=motion.duration, retries=retries or best.solution.num_retries,
        search_rate=wall / motion.duration, assessment=None if longest is None else assess(humanoid, reference, longest),
    )  # fmt: skip


def _run(arguments: tuple[Config, ClipRef, str, StoredSolutions]) -> tuple[list[Row], list[str], str | None]:
    """Rows of a clip's stretches on one subject, what there is to say about its file, and why it was refused if it was."""
    config, clip, subject, stored = arguments
    try:
        rows, said = _track_clip(config, clip, subject, stored)
    except (ValueError, OSError) as error:
        return [], [], f"{clip.label} on {subject}: {error}"
    return rows, said, None


def _track_clip(config: Config, clip: ClipRef, subject: str, stored: StoredSolutions) -> tuple[list[Row], list[str]]:
    humanoid = make_humanoid(make_body(subject_by_name(subject)))
    loaded = clip.load(humanoid.body)
    said = [f"{clip.label}: {note}" for note in loaded.notes]
    if config.explain and loaded.mapping is not None:
        said.append(f"{clip.label}: {loaded.mapping.as_text()}")
    return [track_motion(config, humanoid, motion, stored) for motion in loaded.motions], said


COLUMNS = (
    "clip", "subject", "complete", "exact", "tracked_s", "clip_s", "error_mm", "median_mm", "max_mm", "relative_mm",
    "force_mean_bw", "peak_left_bw", "peak_right_bw", "strides_left", "strides_right", "stance_left", "stance_right",
    "peak1_left_bw", "peak1_right_bw", "valley_left_bw", "valley_right_bw", "peak2_left_bw", "peak2_right_bw", "r_hip",
    "r_knee", "r_ankle", "r_hip_followed", "r_knee_followed", "r_ankle_followed", "roughness", "retries", "search_s_per_s",
)  # fmt: skip
"""Columns of the table. `r_*`: torque correlation with inverse dynamics of the motion; `r_*_followed`: of the filtered one."""


PER_FOOT = ("stance_share", "first_peak", "valley", "second_peak")
"""Figures of `FootSteps` that have a column for each foot, in the columns' order."""


def _cells(row: Row) -> list[str]:
    cells = [row.clip, row.subject, *("yes" if value else "no" for value in (row.is_complete, row.is_exact))]
    cells += [f"{row.tracked:.2f}", f"{row.seconds:.2f}"]
    figures = row.assessment
    if figures is None:
        cells += ["-"] * (len(COLUMNS) - len(cells) - 2)
    else:
        millimetres = (figures.error_mm, figures.error_median_mm, figures.error_max_mm, figures.relative_error_mm)
        cells += [f"{value:.0f}" for value in millimetres]
        cells += [_decimal(value) for value in (figures.force_mean, *figures.foot_peak)]
        cells += [str(foot.strides) for foot in figures.feet]
        of_feet = ([getattr(foot, name) for foot in figures.feet] for name in PER_FOOT)
        cells += [_decimal(value) for pair in of_feet for value in pair]
        correlations = (*figures.torque_correlation, *figures.followed_correlation)
        cells += [_decimal(value) for value in (*correlations, figures.roughness)]
    return [*cells, str(row.retries), f"{row.search_rate:.1f}"]


def _decimal(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


def print_table(rows: list[Row], file: Path | None = None) -> None:
    """Print the table, and write it as CSV if a file is given."""
    cells = [list(COLUMNS), *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    if file is not None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(cells)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text.getvalue())


def main(config: Config) -> list[Row]:
    """Imitate the clips and return their rows in order."""
    from tqdm import tqdm

    subjects = tuple(dict.fromkeys(config.subjects))
    if not subjects or not config.clips:
        raise ValueError(f"--subjects, clips: expected at least one of each, got {subjects} and {config.clips}")
    for name in subjects:
        subject_by_name(name)
    names = {clip.label.rsplit("/", 1)[-1]: clip for clip in list_clips(("embedded",))}
    clips: list[ClipRef] = []
    for name in config.clips:
        clips += [names[name]] if name in names else list_clips((name,))
    stored = find_solutions([config.solutions])
    workers = min(config.workers or os.cpu_count() or 1, len(clips) * len(subjects))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    work = [(config, clip, subject, stored) for subject in subjects for clip in clips]
    rows: list[Row] = []
    refused: list[str] = []
    with tqdm(total=len(work), unit="clip", desc="tracking", file=sys.stderr) as bar, ExitStack() as stack:
        finished = map(_run, work)
        if workers > 1:
            finished = stack.enter_context(get_context("spawn").Pool(workers)).imap(_run, work)
        for some, said, problem in finished:
            rows += some
            refused += [problem] if problem else []
            for line in said:
                bar.write(line, file=sys.stderr)
            bar.update()
    if rows or not refused:
        print_table(rows, config.table)
    if refused:
        raise ValueError("\n".join(refused))
    return rows


def run() -> None:
    """The command line."""
    main(tyro.cli(Config, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("track", run))
