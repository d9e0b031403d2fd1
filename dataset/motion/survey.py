"""A table of all clips of a motion folder: read or refused (why), usable minutes, sliding and penetration.

`python -m dataset.motion.survey --root $IMDYLAB_DATA/motion --out docs/motion_survey.csv` writes the table and a
summary beside it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset.atomic import write_text
from dataset.body.model import BodyModel
from dataset.command_line import run_command
from dataset.motion.joint_map import MapReport
from dataset.motion.read import EXTENSIONS, read_motion
from dataset.motion.retarget import retarget
from dataset.motion.screen import MotionReport, screen_motion
from dataset.motion.tag import motion_tag
from dataset.schema import Motion, Subject

COLUMNS: tuple[str, ...] = (
    "source", "clip", "tag", "frames", "rate_hz", "seconds", "usable_s", "verdict", "reason", "speed_mps", "slide_mps",
    "slide_fraction", "penetration_max_m", "penetration_mean_m", "stance_range_m", "frames_penetrating", "frames_floating",
    "frames_unsupported", "frames_jumping", "convention", "unit", "leg_m", "notes",
)  # fmt: skip
"""Columns of the table; figures as in `dataset.motion.screen.MotionReport`."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `python -m dataset.motion.survey`."""

    root: Path
    """Motion folder; its sub-folders are the sources."""
    out: Path = Path("docs/motion_survey.csv")
    """Table to write; the summary goes beside it as `.md`."""


@dataclass(frozen=True, kw_only=True)
class SurveyedClip:
    """One file of the folder and what became of it."""

    clip: str
    """Path relative to the folder."""
    body: BodyModel
    """Body that it was judged on."""
    frames: int = 0
    """Frames in the file."""
    rate: float = 0.0
    """Frame rate of the file [Hz]."""
    motion: Motion | None = None
    """Retargeted motion; None if it could not be read."""
    report: MotionReport | None = None
    """Judgement; None if it could not be read."""
    mapping: MapReport | None = None
    """Joint mapping of files with their own skeleton."""
    error: str = ""
    """Why it could not be read."""
    duplicate_of: str = ""
    """An earlier clip with the same poses, if any."""


def survey_folder(root: Path) -> Iterator[SurveyedClip]:
    """Reads, retargets to the default adult and judges every motion file, in order of path.

    Raises:
        ValueError: If the folder holds no motion file.
    """
    from tqdm import tqdm

    from dataset.body.default import make_body

    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS and _is_motion(path))
    if not paths:
        raise ValueError(
            f"{root}: expected motion files ({', '.join(EXTENSIONS)}), found none; is it $IMDYLAB_DATA/motion?"
        )
    body = make_body(Subject(name="neutral"))
    seen: dict[str, str] = {}
    for path in tqdm(paths, unit="clip"):
        clip = path.relative_to(root).as_posix()
        try:
            source, mapping = read_motion(path, source=clip.split("/")[0], rest_joint_pos=body.joint_pos)
            motion = retarget(source, body)
            report = screen_motion(source, body)
        except (ValueError, FileNotFoundError) as error:
            yield SurveyedClip(clip=clip, body=body, error=str(error).replace(str(root) + "/", ""))
            continue
        digest = hashlib.sha256(np.round(motion.quat[:, 1:], 4).tobytes()).hexdigest()
        duplicate_of = seen.setdefault(digest, clip)
        yield SurveyedClip(
            clip=clip, body=body, frames=source.num_frames, rate=source.frame_rate, motion=motion, report=report, mapping=mapping,
            duplicate_of="" if duplicate_of == clip else duplicate_of,
        )  # fmt: skip


def _is_motion(path: Path) -> bool:
    """False for licence and readme texts that share an extension with clips."""
    return not any(word in path.name.lower() for word in ("licence", "license", "readme"))


