"""From a motion and a subject's humanoid to a stored solution, and back to the motion it makes.

`solve` searches, `replay` runs a solution open loop as one roll-out a stretch and says second by second whether the physics
state is the one that the search saw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from dataset.schema import Motion
from sim.backends.contract import SubstepTrace
from sim.backends.mujoco_cpu import MujocoCpu
from sim.humanoid import Humanoid
from sim.imitation.solution import KNOTS_PER_SECOND, Solution, StretchSolution, body_hash, motion_hash, state_hash
from sim.imitation.tracker.clip import RetryConfig, TrackedClip, TrackedStretch, track_clip
from sim.imitation.tracker.config import SearchConfig, searched_columns
from sim.imitation.tracker.dynamics_filter import feasible_reference
from sim.imitation.tracker.feedforward import base_targets, feedforward_torque
from sim.imitation.tracker.planning_device import check_knot_time, find_planner
from sim.imitation.tracker.reference import ReferenceTrajectory, make_reference
from sim.imitation.tracker.search import Tracker
from sim.imitation.tracker.servo_targets import fill_controls
from sim.imitation.tracker.steps import QUANTUM


def _stretch_solution(stretch: TrackedStretch) -> StretchSolution:
    seconds = stretch.states[KNOTS_PER_SECOND::KNOTS_PER_SECOND]
    hashes = np.array([state_hash(state) for state in seconds], dtype=np.uint64)
    millimetres = np.minimum(np.round(1e3 * stretch.errors), 65535).astype(np.uint16)
    return StretchSolution(stretch.start, stretch.offsets, hashes, millimetres)


REMEMBERED = 2
"""References that `followed_reference` keeps."""


@dataclasses.dataclass(frozen=True, eq=False)
class Followed:
    """What the tracker follows; a search and its replay share it."""

    wanted: ReferenceTrajectory
    """The motion itself."""
    reference: ReferenceTrajectory
    """The motion after the dynamics filter."""
    base: np.ndarray
    """Base servo targets [rad], shape (K, 69)."""
    pushing: tuple[np.ndarray, ...]
    """Which floor forces push in each pass of the filter, bool."""


@dataclasses.dataclass(frozen=True)
class _Work:
    """Arguments of `_followed` that its key stands for: all are equal to the cache."""

    humanoid: Humanoid = dataclasses.field(compare=False)
    motion: Motion = dataclasses.field(compare=False)
    pushing: tuple[np.ndarray, ...] = dataclasses.field(compare=False)


@lru_cache(maxsize=REMEMBERED)
def _followed(key: tuple[str, str], work: _Work) -> Followed:
    wanted = make_reference(work.humanoid, work.motion)
    reference, pushing = feasible_reference(work.humanoid, work.motion, work.pushing, wanted)
    base = base_targets(work.humanoid, reference, feedforward_torque(work.humanoid, reference))
    return Followed(wanted, reference, base, pushing)


@lru_cache(maxsize=32)
def _hash_of(humanoid: Humanoid) -> str:
    return body_hash(humanoid.body, humanoid.config)


def followed_reference(humanoid: Humanoid, motion: Motion, pushing: tuple[np.ndarray, ...] = ()) -> Followed:
    """What the tracker follows on a motion; `pushing`, of a solution of it, spares most of the dynamics filter's work."""
    key = (motion_hash(motion), _hash_of(humanoid))
    return _followed(key, _Work(humanoid, motion, pushing))


def forget_references() -> None:
    """Drop what `followed_reference` remembers, so that the next call computes it (benchmarks do)."""
    _followed.cache_clear()


def _tracker(humanoid: Humanoid, followed: Followed, search: SearchConfig, planner: str) -> Tracker:
    if not planner:
        return Tracker(humanoid, followed.reference, followed.base, search)
    find_planner(planner)  # says what is missing before anything is imported
    from sim.imitation.tracker.warp_search import WarpTracker

    return WarpTracker(humanoid, followed.reference, followed.base, search, device=planner)


