"""One work item of a collection: a stored solution is replayed, or one is searched, and what it does is recorded.

Nothing that is wrong with one clip reaches the others: what cannot be read, tracked or recorded comes back as dropped
seconds with a reason.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from dataset.body.default import make_body
from dataset.body.mjcf import HumanoidConfig
from dataset.manifest import LANDING, Dropped, RecordKey, record_key
from dataset.place import Place, absolute, join
from dataset.schema import FRAME_RATE, Dynamics, Motion, Subject
from dataset.storage import open_storage
from sim.backends.mujoco_cpu import MujocoCpu
from sim.engine_warnings import engine_warnings
from sim.humanoid import Humanoid, make_humanoid
from sim.imitation.solution import KNOTS_PER_SECOND, Solution, body_hash, load_solution, motion_hash, save_solution
from sim.imitation.tracker.clip import RetryConfig
from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.planning_device import find_planner
from sim.imitation.tracker.solve import solve
from sim.record import RecordConfig, RecordReport
from sim.stretch_records import Recorded, record_executed, record_replays
from sim.work_items import TRACKER, WorkItem

_READERS = 8
"""Solutions read at a time: on an object store each is mostly waiting."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ImitationConfig:
    """How a clip becomes records."""

    humanoid: HumanoidConfig = field(default_factory=HumanoidConfig)
    """Physics."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """Search where no stored solution fits."""
    retry: RetryConfig = field(default_factory=RetryConfig)
    """When the search goes back."""
    record: RecordConfig = field(default_factory=RecordConfig)
    """What may enter the data set."""
    may_search: bool = True
    """Search clips that have no stored solution; without it they are dropped as `no_solution`."""
    planner: str = ""
    """Device on which `mujoco_warp` plans (`cuda`, `cuda:N`, `cpu`), with hundreds of `search.samples`; empty for MuJoCo here."""
    engine: Literal["mujoco", "mujoco_warp"] = "mujoco"
    """What executes. `mujoco`, here: solutions are stored and replay bit for bit. `mujoco_warp`, on the planner's device:
    only records leave it; on a GPU its motion does not repeat to the bit, so no solution is stored and none is replayed."""

    def check(self) -> None:
        """Whether the settings agree.

        Raises:
            ValueError: They do not.
        """
        if self.engine == "mujoco_warp" and not self.planner:
            raise ValueError(
                "engine: expected a planner (cuda, cuda:N or cpu) with mujoco_warp, whose device it uses, got none"
            )
        if self.engine == "mujoco_warp" and not self.may_search:
            raise ValueError(
                "may_search: expected it with the engine mujoco_warp, which replays nothing, got no-may-search"
            )


@dataclass(frozen=True, kw_only=True)
class RecordFacts:
    """What tells one record from another, without its arrays."""

    name: str
    """Identifier."""
    clip: str
    """`source/name` of the imitated motion."""
    subject: str
    """Name of the subject."""
    seed: int
    """Seed of the search."""
    key: RecordKey | None
    """What it is a record of (`dataset.manifest.record_key`)."""
    transitions: int
    """Its length."""


@dataclass(kw_only=True)
class ItemOutcome:
    """What became of one work item."""

    kept: list[Dynamics] = field(default_factory=list)
    """Its records."""
    recorded: list[RecordFacts] = field(default_factory=list)
    """What the records are, also where they are kept elsewhere."""
    dropped: list[Dropped] = field(default_factory=list)
    """Seconds that were asked for and are not in the records, by reason."""
    report: RecordReport = field(default_factory=RecordReport)
    """What became of the simulated transitions."""
    asked: float = 0.0
    """Length of the clip [s]."""
    is_complete: bool = False
    """The whole clip was tracked from its first frame and nothing but the landing transient was cut."""
    searched: float = 0.0
    """Seconds of clip that were searched."""
    search_wall: float = 0.0
    """Time the search took [s]."""
    substeps: int = 0
    """Physics substeps replayed."""
    replay_wall: float = 0.0
    """Time that replaying and recording took, without reading and retargeting [s]; on a device with the search, which is one
    with it."""
    inexact: int = 0
    """Stretches whose replay left the searched states (another build or processor type)."""
    warnings: Counter[str] = field(default_factory=Counter)
    """Warnings of the engine by kind, those of searched and discarded samples included."""
    notes: tuple[str, ...] = ()
    """What the clip's reader decided or left out."""
    error: str = ""
    """Why nothing came of it, in full; empty if something did."""