def table_row(item: SurveyedClip) -> dict[str, str]:
    """The clip as a row of the table."""
    row: dict[str, str] = dict.fromkeys(COLUMNS, "")
    row |= {"source": item.clip.split("/")[0], "clip": item.clip}
    if item.motion is None or item.report is None:
        return row | {"verdict": "not read", "reason": item.error}
    report = item.report
    row |= {
        "tag": motion_tag(item.clip, item.motion),
        "frames": str(item.frames),
        "rate_hz": f"{item.rate:.4g}",
        "seconds": f"{report.duration:.2f}",
        "usable_s": f"{report.usable_duration:.2f}",
        "verdict": "duplicate" if item.duplicate_of else "usable" if report.is_usable else "refused",
        "reason": item.duplicate_of or report.refusal,
        "speed_mps": f"{report.speed:.2f}",
        "slide_mps": f"{report.slide_speed:.3f}",
        "slide_fraction": f"{report.slide_fraction:.3f}",
        "penetration_max_m": f"{report.penetration_max:.3f}",
        "penetration_mean_m": f"{report.penetration_mean:.4f}",
        "stance_range_m": f"{report.stance_range:.3f}",
        "frames_penetrating": str(len(report.bad_frames["penetrates"])),
        "frames_floating": str(len(report.bad_frames["floats"])),
        "frames_unsupported": str(len(report.bad_frames["unsupported"])),
        "frames_jumping": str(len(report.bad_frames["jumps"])),
    }
    if item.mapping is not None:
        row |= {
            "convention": item.mapping.convention,
            "unit": item.mapping.unit,
            "leg_m": f"{item.mapping.leg_length:.3f}",
            "notes": "; ".join(item.mapping.notes),
        }
    return row


def summary(rows: list[dict[str, str]]) -> str:
    """Markdown summary of the table by source."""
    lines = [
        "| source | clips | not read | refused | duplicates | minutes read | minutes usable | foot sliding m/s (median) | "
        "deepest point m (median) | stance height spread m (median) |",
        "|-|-|-|-|-|-|-|-|-|-|",
    ]
    for source in (*sorted({row["source"] for row in rows}), "all"):
        mine = [row for row in rows if source in (row["source"], "all")]
        readable = [row for row in mine if row["verdict"] != "not read"]
        verdicts = [row["verdict"] for row in mine]
        counts = [verdicts.count(verdict) for verdict in ("not read", "refused", "duplicate")]
        minutes = sum(float(row["seconds"]) for row in readable) / 60
        usable = sum(float(row["usable_s"]) for row in readable if row["verdict"] == "usable") / 60
        medians = [
            _median([row[name] for row in readable]) for name in ("slide_mps", "penetration_max_m", "stance_range_m")
        ]
        figures = [f"{minutes:.1f}", f"{usable:.1f}", *(f"{value:.3f}" for value in medians)]
        lines.append("| " + " | ".join([source, str(len(mine)), *map(str, counts), *figures]) + " |")
    return "\n".join(lines)


def _median(cells: list[str]) -> float:
    """Median of the cells that hold a number; NaN if none does."""
    values = np.array(cells, dtype=np.float64)
    values = values[~np.isnan(values)]
    return float(np.median(values)) if len(values) else float("nan")


def main(config: Config) -> list[dict[str, str]]:
    """Surveys the folder and writes the table and its summary."""
    rows = [table_row(item) for item in survey_folder(config.root)]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(config.out, text.getvalue())
    write_text(config.out.with_suffix(".md"), _document(rows))
    return rows


def _document(rows: list[dict[str, str]]) -> str:
    refused = [row for row in rows if row["verdict"] in ("not read", "refused")]
    reasons = "\n".join(
        f"| {row['clip']} | {row['seconds']} | {row['reason'].split('; found root')[0]} |" for row in refused
    )
    return (
        "# Survey of the motion data\n\n"
        "Made by `python -m dataset.motion.survey --root $IMDYLAB_DATA/motion --out docs/motion_survey.csv` on the default adult "
        "(neutral, 1.72 m). What each column means: `dataset/motion/survey.py` and `dataset/motion/screen.py`.\n"
        "Refused means that no stretch of 1.5 s (or the whole of a shorter clip) passes the screen: it says that the reference "
        "is not clean, not that a tracker must fail on it.\n\n"
        f"{summary(rows)}\n\n## Clips not used\n\n| clip | seconds | why |\n|-|-|-|\n{reasons}\n"
    )


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(Config, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("survey", run))
