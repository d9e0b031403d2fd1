"""The gait environment beside a plain Python loop over `mj_step`: control steps of rollout a second.

Work: 128 walkers of the treadmill expert, eight control steps (15 substeps at 450 Hz) from states all over the trial under held
random targets. The environment also computes observations, rewards and resets; the loop only steps the physics. A second case
is a whole iteration of the `fast` preset, collecting and learning, end to end.
`python -m bench.bench_gait` measures and appends rows; it needs the laboratory data (IMDYLAB_DATA).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from bench.harness import Case, Contender, Row, append_rows, measure, table
from bench.machine import measure_machine
from dataset.command_line import run_command
from sim.gait.arms import fast, make_environment
from sim.gait.environment import ACTION_SIZE, GaitEnvironment
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.expert import make_expert
from sim.gait.expert_build import ExpertConfig
from sim.gait.expert_file import Expert, load_expert
from sim.gait.segments import NUM_COORDINATES
from sim.gait.trial_files import find_files
from sim.learning.ppo import Learner

STEPS = 8
"""Control steps of one call."""


@dataclass(frozen=True, kw_only=True)
class GaitBench:
    """Settings of the measurement."""

    expert: Path | None = None
    """Expert written by `python -m sim.gait.expert`; built from the treadmill trial where not given."""
    environments: int = 128
    """Walkers."""
    rounds: int = 7
    """Samples of each contender."""
    save: bool = True
    """Append the rows to bench/results/gait.jsonl."""


class Work:
    """Inputs of the case, and the work on them."""

    def __init__(self, expert: Expert, environments: int) -> None:
        self.threads = len(os.sched_getaffinity(0))
        config = EnvironmentConfig(target="relative")
        self.environments = {
            count: GaitEnvironment(expert, config, num_envs=environments, num_threads=count)
            for count in {1, self.threads}
        }
        self.frames = np.linspace(0, expert.num_frames - STEPS - 2, environments).astype(int)
        rng = np.random.default_rng(0)
        self.actions = (0.1 * rng.standard_normal((STEPS, environments, ACTION_SIZE))).astype(np.float32)
        self.states, self.controls = self._record()

    def _record(self) -> tuple[np.ndarray, np.ndarray]:
        """States before the first step (B, 48) and what acts in each control step (STEPS, B, 23): targets and residual."""
        environment = self.environments[1]
        environment.reset_at(self.frames)
        states = np.concatenate([environment.qpos, environment.qvel], axis=1)
        controls = []
        for action in self.actions:
            targets = environment.equilibrium(action.astype(np.float64), environment.frame + 1)
            environment.step(action)
            assert environment.last is not None
            controls.append(np.concatenate([targets, environment.last.residual], axis=1))
        return states, np.stack(controls)

    def environment(self, threads: int) -> np.ndarray:
        """Eight steps of the environment; final positions (B, 24) before any reset."""
        environment = self.environments[threads]
        environment.reset_at(self.frames)
        for action in self.actions:
            environment.step(action)
        assert environment.last is not None
        return environment.last.qpos[:, -1]

    def loop(self) -> np.ndarray:
        """The same physics with `mj_step` in Python; final positions (B, 24)."""
        gait = self.environments[1].gait
        model, data = gait.model, mujoco.MjData(gait.model)
        final = np.empty((len(self.states), model.nq))
        for walker, state in enumerate(self.states):
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.qvel[:] = state[: model.nq], state[model.nq :]
            for control in self.controls[:, walker]:
                data.ctrl[:], data.qfrc_applied[:6] = control[:NUM_COORDINATES], control[NUM_COORDINATES:]
                data.qacc_warmstart[:] = 0.0
                for _ in range(gait.config.substeps):
                    mujoco.mj_step(model, data)
            final[walker] = data.qpos
        return final


class Learning:
    """An iteration of the `fast` preset, arm with all rewards, from a policy that knows nothing."""

    def __init__(self, expert: Expert, threads: int) -> None:
        self.learner = Learner(make_environment(expert, fast(), "all", num_threads=threads), fast().ppo)
        self.items = self.learner.steps_each * self.learner.environment.num_envs

    def iterate(self) -> tuple[dict[str, float], dict[str, float]]:
        """Collect and learn."""
        return self.learner.iterate()

    def check(self) -> None:
        """Steps are rewarded and the policy moves."""
        terms, learning = self.iterate()
        assert 0.0 < terms["kinematic"] < 1.0 and learning["kl"] > 0.0, f"{terms}, {learning}"


def treadmill_expert() -> Expert:
    """The treadmill trial's expert.

    Raises:
        ValueError: IMDYLAB_DATA is not set.
    """
    if "IMDYLAB_DATA" not in os.environ:
        raise ValueError(
            "IMDYLAB_DATA: expected the folder of the laboratory data, found none; set it or give --expert FILE"
        )
    files = find_files(Path(os.environ["IMDYLAB_DATA"]) / "lab/uhlrich_treadmill60s")
    return make_expert(files, ExpertConfig())[0]


def main(cfg: GaitBench) -> list[Row]:
    """Measure, print and keep the rows."""
    expert = treadmill_expert() if cfg.expert is None else load_expert(cfg.expert)
    work = Work(expert, cfg.environments)
    expected = work.loop()

    def check(threads: int) -> None:
        # A walker that ended within the eight steps began anew: only the others are compared.
        found = work.environment(threads)
        same = np.abs(found - expected).max(axis=1) < 1e-9
        assert same.mean() > 0.9, f"{same.mean():.2f} of the walkers end where the loop has them"

    def check_loop() -> None:
        assert np.isfinite(expected).all(), "the loop diverged"

    case = Case(kernel="gait", name=f"{cfg.environments}x{STEPS}", items=cfg.environments * STEPS, unit="control steps")
    contenders = [Contender(impl="mj_step in Python", run=work.loop, check=check_loop, is_rival=True)]
    contenders += [
        Contender(
            impl=f"environment, {count} threads", run=lambda count=count: work.environment(count),
            check=lambda count=count: check(count),
        )
        for count in sorted(work.environments)
    ]  # fmt: skip
    machine = measure_machine()
    rows = measure(case, contenders, machine=machine, rounds=cfg.rounds)
    learners = {count: Learning(expert, count) for count in sorted(work.environments)}
    case = Case(
        kernel="gait", name="fast, an iteration", items=learners[1].items, unit="control steps",
    )  # fmt: skip
    contenders = [
        Contender(impl=f"end to end, {count} threads", run=learner.iterate, check=learner.check)
        for count, learner in learners.items()
    ]
    learned = measure(case, contenders, machine=machine, rounds=max(3, cfg.rounds // 2))
    print(table(rows), table(learned), sep="\n")
    rows += learned
    if cfg.save:
        append_rows(rows)
    return rows


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(GaitBench, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("bench_gait", run))
