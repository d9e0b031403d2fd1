"""The equations of motion checked on the device, in float32: the recursion of `sim.closure` as a warp kernel.

It takes bodies from the `BodyModel` and states from the loop, and of the engine only what the record keeps: servo forces and
contact sums.

Axis legend: E environments, B = 24 bodies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp

from dataset.skeleton import GRAVITY, NUM_BODIES, PARENTS
from sim.backends.warp_closure_kernels import largest_residual
from sim.backends.warp_loop import SubstepLoop


class Closure:
    """The check of one loop's substeps: `residual` holds the largest scaled residual of the last one, shape (E,)."""

    def __init__(self, loop: SubstepLoop) -> None:
        """Put the humanoid's bodies on the loop's device."""
        humanoid, body, E = loop.humanoid, loop.humanoid.body, loop.num_environments
        limit = humanoid.model.actuator_forcerange
        weight = float(body.mass.sum()) * GRAVITY
        self._loop = loop
        self._scales = [float(humanoid.config.armature), GRAVITY, 1.0 / weight, 1.0 / (weight * body.subject.height)]

        def floats(values: np.ndarray) -> Any:
            return wp.array(np.ascontiguousarray(values, dtype=np.float32), dtype=float)

        with wp.ScopedDevice(loop.device):
            self.damping, self.low, self.high = floats(humanoid.damping), floats(limit[:, 0]), floats(limit[:, 1])
            self._body = [
                wp.array(humanoid.quat_address.astype(np.int32)),
                wp.array(humanoid.omega_address.astype(np.int32)),
                wp.array(np.array(PARENTS, dtype=np.int32)),
                wp.array(body.offset.astype(np.float32), dtype=wp.vec3),
                floats(body.mass),
                wp.array(body.com.astype(np.float32), dtype=wp.vec3),
                wp.array(body.inertia.astype(np.float32), dtype=wp.mat33),
            ]
            vectors = [wp.zeros((NUM_BODIES, E), dtype=wp.vec3) for _ in range(7)]
            self._scratch = [wp.zeros((NUM_BODIES, E), dtype=wp.mat33), *vectors]
            self.residual = wp.zeros(E, dtype=float)

    def launch(self) -> None:
        """Check the substep that the loop has just made; belongs into a sink."""
        loop = self._loop
        wp.launch(
            largest_residual,
            dim=loop.num_environments,
            inputs=[
                loop.qpos_before, loop.qvel_before, loop.data.qvel, 1.0 / loop.step_length, loop.data.actuator_force,
                self.damping, self.low, self.high, loop.force, loop.moment, loop.engine_body, loop.data.xpos,
                *self._body, *self._scales, *self._scratch,
            ],
            outputs=[self.residual],
        )  # fmt: skip
