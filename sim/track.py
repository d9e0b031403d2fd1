"""Make the simulated humanoid imitate clips and say how well it does.

`python -m sim.track walk run` searches (or replays, where a stored solution fits) and prints a row a clip; `python -m sim.track
embedded` takes all 15 embedded clips; a clip may also be a motion file. `--view` writes an animation of the imitation beside its
reference. Solutions are kept under `--solutions`.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import sys
import time
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import tyro

from dataset.body.default import make_body
from dataset.body.subjects import SUBJECTS, subject_by_name
from dataset.schema import Motion
from sim.humanoid import Humanoid, make_humanoid
from sim.imitate_clip import StoredSolutions, find_solutions
from sim.imitation.assess import Assessment, assess
from sim.imitation.solution import Solution, body_hash, load_solution, motion_hash, save_solution
from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.reference import make_reference
from sim.imitation.tracker.solve import replay, solve
from sim.work_items import ClipRef, list_clips


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `python -m sim.track`."""

    clips: Annotated[tuple[str, ...], tyro.conf.Positional] = ("walk",)
    """Names of embedded clips, `embedded` for all of them, or motion files."""
    subject: str = SUBJECTS[0].name
    """Who imitates (`dataset.body.subjects`)."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds tried in turn until the clip is complete."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """Search settings."""
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


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    clip: str
    """Name."""
    is_complete: bool
    """One stretch covers the clip with the mean body error below 0.5 m throughout."""
    tracked: float
    """Seconds tracked."""
    seconds: float
    """Length of the clip [s]."""
    retries: int
    """Times the search went back, over all seeds tried."""
    search_rate: float
    """Wall time of the search a second of motion on one core [s/s], all seeds tried; 0 where a stored solution was replayed."""
    assessment: Assessment | None
    """Figures of the longest stretch; None if nothing was tracked."""


def _solve_or_load(
    config: Config, humanoid: Humanoid, motion: Motion, stored: StoredSolutions
) -> tuple[Solution, int, float]:
    """The solution, how often its search went back, and the wall time of the search [s]."""
    key = (motion_hash(motion), body_hash(humanoid.body, humanoid.config))
    started, retries, best = time.perf_counter(), 0, None
    for seed in config.seeds:
        if not config.is_fresh and (*key, seed) in stored:
            return load_solution(stored[(*key, seed)]), 0, 0.0
    for seed in config.seeds:
        solution = solve(humanoid, motion, seed=seed, search=config.search)
        retries += solution.num_retries
        if best is None or sum(len(s.offsets) for s in solution.stretches) > sum(
            len(s.offsets) for s in best.stretches
        ):
            best = solution
        if solution.is_complete:
            break
    assert best is not None
    save_solution(config.solutions / f"{motion.name.replace('/', '-')}_{config.subject}_{best.seed}.npz", best)
    return best, retries, time.perf_counter() - started


def track_motion(config: Config, humanoid: Humanoid, motion: Motion, stored: StoredSolutions) -> Row:
    """Imitate one motion that is already on the subject's body; search only if no stored solution fits."""
    solution, retries, wall = _solve_or_load(config, humanoid, motion, stored)
    reference = make_reference(humanoid, motion)
    parts = replay(humanoid, motion, solution)
    longest = max(parts, key=lambda part: part.trace.num_substeps, default=None)
    if config.view and longest is not None:
        from sim.track_view import write_track_view

        write_track_view(config.out / f"{motion.name.replace('/', '-')}.html", humanoid, reference, longest)
    return Row(
        clip=motion.name, is_complete=solution.is_complete, seconds=motion.duration, retries=retries or solution.num_retries,
        tracked=sum(part.trace.num_substeps * part.trace.substep for part in parts), search_rate=wall / motion.duration,
        assessment=None if longest is None else assess(humanoid, reference, longest),
    )  # fmt: skip


def _run(arguments: tuple[Config, ClipRef, StoredSolutions]) -> list[Row]:
    config, clip, stored = arguments
    humanoid = make_humanoid(make_body(subject_by_name(config.subject)))
    return [track_motion(config, humanoid, motion, stored) for motion in clip.motions(humanoid.body)]


COLUMNS = (
    "clip", "complete", "tracked_s", "clip_s", "error_mm", "median_mm", "max_mm", "relative_mm", "force_mean_bw",
    "peak_left_bw", "peak_right_bw", "stance_left", "stance_right", "r_hip", "r_knee", "r_ankle", "roughness", "retries",
    "search_s_per_s",
)  # fmt: skip


def _cells(row: Row) -> list[str]:
    cells = [row.clip, "yes" if row.is_complete else "no", f"{row.tracked:.2f}", f"{row.seconds:.2f}"]
    figures = row.assessment
    if figures is None:
        cells += ["-"] * 13
    else:
        millimetres = (figures.error_mm, figures.error_median_mm, figures.error_max_mm, figures.relative_error_mm)
        cells += [f"{value:.0f}" for value in millimetres]
        shares = (
            figures.force_mean, *figures.foot_peak, *figures.stance_share, *figures.torque_correlation, figures.roughness,
        )  # fmt: skip
        cells += [f"{value:.2f}" for value in shares]
    return [*cells, str(row.retries), f"{row.search_rate:.1f}"]


def print_table(rows: list[Row], file: Path | None = None) -> None:
    """Print the table, and write it as CSV if a file is given."""
    cells = [list(COLUMNS), *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(cells)


def main(config: Config) -> list[Row]:
    """Imitate the clips and return their rows in order."""
    from tqdm import tqdm

    names = {clip.label.rsplit("/", 1)[-1]: clip for clip in list_clips(("embedded",))}
    clips: list[ClipRef] = []
    for name in config.clips:
        clips += [names[name]] if name in names else list_clips((name,))
    stored = find_solutions([config.solutions])
    workers = min(config.workers or os.cpu_count() or 1, len(clips))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    work = [(dataclasses.replace(config), clip, stored) for clip in clips]
    rows: list[Row] = []
    with tqdm(total=len(work), unit="clip", desc="tracking", file=sys.stderr) as bar:
        if workers == 1:
            for item in work:
                rows += _run(item)
                bar.update()
        else:
            with get_context("spawn").Pool(workers) as pool:
                for some in pool.imap(_run, work):
                    rows += some
                    bar.update()
    print_table(rows, config.table)
    return rows


if __name__ == "__main__":
    main(tyro.cli(Config))
