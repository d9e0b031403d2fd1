"""Ball joints against three hinges a joint: speed, stability and how fast their coordinates must turn.

`python -m sim.studies.joints` writes `docs/results/joints.csv`. The rival is the same body with each ball replaced by hinges
about x, y, z (the order of SMPL humanoids elsewhere), the same gains on each axis and the same masses and shapes.

- Speed: physics substeps a second on one thread, both on the same starts and targets, interleaved.
- Servo error: distance of the bodies from the motion after `SERVO_TIME` of reference and velocity targets, no search and no
  feed-forward, mean over starts in all embedded clips; both kinds do what the reference's coordinates say.
- Blow-ups: share of roll-outs under random targets that end in NaN or a warning, by the size of the targets.
- Rates: largest angular velocity of a ball, and of hinge angles, over the embedded clips; hinge angles turn without bound near
  their gimbal lock. `hinge_best` takes for each joint the order of axes that is best for it with hindsight.

Axis legend: K physics substeps, J = 23 joints, E roll-outs.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import mujoco
import mujoco.rollout
import numpy as np

from dataset import rotation
from dataset.atomic import write_text
from dataset.body.default import make_body
from dataset.body.mjcf import HumanoidConfig, humanoid_mjcf
from dataset.body.subjects import SUBJECTS
from dataset.command_line import run_command
from dataset.skeleton import BODY_NAMES, JOINT_NAMES
from sim.humanoid import Humanoid, make_humanoid
from sim.imitation.tracker.feedforward import base_targets
from sim.imitation.tracker.reference import ReferenceTrajectory, make_reference
from sim.work_items import list_clips

SERVO_TIME = 0.2
"""Time after which the distance from the motion is taken [s]."""
START_EVERY = 0.25
"""Time between starts in a clip [s]."""
SHAKES = (0.25, 0.6, 1.0)
"""Standard deviations of the random targets [rad], new ones every 1/15 s."""
SHAKEN = 64
"""Roll-outs of each size, one second each."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the study."""

    out: Path = Path("docs/results/joints.csv")
    """Table."""
    rounds: int = 9
    """Samples of the speed, interleaved; the median counts."""


def hinged_mjcf(text: str) -> str:
    """The humanoid's model text with every ball replaced by three hinges about x, y and z, same servos on each."""
    hinges = r'<joint name="\1_{0}" type="hinge" axis="{1}" armature="\2"/>'
    three = "".join(hinges.format(name, axis) for name, axis in zip("xyz", ("1 0 0", "0 1 0", "0 0 1"), strict=True))
    text = re.sub(r'<joint name="(\w+)" type="ball" armature="([^"]+)"/>', three, text)
    return re.sub(r'(<general name="(\w+)_([xyz])") joint="\w+" gear="[^"]+"', r'\1 joint="\2_\3" gear="1"', text)


