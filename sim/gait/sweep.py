"""The recorded sweep behind the defaults that the paper leaves out: `python -m sim.gait.sweep --expert FILE`.

Every variant changes one thing of the `fast` preset, begins with a short warm start (unless that is what it leaves out), trains
for the same few steps on R^k, lets the mean policy walk the trial, and becomes a row of `docs/results/gait_sweep.csv`: what was
changed, how far it came, how it walks. Short runs from one seed: they rank settings by how fast they learn, and say little about
where long trainings end.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from dataset import atomic
from dataset.command_line import run_command
from sim.gait.arms import GaitPreset, fast, make_environment
from sim.gait.config import PhysicsConfig
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.expert_file import Expert, load_expert
from sim.gait.regulator import RegulatorConfig
from sim.gait.rewards import KinematicWeights
from sim.gait.walk_score import WalkScore, score_walk
from sim.gait.warm_start import WarmStart, warm_start
from sim.learning.checkpoint import load_checkpoint
from sim.learning.config import NetworkConfig, PPOConfig
from sim.learning.learner_state import start_from
from sim.learning.policy import Policy
from sim.learning.ppo import Learner

_log = logging.getLogger(__name__)

TAIL: Final = 3
"""Last iterations whose means stand for the end of the training."""
WARM: Final = WarmStart(regulator=RegulatorConfig(frames=140), rounds=5, steps=48, epochs=10)
"""Warm start of the variants that have one; shorter than the preset's."""
Change = Callable[[GaitPreset], GaitPreset]


def changed(**values: Any) -> Change:
    """The preset with fields of its environment, physics, kinematic weights, learner or network replaced, wherever they belong.

    Raises:
        ValueError: a name that none of them has (when it is applied).
    """

    def apply(preset: GaitPreset) -> GaitPreset:
        environment, ppo = preset.environment, preset.ppo
        physics, reward, network = environment.physics, environment.reward, ppo.network
        for name, value in values.items():
            given = {name: value}
            if _has(GaitPreset, name):
                preset = dataclasses.replace(preset, **given)
            elif _has(EnvironmentConfig, name):
                environment = dataclasses.replace(environment, **given)
            elif _has(PhysicsConfig, name):
                physics = dataclasses.replace(physics, **given)
            elif _has(KinematicWeights, name):
                reward = dataclasses.replace(reward, kinematic=dataclasses.replace(reward.kinematic, **given))
            elif _has(PPOConfig, name):
                ppo = dataclasses.replace(ppo, **given)
            elif _has(NetworkConfig, name):
                network = dataclasses.replace(network, **given)
            else:
                raise ValueError(f"{name}: expected a field of environment, physics, weights, learner or network")
        return dataclasses.replace(
            preset,
            environment=dataclasses.replace(environment, physics=physics, reward=reward),
            ppo=dataclasses.replace(ppo, network=network),
        )

    return apply


def gains(stiffness: float, damping: float) -> Change:
    """RFC's stiffness and damping multiplied by factors."""
    rfc = PhysicsConfig()
    return changed(stiffness=rfc.stiffness.times(stiffness), damping=rfc.damping.times(damping))


def _has(kind: type, name: str) -> bool:
    return name in {f.name for f in dataclasses.fields(kind)}


