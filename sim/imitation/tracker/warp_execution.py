"""The tracker with its executed motion on the device too: plans, physics and the sums that records are made of stay there.

One environment executes. Each of its transitions is summed where it was simulated (`sim.backends.warp_sums`), into the place that
belongs to its time of the clip: when the search goes back, what is executed anew overwrites what was given up. A knot (32
substeps at 480 Hz) brings its last state to the host, 249 numbers by which the search judges itself; the sums come once, with
the finished clip. `solve` with a `planner` executes on the processor instead, whose solutions replay bit for bit. What a GPU
executes does not: float32 and sums in no fixed order lead elsewhere within seconds, so here the execution itself is recorded.

Axis legend: P transitions, D = 25 searched degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp

from sim.backends.warp_loop import SubstepLoop
from sim.backends.warp_sums import SumSink, TransitionSums, empty_sums
from sim.humanoid import NUM_CTRL, NUM_QPOS
from sim.imitation.tracker import warp_kernels
from sim.imitation.tracker.search import Moment
from sim.imitation.tracker.warp_search import WarpTracker


@dataclass(eq=False)
class WarpExecutor(WarpTracker):
    """A `WarpTracker` that executes on its device what it plans, and keeps the sums of it."""

    def __post_init__(self) -> None:
        """Prepare the search, and room for the executed clip.

        Raises:
            RuntimeError: warp or mujoco_warp is not installed.
            ValueError: There is no such device, or a step does not fit another: a knot has to be whole transitions.
        """
        super().__post_init__()
        self._per_knot, rest = divmod(self.execute_steps, self.humanoid.substeps)
        if rest:
            raise ValueError(
                f"SearchConfig.knot_time: expected a multiple of a transition, {self.humanoid.substeps} substeps,"
                f" got {self.execute_steps} substeps"
            )
        self._loop = SubstepLoop(self.humanoid, 1, self.num_knots * self.execute_steps, self._place)
        self._sums = SumSink(self._loop, self.humanoid.substeps)
        with wp.ScopedDevice(self._place):
            self._base = wp.array(self.base.astype(np.float32), dtype=float)

    def execute(self, moment: Moment, knot: int, held: np.ndarray, target: np.ndarray) -> Moment:
        """As `Tracker.execute`, on the device; the state is NaN where a substep was not sound.

        Raises:
            ValueError: Contacts did not fit (cannot happen with the room that is allocated).
        """
        loop, first = self._loop, knot * self.execute_steps
        loop.write_state(
            moment.state[None, 1 : 1 + NUM_QPOS], moment.state[None, 1 + NUM_QPOS :], moment.warmstart[None]
        )
        loop.row.fill_(first)
        with wp.ScopedDevice(self._place):
            offsets = wp.array(np.stack([held, target])[None].astype(np.float32), dtype=float)
            wp.launch(
                warp_kernels.fill_targets,
                dim=(1, self.execute_steps, NUM_CTRL),
                inputs=[self._base, first, offsets, self._reference.searched, self.execute_steps],
                outputs=[loop.ctrl[:, first : first + self.execute_steps]],
            )
        loop.run(self.execute_steps)
        data = loop.data
        state = np.concatenate([moment.state[:1], data.qpos.numpy()[0], data.qvel.numpy()[0]]).astype(np.float64)
        if loop.verdict()[0][0] >= 0:
            state[:] = np.nan  # what follows is not this motion, and NaN makes the search go back
        return Moment(state, data.qacc_warmstart.numpy()[0].astype(np.float64))

    def sums(self, start: int, end: int) -> TransitionSums:
        """What was executed between two knots of a tracked stretch, which starts at the first of them."""
        first, last = start * self._per_knot, end * self._per_knot
        out = empty_sums(1, last - first)
        for name, values in zip(("qpos", "qvel"), self.reference.start(start * self.execute_steps), strict=True):
            out[name][0, 0] = values.astype(np.float32)  # as the device took it
        self._sums.copy_out(out, first, last)
        return TransitionSums(
            substep=self._loop.step_length,
            num_substeps=self.humanoid.substeps,
            impulse=out.pop("impulse").reshape(1, last - first, -1, 3),
            valid_substeps=np.array([(last - first) * self.humanoid.substeps]),
            warnings=("",),
            **out,
        )