class CannotWorkError(OSError):
    """No fault of the clip, the next one would not fare better: the collection stops."""


class NotSavedError(CannotWorkError):
    """A solution could not be written."""


class NoDeviceError(CannotWorkError):
    """The device that plans is not on this machine."""


@lru_cache(maxsize=16)
def _humanoid(subject: Subject, config: HumanoidConfig) -> Humanoid:
    return make_humanoid(make_body(subject), config)


@lru_cache(maxsize=16)
def _backend(subject: Subject, config: HumanoidConfig) -> MujocoCpu:
    return MujocoCpu(_humanoid(subject, config))


StoredSolutions = Mapping[tuple[str, str, int], Place]
"""Files or addresses of solutions by hash of the motion, hash of the body, and seed."""


def find_solutions(places: Sequence[Place]) -> StoredSolutions:
    """Solutions in folders or at addresses, the first first; a file that cannot be read is named in the log and passed over."""
    found: dict[tuple[str, str, int], Place] = {}
    for place in places:
        storage = open_storage(absolute(place))
        paths = [storage.at(name) for name in storage.list_files("", ".npz")]
        with ThreadPoolExecutor(_READERS) as pool:
            for path, key in zip(paths, pool.map(_solution_key, paths)):
                if key is not None:
                    found.setdefault(key, path)
    return found


def _solution_key(path: Place) -> tuple[str, str, int] | None:
    try:
        solution = load_solution(path)
    except ValueError as error:
        _log.warning("%s", error)
        return None
    return solution.motion_hash, solution.body_hash, solution.seed


def imitate_item(
    item: WorkItem, config: ImitationConfig, stored: StoredSolutions | None = None, save_to: Place | None = None
) -> ItemOutcome:
    """Records of one work item. Raises nothing that has to do with the clip, only that nothing can be written.

    Args:
        item: Clip, subject, controller and seed.
        config: How.
        stored: Solutions that may be replayed (`find_solutions`).
        save_to: Folder or address for solutions that had to be searched; None to keep none.

    Raises:
        NotSavedError: A solution that was searched could not be written there.
        NoDeviceError: This machine has no such `planner`.
    """
    if item.controller != TRACKER:
        raise ValueError(
            f"{item.name}: expected the controller {TRACKER!r}, the only one here, got {item.controller!r}"
        )
    if config.planner:
        _require_planner(config.planner)
    outcome, before = ItemOutcome(), engine_warnings()
    try:
        humanoid = _humanoid(item.subject, config.humanoid)
        clip = item.clip.load(humanoid.body)
    except (ValueError, FileNotFoundError) as error:
        outcome.error = str(error)
        outcome.dropped.append(_dropped(item, "unreadable", 0.0))
        return outcome
    complete, outcome.notes = [], clip.notes
    for motion in clip.motions:
        if f"{motion.source}/{motion.name}" in item.settled:
            continue
        outcome.asked += motion.duration
        try:
            complete.append(_imitate(item, motion, humanoid, config, stored or {}, save_to, outcome))
        except ValueError as error:
            outcome.error = str(error)
            outcome.dropped.append(_dropped(item, "untracked", motion.duration, motion))
            complete.append(False)
    outcome.is_complete = all(complete)
    outcome.warnings = engine_warnings() - before
    return outcome


def _require_planner(name: str) -> None:
    try:
        find_planner(name)
    except (ValueError, RuntimeError) as error:
        raise NoDeviceError(f"planner: {error}") from error


def _dropped(item: WorkItem, reason: str, seconds: float, motion: Motion | None = None) -> Dropped:
    clip = item.clip.label if motion is None else f"{motion.source}/{motion.name}"
    return Dropped(clip=clip, subject=item.subject.name, seed=item.seed, reason=reason, seconds=seconds)


