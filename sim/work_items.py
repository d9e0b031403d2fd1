"""What a collection has to do: every clip on every subject with every seed, or each clip on one subject in turn.

A clip is named by where it comes from: `embedded` (the 15 clips everybody can have), `embedded/walk` (one of them), a motion
file, a folder of motion files, or a list of stretches (`.csv`, `dataset.motion.plan`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import numpy as np

from dataset.body.model import BodyModel
from dataset.motion.embedded import CLIP_NAMES, SOURCE, embedded_clips
from dataset.motion.joint_map import MapReport
from dataset.motion.plan import PlannedStretch, cut, cut_planned, read_plan
from dataset.motion.read import EXTENSIONS, read_motion
from dataset.motion.retarget import retarget
from dataset.motion.screen import MotionReport, screen_motion
from dataset.schema import Motion, Subject

TRACKER: Final = "tracker"
"""The controller of collections: offsets found by search, replayed (`sim.imitation.tracker`)."""
LONGEST_STRETCH = 20.0
"""Usable stretches of a file are cut to pieces no longer than this [s]: what one search and one solution cover."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedClip:
    """A clip on a body, and what its file was found to be."""

    motions: tuple[Motion, ...]
    """Its usable stretches in order of time."""
    mapping: MapReport | None = None
    """How the file's skeleton was understood; None where it is the canonical one."""
    screening: MotionReport | None = None
    """Which frames are left out, and why; None for clips that are taken as they are (embedded, or listed)."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader decided or repaired and which frames are left out, one sentence each."""
        found = self.mapping.notes if self.mapping is not None else ()
        if self.screening is None or not self.screening.complaints:
            return found
        left_out = self.screening.duration - self.screening.usable_duration
        return (*found, f"Left out {left_out:.2f} of {self.screening.duration:.2f} s: {self.screening.complaints}.")


@dataclass(frozen=True, kw_only=True)
class ClipRef:
    """Where a clip is found; small enough to send to another process."""

    source: str
    """Folder or package it comes from."""
    name: str
    """Name inside the source."""
    path: Path | None = None
    """Motion file; None for an embedded clip."""
    planned: PlannedStretch | None = None
    """Stretch of the file that a list asks for; None for all that is usable."""

    @property
    def label(self) -> str:
        """`source/name`."""
        return f"{self.source}/{self.name}"

    def motions(self, body: BodyModel) -> tuple[Motion, ...]:
        """The clip retargeted to a body: its usable stretches in order of time; errors as `load`."""
        return self.load(body).motions

    def load(self, body: BodyModel) -> LoadedClip:
        """The clip retargeted to a body, with the reports of its reader and of the screening.

        Raises:
            ValueError: The file cannot be read, or no stretch of it is usable; the message says which frames and why.
            FileNotFoundError: There is no such file.
        """
        if self.path is None:
            return LoadedClip(motions=(retarget(_embedded()[self.name], body),))
        motion, mapping = read_motion(self.path, source=self.source, rest_joint_pos=body.joint_pos)
        if self.planned is not None:
            return LoadedClip(motions=(cut_planned(self.planned, motion, body),), mapping=mapping)
        report = screen_motion(motion, body)
        if not report.is_usable:
            raise ValueError(f"{self.path}: {report.refusal}")
        retargeted = retarget(motion, body)
        pieces = []
        for first, last in report.stretches:
            start, end = first / report.frame_rate, (last - 1) / report.frame_rate
            edges = np.linspace(start, end, max(1, int(np.ceil((end - start) / LONGEST_STRETCH))) + 1)
            pieces += [cut(retargeted, float(a), float(b), label=self.name) for a, b in pairwise(edges)]
        return LoadedClip(motions=tuple(pieces), mapping=mapping, screening=report)


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """One clip on one subject, driven by one controller with one seed."""

    clip: ClipRef
    """What is imitated."""
    subject: Subject
    """Who imitates."""
    seed: int
    """Seed of the controller's search."""
    controller: str = TRACKER
    """What drives the body. Records of another controller in the same data set are other work."""
    settled: frozenset[str] = frozenset()
    """Stretches of the clip, by `source/name`, that are done already and not asked for again."""

    @property
    def name(self) -> str:
        """Identifier, unique in a collection: start of the names of the sequences it gives."""
        return self.sequence_name(self.clip.label)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What makes it the same work: clip, subject, controller, seed."""
        return self.clip.label, self.subject.name, self.controller, self.seed

    def sequence_name(self, clip: str) -> str:
        """Name of what comes of a stretch, `source/name`, of the clip; that of the tracker's goes without saying."""
        driver = "" if self.controller == TRACKER else f"{self.controller}/"
        return f"{clip}/{self.subject.name}/{driver}{self.seed}"


