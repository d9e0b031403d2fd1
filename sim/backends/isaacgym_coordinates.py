"""Isaac Gym's states as ours and back, by conventions that are measured in each new world instead of believed.

Its tensors are single precision, quaternions x, y, z, w. What no document says is measured on one substep in the air: whether the
three positions of a joint are a rotation vector (nothing else is accepted), whether their rates are the angular velocity in the
child's or the parent's frame, and whether the linear velocity of a body is that of its origin or of its centre of mass.

Axis legend: E environments, T states, N = 24 bodies and J = 23 joints in skeleton order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dataset import rotation
from dataset.kinematics import local_from_global
from dataset.skeleton import BODY_NAMES, NUM_JOINTS, PARENTS
from sim.backends.isaacgym_model import servo_names
from sim.humanoid import NUM_QPOS, NUM_QVEL, Humanoid

AGREEMENT = 1e-3
"""Largest difference that counts as agreement [rad, rad/s, m/s]: the convention that is right differs by rounding (1e-5), a wrong
one by 0.05 and more in the state that is looked at."""


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """What Isaac Gym's numbers mean."""

    rate_frame: Literal["child", "parent"] = "child"
    """Frame of the joint rates."""
    velocity_point: Literal["com", "origin"] = "com"
    """Point of a body whose linear velocity is reported and set."""


@dataclass(frozen=True, eq=False)
class Order:
    """Where the simulator keeps what we keep elsewhere."""

    body: np.ndarray
    """Row of each skeleton body, shape (N,)."""
    dof: np.ndarray
    """Column of each servo in the order of `ctrl`, shape (69,)."""

    @classmethod
    def of(cls, bodies: list[str], dofs: list[str]) -> Order:
        """Order of a simulator that names its bodies and degrees of freedom so."""
        return cls(
            np.array([bodies.index(name) for name in BODY_NAMES]),
            np.array([dofs.index(name) for name in servo_names()]),
        )


