"""Does the Isaac Gym of this machine do what our records need? A minute's check for owners of the real package.

`python -m sim.backends.isaacgym_smoke --isaac-python ~/miniconda3/envs/gym/bin/python` starts the worker, measures the
simulator's conventions, lets the default person fall, shakes it in the air and lets it stand on the floor, and holds each against
the equations of motion. `--out DIR` stores what was recorded of the standing as a data set (`python -m dataset.inspect DIR`).
Exit status 0: records can be made; 1: it runs, but its numbers do not close; 2: it does not run, with the reason.

If its interpreter cannot load `libpython3.8`, set `LD_LIBRARY_PATH` to the `lib` folder of that environment.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dataset.body.default import make_body
from dataset.body.mjcf import HumanoidConfig
from dataset.command_line import run_command
from dataset.schema import FRAME_RATE, Subject
from dataset.skeleton import GRAVITY
from dataset.store import Store
from sim.acting_torque import acting_torque
from sim.backends.contract import SubstepTrace
from sim.backends.isaacgym_client import MAX_CLOSURE, IsaacGym, record_config
from sim.backends.isaacgym_model import IsaacGymConfig
from sim.closure import closure_residual
from sim.humanoid import NUM_CTRL, NUM_QVEL, Humanoid, make_humanoid
from sim.record import Origin, record

AIR_TIME = 0.2
"""Duration of the fall and of the shaking [s]."""
MAX_FALL_ERROR = 1e-4
"""Largest distance from the path of a free fall [m]; single precision leaves 1e-6."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `python -m sim.backends.isaacgym_smoke`."""

    isaac_python: Path
    """Interpreter of the environment that has `isaacgym`."""
    control: Literal["effort", "position"] = "effort"
    """Servos computed here, or PhysX's own drives."""
    solver: Literal["tgs", "pgs"] = "tgs"
    """PhysX's contact solver."""
    use_gpu: bool = False
    """PhysX on the GPU."""
    environments: int = 2
    """How many persons."""
    seconds: float = 1.0
    """Duration of the standing [s]; at least 1."""
    out: Path | None = None
    """Folder for a data set of the standing."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found."""

    fall_error: float
    """Distance from the path of a free fall [m]."""
    fall_closure: float
    """Largest residual of the equations of motion in the fall [body weights]."""
    air_closure: float
    """The same under torques in the air."""
    carried: float
    """Mean vertical force of the floor over the last half second, less what the mass centre's motion asks for [body weights]."""
    standing_closure: tuple[float, float, float]
    """Median, 95th percentile and largest residual on the floor [body weights]."""
    kept: float
    """Share of the standing after its landing that may be recorded."""

    @property
    def is_usable(self) -> bool:
        """Whether records can be made: all but contact to `MAX_CLOSURE`, and half of what stands on the floor."""
        return (
            self.fall_error <= MAX_FALL_ERROR
            and max(self.fall_closure, self.air_closure) <= MAX_CLOSURE
            and self.kept >= 0.5
        )


def main(config: Config) -> Result:
    """Check; prints as it goes.

    Raises:
        ValueError: The interpreter, its packages or the simulator's conventions will not do.
        WorkerFailure: The worker ended or fell silent.
    """
    if config.seconds < 1.0 or config.environments < 1:
        raise ValueError(
            f"expected --seconds of at least 1 and --environments of at least 1, got {config.seconds:g},"
            f" {config.environments}"
        )
    humanoid = make_humanoid(make_body(Subject(name="default")), HumanoidConfig())
    settings = IsaacGymConfig(
        python=config.isaac_python, control=config.control, solver=config.solver, use_gpu=config.use_gpu
    )
    with IsaacGym(humanoid, settings) as backend:
        print("worker    " + ", ".join(f"{name} {value}" for name, value in backend.versions.items()))
        fall_error, fall_closure = _fall(backend, config.environments)
        found = backend.conventions
        print(
            "measured  joint positions are rotation vectors, their rates angular velocities in the"
            f" {found.rate_frame}'s frame; linear velocities are those of the {found.velocity_point}"
        )
        print(
            f"falling   {fall_error:.1e} m off the path, equations of motion close to {fall_closure:.1e} body weights"
        )
        air = _shake(backend, config.environments)
        print(f"in air    under random torques they close to {air:.1e}")
        result = _stand(backend, config, fall_error, fall_closure, air)
    median, high, largest = result.standing_closure
    print(f"standing  they close to {median:.1e} (median), {high:.1e} (95 %), {largest:.1e} (largest)")
    print(f"          the floor carries {result.carried:.4f} body weights; {100 * result.kept:.0f} % may be recorded")
    return result


