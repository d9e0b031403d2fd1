"""The fixed list of stretches to track: a CSV of source, clip, start_s, end_s, tag.

`python -m dataset.motion.plan --root DIR --out solutions/plan.csv` makes it from the survey of a motion folder;
`read_plan` and `planned_motion` use it.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from dataset import rotation
from dataset.atomic import write_text
from dataset.body.model import BodyModel
from dataset.command_line import run_command
from dataset.kinematics import forward_kinematics
from dataset.motion.embedded import CLIP_NAMES, SOURCE
from dataset.motion.read import read_motion
from dataset.motion.retarget import retarget
from dataset.motion.screen import MotionReport
from dataset.motion.tag import PLAIN_WALK, motion_tag
from dataset.schema import Motion
from dataset.splits import recording_of, unique_seconds

FIELDS = ("source", "clip", "start_s", "end_s", "tag")
SOURCE_MINUTES: Final[dict[str, float]] = {
    "deepmimic": 3.4, "cmu_amc": 3.2, "cmu_bvh": 6.0, "snu_interactive": 7.0, "snu_timecritical": 4.4, "snu_vsports": 7.0,
    "snu_ys2010": 11.0,
}  # fmt: skip
"""Minutes of each source in the list: more of the sources that have more, at least 3 of as many as possible."""
EXCLUDED_TAGS = ("pushed", "lifted", "slope")
"""Other people's hands and sloping ground: forces that the simulated ground cannot give."""


@dataclass(frozen=True, kw_only=True)
class PlannedStretch:
    """One row of the list."""

    source: str
    """Folder under the motion root."""
    clip: str
    """Path of the file relative to the motion root."""
    start_s: float
    """First frame of the stretch, on the file's clock [s]."""
    end_s: float
    """Last frame of the stretch [s]."""
    tag: str
    """What it is (`dataset.motion.tag`)."""

    @property
    def duration(self) -> float:
        """Length [s]."""
        return self.end_s - self.start_s


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A stretch that could be listed, with the figures that rank it."""

    stretch: PlannedStretch
    """The stretch."""
    difficulty: float
    """Larger is harder to track: RMS joint speed plus penalties for sliding, flight and low postures."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `python -m dataset.motion.plan`."""

    root: Path
    """Motion folder (`$IMDYLAB_DATA/motion`)."""
    out: Path = Path("solutions/plan.csv")
    """List to write."""
    max_stretch: float = 20.0
    """Longest stretch [s]."""
    min_stretch: float = 2.0
    """Shortest stretch [s]."""
    minutes: dict[str, float] = dataclasses.field(default_factory=lambda: dict(SOURCE_MINUTES))
    """Minutes wanted of each source."""
    plain_walk_share: float = 0.45
    """Share of plain walking in a source's minutes, where it has that much."""


def read_plan(path: str | Path) -> list[PlannedStretch]:
    """The rows of a list; ValueError names the file, row and what is wrong."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames is None or tuple(reader.fieldnames) != FIELDS:
            raise ValueError(f"{path}: expected columns {', '.join(FIELDS)}, found {reader.fieldnames}")
        rows = []
        for number, row in enumerate(reader, start=2):
            try:
                start, end = float(row["start_s"]), float(row["end_s"])
            except ValueError as error:
                raise ValueError(f"{path}: line {number}: expected times in seconds, found {row}") from error
            rows.append(
                PlannedStretch(source=row["source"], clip=row["clip"], start_s=start, end_s=end, tag=row["tag"])
            )
    return rows


def planned_motion(stretch: PlannedStretch, root: str | Path, body: BodyModel) -> Motion:
    """The stretch on a body: the whole clip is read and retargeted (one floor height), then cut.

    Its name is `stem@start`, unique within the source as long as file stems are.
    """
    motion, _ = read_motion(Path(root) / stretch.clip, source=stretch.source, rest_joint_pos=body.joint_pos)
    return cut_planned(stretch, motion, body)


def cut_planned(stretch: PlannedStretch, motion: Motion, body: BodyModel) -> Motion:
    """The stretch of its file's motion as it was read, on a body; as `planned_motion`."""
    return cut(
        retarget(motion, body), stretch.start_s, stretch.end_s, label=Path(stretch.clip).with_suffix("").as_posix()
    )