def euler_angles(quat: np.ndarray, order: str = "xyz") -> np.ndarray:
    """Angles a of R = R_i(a_i)·R_j(a_j)·R_k(a_k) for the order ijk [rad], unwrapped along time, shape (T, ..., 3).

    The middle angle lies within ±π/2; at ±π/2 the other two are not determined (gimbal lock).

    Args:
        quat: Rotations wxyz, shape (T, ..., 4).
        order: The axes i, j, k, all different.
    """
    matrix = rotation.to_matrix(quat)
    i, j, k = ("xyz".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    middle = np.arcsin(np.clip(sign * matrix[..., i, k], -1.0, 1.0))
    first = np.arctan2(-sign * matrix[..., j, k], matrix[..., k, k])
    last = np.arctan2(-sign * matrix[..., i, j], matrix[..., i, i])
    return np.stack([np.unwrap(first, axis=0), middle, np.unwrap(last, axis=0)], axis=-1)


def clip_references(humanoid: Humanoid) -> Iterator[tuple[str, ReferenceTrajectory]]:
    """Name and reference of every embedded clip on the body."""
    for clip in list_clips(("embedded",)):
        for motion in clip.motions(humanoid.body):
            yield motion.name, make_reference(humanoid, motion)


def peak_rates(humanoid: Humanoid) -> dict[str, dict[str, float]]:
    """Largest rate [rad/s] of each joint over the clips, by kind of joint: `ball`, `hinge_xyz`, `hinge_best`."""
    orders = ["".join(order) for order in permutations("xyz")]
    largest = {name: np.zeros(len(JOINT_NAMES)) for name in ("ball", *orders)}
    for _, reference in clip_references(humanoid):
        omega = reference.qvel[:, humanoid.omega_columns[1:]]
        largest["ball"] = np.maximum(largest["ball"], np.linalg.norm(omega, axis=-1).max(axis=0))
        quat = reference.qpos[:, humanoid.quat_columns[1:]]
        for order in orders:
            rate = np.abs(np.gradient(euler_angles(quat, order), reference.substep, axis=0)).max(axis=(0, 2))
            largest[order] = np.maximum(largest[order], rate)
    best = np.min([largest[order] for order in orders], axis=0)
    columns = {"ball": largest["ball"], "hinge_xyz": largest["xyz"], "hinge_best": best}
    return {kind: dict(zip(JOINT_NAMES, map(float, values), strict=True)) for kind, values in columns.items()}


class Rivals:
    """The same person on balls and on hinges."""

    def __init__(self) -> None:
        body, config = make_body(SUBJECTS[0]), HumanoidConfig(has_sensors=False)
        self.humanoid = make_humanoid(body, config)
        hinged = mujoco.MjModel.from_xml_string(hinged_mjcf(humanoid_mjcf(self.humanoid.body, config)))
        self.models = {"ball": self.humanoid.model, "hinge": hinged}
        self.angle = np.array([hinged.jnt_qposadr[hinged.joint(f"{name}_x").id] for name in JOINT_NAMES])
        self.rate = np.array([hinged.jnt_dofadr[hinged.joint(f"{name}_x").id] for name in JOINT_NAMES])

    def states(self, reference: ReferenceTrajectory, samples: np.ndarray) -> dict[str, np.ndarray]:
        """Physics states of both at samples of a reference, each shape (E, state)."""
        angles = euler_angles(reference.qpos[:, self.humanoid.quat_columns[1:]])
        rates = np.gradient(angles, reference.substep, axis=0)
        hinged = np.zeros((len(samples), 1 + 76 + 75))
        hinged[:, 1:8] = reference.qpos[samples, :7]
        hinged[:, 77:83] = reference.qvel[samples, :6]
        columns = np.arange(3)
        hinged[:, 1 + self.angle[:, None] + columns] = angles[samples]
        hinged[:, 77 + self.rate[:, None] + columns] = rates[samples]
        ball = np.concatenate([np.zeros((len(samples), 1)), reference.qpos[samples], reference.qvel[samples]], axis=1)
        return {"ball": ball, "hinge": hinged}

    def targets(self, reference: ReferenceTrajectory) -> dict[str, np.ndarray]:
        """Servo targets reference + kv / kp · rate of both, each shape (K, 69)."""
        still = np.zeros((reference.num_samples, 69))
        angles = euler_angles(reference.qpos[:, self.humanoid.quat_columns[1:]])
        rates = np.gradient(angles, reference.substep, axis=0)
        lead = (self.humanoid.damping / self.humanoid.stiffness).reshape(-1, 3)
        return {
            "ball": base_targets(self.humanoid, reference, still),
            "hinge": (angles + lead * rates).reshape(len(angles), -1),
        }

    def bodies(self, kind: str, states: np.ndarray) -> np.ndarray:
        """Positions of the bodies [m], shape (E, 24, 3)."""
        model = self.models[kind]
        data, ids = mujoco.MjData(model), [model.body(name).id for name in BODY_NAMES]
        out = np.zeros((len(states), len(ids), 3))
        for row, state in enumerate(states):
            data.qpos[:] = state[1 : 1 + model.nq]
            mujoco.mj_kinematics(model, data)
            out[row] = data.xpos[ids]
        return out

    def roll(self, kind: str, start: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
        """States after every substep, shape (E, K, state)."""
        model = self.models[kind]
        with mujoco.rollout.Rollout(nthread=0) as pool:
            return pool.rollout(model, [mujoco.MjData(model)], start, ctrl)[0]


def servo_errors(rivals: Rivals) -> dict[str, dict[str, float]]:
    """Mean distance from the motion after `SERVO_TIME` of each clip [m], by kind."""
    errors: dict[str, dict[str, float]] = {"ball": {}, "hinge": {}}
    for name, reference in clip_references(rivals.humanoid):
        steps = round(SERVO_TIME / reference.substep)
        samples = np.arange(0, reference.num_samples - steps - 1, round(START_EVERY / reference.substep))
        starts, targets = rivals.states(reference, samples), rivals.targets(reference)
        wanted = rivals.bodies("ball", rivals.states(reference, samples + steps)["ball"])
        for kind, start in starts.items():
            ctrl = np.stack([targets[kind][first + 1 : first + 1 + steps] for first in samples])
            reached = rivals.bodies(kind, rivals.roll(kind, start, ctrl)[:, -1])
            distance = np.linalg.norm(reached - wanted, axis=-1).mean(axis=1)
            errors[kind][name] = float(np.where(np.isfinite(distance), distance, 1.0).mean())
    return errors


def blow_ups(rivals: Rivals) -> dict[str, list[float]]:
    """Share of shaken roll-outs that end in NaN or whose clock was reset, for each of `SHAKES`."""
    generator = np.random.default_rng(0)
    substep = rivals.humanoid.config.substep
    steps, hold = round(1.0 / substep), round(1.0 / (15.0 * substep))
    _, reference = next(clip_references(rivals.humanoid))
    starts = rivals.states(reference, np.zeros(SHAKEN, dtype=int))
    out: dict[str, list[float]] = {kind: [] for kind in rivals.models}
    for size in SHAKES:
        held = size * generator.standard_normal((SHAKEN, -(-steps // hold), 69))
        ctrl = np.repeat(held, hold, axis=1)[:, :steps]
        for kind, start in starts.items():
            states = rivals.roll(kind, start, ctrl)
            clock = np.abs(states[:, -1, 0] - steps * substep) < 0.5 * substep
            out[kind].append(1.0 - float(np.mean(clock & np.isfinite(states[:, -1]).all(axis=1))))
    return out


def speeds(rivals: Rivals, rounds: int) -> dict[str, float]:
    """Median substeps a second of walking under servo targets, one thread, interleaved."""
    _, reference = next((name, item) for name, item in clip_references(rivals.humanoid) if name == "walk")
    samples = np.arange(0, reference.num_samples - 100, 100)
    starts, targets = rivals.states(reference, samples), rivals.targets(reference)
    seconds: dict[str, list[float]] = {kind: [] for kind in starts}
    for _ in range(rounds + 1):
        for kind, start in starts.items():
            ctrl = np.stack([targets[kind][first + 1 : first + 101] for first in samples])
            began = time.perf_counter()
            rivals.roll(kind, start, ctrl)
            seconds[kind].append(time.perf_counter() - began)
    return {kind: 100 * len(samples) / float(np.median(values[1:])) for kind, values in seconds.items()}


def main(config: Config) -> None:
    """Measure, print and write the table."""
    rivals = Rivals()
    rates, errors = peak_rates(rivals.humanoid), servo_errors(rivals)
    lost, speed = blow_ups(rivals), speeds(rivals, config.rounds)
    rows: list[tuple[str, ...]] = [("measure", "ball", "hinge")]
    rows.append(("substeps a second, one thread", *(f"{speed[kind]:.0f}" for kind in ("ball", "hinge"))))
    for size, ball, hinge in zip(SHAKES, lost["ball"], lost["hinge"], strict=True):
        rows.append((f"lost under random targets of {size:g} rad", f"{ball:.2f}", f"{hinge:.2f}"))
    for name in errors["ball"]:
        both = (1e3 * errors[kind][name] for kind in ("ball", "hinge"))
        rows.append(
            (f"distance after {SERVO_TIME:g} s of servos alone: {name} [mm]", *(f"{value:.0f}" for value in both))
        )
    for name in JOINT_NAMES:
        hinge = f"{rates['hinge_xyz'][name]:.0f} (best order {rates['hinge_best'][name]:.0f})"
        rows.append((f"largest rate: {name} [rad/s]", f"{rates['ball'][name]:.0f}", hinge))
    text = "".join(",".join(row) + "\n" for row in rows)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(config.out, text)
    print(text, end="")


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(Config, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("joints", run))