def to_simulator(
    humanoid: Humanoid, conventions: Conventions, order: Order, qpos: np.ndarray, qvel: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """States as the simulator takes them.

    Args:
        humanoid: What is simulated.
        conventions: As measured.
        order: Of the simulator.
        qpos: Generalised positions, shape (E, 99).
        qvel: Generalised velocities, shape (E, 75).

    Returns:
        Root states (E, 13): position, quaternion xyzw, linear and angular velocity in the world; joint states (E, 69, 2):
        angle and rate. Both float32.
    """
    root_pos, quat = humanoid.pose(qpos)
    quat = rotation.normalize(quat)
    omega = qvel[:, humanoid.omega_columns]
    turning = rotation.rotate(quat[:, 0], omega[:, 0])
    moving = qvel[:, :3]
    if conventions.velocity_point == "com":
        moving = moving + np.cross(turning, rotation.rotate(quat[:, 0], humanoid.body.com[0]))
    root = np.concatenate([root_pos, quat[:, 0, [1, 2, 3, 0]], moving, turning], axis=1)
    rates = omega[:, 1:] if conventions.rate_frame == "child" else rotation.rotate(quat[:, 1:], omega[:, 1:])
    dof = np.empty((len(qpos), 3 * NUM_JOINTS, 2))
    dof[:, order.dof, 0] = rotation.to_rotation_vector(quat[:, 1:]).reshape(len(qpos), -1)
    dof[:, order.dof, 1] = rates.reshape(len(qpos), -1)
    return root.astype(np.float32), dof.astype(np.float32)


def from_simulator(
    humanoid: Humanoid, conventions: Conventions, order: Order, root: np.ndarray, dof: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `to_simulator`, in double precision: qpos (T, 99) and qvel (T, 75) of T states."""
    root, count = root.astype(np.float64), len(root)
    joints = dof[:, order.dof].astype(np.float64).reshape(count, NUM_JOINTS, 3, 2)
    quat = np.empty((count, NUM_JOINTS + 1, 4))
    quat[:, 0] = rotation.normalize(root[:, [6, 3, 4, 5]])
    quat[:, 1:] = rotation.from_rotation_vector(joints[..., 0])
    rates = joints[..., 1]
    if conventions.rate_frame == "parent":
        rates = rotation.rotate(rotation.conjugate(quat[:, 1:]), rates)
    qvel = np.empty((count, NUM_QVEL))
    qvel[:, :3] = root[:, 7:10]
    if conventions.velocity_point == "com":
        qvel[:, :3] -= np.cross(root[:, 10:13], rotation.rotate(quat[:, 0], humanoid.body.com[0]))
    qvel[:, 3:6] = rotation.rotate(rotation.conjugate(quat[:, 0]), root[:, 10:13])
    qvel[:, humanoid.omega_columns[1:]] = rates
    qpos = humanoid.qpos(root[:, :3], quat)
    assert qpos.shape == (count, NUM_QPOS)
    return qpos, qvel


def probe_state(humanoid: Humanoid) -> tuple[np.ndarray, np.ndarray]:
    """A state in the air in which all conventions differ: qpos (1, 99) and qvel (1, 75)."""
    rng = np.random.default_rng(0)
    quat = rotation.from_rotation_vector(rng.uniform(-0.5, 0.5, (1, NUM_JOINTS + 1, 3)))
    qvel = np.zeros((1, NUM_QVEL))
    qvel[:, :3] = rng.uniform(-0.5, 0.5, 3)
    qvel[:, humanoid.omega_columns] = rng.uniform(-1.0, 1.0, (NUM_JOINTS + 1, 3))
    return humanoid.qpos(np.array([[0.0, 0.0, 3.0]]), quat), qvel


def measure_conventions(
    humanoid: Humanoid, order: Order, root: np.ndarray, dof: np.ndarray, body: np.ndarray
) -> Conventions:
    """What the simulator's numbers mean, from all that it says about one moving state.

    Args:
        humanoid: What is simulated.
        order: Of the simulator.
        root: Root state, shape (13,).
        dof: Angle and rate of each degree of freedom, shape (69, 2).
        body: States of all bodies in the simulator's order, shape (N, 13).

    Raises:
        ValueError: Joint positions are no rotation vectors, or the velocities fit no known convention.
    """
    rows = body[order.body].astype(np.float64)
    _expect_small("the root's state is that of the pelvis", root - rows[0])
    world = rotation.normalize(rows[None][..., [6, 3, 4, 5]])
    quat = local_from_global(world)[0]
    joints = dof[order.dof].astype(np.float64).reshape(NUM_JOINTS, 3, 2)
    _expect_small("joint positions are rotation vectors", joints[..., 0] - rotation.to_rotation_vector(quat[1:]))

    parents = np.array(PARENTS[1:])
    relative = rows[1:, 10:] - rows[parents, 10:]
    frames = {"child": world[0, 1:], "parent": world[0, parents]}
    rates = {name: joints[..., 1] - rotation.rotate(rotation.conjugate(q), relative) for name, q in frames.items()}
    rate_frame = _the_only("joint rates are angular velocities in the child's or the parent's frame", rates)

    # a joint moves with both of its bodies: v + ω × (joint − reported point) of one is that of the other
    points = {"origin": np.zeros((len(rows), 3)), "com": rotation.rotate(world[0], humanoid.body.com)}
    gaps = {}
    for name, arm in points.items():
        at_origin = rows[:, 7:10] - np.cross(rows[:, 10:], arm)
        reach = rows[1:, :3] - rows[parents, :3]
        gaps[name] = at_origin[parents] + np.cross(rows[parents, 10:], reach) - at_origin[1:]
    velocity_point = _the_only("linear velocities are those of the origins or of the centres of mass", gaps)
    return Conventions(
        rate_frame="child" if rate_frame == "child" else "parent",
        velocity_point="com" if velocity_point == "com" else "origin",
    )


def _expect_small(what: str, difference: np.ndarray) -> None:
    largest = float(np.abs(difference).max())
    if not largest < AGREEMENT:
        raise ValueError(
            f"isaacgym: expected that {what}, found a difference of {largest:.3g}; this version of Isaac Gym has other"
            " conventions than those known, so nothing it says can be recorded"
        )


def _the_only(what: str, differences: dict[str, np.ndarray]) -> str:
    name = min(differences, key=lambda key: float(np.nan_to_num(np.abs(differences[key]).max(), nan=np.inf)))
    _expect_small(what, differences[name])
    return name
