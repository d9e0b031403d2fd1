"""The 24-body humanoid as MuJoCo model text (MJCF). Imports no simulator: the solver's physics needs the same body.

Every joint is a ball joint driven by three implicit position servos (gear along x, y, z of the child frame):

    force_i = kp · (target_i − rotvec_i) − kv · ω_i,   |force_i| <= limit,

with `rotvec` the rotation vector of the joint from the T-pose and ω the joint's angular velocity, both in the child frame.
Balls have no gimbal lock and their torque is a vector (design section 4). Body-against-floor contact sensors return force,
torque and position of each body's net contact for every physics step, servo-force sensors what the servos did.

Axis legend: N = 24 bodies, J = 23 joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.body.model import BodyModel, CollisionShape
from dataset.skeleton import BODY_NAMES, GRAVITY, JOINT_NAMES, NUM_BODIES, PARENTS

PHC_STIFFNESS: dict[str, float] = {
    "Hip": 800.0, "Knee": 800.0, "Ankle": 800.0, "Toe": 500.0, "Torso": 1000.0, "Spine": 1000.0, "Chest": 1000.0,
    "Neck": 500.0, "Head": 500.0, "Thorax": 500.0, "Shoulder": 500.0, "Elbow": 500.0, "Wrist": 300.0, "Hand": 300.0,
}  # fmt: skip
"""Joint stiffness of Perpetual Humanoid Control [N·m/rad] (Luo et al. 2023; symmetric left and right here)."""

REFERENCE_MASS = 70.0
"""Body mass at which gains and torque limits hold unscaled [kg]."""


@dataclass(frozen=True, kw_only=True)
class HumanoidConfig:
    """Physical parameters of the simulated humanoid beyond the body itself."""

    substep: float = 1.0 / 480.0
    """Physics step h [s]; 1/30 s must be a whole number of them. The momentum balance over a transition holds to first order
    in h: tracked walking 1.0 % of body weight at 1/120, 0.4 % at 1/240; running four times that."""
    stiffness_scale: float = 0.3
    """kp as a fraction of PHC's; on walking 0.3 tracks closer and smoother than 0.4 and 0.2 (52-60, 67-70, 59-67 mm)."""
    damping_ratio: float = 0.1
    """kv / kp [s]."""
    torque_limit: float = 500.0
    """Limit of each servo at `REFERENCE_MASS` [N·m]."""
    armature: float = 0.02
    """Inertia added to each joint axis [kg·m²]; part of the joint-space inertia that closes the equations of motion."""
    friction: float = 1.0
    """Coulomb friction of the floor."""
    contact_time: float = 0.02
    """Time constant of the contact spring-damper [s] (solref[0])."""
    contact_damping: float = 1.0
    """Damping ratio of the contact (solref[1])."""
    contact_impedance: tuple[float, float, float] = (0.9, 0.95, 0.001)
    """Constraint impedance d0, dwidth [-] and width [m] (solimp[:3])."""
    solver_iterations: int = 20
    """Upper bound of Newton iterations; at least 5. Newton converges to mirror-exact forces; PGS at the same cost does not
    (20 sweeps: 6 mm between mirrored roll-outs after half a second)."""
    has_sensors: bool = True
    """Contact and servo-force sensors, for planning and for whoever simulates the text elsewhere; `sim.backends.mujoco_cpu`
    takes the same numbers from the engine itself."""

    def __post_init__(self) -> None:
        per_frame = 1.0 / (30.0 * self.substep)
        if self.substep <= 0 or abs(per_frame - round(per_frame)) > 1e-9:
            raise ValueError(f"HumanoidConfig.substep: expected 1/(30·S) s with whole S, got {self.substep}")
        if self.solver_iterations < 5:
            raise ValueError(f"HumanoidConfig.solver_iterations: expected at least 5, got {self.solver_iterations}")