def cut(motion: Motion, start_s: float, end_s: float, *, label: str = "") -> Motion:
    """Frames from `start_s` to `end_s` [s], both included; named `label@start`."""
    first = max(0, round(start_s * motion.frame_rate))
    last = min(motion.num_frames - 1, round(end_s * motion.frame_rate))
    if last - first < 1:
        raise ValueError(
            f"{motion.source}/{motion.name}: expected a stretch inside {motion.duration:.2f} s, found {start_s}-{end_s}"
        )
    return dataclasses.replace(
        motion, name=f"{label or motion.name}@{start_s:.2f}", root_pos=motion.root_pos[first : last + 1],
        quat=motion.quat[first : last + 1],
    )  # fmt: skip


def candidates(
    relative_path: str, motion: Motion, report: MotionReport, body: BodyModel, config: Config
) -> list[Candidate]:
    """Usable stretches of one retargeted clip, cut to the longest length allowed."""
    found = []
    source = relative_path.split("/")[0]
    label = relative_path.removesuffix(Path(relative_path).suffix)
    for start, stop in report.stretches:
        length = (stop - 1 - start) / report.frame_rate
        pieces = max(1, int(np.ceil(length / config.max_stretch)))
        edges = np.linspace(start, stop - 1, pieces + 1)
        for first, last in itertools.pairwise(edges):
            begin, end = round(first) / report.frame_rate, round(last) / report.frame_rate
            if end - begin < config.min_stretch:
                continue
            piece = cut(motion, begin, end, label=label)
            if np.ptp(piece.root_pos, axis=0).max() < 0.02 and _joint_speed(piece) < 0.1:
                continue  # a person standing still before the clip begins
            stretch = PlannedStretch(
                source=source,
                clip=relative_path,
                start_s=round(begin, 3),
                end_s=round(end, 3),
                tag=motion_tag(relative_path, piece),
            )
            found.append(Candidate(stretch=stretch, difficulty=_difficulty(piece, body, report)))
    return found


def choose(found: list[Candidate], config: Config) -> list[PlannedStretch]:
    """The list, sources interleaved and easiest first inside each.

    A source gives plain walking up to its share and the easiest of each other tag in turn, until its minutes are full.
    """
    by_source: dict[str, list[Candidate]] = {}
    for item in found:
        if item.stretch.tag not in EXCLUDED_TAGS:
            by_source.setdefault(item.stretch.source, []).append(item)
    chosen: dict[str, list[Candidate]] = {}
    for source, minutes in config.minutes.items():
        tags: dict[str, list[Candidate]] = {}
        for item in sorted(by_source.get(source, []), key=lambda candidate: candidate.difficulty):
            tags.setdefault(item.stretch.tag, []).append(item)
        walks = tags.pop(PLAIN_WALK, [])
        picked: list[Candidate] = []
        walked = total = 0.0
        while total < 60.0 * minutes and (walks or tags):
            if walks and (walked <= config.plain_walk_share * total or not tags):
                picked.append(walks.pop(0))
                walked += picked[-1].stretch.duration
            else:
                tag = next(iter(tags))
                items = tags.pop(tag)  # to the back of the line, so that each kind has its turn
                picked.append(items.pop(0))
                if items:
                    tags[tag] = items
            total += picked[-1].stretch.duration
        chosen[source] = sorted(picked, key=lambda candidate: candidate.difficulty)
    return _interleave(chosen)


