"""The learner by itself: PPO's steps a second on an environment that costs next to nothing, with KAIL's networks.

Work: one iteration of the preset `fast` (8,192 steps of 128 environments, 5 epochs in minibatches of 1,024) on a point mass
with the sizes of the gait study, 46 observations and 23 actions, networks 512-256. What a simulator adds comes on top:
1 / total = 1 / learner + 1 / simulator. The rival is the bare arithmetic: the same minibatches forward and backward through the
same two networks, with neither losses nor an optimiser. `python -m bench.bench_ppo` measures and appends rows.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from dataclasses import dataclass

import numpy as np
import torch

from bench.harness import Case, Contender, Row, append_rows, measure, table
from bench.machine import measure_machine
from dataset.command_line import run_command
from sim.learning.config import PPOConfig, fast
from sim.learning.network import gaussian_log_prob
from sim.learning.point_mass import PointMass
from sim.learning.ppo import Learner, Rollout

ENVIRONMENTS, DIMENSIONS = 128, 23


@dataclass(frozen=True, kw_only=True)
class PPOBench:
    """Settings of the measurement."""

    threads: int = 1
    """Torch threads, and threads of the measured limits."""
    rounds: int = 5
    """Samples of each contender."""
    save: bool = True
    """Append the rows to bench/results/ppo.jsonl."""


class Work:
    """A learner in its third iteration, and the parts of an iteration."""

    def __init__(self, threads: int) -> None:
        self.config: PPOConfig = dataclasses.replace(fast(), threads=threads)
        self.learner = Learner(PointMass(ENVIRONMENTS, DIMENSIONS), self.config)
        for _ in range(2):
            self.learner.iterate()
        self.rollout: Rollout = self.learner.collect()

    @property
    def steps(self) -> int:
        """Environment steps of an iteration."""
        return self.rollout.advantage_TE.numel()

    def iterate(self) -> None:
        """Collect and learn."""
        self.learner.iterate()

    def arithmetic(self) -> None:
        """Forward and backward of every minibatch, nothing else."""
        network = self.learner.network
        observation = self.rollout.observation_TEO.flatten(0, 1)
        for _ in range(self.config.epochs):
            for part in observation.split(self.config.minibatch):
                network.zero_grad(set_to_none=True)
                (network.policy(part).mean() + network.values(part).mean()).backward()

    def flops(self) -> int:
        """Multiplications and additions of an iteration's matrix products.

        Collection runs both networks forward once a step. A gradient step runs them forward, and backward for all weights
        and for all inputs but the first layer's.
        """
        size, hidden = 2 * DIMENSIONS, self.config.network.hidden
        total = 0
        for outputs in (DIMENSIONS, 1):
            widths = (size, *hidden, outputs)
            weights = [a * b for a, b in itertools.pairwise(widths)]
            total += 2 * sum(weights) + self.config.epochs * 2 * (3 * sum(weights) - weights[0])
        return total * self.steps

    def check_collect(self) -> None:
        """What was collected is what the networks say of it."""
        rollout = self.learner.collect()
        with torch.no_grad():
            mean = self.learner.network.policy(rollout.observation_TEO)
            log_prob = gaussian_log_prob(rollout.action_TEA, mean, self.learner.network.log_std)
        assert float((log_prob - rollout.log_prob_TE).abs().max()) < 1e-2, "the actions are not of the policy"
        assert rollout.observation_TEO.shape == (64, ENVIRONMENTS, 2 * DIMENSIONS), rollout.observation_TEO.shape

    def check_update(self) -> None:
        """Learning moves the policy, by no more than its schedule allows."""
        before = [value.clone() for value in self.learner.network.policy.parameters()]
        learning = self.learner.update(self.learner.collect())
        assert all(not torch.equal(a, b) for a, b in zip(before, self.learner.network.policy.parameters()))
        assert 0.0 < learning["kl"] < 0.1, learning

    def check_gradients(self) -> None:
        """The arithmetic leaves a gradient everywhere but at the fixed standard deviation."""
        self.arithmetic()
        missing = [name for name, value in self.learner.network.named_parameters() if value.grad is None]
        assert missing == ["log_std"], missing


def main(cfg: PPOBench) -> list[Row]:
    """Measure, print and keep the rows."""
    machine = measure_machine(threads=cfg.threads)
    work = Work(cfg.threads)
    case = Case(
        kernel="ppo", name=f"point_mass_{ENVIRONMENTS}_fast_x{cfg.threads}", items=work.steps, unit="steps", flops=work.flops()
    )  # fmt: skip
    contenders = [
        Contender(impl="forward and backward alone", run=work.arithmetic, check=work.check_gradients, is_rival=True),
        Contender(impl="collect", run=work.learner.collect, check=work.check_collect),
        Contender(impl="update", run=lambda: work.learner.update(work.rollout), check=work.check_update),
        Contender(impl="collect and update", run=work.iterate, check=work.check_update),
    ]
    rows = [
        # Only the whole iteration does all of the stated arithmetic.
        row if row.impl == "collect and update" else dataclasses.replace(row, flops=None, roof_fraction=None)
        for row in measure(case, contenders, machine=machine, rounds=cfg.rounds)
    ]
    print(table(rows))
    print(f"{np.round(rows[-1].items_per_s):.0f} steps/s end to end on an environment that costs next to nothing")
    if cfg.save:
        append_rows(rows)
    return rows


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(PPOBench, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("bench_ppo", run))
