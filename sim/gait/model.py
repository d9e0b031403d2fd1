"""The gait model in MuJoCo: model text, compiled model, and the height of the sole at which the loaded foot stands at zero.

Feet touch the floor with four small spheres at the corners of the sole. A contact's force starts where its distance falls
below the margin, so a sphere that carries load floats almost a margin above the floor: the spheres are raised by that
height, found on the model itself, and the sole stands at z = 0.

Axis legend: F = 2 feet (left, right).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from dataset.rotation import from_matrix
from dataset.skeleton import GRAVITY
from sim.engine_warnings import install
from sim.gait.body import GaitBody
from sim.gait.config import PhysicsConfig
from sim.gait.segments import (
    COORDINATES,
    FEET,
    NUM_COORDINATES,
    NUM_QPOS,
    NUM_QVEL,
    NUM_SEGMENTS,
    PARENTS,
    SEGMENT_OF_COORDINATE,
    SEGMENTS,
)

CONTACT_WIDTH = 9
"""Numbers of a contact sensor: force, torque, position."""
_BOX_HEIGHT, _DEEPEST = 0.02, 0.1


@dataclass(frozen=True, eq=False)
class GaitModel:
    """A person ready to walk."""

    body: GaitBody
    """Segments, inertias and soles."""
    config: PhysicsConfig
    """Physical parameters."""
    model: mujoco.MjModel
    """Compiled model: 24 qpos, 23 qvel, 17 servos; sensors ground_l_foot, ground_r_foot (9 each), then 17 servo forces."""
    lift: float
    """Height of the contact spheres' centres above the sole [m]."""

    @cached_property
    def stiffness(self) -> np.ndarray:
        """Kp [N·m/rad], shape (17,)."""
        return self.config.stiffness.per_coordinate()

    @cached_property
    def damping(self) -> np.ndarray:
        """Kd [N·m·s/rad], shape (17,)."""
        return self.config.damping.per_coordinate()

    @cached_property
    def torque_limit(self) -> np.ndarray:
        """Torque limits [N·m], shape (17,)."""
        return self.config.torque_limit.per_coordinate()

    @property
    def weight(self) -> float:
        """Body weight [N]."""
        return self.body.total_mass * GRAVITY


def make_gait_model(body: GaitBody, config: PhysicsConfig | None = None, *, lift: float | None = None) -> GaitModel:
    """Compile the gait model of a body.

    Args:
        body: The person.
        config: Physical parameters; None for the paper's.
        lift: Height of the contact spheres' centres above the sole [m]; None to find the one at which the sole stands at 0.

    Raises:
        ValueError: the model does not compile (with MuJoCo's reason) or its contact is too soft to stand on.
    """
    install()
    config = config or PhysicsConfig()
    lift = find_lift(body, config) if lift is None else lift
    model = _compiled(gait_mjcf(body, config, lift), body.name)
    if (model.nq, model.nv, model.nu) != (NUM_QPOS, NUM_QVEL, NUM_COORDINATES):
        raise ValueError(f"gait model: expected {NUM_QPOS}, {NUM_QVEL} coordinates, got {model.nq}, {model.nv}")
    return GaitModel(body, config, model, lift)


def _compiled(text: str, name: str) -> mujoco.MjModel:
    try:
        return mujoco.MjModel.from_xml_string(text)
    except ValueError as error:
        raise ValueError(f"gait model of {name!r} does not compile: {error}") from error