def solve(
    humanoid: Humanoid,
    motion: Motion,
    *,
    seed: int = 0,
    search: SearchConfig | None = None,
    retry: RetryConfig | None = None,
    progress: Callable[[int], None] | None = None,
    planner: str = "",
) -> Solution:
    """Search servo targets that make the humanoid imitate a motion retargeted to its body.

    Args:
        humanoid: Who imitates.
        motion: What is imitated.
        seed: Seed of the search.
        search: Search settings.
        retry: Backtracking settings.
        progress: Called with the knot reached.
        planner: Device on which `mujoco_warp` rolls the samples out (`cuda`, `cuda:N`, `cpu`; use hundreds of samples on a GPU);
            empty for MuJoCo on this processor. What is planned is executed by MuJoCo in any case.

    Raises:
        RuntimeError: mujoco_warp is asked for and not installed, or torch cannot use its device.
        ValueError: There is no such device, or a time step of the search does not fit.
    """
    search = search or SearchConfig()
    check_knot_time(search)
    followed = followed_reference(humanoid, motion)
    tracker = _tracker(humanoid, followed, search, planner)
    try:
        tracked = track_clip(tracker, seed=seed, retry=retry, progress=progress)
    finally:
        tracker.close()
    origin = {"planner": f"mujoco_warp on {planner}"} if planner else {}
    return as_solution(tracker, motion, followed, tracked, seed, origin)


def as_solution(
    tracker: Tracker, motion: Motion, followed: Followed, tracked: TrackedClip, seed: int, origin: dict[str, str]
) -> Solution:
    """What a search found, with what it was found for; `origin` says where it was searched, beside the settings."""
    humanoid, search = tracker.humanoid, tracker.search
    settings = {
        **dataclasses.asdict(search),
        "damping": list(search.damping),
        **{f"weight_{k}": v for k, v in dataclasses.asdict(search.weights).items()},
        **origin,
    }
    del settings["weights"]
    return Solution(
        clip=f"{motion.source}/{motion.name}", subject=humanoid.body.subject, humanoid=humanoid.config,
        motion_hash=motion_hash(motion), body_hash=_hash_of(humanoid), seed=seed,
        num_knots=tracked.num_knots, num_retries=tracked.num_retries, search=settings, pushing=followed.pushing,
        stretches=tuple(_stretch_solution(stretch) for stretch in tracked.stretches),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Replay:
    """One replayed stretch."""

    stretch: StretchSolution
    """What was replayed."""
    trace: SubstepTrace
    """Every physics substep, one environment."""
    first_sample: int
    """Sample of the reference at the trace's first state."""
    wanted: ReferenceTrajectory
    """The motion itself, whole clip at the physics rate: errors are measured against it."""
    followed: ReferenceTrajectory
    """What the tracker followed: the motion after the dynamics filter, whole clip at the physics rate."""
    exact_seconds: int
    """Whole seconds after the start whose state is bit for bit the search's; all of them on the same build."""


def stretch_controls(
    humanoid: Humanoid, reference: ReferenceTrajectory, base: np.ndarray, stretch: StretchSolution
) -> np.ndarray:
    """Servo targets of every substep of a stretch [rad], shape (K, 69)."""
    steps = round(1.0 / (KNOTS_PER_SECOND * reference.substep))
    first, count = stretch.start * steps, (len(stretch.offsets) - 1) * steps
    controls = np.zeros((1, count, humanoid.model.nu))
    columns, _ = searched_columns()
    fill_controls(base[first : first + count], stretch.offsets[None] * QUANTUM, columns, steps, controls)
    return controls[0]


def replay(humanoid: Humanoid, motion: Motion, solution: Solution, backend: MujocoCpu | None = None) -> list[Replay]:
    """Run a solution open loop, every stretch as one roll-out.

    Raises:
        ValueError: The motion or the body is not the one the solution was found for.
    """
    for name, expected, found in (
        ("motion", solution.motion_hash, motion_hash(motion)),
        ("body", solution.body_hash, _hash_of(humanoid)),
    ):
        if expected != found:
            raise ValueError(
                f"solution of {solution.clip}: expected {name} {expected}, got {found}; "
                f"the {name} has changed since the search: track the clip again"
            )
    backend = backend or MujocoCpu(humanoid, nthread=1)
    followed = followed_reference(humanoid, motion, solution.pushing)
    reference, base = followed.reference, followed.base
    steps = round(1.0 / (KNOTS_PER_SECOND * reference.substep))
    out = []
    for stretch in solution.stretches:
        first = stretch.start * steps
        qpos, qvel = reference.start(first)
        backend.reset(qpos[None], qvel[None])
        trace = backend.rollout(stretch_controls(humanoid, reference, base, stretch)[None])
        exact = 0
        for second, expected in enumerate(stretch.state_hash, start=1):
            if state_hash(trace.state[0, second * steps * KNOTS_PER_SECOND]) != expected:
                break
            exact = second
        out.append(Replay(stretch, trace, first, followed.wanted, reference, exact))
    return out
