"""From a motion and a subject's humanoid to executed stretches on a device, ready to be recorded.

The counterpart of `tracker.solve` and its `replay` for collections that stay on a GPU (`tracker.warp_execution`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.schema import Motion
from sim.backends.warp_sums import TransitionSums
from sim.humanoid import Humanoid
from sim.imitation.solution import KNOTS_PER_SECOND, Solution, StretchSolution
from sim.imitation.tracker.clip import RetryConfig, track_clip
from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.planning_device import check_knot_time, find_planner
from sim.imitation.tracker.solve import as_solution, followed_reference


@dataclass(frozen=True, eq=False)
class ExecutedStretch:
    """One stretch that the device executed."""

    stretch: StretchSolution
    """What was executed."""
    sums: TransitionSums
    """What came of it, one environment."""
    wanted: np.ndarray
    """The motion itself at its frames, generalised positions, shape (P + 1, 99): errors are measured against it."""


def solve_on_device(
    humanoid: Humanoid,
    motion: Motion,
    device: str,
    *,
    seed: int = 0,
    search: SearchConfig | None = None,
    retry: RetryConfig | None = None,
) -> tuple[Solution, list[ExecutedStretch]]:
    """Search and execute on a device.

    Args:
        humanoid: Who imitates.
        motion: What is imitated, retargeted to the body.
        device: `cuda`, `cuda:N` or `cpu`.
        seed: Seed of the search. On a GPU the same seed does not give the same motion to the last digits.
        search: Search settings; hundreds of samples on a GPU.
        retry: Backtracking settings.

    Returns:
        What was found, which names the records and cannot be replayed, and what was executed.

    Raises:
        RuntimeError: warp or mujoco_warp is not installed, or torch cannot use the device.
        ValueError: There is no such device, or a step does not fit another.
    """
    find_planner(device)  # says what is missing before anything is imported
    search = search or SearchConfig()
    check_knot_time(search)
    from sim.imitation.tracker.warp_execution import WarpExecutor

    followed = followed_reference(humanoid, motion)
    executor = WarpExecutor(humanoid, followed.reference, followed.base, search, device=device)
    try:
        tracked = track_clip(executor, seed=seed, retry=retry)
        sums = [executor.sums(part.start, part.end) for part in tracked.stretches]
    finally:
        executor.close()
    origin = {"planner": f"mujoco_warp on {device}", "engine": f"mujoco_warp on {device}"}
    solution = as_solution(executor.planner, motion, followed, tracked, seed, origin)
    steps = round(1.0 / (KNOTS_PER_SECOND * followed.reference.substep))
    executed = []
    for part, stretch, of_part in zip(tracked.stretches, solution.stretches, sums, strict=True):
        frames = slice(part.start * steps, part.end * steps + 1, humanoid.substeps)
        executed.append(ExecutedStretch(stretch, of_part, followed.wanted.qpos[frames]))
    return solution, executed
