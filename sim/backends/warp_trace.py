"""Every substep of a call kept on the device: the sink behind `SubstepTrace`.

Axis legend: E environments, K substeps, B = 24 bodies, U = 69 servos.
"""

import warp as wp

from dataset.skeleton import NUM_BODIES
from sim.backends.warp_kernels import contact_lever
from sim.backends.warp_loop import SubstepLoop
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL

wp.set_module_options({"enable_backward": False})


@wp.kernel
def keep_substep(
    # inputs
    row: wp.array[int],
    qpos: wp.array2d[float],
    qvel: wp.array2d[float],
    servo_force: wp.array2d[float],
    force: wp.array2d[wp.vec3],
    moment: wp.array2d[wp.vec3],
    lever: wp.array2d[wp.vec3],
    weight: wp.array2d[float],
    engine_body: wp.array[int],
    body_pos: wp.array2d[wp.vec3],
    # outputs
    qpos_out: wp.array3d[float],
    qvel_out: wp.array3d[float],
    servo_out: wp.array3d[float],
    force_out: wp.array3d[wp.vec3],
    torque_out: wp.array3d[wp.vec3],
    point_out: wp.array3d[wp.vec3],
) -> None:
    """State after the substep, servo forces and net ground contact in it, into the trace's row. Launch (E, 99)."""
    e, i = wp.tid()
    k = row[e]
    qpos_out[e, k, i] = qpos[e, i]
    if i < qvel.shape[1]:
        qvel_out[e, k, i] = qvel[e, i]
    if i < servo_force.shape[1]:
        servo_out[e, k, i] = servo_force[e, i]
    if i < weight.shape[1]:
        arm = contact_lever(lever[e, i], weight[e, i])
        force_out[e, k, i] = force[e, i]
        torque_out[e, k, i] = moment[e, i] - wp.cross(arm, force[e, i])
        if weight[e, i] > 0.0:
            arm = arm + body_pos[e, engine_body[i]]
        point_out[e, k, i] = arm


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
