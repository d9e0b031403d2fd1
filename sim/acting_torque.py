"""The torque that really acted at the joints in each substep, from what the servos reported.

With the integrator `implicitfast` a servo's damping is evaluated at the end of the step: the velocity solves

    (M + h·D) q̇̇ = Sᵀf_servo + Jᵀf_contact − c,   D = Sᵀ diag(kv) S over servos that are not at their limit,

so the reported servo force is not what acted, but

    τ = Sᵀ (f_servo − h·kv·S·q̇̇),   q̇̇ = (v⁺ − v) / h   (servos at their limit: kv = 0).

The servos of a ball joint act along the axes of the child frame, in which the joint velocity is expressed: S picks
columns of the velocity, and τ of a joint is a vector in the child frame. An engine that is given torques, or measures them, puts
them into the trace, and they are taken from there.

Axis legend: K substeps, J = 23 joints.
"""

from __future__ import annotations

import numba
import numpy as np

from dataset.skeleton import NUM_JOINTS
from sim.backends.contract import SubstepTrace
from sim.humanoid import Humanoid


def acting_torque(humanoid: Humanoid, trace: SubstepTrace, environment: int = 0) -> np.ndarray:
    """Torque that acted on the child at each joint in each substep of one environment.

    Returns:
        Torque [N·m], child frame, shape (K, J, 3), float64. Rows from `trace.valid_substeps` on mean nothing.
    """
    if trace.torque is not None:
        return trace.torque[environment].astype(np.float64).reshape(-1, NUM_JOINTS, 3)
    torque = np.empty((trace.num_substeps, 3 * NUM_JOINTS))
    limit = humanoid.model.actuator_forcerange
    _subtract_implicit_damping(
        trace.servo_force[environment],
        trace.qvel[environment],
        humanoid.ctrl_dof,
        humanoid.damping,
        limit[:, 0].copy(),
        limit[:, 1].copy(),
        torque,
    )
    return torque.reshape(-1, NUM_JOINTS, 3)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _subtract_implicit_damping(
    # inputs
    servo_force: np.ndarray,
    qvel: np.ndarray,
    dof: np.ndarray,
    damping: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    # outputs
    torque_out: np.ndarray,
) -> None:
    substeps, servos = torque_out.shape
    for k in range(substeps):
        before, after = qvel[k], qvel[k + 1]
        for i in range(servos):
            force = servo_force[k, i]
            # h · kv · q̇̇ = kv · (v⁺ − v): the step cancels
            if low[i] < force < high[i]:
                force -= damping[i] * (after[dof[i]] - before[dof[i]])
            torque_out[k, i] = force
