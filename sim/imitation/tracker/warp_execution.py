"""The tracker with its executed motion on the device too: states, plans, physics and the sums behind the records stay there.

One environment executes. Each of its transitions is summed where it was simulated (`sim.backends.warp_sums`), into the place that
belongs to its time of the clip: when the search goes back, what is executed anew overwrites what was given up. Of a knot the
host sees the search's decisions and the distance from the reference, single numbers; the sums and the offsets cross once, with
the finished clip. `solve` with a `planner` executes on the processor instead, whose solutions replay bit for bit. What a GPU
executes does not: float32 and sums in no fixed order lead elsewhere within seconds, so here the execution itself is recorded.

Axis legend: P transitions, D = 25 searched degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco_warp
import numpy as np
import torch
import warp as wp

from sim.backends.warp_loop import SubstepLoop
from sim.backends.warp_sums import SumSink, TransitionSums, empty_sums
from sim.humanoid import NUM_CTRL, Humanoid
from sim.imitation.tracker import warp_kernels
from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.reference import ReferenceTrajectory
from sim.imitation.tracker.steps import LARGEST_OFFSET, QUANTUM, Step
from sim.imitation.tracker.warp_rollouts import one_stream
from sim.imitation.tracker.warp_search import WarpTracker


@dataclass(frozen=True, eq=False)
class DeviceMoment:
    """As `tracker.search.Moment`, float32 on a device."""

    qpos: torch.Tensor
    """Generalised positions, shape (99,)."""
    qvel: torch.Tensor
    """Generalised velocities, shape (75,)."""
    warmstart: torch.Tensor
    """Accelerations the constraint solver starts from, shape (75,)."""


class WarpExecutor:
    """Plans and executes a clip on one device. Satisfies `tracker.steps.Follower`."""

    def __init__(
        self, humanoid: Humanoid, reference: ReferenceTrajectory, base: np.ndarray, search: SearchConfig, *, device: str
    ) -> None:
        """Prepare the search, and room for the executed clip.

        Args:
            humanoid: Who imitates.
            reference: What is followed, at the humanoid's physics step.
            base: Its servo targets before any offset [rad], shape (K, 69).
            search: Settings.
            device: `cuda`, `cuda:N` or `cpu`.

        Raises:
            RuntimeError: warp or mujoco_warp is not installed.
            ValueError: There is no such device, or a step does not fit another: a knot has to be whole transitions.
        """
        self.search = search
        self.planner = WarpTracker(humanoid, reference, base, search, device=device)
        self.execute_steps = self.planner.execute_steps
        self._per_knot, rest = divmod(self.execute_steps, humanoid.substeps)
        if rest:
            raise ValueError(
                f"SearchConfig.knot_time: expected a multiple of a transition, {humanoid.substeps} substeps,"
                f" got {self.execute_steps} substeps"
            )
        self._place = self.planner.place
        self.loop = SubstepLoop(humanoid, 1, self.num_knots * self.execute_steps, self._place)
        self._sums = SumSink(self.loop, humanoid.substeps)
        with wp.ScopedDevice(self._place):
            self._base = wp.array(base.astype(np.float32), dtype=float)
        wanted = self.planner.ref_pos[:: self.planner.knot_steps].astype(np.float32)
        self._wanted = self._tensor(wanted)
        self._body = torch.as_tensor(humanoid.body_id.astype(np.int64), device=self._wanted.device)

    @property
    def num_knots(self) -> int:
        """Knots of the clip."""
        return self.planner.num_knots

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=wp.device_to_torch(self._place))

    def close(self) -> None:
        """Let go of the device's memory at once."""
        self.loop.close()
        self.planner.close()

    def first_step(self, knot: int) -> Step:
        """The reference's own state at a knot, nothing planned."""
        start, unknowns = self.planner.reference_moment(knot), len(self.planner.columns)
        moment = DeviceMoment(self._tensor(start.qpos), self._tensor(start.qvel), self._tensor(start.warmstart))
        warm = self._tensor(np.zeros((self.search.knots, unknowns)))
        return Step(moment, self._tensor(np.zeros(unknowns)), warm, self.planner.body_error(start.state, knot))

    def next_step(self, step: Step, knot: int, rng: np.random.Generator, search: SearchConfig) -> Step:
        """Plan at a knot and execute up to the next.

        Raises:
            ValueError: Contacts did not fit (cannot happen with the room that is allocated).
        """
        with one_stream(self._place):
            plan = self.planner.search_plan(step.moment, knot, step.offset, step.warm, rng, search)
            target = torch.clamp(torch.round(plan[0] / QUANTUM), -LARGEST_OFFSET, LARGEST_OFFSET) * QUANTUM
            warm = torch.cat([plan[1:], plan[-1:].expand(len(step.warm) + 1 - len(plan), -1)])
            moment, error = self.execute(step.moment, knot, step.offset, target)
        return Step(moment, target, warm, error)

    def execute(
        self, moment: DeviceMoment, knot: int, held: torch.Tensor, target: torch.Tensor
    ) -> tuple[DeviceMoment, float]:
        """Apply one knot of offsets and sum its transitions; where the physics is then, and how far from the reference [m].

        The distance is NaN where a substep was not sound: what follows is not this motion, and the search goes back.
        """
        loop, data, first = self.loop, self.loop.data, knot * self.execute_steps
        own = data.qpos, data.qvel, data.qacc_warmstart
        for array, values in zip(own, (moment.qpos, moment.qvel, moment.warmstart), strict=True):
            wp.to_torch(array)[0] = values
        loop.forget_faults()
        loop.row.fill_(first)
        offsets = torch.stack([held, target])[None].contiguous()
        wp.launch(
            warp_kernels.fill_targets,
            dim=(1, self.execute_steps, NUM_CTRL),
            inputs=[self._base, first, wp.from_torch(offsets), self.planner.on_device.searched, self.execute_steps],
            outputs=[loop.ctrl[:, first : first + self.execute_steps]],
            device=self._place,
        )
        loop.run(self.execute_steps)
        reached = DeviceMoment(*(wp.to_torch(array)[0].clone() for array in own))
        with wp.ScopedDevice(self._place):
            mujoco_warp.kinematics(loop.model, data)  # the step leaves positions of the bodies at its beginning
        here = wp.to_torch(data.xpos)[0, self._body]
        distance = (here - self._wanted[knot + 1]).norm(dim=1).mean()
        error = float(torch.where(wp.to_torch(loop.bad_row)[0] >= 0, math.nan, distance))
        if not math.isfinite(error):
            loop.verdict()  # raises where contacts did not fit
        return reached, error

    def gathered(self, steps: Sequence[Step]) -> tuple[np.ndarray, np.ndarray]:
        """Of the steps of a stretch: executed offsets in multiples of `QUANTUM`, (steps, D) int16, and states, (steps, 175)."""
        offsets = torch.stack([step.offset for step in steps]).cpu().numpy()
        moments = [
            torch.stack([getattr(step.moment, name) for step in steps]).cpu().numpy() for name in ("qpos", "qvel")
        ]
        states = np.concatenate([np.zeros((len(steps), 1)), *moments], axis=1)
        return np.round(offsets / QUANTUM).astype(np.int16), states

    def sums(self, start: int, end: int) -> TransitionSums:
        """What was executed between two knots of a tracked stretch, which starts at the first of them."""
        first, last = start * self._per_knot, end * self._per_knot
        out = empty_sums(1, last - first)
        begin: Any = self.planner.reference.start(start * self.execute_steps)
        for name, values in zip(("qpos", "qvel"), begin, strict=True):
            out[name][0, 0] = values.astype(np.float32)  # as the device took it
        self._sums.copy_out(out, first, last)
        substeps = (last - first) * self.loop.humanoid.substeps
        return TransitionSums(
            substep=self.loop.step_length,
            num_substeps=self.loop.humanoid.substeps,
            impulse=out.pop("impulse").reshape(1, last - first, -1, 3),
            valid_substeps=np.array([substeps]),
            warnings=("",),
            **out,
        )