@lru_cache(maxsize=1)
def _embedded() -> dict[str, Motion]:
    return embedded_clips()


def list_clips(motions: Sequence[str], root: Path | None = None) -> list[ClipRef]:
    """Clips of what a user named, in order.

    Args:
        motions: `embedded`, `embedded/NAME`, a motion file, a folder of motion files, or a list of stretches (`.csv`).
        root: Motion folder that a list's paths are relative to.

    Raises:
        ValueError: A name means nothing, a folder holds no motion file, or a list is given without `root`.
    """
    clips: list[ClipRef] = []
    for entry in motions:
        path = Path(entry)
        if entry == SOURCE or entry.startswith(f"{SOURCE}/"):
            clips += _embedded_refs(entry)
        elif path.suffix.lower() == ".csv":
            clips += _planned_refs(path, root)
        elif path.is_dir():
            files = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in EXTENSIONS and "licen" not in file.name.lower()
            )
            if not files:
                raise ValueError(f"motions: expected motion files ({', '.join(EXTENSIONS)}) in {path}, found none")
            clips += [_file_ref(file, path) for file in files]
        elif path.is_file():
            clips.append(_file_ref(path, path.parent))
        else:
            raise ValueError(
                f"motions: expected {SOURCE}, {SOURCE}/NAME, a motion file, a folder or a .csv list, got {entry!r}, which"
                " does not exist"
            )
    twice = sorted(label for label, count in Counter(clip.label for clip in clips).items() if count > 1)
    if twice:
        raise ValueError(f"motions: expected every clip once, found {twice[0]!r} more than once")
    return clips


def _embedded_refs(entry: str) -> list[ClipRef]:
    names = CLIP_NAMES if entry == SOURCE else (entry.removeprefix(f"{SOURCE}/"),)
    unknown = [name for name in names if name not in CLIP_NAMES]
    if unknown:
        raise ValueError(f"motions: expected one of {', '.join(CLIP_NAMES)} after {SOURCE}/, got {unknown[0]!r}")
    return [ClipRef(source=SOURCE, name=name) for name in names]


def _planned_refs(path: Path, root: Path | None) -> list[ClipRef]:
    if root is None:
        raise ValueError(f"root: expected the motion folder that the paths in {path} are relative to, got none")
    refs = []
    for stretch in read_plan(path):
        stem = Path(stretch.clip).with_suffix("").as_posix()
        refs.append(
            ClipRef(
                source=stretch.source,
                name=f"{stem}@{stretch.start_s:.2f}",
                path=root / stretch.clip,
                planned=stretch,
            )
        )
    return refs


def _file_ref(file: Path, folder: Path) -> ClipRef:
    relative = file.relative_to(folder).with_suffix("")
    if len(relative.parts) == 1:
        return ClipRef(source=folder.resolve().name, name=relative.name, path=file)
    return ClipRef(source=relative.parts[0], name=Path(*relative.parts[1:]).as_posix(), path=file)


def list_items(
    clips: Sequence[ClipRef],
    subjects: Sequence[Subject],
    seeds: Sequence[int],
    pairing: Literal["every", "turn"] = "every",
) -> list[WorkItem]:
    """Work of a collection, clip by clip.

    Args:
        clips: What is imitated.
        subjects: Who imitates.
        seeds: Seeds of the search.
        pairing: `every`: each clip on every subject; `turn`: each clip on one subject, in turn by its place.
    """
    items = []
    for place, clip in enumerate(clips):
        people = subjects if pairing == "every" else (subjects[place % len(subjects)],)
        items += [WorkItem(clip=clip, subject=person, seed=seed) for person in people for seed in seeds]
    return items
