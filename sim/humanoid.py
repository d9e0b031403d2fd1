"""The simulated humanoid: a compiled MuJoCo model and the map between its coordinates and the 24-body skeleton.

MuJoCo numbers bodies depth first, the skeleton is in SMPL order; this file is the only place that knows both. Servos and
sensors are written in skeleton order by `dataset.body.mjcf`, so `ctrl` is (J, 3) flattened: the target rotation vector of
each joint [rad] in the child frame.

Axis legend: T frames or substeps, N = 24 bodies, J = 23 joints.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from dataset.body.mjcf import HumanoidConfig, humanoid_mjcf, joint_gains
from dataset.body.model import BodyModel
from dataset.skeleton import BODY_NAMES, JOINT_NAMES, NUM_BODIES, NUM_JOINTS
from sim.engine_warnings import install

NUM_QPOS = 7 + 4 * NUM_JOINTS
NUM_QVEL = 6 + 3 * NUM_JOINTS
NUM_CTRL = 3 * NUM_JOINTS


@dataclass(frozen=True, eq=False)
class Humanoid:
    """A subject's humanoid, ready to simulate."""

    body: BodyModel
    """The rigid 24-body model."""
    config: HumanoidConfig
    """Physical parameters."""
    model: mujoco.MjModel
    """Compiled MuJoCo model: 99 qpos, 75 qvel, 69 ctrl."""

    @cached_property
    def quat_address(self) -> np.ndarray:
        """First qpos index of each body's quaternion (pelvis: root orientation), skeleton order, shape (N,)."""
        joints = [self.model.jnt_qposadr[self._joint(name)] for name in JOINT_NAMES]
        return np.array([3, *joints], dtype=np.int64)

    @cached_property
    def omega_address(self) -> np.ndarray:
        """First qvel index of each body's joint angular velocity, skeleton order, shape (N,)."""
        joints = [self.model.jnt_dofadr[self._joint(name)] for name in JOINT_NAMES]
        return np.array([3, *joints], dtype=np.int64)

    @cached_property
    def body_id(self) -> np.ndarray:
        """MuJoCo body id of each skeleton body, shape (N,)."""
        ids = [mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_BODY, name) for name in BODY_NAMES]
        return np.array(ids, dtype=np.int64)

    @cached_property
    def quat_columns(self) -> np.ndarray:
        """qpos columns of all body quaternions, shape (N, 4)."""
        return self.quat_address[:, None] + np.arange(4)

    @cached_property
    def omega_columns(self) -> np.ndarray:
        """qvel columns of all joint angular velocities (child frame; the pelvis' own for row 0), shape (N, 3)."""
        return self.omega_address[:, None] + np.arange(3)

    @cached_property
    def ctrl_dof(self) -> np.ndarray:
        """qvel column that each servo drives, shape (69,)."""
        return self.omega_columns[1:].reshape(-1)

    @cached_property
    def stiffness(self) -> np.ndarray:
        """Servo stiffness kp [N·m/rad], shape (69,)."""
        return np.repeat(joint_gains(self.body, self.config)[0], 3)

    @cached_property
    def damping(self) -> np.ndarray:
        """Servo damping kv [N·m·s/rad], shape (69,)."""
        return np.repeat(joint_gains(self.body, self.config)[1], 3)

    @cached_property
    def torque_limit(self) -> np.ndarray:
        """Servo torque limit [N·m], shape (69,)."""
        return np.repeat(joint_gains(self.body, self.config)[2], 3)

    @property
    def substeps(self) -> int:
        """Physics substeps S in one 30 Hz transition."""
        return round(1.0 / (30.0 * self.config.substep))

    def _joint(self, name: str) -> int:
        return mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_JOINT, name)

    def qpos(self, root_pos: np.ndarray, quat: np.ndarray) -> np.ndarray:
        """Generalised positions of poses given in skeleton order.

        Args:
            root_pos: Pelvis joint position [m], world, shape (T, 3).
            quat: Quaternions wxyz, pelvis to world then child to parent, shape (T, N, 4).

        Returns:
            qpos, shape (T, 99).
        """
        out = np.zeros((root_pos.shape[0], NUM_QPOS))
        out[:, :3] = root_pos
        out[:, self.quat_columns] = quat
        return out

    def pose(self, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Skeleton pose of generalised positions: root_pos (T, 3) [m] and quat (T, N, 4) wxyz."""
        return qpos[:, :3].copy(), qpos[:, self.quat_columns]


def _rounded(body: BodyModel) -> BodyModel:
    """The body to 0.1 µm, 0.1 mg and 1e-9 kg·m², so that machines that differ in the last bits simulate the same one."""
    # Adding zero turns -0.0 into 0.0, which would print differently.
    shapes = tuple(
        dataclasses.replace(
            shape,
            center=shape.center.round(7) + 0.0,
            axis=shape.axis.round(7) + 0.0,
            size=tuple(round(x, 7) for x in shape.size),
        )
        for shape in body.shapes
    )
    return dataclasses.replace(
        body, joint_pos=body.joint_pos.round(7) + 0.0, mass=body.mass.round(7), com=body.com.round(7) + 0.0,
        inertia=body.inertia.round(9) + 0.0, shapes=shapes,
    )  # fmt: skip


def make_humanoid(body: BodyModel, config: HumanoidConfig | None = None) -> Humanoid:
    """Compile the humanoid of a body (rounded, see `_rounded`; `Humanoid.body` is the rounded one).

    Also takes over MuJoCo's warnings in this process (`sim.engine_warnings`).

    Raises:
        ValueError: The model text does not compile; the message carries MuJoCo's reason.
    """
    install()
    config, body = config or HumanoidConfig(), _rounded(body)
    try:
        model = mujoco.MjModel.from_xml_string(humanoid_mjcf(body, config))
    except ValueError as error:
        raise ValueError(f"humanoid of subject {body.subject.name!r} does not compile: {error}") from error
    if (model.nq, model.nv, model.nu, model.nbody) != (NUM_QPOS, NUM_QVEL, NUM_CTRL, NUM_BODIES + 1):
        raise ValueError(
            f"humanoid: expected nq, nv, nu = {NUM_QPOS}, {NUM_QVEL}, {NUM_CTRL}, got {model.nq}, {model.nv}, {model.nu}"
        )
    return Humanoid(body, config, model)
