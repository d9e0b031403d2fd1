"""What is in a data set, in numbers: hours, clips, subjects, what was dropped and why, ranges of every field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from dataset.fields import FIELDS, Field
from dataset.manifest import FAILURES, LANDING, Dropped
from dataset.schema import FRAME_RATE
from dataset.splits import recording_of, unique_seconds
from dataset.stats import RunningStats
from dataset.store import Store

_ROWS_AT_ONCE = 1 << 15


@dataclass(frozen=True, kw_only=True)
class Share:
    """Part of a data set."""

    sequences: int
    """Number of sequences (or of dropped stretches)."""
    seconds: float
    """Their duration [s]."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """How much of what was asked for is in the data; one stretch of motion on one subject with one seed counts one."""

    kept: float
    """Duration in the data [s]."""
    asked: float
    """Duration asked for without the landings at the start [s]: kept and lost; nothing is known of what was never read."""
    stretches: int
    """Stretches asked for."""
    whole: int
    """Those that lost nothing but the landing."""
    failed: int
    """Those nothing came of for one of `dataset.manifest.FAILURES`."""

    @property
    def rate(self) -> float:
        """Kept share of the duration asked for; 0 where nothing was."""
        return self.kept / self.asked if self.asked else 0.0

    def as_text(self) -> str:
        """For a person."""
        failed = f", {self.failed} failed before they were tracked" if self.failed else ""
        return (
            f"{self.kept / 60:.2f} of {self.asked / 60:.2f} min = {100 * self.rate:.1f} % kept,"
            f" {self.whole} of {self.stretches} stretches whole{failed}"
        )


@dataclass(frozen=True, kw_only=True)
class FieldRange:
    """Values of one field over all sequences and components."""

    field: Field
    """Which field."""
    min: float
    """Least finite value."""
    mean: float
    """Mean of finite values."""
    max: float
    """Greatest finite value."""
    finite: float
    """Share of values that are finite (a centre of pressure exists only under load)."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Contents of a data set."""

    sequences: int
    """Number of sequences."""
    seconds: float
    """Duration of all transitions [s]."""
    shards: int
    """Complete shards."""
    incomplete: int
    """Half-written shards, ignored."""
    num_bytes: int
    """Size of all arrays."""
    content: str
    """Identity of the data."""
    subjects: int
    """Different people."""
    clips: int
    """Different motions."""
    recordings: int
    """Different recordings: stretches and copies of one under several names count once (`dataset.splits`)."""
    unique_seconds: float
    """Duration of the recorded motion [s], whatever number of subjects and seeds imitated it and from whichever copy."""
    by_controller: dict[str, Share]
    """Kept data by controller, largest first."""
    completion: dict[str, Completion]
    """How much of each source is there."""
    landing: Share
    """Cut at the start of stretches, where the body lands on the floor; no failure."""
    dropped: dict[str, Share]
    """What was asked for and failed, by reason, largest first; what failed once and is there now does not count."""
    momentum_median: float
    """Median of the momentum balance over all transitions [body weights]."""
    momentum_p95: float
    """Its 95th percentile [body weights]."""
    closure_max: float
    """Largest residual of the equations of motion [body weights]."""

    @property
    def success(self) -> float:
        """Kept share of the duration that was asked for, landings left out."""
        asked = self.seconds + sum(share.seconds for share in self.dropped.values())
        return self.seconds / asked if asked else 0.0


def summarize(store: Store) -> Summary:
    """Contents of a data set; reads manifests and the two small fields of physics residuals only."""
    kept = [(info, (info.num_frames - 1) / FRAME_RATE) for info in store.sequences]
    momentum = np.concatenate([np.empty(0), *store.fields("momentum_error")])
    closure = np.concatenate([np.empty(0), *store.fields("closure_error")])
    lost = standing_losses(store)
    landing = [item.seconds for item in lost if item.reason == LANDING]
    return Summary(
        sequences=len(store),
        seconds=store.seconds,
        shards=len(store.shards),
        incomplete=len(store.incomplete),
        num_bytes=sum(shard.num_bytes for shard in store.shards),
        content=store.content,
        subjects=len(store.subjects),
        clips=len({info.clip for info in store.sequences}),
        recordings=len({recording_of(info.clip) for info in store.sequences}),
        unique_seconds=unique_seconds(
            (info.clip, info.clip_start, info.clip_start + seconds) for info, seconds in kept
        ),
        by_controller=_group((info.controller or "unnamed", seconds) for info, seconds in kept),
        completion=completion(store),
        landing=Share(sequences=len(landing), seconds=sum(landing)),
        dropped=_group((item.reason, item.seconds) for item in lost if item.reason != LANDING),
        momentum_median=float(np.median(momentum)) if momentum.size else float("nan"),
        momentum_p95=float(np.quantile(momentum, 0.95)) if momentum.size else float("nan"),
        closure_max=float(closure.max(initial=0.0)),
    )


