"""What Isaac Gym is told about a humanoid: its model text, masses, gains.

Its reader of MJCF knows no ball joints. Three hinges about x, y, z at one point become one spherical joint of PhysX, whose three
positions are a rotation vector (so read by every humanoid made for it: AMP, ASE, PHC); `sim.backends.isaacgym_coordinates`
measures that they are. Masses and inertias are set after reading, so that nothing depends on how much of `<inertial>` is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np

from dataset.body.mjcf import humanoid_mjcf
from dataset.skeleton import BODY_NAMES, GRAVITY, JOINT_NAMES
from sim.humanoid import Humanoid


@dataclass(frozen=True, kw_only=True)
class IsaacGymConfig:
    """Where Isaac Gym is and how it simulates."""

    python: Path
    """Interpreter of the environment that has `isaacgym` (CPython 3.6 to 3.8) and numpy."""
    control: Literal["effort", "position"] = "effort"
    """`effort`: this side computes the servos' torques at each substep, so the torque that acted is known exactly.
    `position`: PhysX's own implicit drives; the torque is what its joint sensors say, which is approximate."""
    solver: Literal["tgs", "pgs"] = "tgs"
    """PhysX's contact solver."""
    position_iterations: int = 8
    """Of the solver."""
    velocity_iterations: int = 1
    """Of the solver."""
    contact_offset: float = 0.01
    """Distance from which contacts are looked for [m]."""
    threads: int = 2
    """Threads of PhysX on the CPU."""
    use_gpu: bool = False
    """PhysX on the GPU `device`; its tensors come through host memory either way."""
    device: int = 0
    """Number of the GPU."""
    start_timeout: float = 300.0
    """Longest time for the import and for building a world [s]."""
    reply_timeout: float = 60.0
    """Longest silence of the worker afterwards [s]; a long rollout gives signs of life."""

    def __post_init__(self) -> None:
        for name, known in (("control", ("effort", "position")), ("solver", ("tgs", "pgs"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected {' or '.join(map(repr, known))}, got {getattr(self, name)!r}")
        for name, least in (("position_iterations", 1), ("velocity_iterations", 0), ("threads", 0), ("device", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        for name in ("contact_offset", "start_timeout", "reply_timeout"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")


SIMULATOR_OPTIONS = (
    "control", "solver", "position_iterations", "velocity_iterations", "contact_offset", "threads", "use_gpu", "device",
)  # fmt: skip
"""Fields of the configuration that the worker needs."""


def servo_names() -> list[str]:
    """Name of each degree of freedom in the order of `ctrl`, length 69."""
    return [f"{joint}_{axis}" for joint in JOINT_NAMES for axis in "xyz"]


def hinged_model(humanoid: Humanoid) -> str:
    """The humanoid as MJCF in the part of the format that Isaac Gym reads: bodies, hinges, primitives, motors; no floor."""
    source = ElementTree.fromstring(humanoid_mjcf(humanoid.body, humanoid.config))
    root = ElementTree.Element("mujoco", model="humanoid")
    ElementTree.SubElement(root, "compiler", angle="radian", inertiafromgeom="false")
    world = ElementTree.SubElement(root, "worldbody")
    pelvis = source.find("worldbody/body")
    assert pelvis is not None
    world.append(pelvis)
    for body in pelvis.iter("body"):
        ball = body.find("joint")
        if ball is not None:
            place = list(body).index(ball)
            body.remove(ball)
            for number, axis in enumerate(("1 0 0", "0 1 0", "0 0 1")):
                hinge = {"name": f"{body.get('name')}_{'xyz'[number]}", "type": "hinge", "pos": "0 0 0", "axis": axis}
                body.insert(
                    place + number, ElementTree.Element("joint", hinge | {"armature": ball.get("armature", "0")})
                )
        for shape in body.findall("geom"):
            del shape.attrib["class"]
        inertial = body.find("inertial")
        assert inertial is not None
        _use_principal_axes(inertial)
    motors = ElementTree.SubElement(root, "actuator")
    for name in servo_names():
        ElementTree.SubElement(motors, "motor", name=name, joint=name, gear="1")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _use_principal_axes(inertial: ElementTree.Element) -> None:
    """The same inertia as three principal moments and the rotation to their axes, which more readers know."""
    from dataset import rotation

    xx, yy, zz, xy, xz, yz = (float(value) for value in inertial.attrib.pop("fullinertia").split())
    moments, axes = np.linalg.eigh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
    axes[:, 0] *= np.sign(np.linalg.det(axes))
    inertial.set("diaginertia", " ".join(repr(float(value)) for value in moments))
    inertial.set("quat", " ".join(repr(float(value)) for value in rotation.from_matrix(axes)))


def explicit_damping(humanoid: Humanoid) -> np.ndarray:
    """Damping that torques computed at the beginning of a substep may have [N·m·s/rad], shape (69,).

    Torques −D·ω held for h turn the velocities v into (1 − h·M⁻¹D)·v: an eigenvalue of h·M⁻¹D above 1 overshoots, above 2 grows.
    Each joint's damping is bounded by a share of I/h, with I = 1/(M⁻¹)_ii the inertia that it feels alone, and the share is the
    largest for which all eigenvalues of h·M⁻¹(D + h·K) are at most 1, K the stiffness, M that of the rest pose in the air: other
    poses and contact change M, but not by a factor of two. MuJoCo's servos and PhysX's drives need no bound: theirs is implicit.

    Raises:
        ValueError: The stiffness alone is too much for torques that are held for a substep.
    """
    import mujoco

    model, step = humanoid.model, humanoid.config.substep
    data, inertia = mujoco.MjData(model), np.empty((model.nv, model.nv))
    data.qpos[:3] = humanoid.body.joint_pos[0]
    mujoco.mj_forward(model, data)
    mujoco.mj_fullM(model, data, inertia)
    inverse = np.linalg.inv(inertia)[np.ix_(humanoid.ctrl_dof, humanoid.ctrl_dof)]

    def largest(damping: np.ndarray) -> float:
        # of a product of a symmetric matrix and a diagonal one: eigenvalues of the symmetric D^½ M⁻¹ D^½
        root = np.sqrt(step * (damping + step * humanoid.stiffness))
        return float(np.linalg.eigvalsh(root[:, None] * inverse * root)[-1])

    if largest(np.zeros(len(inverse))) > 1.0:
        raise ValueError(
            f"HumanoidConfig.stiffness_scale, substep: expected servos that torques held for {step:g} s can be, found"
            f" {humanoid.config.stiffness_scale:g}; take softer ones, shorter substeps, or control 'position'"
        )
    bound = 1.0 / (step * np.diag(inverse))
    low, high = 0.0, float(np.max(humanoid.damping / bound))
    if largest(humanoid.damping) <= 1.0:
        return humanoid.damping
    for _ in range(40):
        share = 0.5 * (low + high)
        low, high = (share, high) if largest(np.minimum(humanoid.damping, share * bound)) <= 1.0 else (low, share)
    return np.minimum(humanoid.damping, low * bound)


def build_request(humanoid: Humanoid, config: IsaacGymConfig, num_environments: int) -> dict[str, Any]:
    """What the worker needs to build a world."""
    body, physics = humanoid.body, humanoid.config
    damping = explicit_damping(humanoid) if config.control == "effort" else humanoid.damping
    gains = zip(servo_names(), humanoid.stiffness, damping, humanoid.torque_limit, strict=True)
    return {
        "op": "build",
        "num_envs": num_environments,
        "model": hinged_model(humanoid),
        "bodies": {
            name: {
                "mass": float(body.mass[b]),
                "com": body.com[b].tolist(),
                "inertia": body.inertia[b].ravel().tolist(),
            }
            for b, name in enumerate(BODY_NAMES)
        },
        "dofs": {
            name: {"stiffness": float(kp), "damping": float(kv), "limit": float(limit)} for name, kp, kv, limit in gains
        },
        "substep": physics.substep,
        "gravity": GRAVITY,
        "friction": physics.friction,
        "armature": physics.armature,
        **{key: getattr(config, key) for key in SIMULATOR_OPTIONS},
    }


def expect_properties(humanoid: Humanoid, found: dict[str, dict[str, Any]]) -> None:
    """Refuse a simulator that has other masses or inertias than it was given.

    Raises:
        ValueError: A body differs by more than single precision explains.
    """
    body = humanoid.body
    for b, name in enumerate(BODY_NAMES):
        for key, wanted in (("mass", body.mass[b]), ("com", body.com[b]), ("inertia", body.inertia[b].ravel())):
            has = np.asarray(found[name][key])
            if not np.allclose(has, wanted, rtol=1e-4, atol=1e-6):
                raise ValueError(
                    f"isaacgym: expected {key} {np.round(wanted, 6).tolist()} of {name}, found {np.round(has, 6).tolist()};"
                    " this version of Isaac Gym does not take it over, so its records would close no equation"
                )
