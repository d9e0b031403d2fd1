"""What is in a data set, in numbers: hours, clips, subjects, what was dropped and why, ranges of every field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from dataset.fields import FIELDS, Field
from dataset.schema import FRAME_RATE
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
    by_source: dict[str, Share]
    """Kept data by source (the clip's name up to the first slash), largest first."""
    by_controller: dict[str, Share]
    """Kept data by controller, largest first."""
    dropped: dict[str, Share]
    """What was asked for and failed, by reason, largest first."""
    momentum_median: float
    """Median of the momentum balance over all transitions [body weights]."""
    momentum_p95: float
    """Its 95th percentile [body weights]."""
    closure_max: float
    """Largest residual of the equations of motion [body weights]."""

    @property
    def success(self) -> float:
        """Kept share of the duration that was asked for."""
        asked = self.seconds + sum(share.seconds for share in self.dropped.values())
        return self.seconds / asked if asked else 0.0


def summarize(store: Store) -> Summary:
    """Contents of a data set; reads manifests and the two small fields of physics residuals only."""
    kept = [(info, (info.num_frames - 1) / FRAME_RATE) for info in store.sequences]
    momentum = np.concatenate([np.empty(0), *store.fields("momentum_error")])
    closure = np.concatenate([np.empty(0), *store.fields("closure_error")])
    return Summary(
        sequences=len(store),
        seconds=store.seconds,
        shards=len(store.shards),
        incomplete=len(store.incomplete),
        num_bytes=sum(shard.num_bytes for shard in store.shards),
        content=store.content,
        subjects=len(store.subjects),
        clips=len({info.clip for info in store.sequences}),
        by_source=_group((info.clip.split("/", 1)[0], seconds) for info, seconds in kept),
        by_controller=_group((info.controller or "unnamed", seconds) for info, seconds in kept),
        dropped=_group((item.reason, item.seconds) for item in store.dropped),
        momentum_median=float(np.median(momentum)) if momentum.size else float("nan"),
        momentum_p95=float(np.quantile(momentum, 0.95)) if momentum.size else float("nan"),
        closure_max=float(closure.max(initial=0.0)),
    )


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