def find_lift(body: GaitBody, config: PhysicsConfig) -> float:
    """Height of the contact spheres' centres above the sole at which a standing foot's sole is at z = 0 [m].

    A foot that rests flat on the floor in the neutral pose carries half the weight: the height at which its contacts do that at
    zero acceleration is found by bisection of MuJoCo's inverse dynamics, and the mean of both feet is taken. (How far a contact
    gives way depends on the whole chain of segments behind it, so a single rigid body would not do.)

    Raises:
        ValueError: a contact so soft that no height carries half the weight.
    """
    model = _compiled(gait_mjcf(body, config, 0.0), body.name)
    data = mujoco.MjData(model)
    heights = []
    for foot, side in enumerate("lr"):
        points = [model.geom(f"point_{side}{index}").id for index in range(4)]
        data.qpos[:] = 0.0
        data.qpos[3:7] = from_matrix(body.soles[foot].rot_fs.T)
        mujoco.mj_kinematics(model, data)
        base = float(data.geom_xpos[points, 2].mean())

        def carried(height: float, base: float = base, points: list[int] = points) -> float:
            data.qpos[2] = height - base
            mujoco.mj_inverse(model, data)
            force, total = np.zeros(6), 0.0
            for index in range(data.ncon):
                if data.contact[index].geom2 in points or data.contact[index].geom1 in points:
                    mujoco.mj_contactForce(model, data, index, force)
                    total += float(force[0])
            return total

        half, low, high = 0.5 * body.total_mass * GRAVITY, -_DEEPEST, config.contact_margin + config.point_radius
        if carried(low) < half:
            raise ValueError(
                f"contact: expected one that carries half the weight ({half:.0f} N) within {_DEEPEST} m of depth, found "
                f"{carried(low):.0f} N; choose a contact that is less soft"
            )
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if carried(middle) > half else (low, middle)
        heights.append(0.5 * (low + high))
    return float(np.mean(heights))


def _text(values: Sequence[float] | np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in np.asarray(values, dtype=float).ravel())


def _inertial(body: GaitBody, segment: int) -> str:
    i = body.inertia[segment]
    full = (i[0, 0], i[1, 1], i[2, 2], i[0, 1], i[0, 2], i[1, 2])
    return (
        f'<inertial pos="{_text(body.com[segment])}" mass="{float(body.mass[segment])!r}" fullinertia="{_text(full)}"/>'
    )


def _segment_lines(body: GaitBody, segment: int, config: PhysicsConfig, lift: float, indent: str) -> list[str]:
    inner = indent + "  "
    position = np.array([0.0, 0.0, 1.2]) if segment == 0 else body.joint_pos[segment]
    lines = [f'{indent}<body name="{SEGMENTS[segment]}" pos="{_text(position)}">', inner + _inertial(body, segment)]
    if segment == 0:
        lines.append(f'{inner}<freejoint name="pelvis"/>')
    else:
        axes = body.hinge_axes
        lines += [
            f'{inner}<joint name="{COORDINATES[k]}" type="hinge" axis="{_text(axes[k])}" armature="{config.armature!r}"/>'
            for k in range(NUM_COORDINATES)
            if SEGMENT_OF_COORDINATE[k] == segment
        ]
    if segment in FEET:
        lines += _foot_lines(body, FEET.index(segment), config, lift, inner)
    for child in range(1, NUM_SEGMENTS):
        if PARENTS[child] == segment:
            lines += _segment_lines(body, child, config, lift, inner)
    lines += _look_lines(body, segment, inner)
    return [*lines, f"{indent}</body>"]


def _foot_lines(body: GaitBody, foot: int, config: PhysicsConfig, lift: float, indent: str) -> list[str]:
    """The four contact points and the visible box of a foot."""
    sole, side = body.soles[foot], "lr"[foot]
    up = sole.rot_fs[:, 2]
    lines = [
        f'{indent}<geom name="point_{side}{index}" class="contact" type="sphere" size="{config.point_radius!r}"'
        f' pos="{_text(corner + lift * up)}"/>'
        for index, corner in enumerate(sole.corners)
    ]
    x, y = sole.rot_fs[:, 0], sole.rot_fs[:, 1]
    return [
        *lines,
        f'{indent}<geom name="box_{side}" class="look" type="box" pos="{_text(sole.center + 0.5 * _BOX_HEIGHT * up)}"'
        f' size="{_text((sole.half_length, sole.half_width, 0.5 * _BOX_HEIGHT))}" xyaxes="{_text(np.concatenate([x, y]))}"/>',
    ]


