"""Every substep of a call kept on the device: the sink behind `SubstepTrace`.

Axis legend: E environments, K substeps, B = 24 bodies, U = 69 servos.
"""

from __future__ import annotations

import warp as wp

from dataset.skeleton import NUM_BODIES
from sim.backends.warp_kernels import keep_substep
from sim.backends.warp_loop import SubstepLoop
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL


class TraceSink:
    """Arrays of one call's substeps on the device of a loop, which it observes."""

    def __init__(self, loop: SubstepLoop) -> None:
        """Allocate room for the substeps that the loop holds controls for."""
        E, K = loop.num_environments, loop.max_substeps
        self._loop = loop
        with wp.ScopedDevice(loop.device):
            self.qpos = wp.zeros((E, K, NUM_QPOS), dtype=float)
            self.qvel = wp.zeros((E, K, NUM_QVEL), dtype=float)
            self.servo_force = wp.zeros((E, K, NUM_CTRL), dtype=float)
            self.ground_force = wp.zeros((E, K, NUM_BODIES), dtype=wp.vec3)
            self.ground_torque = wp.zeros((E, K, NUM_BODIES), dtype=wp.vec3)
            self.ground_point = wp.zeros((E, K, NUM_BODIES), dtype=wp.vec3)
        loop.observe_with(self._launch)

    def _launch(self) -> None:
        loop = self._loop
        wp.launch(
            keep_substep,
            dim=(loop.num_environments, NUM_QPOS),
            inputs=[
                loop.row, loop.data.qpos, loop.data.qvel, loop.data.actuator_force, loop.force, loop.moment, loop.lever,
                loop.weight, loop.engine_body, loop.data.xpos,
            ],
            outputs=[
                self.qpos, self.qvel, self.servo_force, self.ground_force, self.ground_torque, self.ground_point,
            ],
        )  # fmt: skip