def _interleave(chosen: dict[str, list[Candidate]]) -> list[PlannedStretch]:
    """Always the source that is furthest behind in the share of its own seconds."""
    done = dict.fromkeys(chosen, 0.0)
    whole = {source: sum(item.stretch.duration for item in items) for source, items in chosen.items()}
    queues = {source: list(items) for source, items in chosen.items()}
    result = []
    while any(queues.values()):
        source = min((name for name in queues if queues[name]), key=lambda name: done[name] / whole[name])
        item = queues[source].pop(0)
        done[source] += item.stretch.duration
        result.append(item.stretch)
    return result


def _joint_speed(motion: Motion) -> float:
    """RMS over frames and joints of the joint angular speed [rad/s]."""
    speed = rotation.angle_between(motion.quat[:-1, 1:], motion.quat[1:, 1:]) * motion.frame_rate
    return float(np.sqrt(np.mean(speed**2)))


def _difficulty(motion: Motion, body: BodyModel, report: MotionReport) -> float:
    body_pos, _ = forward_kinematics(body.offset, motion.root_pos, motion.quat)
    acceleration = np.diff(motion.root_pos, 2, axis=0) * motion.frame_rate**2
    low = float(np.mean(body_pos[:, 0, 2] < 0.7 * body.joint_pos[0, 2]))
    slide = 0.0 if np.isnan(report.slide_speed) else report.slide_speed
    return _joint_speed(motion) + 0.05 * float(np.sqrt(np.mean(acceleration**2))) + 3.0 * slide + 2.0 * low


def write_plan(rows: list[PlannedStretch], path: Path) -> None:
    """Writes the list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    writer.writerows((row.source, row.clip, f"{row.start_s:.3f}", f"{row.end_s:.3f}", row.tag) for row in rows)
    write_text(path, text.getvalue())


def unique_minutes(rows: list[PlannedStretch]) -> float:
    """Minutes of motion in the list, where what two rows show of one recording counts once."""
    return unique_seconds((row.clip, row.start_s, row.end_s) for row in rows) / 60.0


def summary(rows: list[PlannedStretch]) -> str:
    """Minutes of each source and tag, and of what is there once only, for a person."""
    lines = []
    for key in ("source", "tag"):
        minutes: dict[str, float] = {}
        for row in rows:
            name = str(getattr(row, key))
            minutes[name] = minutes.get(name, 0.0) + row.duration / 60.0
        lines.append(
            ", ".join(f"{name} {value:.1f}" for name, value in sorted(minutes.items(), key=lambda pair: -pair[1]))
        )
    total = sum(row.duration for row in rows) / 60.0
    embedded = {recording_of(f"{SOURCE}/{name}") for name in CLIP_NAMES}
    shared = unique_minutes([row for row in rows if recording_of(row.clip) in embedded])
    return (
        f"{len(rows)} stretches of {len({recording_of(row.clip) for row in rows})} recordings, {total:.1f} min, "
        f"{unique_minutes(rows):.1f} min unique, {shared:.1f} min of them in the {SOURCE} clips too\n"
        f"by source: {lines[0]}\nby tag: {lines[1]}"
    )


def main(config: Config) -> list[PlannedStretch]:
    """Surveys the folder, chooses and writes the list.

    Raises:
        ValueError: If the list is there already: results are reported against a list fixed before the run.
    """
    if config.out.exists():
        raise ValueError(
            f"{config.out}: expected no list there yet (results refer to a fixed one), found one; name another --out"
        )
    from dataset.motion.survey import survey_folder

    found: list[Candidate] = []
    for item in survey_folder(config.root):
        if item.motion is not None and item.report is not None and not item.duplicate_of:
            found += candidates(item.clip, item.motion, item.report, item.body, config)
    rows = choose(found, config)
    write_plan(rows, config.out)
    sys.stderr.write(summary(rows) + "\n")
    return rows


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(Config))


if __name__ == "__main__":
    sys.exit(run_command("plan", run))
