"""Replay-and-record against bare physics: what contacts and servos, the records and the equations-of-motion check cost.

Work: 5 s of a standing person shaken by random servo targets held for 0.1 s (0.05 rad; 0.006 rad in the legs and
the trunk, or the person falls), other targets in every environment. The rival is `mujoco.rollout` on the same model
without sensors, all substeps in one call, on the same number of threads. The last column's `replay and record` is the
figure that must be at least 0.95, and the check alone must take at most 15 % of bare physics.
`python -m bench.bench_record` measures and appends rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import mujoco
import mujoco.rollout
import numpy as np

from bench.harness import Case, Contender, Row, append_rows, measure, table
from bench.machine import Machine, measure_machine
from dataset.body.default import make_body
from dataset.body.mjcf import HumanoidConfig
from dataset.command_line import run_command
from dataset.schema import Dynamics, Subject
from dataset.skeleton import GRAVITY, JOINT_NAMES
from sim.acting_torque import acting_torque
from sim.backends.contract import SubstepTrace
from sim.backends.mujoco_cpu import MujocoCpu
from sim.closure import closure_residual
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL, Humanoid, make_humanoid
from sim.record import Origin, RecordConfig, record

_BALANCING = ("Hip", "Knee", "Ankle", "Toe", "Torso", "Spine", "Chest")
_RECORDING = RecordConfig(has_closure=False)
_RECORDING_AND_CHECK = RecordConfig()
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class RecordBench:
    """Settings of the measurement."""

    seconds: float = 5.0
    """Simulated time of each environment [s]: short, so that a slow spell of the machine falls on all contenders."""
    threads: int = 1
    """Threads of the physics, with one environment each; 0 for one and for all cores, after each other."""
    substep: float = HumanoidConfig().substep
    """Physics step [s]."""
    rounds: int = 50
    """Samples of each contender."""
    save: bool = True
    """Append the rows to bench/results/record.jsonl."""


class ShakenPerson:
    """Inputs of one case, and the work on them."""

    def __init__(self, cfg: RecordBench, threads: int) -> None:
        body = make_body(Subject(name="default"))
        physics = HumanoidConfig(stiffness_scale=1.0, substep=cfg.substep)
        self.humanoid: Humanoid = make_humanoid(body, physics)
        bare = HumanoidConfig(stiffness_scale=1.0, substep=cfg.substep, has_sensors=False)
        self.bare_model = make_humanoid(body, bare).model
        self.bare_data = [mujoco.MjData(self.bare_model) for _ in range(threads)]
        self.pool = mujoco.rollout.Rollout(nthread=threads if threads > 1 else 0)
        self.backend = MujocoCpu(self.humanoid, nthread=threads)
        self.recorders = ThreadPoolExecutor(threads) if threads > 1 else None
        self.substeps = round(cfg.seconds * 30.0) * self.humanoid.substeps
        qpos, self.qvel = np.zeros((threads, NUM_QPOS)), np.zeros((threads, NUM_QVEL))
        qpos[:, 2] = body.joint_pos[0, 2]
        qpos[:, self.humanoid.quat_columns[:, 0]] = 1.0
        self.qpos = qpos
        hold = round(0.1 / cfg.substep)
        rng = np.random.default_rng(0)
        size = np.repeat([0.006 if name.split("_")[-1] in _BALANCING else 0.05 for name in JOINT_NAMES], 3)
        held = size * rng.standard_normal((threads, -(-self.substeps // hold), NUM_CTRL))
        self.ctrl = np.repeat(held, hold, axis=1)[:, : self.substeps].copy()

    def bare(self) -> np.ndarray:
        """Physics alone, returning the states."""
        start = np.concatenate([np.ones((len(self.qpos), 1)), self.qpos, self.qvel], axis=1)
        return self.pool.rollout(self.bare_model, self.bare_data, start, self.ctrl)[0]

    def replay(self) -> SubstepTrace:
        """Physics with the contacts and servo forces that recording needs."""
        self.backend.reset(self.qpos, self.qvel)
        return self.backend.rollout(self.ctrl)

    def replay_and_record(self, config: RecordConfig) -> list[Dynamics]:
        """The same, then 30 Hz records of every environment."""
        trace = self.replay()

        def record_one(row: int) -> list[Dynamics]:
            return record(self.humanoid, trace, Origin(name=str(row), clip="bench"), environment=row, config=config)[0]

        return [item for kept in self._each_environment(record_one) for item in kept]

    def closure(self, trace: SubstepTrace) -> np.ndarray:
        """Largest residual of the equations of motion in each substep, exact torques included."""

        def check_one(row: int) -> np.ndarray:
            return closure_residual(self.humanoid, trace, acting_torque(self.humanoid, trace, row), row)[0]

        return np.stack(self._each_environment(check_one))

    def _each_environment(self, work: Callable[[int], Result]) -> list[Result]:
        """Work on every environment, on as many threads as the physics has."""
        rows = range(len(self.qpos))
        return list((map if self.recorders is None else self.recorders.map)(work, rows))


def measure_record(cfg: RecordBench, threads: int, machine: Machine) -> list[Row]:
    """Rows of one number of threads."""
    work = ShakenPerson(cfg, threads)
    trace = work.replay()

    def check_bare() -> None:
        assert np.array_equal(work.bare()[..., 1:], trace.state[:, 1:, 1:]), "recording changed the motion"
        height = trace.qpos[:, :, 2]
        assert 0.8 * height[0, 0] < height.min(), "the person fell: this is not the stated work"

    def check_records(config: RecordConfig) -> None:
        kept = work.replay_and_record(config)
        frames = round(cfg.seconds * 30.0) - 9 + 1
        assert [item.num_frames for item in kept] == [frames] * threads, "a stretch was cut"
        weight = work.humanoid.body.mass.sum() * GRAVITY
        carried = np.mean([item.grf_mean.sum(axis=1)[:, 2].mean() for item in kept]) / weight
        assert abs(carried - 1.0) < 0.01, f"the ground carried {carried} body weights"

    def check_closure() -> None:
        assert work.closure(trace).max() < 1e-8, "the equations of motion do not close"

    case = Case(
        kernel="record",
        name=f"stand_shaken_{cfg.seconds:g}s_x{threads}_at_{1 / cfg.substep:.0f}Hz",
        items=work.substeps * threads,
        unit="substeps",
    )
    contenders = [
        Contender(impl="bare mujoco.rollout, no sensors", run=work.bare, check=check_bare, is_rival=True),
        Contender(impl="replay, contacts and servo forces", run=work.replay, check=check_bare),
        Contender(
            impl="replay and record",
            run=lambda: work.replay_and_record(_RECORDING),
            check=lambda: check_records(_RECORDING),
        ),
        Contender(
            impl="replay, record and check",
            run=lambda: work.replay_and_record(_RECORDING_AND_CHECK),
            check=lambda: check_records(_RECORDING_AND_CHECK),
        ),
        Contender(impl="equations-of-motion check alone", run=lambda: work.closure(trace), check=check_closure),
    ]
    return measure(case, contenders, machine=machine, rounds=cfg.rounds)


def main(cfg: RecordBench) -> list[Row]:
    """Measure, print and keep the rows."""
    machine = measure_machine()
    rows: list[Row] = []
    for threads in (cfg.threads,) if cfg.threads else (1, int(machine.device.rpartition("x")[2])):
        measured = measure_record(cfg, threads, machine)
        print(table(measured))
        bare, _, recorded, _, check = (row.median_s for row in measured)
        print(
            f"replay and record runs at {bare / recorded:.1%} of bare physics; the check takes {check / bare:.1%} of it\n"
        )
        rows += measured
    if cfg.save:
        append_rows(rows)
    return rows


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(RecordBench, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("bench_record", run))