VARIANTS: Final[dict[str, Change]] = {
    "base": changed(),
    "no warm start": changed(warm_start=None),
    "no warm start, rate 3e-4": changed(warm_start=None, policy_rate=3e-4),
    "absolute targets, no warm start, rate 3e-4": changed(
        target="absolute", is_damping_led=False, warm_start=None, policy_rate=3e-4
    ),
    "no damping lead": changed(is_damping_led=False),
    "gains of RFC": gains(1.0, 1.0),
    "gains of RFC, damping halved": gains(1.0, 0.5),
    "gains of RFC, both halved": gains(0.5, 0.5),
    "gains of RFC, both quartered": gains(0.25, 0.25),
    "target scale 0.25 rad": changed(target_scale=0.25),
    "residual 300 N, 100 N·m": changed(residual_force_scale=300.0),
    "residual 50 N, 50 N·m": changed(residual_force_scale=50.0, residual_moment_scale=50.0),
    "residual priced as in RFC": changed(residual_gain=1.0),
    "episodes end at falls only": changed(stray_limit=None),
    "heading neither seen nor rewarded": changed(is_heading_free=True),
    "sigma exp -2.3": changed(log_std=-2.3),
    "sigma exp -1.7": changed(log_std=-1.7),
    "networks 512-256": changed(hidden=(512, 256)),
    "rate 3e-4": changed(policy_rate=3e-4),
}
"""What is compared, by name; each is applied to the `fast` preset."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A variant's result."""

    variant: str
    """Name of what was changed."""
    steps: int
    """Environment steps of the training."""
    reward: float
    """R^k in training, with noise, mean of the last iterations."""
    length: float
    """Length of the last episodes in training [steps]."""
    score: WalkScore
    """What the mean policy reaches on the trial."""


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """What is compared, and for how long."""

    expert: Path = Path("out/gait/uhlrich_treadmill60s_results_ik.npz")
    """Expert, written by `python -m sim.gait.expert TRIAL`."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """Names of the variants, of those above."""
    steps: int = 60_000
    """Environment steps of each training."""
    seed: int = 0
    """Seed of each training."""
    out: Path = Path("docs/results/gait_sweep.csv")
    """Table; rows of variants that are not asked for stay."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.variants) - set(VARIANTS)):
            raise ValueError(f"variants: expected some of {list(VARIANTS)}, got {unknown}")
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1, got {self.steps}")


def measure_variant(expert: Expert, name: str, *, steps: int, seed: int = 0) -> Row:
    """Train a variant on R^k for so many steps (rounded up to whole iterations) and let it walk."""
    preset = VARIANTS[name](fast())
    iterations = -(-steps // preset.ppo.iteration_steps)
    ppo = dataclasses.replace(preset.ppo, iterations=iterations, seed=seed)
    environment = make_environment(expert, preset)
    try:
        learner = Learner(environment, ppo)
        if preset.warm_start is not None:
            with tempfile.TemporaryDirectory() as folder:
                start_from(learner, load_checkpoint(warm_start(expert, environment, ppo, WARM, Path(folder)))[0])
            learner.observation = environment.reset(seed)
        rewards = [learner.iterate()[0]["kinematic"] for _ in range(iterations)]
    finally:
        environment.close()
    return Row(
        variant=name, steps=learner.steps, reward=float(np.mean(rewards[-TAIL:])), length=learner.episodes.mean_length,
        score=score_walk(expert, preset.environment, Policy.of(learner)),
    )  # fmt: skip


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write rows to a table in the order of `VARIANTS`, in the place of older rows of the same variants.

    Raises:
        ValueError: the table there has other columns.
    """
    fields = [f.name for f in dataclasses.fields(WalkScore)]
    columns = ["variant", "steps", "reward", "length", *fields]
    kept: dict[str, dict[str, str]] = {}
    if path.is_file():
        reader = csv.DictReader(io.StringIO(path.read_text()))
        if reader.fieldnames != columns:
            raise ValueError(f"{path}: expected columns {columns}, found {reader.fieldnames}; use another --out")
        kept = {line["variant"]: line for line in reader}
    for row in rows:
        numbers = {"reward": row.reward, "length": row.length} | {name: getattr(row.score, name) for name in fields}
        said = {name: f"{value:.4g}" for name, value in numbers.items()}
        kept[row.variant] = {"variant": row.variant, "steps": str(row.steps), **said}
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(kept[name] for name in VARIANTS if name in kept)
    atomic.write_text(path, text.getvalue())


def main(config: SweepConfig) -> list[Row]:
    """Measure the variants one after another, each written as soon as it is done."""
    expert = load_expert(config.expert)
    rows: list[Row] = []
    for name in config.variants:
        rows.append(measure_variant(expert, name, steps=config.steps, seed=config.seed))
        write_rows(config.out, rows)
        _log.info("%s: episodes %.0f steps, R^k %.3f", name, rows[-1].length, rows[-1].reward)
    return rows


def run() -> None:
    """The command line."""
    import tyro

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(tyro.cli(SweepConfig, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("sweep", run))