def _imitate(
    item: WorkItem,
    motion: Motion,
    humanoid: Humanoid,
    config: ImitationConfig,
    stored: StoredSolutions,
    save_to: Place | None,
    outcome: ItemOutcome,
) -> bool:
    """Imitate one stretch of motion, add what comes of it to the outcome, and say whether it is complete."""
    if config.engine == "mujoco_warp":
        solution, made = _search_on_device(item, motion, humanoid, config, outcome)
    else:
        key = (motion_hash(motion), body_hash(humanoid.body, config.humanoid), item.seed)
        is_stored = key in stored
        solution = load_solution(stored[key]) if is_stored else None
        if solution is None:
            if not config.may_search:
                outcome.dropped.append(_dropped(item, "no_solution", motion.duration, motion))
                outcome.error = f"{item.name}: no stored solution for motion {key[0]}, body {key[1]}, seed {key[2]}"
                return False
            solution = _search(item, motion, humanoid, config, save_to, outcome)
        made = _replayed(item, motion, humanoid, config, solution, outcome)
        if made.has_failed and is_stored and config.may_search:
            # Another build or processor type: the stored offsets no longer lead through the clip, so they are found again.
            _log.warning("%s: the stored solution diverged here and is searched again", item.name)
            solution = _search(item, motion, humanoid, config, save_to, outcome)
            made = _replayed(item, motion, humanoid, config, solution, outcome)
    kept, report = made.kept, made.report
    outcome.kept += kept
    outcome.recorded += [
        RecordFacts(
            name=made.name, clip=made.clip, subject=made.subject.name, seed=made.seed, key=record_key(made),
            transitions=made.num_frames - 1,
        )
        for made in kept
    ]  # fmt: skip
    outcome.report.add(report)
    lost = {reason: count / FRAME_RATE for reason, count in report.cut.items()}
    missing = motion.duration - report.simulated / FRAME_RATE
    if missing >= 1.0 / KNOTS_PER_SECOND:  # less is what the last knot leaves over
        lost["untracked"] = missing
    outcome.dropped += [_dropped(item, reason, seconds, motion) for reason, seconds in sorted(lost.items())]
    return solution.is_complete and set(report.cut) <= {LANDING}


def _search(
    item: WorkItem,
    motion: Motion,
    humanoid: Humanoid,
    config: ImitationConfig,
    save_to: Place | None,
    outcome: ItemOutcome,
) -> Solution:
    started = time.perf_counter()
    solution = solve(humanoid, motion, seed=item.seed, search=config.search, retry=config.retry, planner=config.planner)
    outcome.search_wall += time.perf_counter() - started
    outcome.searched += motion.duration
    if save_to is not None:
        stem = f"{motion.name}_{item.subject.name}_{item.seed}".replace("/", "-")
        _save(join(save_to, motion.source, f"{stem}.npz"), solution)
    return solution


def _save(path: Place, solution: Solution) -> None:
    try:
        save_solution(path, solution)
    except OSError as error:
        found = (error.errno, error.strerror, str(path)) if error.strerror else error.args
        raise NotSavedError(*found) from error


def _replayed(
    item: WorkItem,
    motion: Motion,
    humanoid: Humanoid,
    config: ImitationConfig,
    solution: Solution,
    outcome: ItemOutcome,
) -> Recorded:
    started = time.perf_counter()
    backend = _backend(item.subject, config.humanoid)
    made = record_replays(item, motion, humanoid, backend, solution, config.record)
    outcome.inexact += made.inexact
    outcome.substeps += made.substeps
    outcome.replay_wall += time.perf_counter() - started
    return made


def _search_on_device(
    item: WorkItem, motion: Motion, humanoid: Humanoid, config: ImitationConfig, outcome: ItemOutcome
) -> tuple[Solution, Recorded]:
    from sim.imitation.tracker.solve_on_device import solve_on_device

    started = time.perf_counter()
    solution, executed = solve_on_device(
        humanoid, motion, config.planner, seed=item.seed, search=config.search, retry=config.retry
    )
    made = record_executed(item, motion, humanoid, solution, executed, config.record)
    wall = time.perf_counter() - started
    outcome.search_wall += wall
    outcome.replay_wall += wall
    outcome.substeps += made.substeps
    outcome.searched += motion.duration
    return solution, made
