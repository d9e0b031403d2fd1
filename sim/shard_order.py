"""Finished work items in the order of the work, cut into shards: the data depend on the work alone.

Items finish in any order, on any number of workers, and a collection may be stopped anywhere. A shard is a run of adjacent items
of the list of work, cut where it holds `shard_seconds` of records, and it is written only when whole. So what a stop loses is
done again into the same shards, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataset.manifest import Dropped
from dataset.schema import FRAME_RATE
from dataset.store import Store
from sim.imitate_clip import ItemOutcome

DUPLICATE = "duplicate"
"""Reason of a record that is in the data already under another name: same solution, subject, seed, start and perturbation."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A work item that is done."""

    place: int
    """Its number in the list of work."""
    outcome: ItemOutcome
    """What became of it; `kept` may be empty where the records stay where they were made."""
    records: Any
    """Its records, or a handle that the pool knows."""


@dataclass(kw_only=True)
class Block:
    """What makes up one shard."""

    records: list[Any] = field(default_factory=list)
    """Records of each item, or handles, in the order of the work."""
    left_out: set[str] = field(default_factory=set)
    """Names of records that are not stored."""
    dropped: list[Dropped] = field(default_factory=list)
    """Stretches that failed and that the data set does not know yet."""
    num_kept: int = 0
    """Transitions in the records."""
    last: int = -1
    """Place of its last item."""


class ShardOrder:
    """Puts finished items in order and gives the blocks that are whole.

    Args:
        places: Numbers of the items that are to be done, ascending.
        store: What is there already: a loss that it knows is not stored twice, a record that it has not at all.
        shard_seconds: Recorded time after which a block ends [s].
    """

    def __init__(self, places: Sequence[int], store: Store, shard_seconds: float) -> None:
        self._places = list(places)
        self._limit = shard_seconds * FRAME_RATE
        self._known = set(store.dropped)
        self._names = {info.name for info in store.sequences}
        self._records = {info.record_key: info.name for info in store.sequences if info.record_key}
        self._waiting: dict[int, Finished] = {}
        self._next = 0
        self._block = Block()

    @property
    def num_ordered(self) -> int:
        """Items that are in blocks."""
        return self._next

    def put(self, item: Finished) -> Iterator[Block]:
        """Take a finished item; gives the blocks that it completes."""
        self._waiting[item.place] = item
        while self._next < len(self._places) and self._places[self._next] in self._waiting:
            place = self._places[self._next]
            if self._block.last >= 0 and place != self._block.last + 1:  # what lies between is stored already
                yield from self._close()
            self._add(self._waiting.pop(place))
            self._next += 1
            if self._block.num_kept >= self._limit:
                yield from self._close()
        if self._next == len(self._places):
            yield from self._close()

    def _add(self, item: Finished) -> None:
        block, outcome = self._block, item.outcome
        block.last = item.place
        losses = list(outcome.dropped)
        for record in outcome.recorded:
            twin = self._records.setdefault(record.key, record.name) if record.key else record.name
            if twin != record.name or record.name in self._names:
                block.left_out.add(record.name)
            if twin != record.name:
                losses.append(
                    Dropped(
                        clip=record.clip, subject=record.subject, seed=record.seed, reason=DUPLICATE,
                        seconds=record.transitions / FRAME_RATE,
                    )
                )  # fmt: skip
        block.dropped += [loss for loss in losses if loss not in self._known]
        if any(record.name not in block.left_out for record in outcome.recorded):
            block.records.append(item.records)
        block.num_kept += outcome.report.kept

    def _close(self) -> Iterator[Block]:
        block, self._block = self._block, Block()
        if block.records or block.dropped:
            yield block