def standing_losses(store: Store) -> list[Dropped]:
    """Losses of a store without the failures that a later run made good, or that several runs met."""
    kept = {(info.clip, info.subject.name, info.seed) for info in store.sequences}
    losses = list(dict.fromkeys(store.dropped))
    tried = kept | {_key(item) for item in losses if item.reason not in FAILURES}
    tried |= {(clip.rsplit("@", 1)[0], *rest) for clip, *rest in tried}  # a file that failed as a whole
    standing, failed = [], set()
    for item in losses:
        if item.reason in FAILURES:
            if _key(item) in tried or _key(item) in failed:
                continue
            failed.add(_key(item))
        standing.append(item)
    return standing


def _key(item: Dropped) -> tuple[str, str, int]:
    return item.clip, item.subject, item.seed


def completion(store: Store) -> dict[str, Completion]:
    """How much of each source (a clip's name up to the first slash) is in a store, over all runs that filled it."""
    kept: defaultdict[tuple[str, str, int], float] = defaultdict(float)
    for info in store.sequences:
        kept[info.clip, info.subject.name, info.seed] += (info.num_frames - 1) / FRAME_RATE
    lost: defaultdict[tuple[str, str, int], list[Dropped]] = defaultdict(list)
    for item in standing_losses(store):
        if item.reason != LANDING:
            lost[_key(item)].append(item)
    sources: defaultdict[str, list[tuple[float, list[Dropped]]]] = defaultdict(list)
    for key in dict.fromkeys((*kept, *lost)):
        sources[key[0].split("/", 1)[0]].append((kept.get(key, 0.0), lost.get(key, [])))
    return {
        source: Completion(
            kept=sum(seconds for seconds, _ in stretches),
            asked=sum(seconds + sum(item.seconds for item in losses) for seconds, losses in stretches),
            stretches=len(stretches),
            whole=sum(not losses for _, losses in stretches),
            failed=sum(bool(losses) and all(item.reason in FAILURES for item in losses) for _, losses in stretches),
        )
        for source, stretches in sorted(sources.items())
    }


def _group(items: Iterable[tuple[str, float]]) -> dict[str, Share]:
    counts: defaultdict[str, list[float]] = defaultdict(list)
    for key, seconds in items:
        counts[key].append(seconds)
    shares = {key: Share(sequences=len(values), seconds=sum(values)) for key, values in counts.items()}
    return dict(sorted(shares.items(), key=lambda entry: (-entry[1].seconds, entry[0])))


def field_ranges(
    store: Store, *, progress: Callable[[Iterable[Field]], Iterable[Field]] = lambda fields: fields
) -> list[FieldRange]:
    """Least, mean and greatest value of every field; reads all data once.

    Args:
        store: Data set.
        progress: Wraps the fields, for a progress bar.
    """
    ranges = []
    for field in progress(FIELDS):
        stats = RunningStats()
        for array in store.fields(field.name):
            for start in range(0, len(array), _ROWS_AT_ONCE):
                stats.add(np.asarray(array[start : start + _ROWS_AT_ONCE]).reshape(-1))
        seen = int(stats.count)
        ranges.append(
            FieldRange(
                field=field,
                min=float(stats.min) if seen else float("nan"),
                mean=float(stats.mean) if seen else float("nan"),
                max=float(stats.max) if seen else float("nan"),
                finite=seen / max(seen + int(stats.num_skipped), 1),
            )
        )
    return ranges
