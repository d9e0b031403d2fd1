"""Ground reaction of each body from what PhysX reports of its contacts.

PhysX gives the net force on each body, and of each contact its place and normal force, but not how friction is shared between the
places. The centre of pressure needs the normal forces only, and gives the horizontal moment exactly, because all contacts lie in
the floor. What is left is a couple about the vertical, the free moment. It follows from the motion: every joint torque is known,
so the moment about a joint of what the record does not explain, less that about the joints beyond, is what acts on the one body
between them. Its vertical part is taken as the free moment where the body touches the floor; the horizontal parts, the forces,
and all of it elsewhere stay in the equations of motion, whose check can therefore fail.

Axis legend: E environments, K substeps, N = 24 bodies, J = 23 joints.
"""

from __future__ import annotations

import numpy as np

from dataset import rotation
from dataset.kinematics import forward_kinematics, global_from_local
from dataset.skeleton import NUM_BODIES, PARENTS
from sim.acting_torque import acting_torque
from sim.backends.contract import SubstepTrace
from sim.closure import unexplained_forces
from sim.humanoid import Humanoid


def contact_centres(humanoid: Humanoid, qpos: np.ndarray, normal: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Centre of the normal forces on each body.

    Args:
        humanoid: What touches.
        qpos: Generalised positions at the beginning of each substep, shape (K, 99).
        normal: Σ λ over the contacts of each body [N], skeleton order, shape (K, N).
        point: Σ λ · place in the body's frame [N·m], shape (K, N, 3).

    Returns:
        Σ λ·place / Σ λ in the world [m], shape (K, N, 3); 0 where nothing presses.
    """
    root_pos, quat = humanoid.pose(qpos)
    origin, turned = forward_kinematics(humanoid.body.offset, root_pos, quat)
    presses = normal > 0
    local = point / np.where(presses, normal, 1.0)[..., None]
    return np.where(presses[..., None], origin + rotation.rotate(turned, local), 0.0)


def free_moments(humanoid: Humanoid, trace: SubstepTrace, environment: int) -> np.ndarray:
    """Moment of the floor about the vertical through each centre that the motion asks for.

    Args:
        humanoid: What was simulated.
        trace: States, torques, forces and centres; its `ground_torque` is still zero.
        environment: Which of the trace's environments.

    Returns:
        Moment [N·m], shape (K, N); 0 where no force acts on the body.
    """
    rows = unexplained_forces(humanoid, trace, acting_torque(humanoid, trace, environment), environment)
    _, quat = humanoid.pose(trace.qpos[environment, :-1])
    moment = rotation.rotate(global_from_local(quat), rows[:, humanoid.omega_columns])[..., 2]
    own = moment.copy()
    for body in range(1, NUM_BODIES):
        own[:, PARENTS[body]] -= moment[:, body]
    return np.where(np.any(trace.ground_force[environment] != 0, axis=-1), own, 0.0)