def _look_lines(body: GaitBody, segment: int, indent: str) -> list[str]:
    """A visible capsule from the segment's origin to its children's (trunk: through its centre of mass)."""
    ends = [body.joint_pos[child] for child in range(1, NUM_SEGMENTS) if PARENTS[child] == segment]
    if SEGMENTS[segment] == "trunk":
        ends = [1.6 * body.com[segment]]
    return [
        f'{indent}<geom class="look" type="capsule" size="0.04" fromto="0 0 0 {_text(end)}"/>'
        for end in ends
        if float(np.linalg.norm(end)) > 1e-3
    ]


def gait_mjcf(body: GaitBody, config: PhysicsConfig, lift: float) -> str:
    """Model text (MJCF) of the gait model over a floor.

    Generalised coordinates: pelvis position [m] and orientation (wxyz), then the 17 joint angles of
    `sim.gait.segments.COORDINATES` [rad]. One servo a joint with τ = −Kp (ψ − ctrl) − Kd dψ/dt.

    Args:
        body: The person.
        config: Physical parameters.
        lift: Height of the contact spheres' centres above the sole [m].

    Returns:
        The XML text.
    """
    stiffness, damping = config.stiffness.per_coordinate(), config.damping.per_coordinate()
    limit = config.torque_limit.per_coordinate()
    lines = [
        '<mujoco model="gait">',
        '  <compiler angle="radian" autolimits="true" inertiafromgeom="false" balanceinertia="false"/>',
        f'  <option timestep="{config.substep!r}" integrator="implicitfast" solver="Newton" cone="pyramidal"'
        f' iterations="{config.solver_iterations}" ls_iterations="20" gravity="0 0 {-GRAVITY!r}"/>',
        "  <default>",
        f'    <default class="contact"><geom contype="0" conaffinity="1" condim="3" friction="{config.friction!r} 0.005 0.0001"'
        f' margin="{config.contact_margin!r}" solref="{config.contact_time!r} {config.contact_damping!r}"'
        f' solimp="{_text(config.contact_impedance)}" rgba="0.8 0.3 0.2 1"/></default>',
        '    <default class="look"><geom contype="0" conaffinity="0" rgba="0.75 0.72 0.68 0.6"/></default>',
        "  </default>",
        "  <worldbody>",
        f'    <geom name="floor" type="plane" size="0 0 1" contype="1" conaffinity="0" margin="0" condim="3"'
        f' friction="{config.friction!r} 0.005 0.0001" solref="{config.contact_time!r} {config.contact_damping!r}"'
        f' solimp="{_text(config.contact_impedance)}"/>',
        *_segment_lines(body, 0, config, lift, "    "),
        "  </worldbody>",
    ]
    lines.append("  <actuator>")
    lines += [
        f'    <general name="{name}" joint="{name}" gaintype="fixed" biastype="affine" gainprm="{float(stiffness[k])!r}"'
        f' biasprm="0 {-float(stiffness[k])!r} {-float(damping[k])!r}" forcerange="{-float(limit[k])!r} {float(limit[k])!r}"/>'
        for k, name in enumerate(COORDINATES)
    ]
    lines += ["  </actuator>", "  <sensor>"]
    lines += [
        f'    <contact name="ground_{SEGMENTS[segment]}" body1="{SEGMENTS[segment]}" geom2="floor" data="force torque pos"'
        ' reduce="netforce" num="1"/>'
        for segment in FEET
    ]
    lines += [f'    <actuatorfrc name="servo_{name}" actuator="{name}"/>' for name in COORDINATES]
    lines.append("  </sensor>")
    return "\n".join([*lines, "</mujoco>"]) + "\n"