def _rest(humanoid: Humanoid, lift: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    quat = np.zeros((count, 24, 4))
    quat[..., 0] = 1.0
    position = np.array([0.0, 0.0, humanoid.body.joint_pos[0, 2] + lift])
    return humanoid.qpos(np.repeat(position[None], count, axis=0), quat), np.zeros((count, NUM_QVEL))


def _closure(humanoid: Humanoid, trace: SubstepTrace) -> np.ndarray:
    rows = [
        closure_residual(humanoid, trace, acting_torque(humanoid, trace, row), row)[0]
        for row in range(trace.num_environments)
    ]
    return np.stack(rows)


def _fall(backend: IsaacGym, count: int) -> tuple[float, float]:
    humanoid, step = backend.humanoid, backend.humanoid.config.substep
    backend.reset(*_rest(humanoid, 2.0, count))
    trace = backend.rollout(np.zeros((count, round(AIR_TIME / step), NUM_CTRL)))
    k = np.arange(trace.num_substeps + 1)
    # the integrator moves by the new velocity: −g·h²·(1 + 2 + … + k)
    path = trace.qpos[:, :1, 2] - 0.5 * GRAVITY * step**2 * k * (k + 1)
    return float(np.abs(trace.qpos[:, :, 2] - path).max()), float(_closure(humanoid, trace).max())


def _shake(backend: IsaacGym, count: int) -> float:
    humanoid = backend.humanoid
    backend.reset(*_rest(humanoid, 2.0, count))
    substeps = round(AIR_TIME / humanoid.config.substep)
    targets = 0.25 * np.random.default_rng(0).standard_normal((count, 2, NUM_CTRL))
    trace = backend.rollout(np.repeat(targets, -(-substeps // 2), axis=1)[:, :substeps])
    return float(_closure(humanoid, trace).max())


def _stand(backend: IsaacGym, config: Config, fall_error: float, fall_closure: float, air: float) -> Result:
    humanoid = backend.humanoid
    frames = round(config.seconds * FRAME_RATE)
    backend.reset(*_rest(humanoid, 0.0, config.environments))
    trace = backend.rollout(np.zeros((config.environments, frames * humanoid.substeps, NUM_CTRL)))
    rules = record_config()
    records, simulated, kept = [], 0, 0
    for row in range(config.environments):
        origin = Origin(name=f"isaacgym/standing/{row}", clip="isaacgym/standing", controller="servos at rest")
        made, report = record(humanoid, trace, origin, environment=row, config=rules)
        records += made
        simulated += report.simulated - round(rules.transient * FRAME_RATE)
        kept += report.kept
        if report.cut:
            print(f"          of person {row}: " + ", ".join(f"{n} {reason}" for reason, n in report.cut.items()))
    if config.out is not None and records:
        Store.create(config.out).append(records)
    closure = _closure(humanoid, trace)
    median, high, largest = (float(np.quantile(closure, share)) for share in (0.5, 0.95, 1.0))
    return Result(
        fall_error=fall_error,
        fall_closure=fall_closure,
        air_closure=air,
        carried=_carried(humanoid, trace),
        standing_closure=(median, high, largest),
        kept=kept / max(1, simulated),
    )


def _carried(humanoid: Humanoid, trace: SubstepTrace) -> float:
    from sim.momentum_balance import com_velocity

    mass, half = float(humanoid.body.mass.sum()), round(0.5 / trace.substep)
    shares = []
    for row in range(trace.num_environments):
        ends = np.array([trace.num_substeps - half, trace.num_substeps])
        velocity = com_velocity(humanoid, trace.qpos[row, ends], trace.qvel[row, ends])
        force = trace.ground_force[row, -half:, :, 2].sum(axis=1).mean()
        shares.append((force - mass * (velocity[1, 2] - velocity[0, 2]) / (half * trace.substep)) / (mass * GRAVITY))
    return float(np.mean(shares))


def run() -> int:
    """The command line."""
    import tyro

    result = main(tyro.cli(Config, description=__doc__))
    print("verdict   " + ("records can be made" if result.is_usable else "its numbers do not close; keep none of them"))
    return 0 if result.is_usable else 1


if __name__ == "__main__":
    sys.exit(run_command("isaacgym_smoke", run))
