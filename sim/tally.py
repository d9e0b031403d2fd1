"""Running totals of a collection: what was asked for, kept and lost, and how fast."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from dataset.manifest import LANDING
from dataset.schema import FRAME_RATE
from sim.imitate_clip import ItemOutcome
from sim.record import RecordReport
from sim.work_items import WorkItem


@dataclass(kw_only=True)
class Tally:
    """Running totals of one run of a collection."""

    items: int = 0
    """Work items finished."""
    asked: float = 0.0
    """Length of their clips [s]."""
    complete: int = 0
    """Items that are whole."""
    searched: float = 0.0
    """Seconds of clip searched."""
    search_wall: float = 0.0
    """Process time of the search [s]."""
    substeps: int = 0
    """Physics substeps replayed."""
    replay_wall: float = 0.0
    """Process time of replaying and recording [s]."""
    inexact: int = 0
    """Stretches whose replay left the searched states."""

    def __post_init__(self) -> None:
        self.report = RecordReport()
        self.lost: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        self.by_source: defaultdict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.errors: dict[str, str] = {}
        self.notes: dict[str, tuple[str, ...]] = {}

    def add(self, item: WorkItem, outcome: ItemOutcome) -> None:
        """Count one item in."""
        self.items += 1
        self.complete += outcome.is_complete
        for name in ("asked", "searched", "search_wall", "substeps", "replay_wall", "inexact"):
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        self.report.add(outcome.report)
        source = self.by_source[item.clip.source]
        source["items"] += 1
        source["complete"] += outcome.is_complete
        source["asked_s"] += outcome.asked
        source["kept_s"] += outcome.report.kept / FRAME_RATE
        self.lost.update({loss.reason for loss in outcome.dropped} - {LANDING})  # every stretch lands: no loss
        self.warnings.update(outcome.warnings)
        if outcome.notes:
            self.notes[item.clip.label] = outcome.notes
        if outcome.error:
            self.errors[item.name] = outcome.error

    @property
    def steps_per_second(self) -> float:
        """Substeps replayed and recorded per second of one process."""
        return self.substeps / self.replay_wall if self.replay_wall else 0.0

    def result(self) -> dict[str, Any]:
        """For `run.json`: totals of this run, physics figures, each source, each failure."""
        return {
            "items": self.items,
            "complete": self.complete,
            "asked_s": round(self.asked, 3),
            **self.report.summary(),
            "by_source": {name: dict(values) for name, values in sorted(self.by_source.items())},
            "items_by_loss": dict(self.lost),
            "searched_s": round(self.searched, 3),
            "search_s_per_s": self.search_wall / self.searched if self.searched else None,
            "replay_substeps_per_s": round(self.steps_per_second),
            "inexact_stretches": self.inexact,
            "engine_warnings": dict(self.warnings),
            "errors": self.errors,
            "notes": self.notes,
        }