def joint_gains(body: BodyModel, config: HumanoidConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Servo stiffness, damping and torque limit of each joint, scaled by body mass.

    Returns:
        kp [N·m/rad], kv [N·m·s/rad] and limit [N·m], each of shape (J,).
    """
    scale = body.subject.mass / REFERENCE_MASS
    phc = np.array([PHC_STIFFNESS[name.split("_")[-1]] for name in JOINT_NAMES])
    stiffness = config.stiffness_scale * scale * phc
    return stiffness, config.damping_ratio * stiffness, np.full(len(JOINT_NAMES), config.torque_limit * scale)


def _numbers(values: np.ndarray | tuple[float, ...]) -> str:
    return " ".join(repr(float(value)) for value in np.asarray(values, dtype=float).ravel())


def _geom(shape: CollisionShape) -> str:
    if shape.kind == "capsule":
        half = shape.axis * shape.size[1]
        ends = _numbers(np.concatenate([shape.center - half, shape.center + half]))
        return f'<geom class="skin" type="capsule" size="{_numbers(shape.size[:1])}" fromto="{ends}"/>'
    return f'<geom class="skin" type="{shape.kind}" size="{_numbers(shape.size)}" pos="{_numbers(shape.center)}"/>'


def _body_lines(body: BodyModel, index: int, config: HumanoidConfig, indent: str) -> list[str]:
    name, inertia = BODY_NAMES[index], body.inertia[index]
    full = (inertia[0, 0], inertia[1, 1], inertia[2, 2], inertia[0, 1], inertia[0, 2], inertia[1, 2])
    lines = [f'{indent}<body name="{name}" pos="{_numbers(body.offset[index])}">']
    inner = indent + "  "
    if index == 0:
        lines.append(f'{inner}<freejoint name="Pelvis"/>')
    else:
        lines.append(f'{inner}<joint name="{name}" type="ball" armature="{config.armature!r}"/>')
    lines.append(
        f'{inner}<inertial pos="{_numbers(body.com[index])}" mass="{float(body.mass[index])!r}" fullinertia="{_numbers(full)}"/>'
    )
    lines += [inner + _geom(shape) for shape in body.shapes if shape.body == index]
    for child in range(index + 1, NUM_BODIES):
        if PARENTS[child] == index:
            lines += _body_lines(body, child, config, inner)
    lines.append(f"{indent}</body>")
    return lines


def humanoid_mjcf(body: BodyModel, config: HumanoidConfig | None = None) -> str:
    """Write the humanoid of a subject standing over a floor as MJCF text.

    Generalised coordinates: root position [m] and orientation (wxyz), then one quaternion a joint in skeleton order of the
    depth-first tree; 75 velocities; 69 servos named `<joint>_x|y|z`; sensors `ground_<body>` (force [N], torque [N·m],
    position [m] of the floor-body contact as MuJoCo signs it) and `servo_<joint>_x|y|z` [N·m].

    Args:
        body: The subject's body model.
        config: Physical parameters; None for the defaults.

    Returns:
        The XML text, the same for the same input on any machine.

    Raises:
        ValueError: A body without mass.
    """
    config = config or HumanoidConfig()
    if not np.all(body.mass > 0):
        raise ValueError(
            f"BodyModel.mass: expected positive masses, got {body.mass.min()} kg at {BODY_NAMES[body.mass.argmin()]}"
        )
    stiffness, damping, limit = joint_gains(body, config)
    lines = [
        f'<mujoco model="{body.subject.name}">',
        '  <compiler angle="radian" autolimits="true" inertiafromgeom="false" balanceinertia="false"/>',
        f'  <option timestep="{config.substep!r}" integrator="implicitfast" solver="Newton" cone="pyramidal"'
        f' iterations="{config.solver_iterations}" ls_iterations="20" gravity="0 0 {-GRAVITY!r}"/>',
        "  <default>",
        f'    <geom condim="3" friction="{config.friction!r} 0.005 0.0001" margin="0"'
        f' solref="{config.contact_time!r} {config.contact_damping!r}" solimp="{_numbers(config.contact_impedance)}"/>',
        '    <default class="skin"><geom contype="0" conaffinity="1" rgba="0.75 0.72 0.68 1"/></default>',
        "  </default>",
        "  <worldbody>",
        '    <geom name="floor" type="plane" size="0 0 1" contype="1" conaffinity="0" rgba="0.93 0.94 0.95 1"/>',
        *_body_lines(body, 0, config, "    "),
        "  </worldbody>",
        "  <actuator>",
    ]
    for joint, name in enumerate(JOINT_NAMES):
        for axis, gear in (("x", "1 0 0"), ("y", "0 1 0"), ("z", "0 0 1")):
            lines.append(
                f'    <general name="{name}_{axis}" joint="{name}" gear="{gear} 0 0 0" gaintype="fixed" biastype="affine"'
                f' gainprm="{float(stiffness[joint])!r}" biasprm="0 {-float(stiffness[joint])!r} {-float(damping[joint])!r}"'
                f' forcerange="{-float(limit[joint])!r} {float(limit[joint])!r}"/>'
            )
    lines.append("  </actuator>")
    if config.has_sensors:
        lines.append("  <sensor>")
        lines += [
            f'    <contact name="ground_{name}" body1="{name}" geom2="floor" data="force torque pos"'
            ' reduce="netforce" num="1"/>'
            for name in BODY_NAMES
        ]
        lines += [
            f'    <actuatorfrc name="servo_{name}_{axis}" actuator="{name}_{axis}"/>'
            for name in JOINT_NAMES
            for axis in "xyz"
        ]
        lines.append("  </sensor>")
    lines.append("</mujoco>")
    return "\n".join(lines) + "\n"
