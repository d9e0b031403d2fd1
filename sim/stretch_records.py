"""Records of all stretches of an imitated motion, replayed on the processor or executed on a device."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from dataset.schema import Dynamics, Motion
from sim.backends.contract import FLOAT32_CLOSURE
from sim.backends.mujoco_cpu import MujocoCpu
from sim.humanoid import Humanoid
from sim.imitation.assess import body_distance, tracking_error
from sim.imitation.solution import KNOTS_PER_SECOND, Solution, StretchSolution
from sim.imitation.tracker.solve import replay
from sim.record import Origin, RecordConfig, RecordReport, record
from sim.work_items import WorkItem

if TYPE_CHECKING:
    from sim.imitation.tracker.solve_on_device import ExecutedStretch


@dataclass(kw_only=True)
class Recorded:
    """What came of a solution."""

    kept: list[Dynamics] = field(default_factory=list)
    """Records, in order of time."""
    report: RecordReport = field(default_factory=RecordReport)
    """What became of every transition."""
    substeps: int = 0
    """Physics substeps."""
    inexact: int = 0
    """Stretches whose replay left the states of the search."""
    has_failed: bool = False
    """One of these lost the motion."""


def record_replays(
    item: WorkItem, motion: Motion, humanoid: Humanoid, backend: MujocoCpu, solution: Solution, config: RecordConfig
) -> Recorded:
    """Replay a solution and record it.

    Raises:
        ValueError: The motion or the body is not the one that the solution was found for.
    """
    made = Recorded()
    for number, part in enumerate(replay(humanoid, motion, solution, backend)):
        error = tracking_error(humanoid, part, part.wanted.qpos)
        is_exact = part.exact_seconds == len(part.stretch.state_hash)
        made.has_failed |= not is_exact and not np.all(error <= config.max_tracking_error)
        made.inexact += not is_exact
        origin = _origin(item, motion, solution, part.stretch, number)
        if not is_exact:
            origin = replace(origin, flags=(*origin.flags, "inexact"))
        kept, report = record(humanoid, part.trace, origin, tracking_error=error, config=config)
        made.kept += kept
        made.report.add(report)
        made.substeps += part.trace.num_substeps
    return made


def record_executed(
    item: WorkItem,
    motion: Motion,
    humanoid: Humanoid,
    solution: Solution,
    executed: list[ExecutedStretch],
    config: RecordConfig,
) -> Recorded:
    """Record what a device executed.

    Equations of motion close to float32 there: `config.max_closure` counts as `FLOAT32_CLOSURE` at least, or nothing would pass.
    """
    from sim.record_sums import record_sums

    made = Recorded()
    config = replace(config, max_closure=max(config.max_closure, FLOAT32_CLOSURE))
    for number, part in enumerate(executed):
        error = body_distance(humanoid, part.sums.qpos[0], part.wanted)
        origin = _origin(item, motion, solution, part.stretch, number)
        kept, report = record_sums(humanoid, part.sums, origin, tracking_error=error, config=config)
        made.kept += kept
        made.report.add(report)
        made.substeps += int(part.sums.valid_substeps[0])
    return made


def _origin(item: WorkItem, motion: Motion, solution: Solution, stretch: StretchSolution, number: int) -> Origin:
    clip = f"{motion.source}/{motion.name}"
    flags = {"retried": solution.num_retries > 0, "restarted": stretch.start > 0}
    return Origin(
        name=item.sequence_name(clip) + (f"~{number}" if number else ""),
        clip=clip,
        seed=item.seed,
        clip_start=stretch.start / KNOTS_PER_SECOND,
        controller=item.controller,
        solution=solution.identity,
        flags=tuple(word for word, applies in flags.items() if applies),
    )
