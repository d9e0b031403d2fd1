"""The policies of a study over the trial: checked, walked, measured, and put together as results."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset import provenance
from dataset.lab.plates import LOAD_THRESHOLD
from sim.gait.arms import ARMS, Arm, expert_identity
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.evaluate import Walk, walk_trial
from sim.gait.expert_file import Expert
from sim.gait.mean_cycles import MeanCycles, mean_cycles
from sim.gait.measures import Measures, measure_walk
from sim.gait.signals import expert_signals, walk_signals
from sim.gait.study_results import BASELINE, over_seeds, summary, targets
from sim.gait.trained import Trained, find_policies, find_pretrained, load_trained


@dataclass(frozen=True, eq=False, kw_only=True)
class Policies:
    """The trained policies of a study."""

    arms: dict[tuple[Arm, int], Trained]
    """By arm and seed; every arm has every seed."""
    pretrained: Trained | None
    """What they began as, where it is kept."""

    @property
    def seeds(self) -> list[int]:
        """Seeds."""
        return sorted({seed for _, seed in self.arms})

    @property
    def all(self) -> list[Trained]:
        """All of them, the pre-trained last."""
        return [*self.arms.values(), *([] if self.pretrained is None else [self.pretrained])]


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """One policy over the trial."""

    walk: Walk
    """What it did."""
    measures: Measures
    """What that is worth."""
    means: MeanCycles
    """Its mean cycles."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluated:
    """All policies over the trial."""

    arms: dict[tuple[Arm, int], Evaluation]
    """By arm and seed."""
    pretrained: Evaluation | None
    """The pre-trained policy, where it is kept."""
    measured: MeanCycles
    """Mean cycles of the expert."""


def open_policies(folder: Path, seeds: range | None) -> Policies:
    """Policies of all arms in a study's folder or one of published weights.

    Args:
        folder: Where they are.
        seeds: Seeds that are wanted; None for all there are.

    Raises:
        ValueError: a policy is missing or cannot be used.
    """
    paths = find_policies(folder)
    wanted = sorted({seed for _, seed in paths}) if seeds is None else list(seeds)
    missing = [f"{arm}_seed{seed}" for seed in wanted for arm in ARMS if (arm, seed) not in paths]
    if missing or not wanted:
        lacking = f", missing {', '.join(missing[:4])}" if missing else ""
        raise ValueError(
            f"{folder}: expected the policies of the four arms, found {len(paths)} policies{lacking}; train them with "
            "python -m sim.gait.study, or name their folder with --policies"
        )
    first = find_pretrained(folder)
    return Policies(
        arms={key: load_trained(path) for key, path in paths.items() if key[1] in wanted},
        pretrained=None if first is None else load_trained(first),
    )


def check_policies(expert: Expert, policies: Policies) -> list[str]:
    """Refuse policies of another expert or of different environments.

    Returns:
        Notes about smaller differences.

    Raises:
        ValueError: which policy differs and in what.
    """
    trained, identity, notes = policies.all, expert_identity(expert), set()
    usual = without_weights(trained[0].environment)
    for one in trained:
        if without_weights(one.environment) != usual:
            raise ValueError(
                f"{one.path}: settings: expected the environment of {trained[0].path}, found another one; the arms of a study "
                "differ in w^grf and w^cop only: do not mix studies"
            )
        if one.expert["name"] != identity["name"]:
            raise ValueError(
                f"{one.path}: expert: expected a policy that imitates {identity['name']}, found one of {one.expert['name']}; "
                "give the trial that it was trained on"
            )
        if one.expert != identity:
            notes.add("The expert differs in its last digits from the one that the policies were trained on.")
    return sorted(notes)


def without_weights(config: EnvironmentConfig) -> EnvironmentConfig:
    """The environment that all arms share."""
    kinetic = dataclasses.replace(config.reward.kinetic, grf_weight=0.0, cop_weight=0.0)
    return dataclasses.replace(config, reward=dataclasses.replace(config.reward, kinetic=kinetic))


def evaluate(expert: Expert, policies: Policies, residual_factor: float = 1.0) -> Evaluated:
    """Walk the trial with every policy and measure it.

    Args:
        expert: The measured walk.
        policies: What walks.
        residual_factor: Multiplies the residual wrench.

    Raises:
        ValueError: an expert without forces or cycles, or a policy that falls in its first step.
    """
    there = expert_signals(expert, LOAD_THRESHOLD)
    trained = policies.all
    config = without_weights(trained[0].environment)
    walks = walk_trial(expert, config, [one.policy for one in trained], residual_factor=residual_factor)
    found = []
    for one, walk in zip(trained, walks):
        if not walk.num_steps:
            raise ValueError(f"{one.path}: expected a policy that walks, found one that falls at once; train it longer")
        mine = walk_signals(expert, walk, LOAD_THRESHOLD)
        found.append(
            Evaluation(
                walk=walk, measures=measure_walk(expert, there, walk, mine),
                means=mean_cycles(mine, there, expert.strikes, walk),
            )
        )  # fmt: skip
    return Evaluated(
        arms=dict(zip(policies.arms, found)), pretrained=None if policies.pretrained is None else found[-1],
        measured=mean_cycles(there, there, expert.strikes, None),
    )  # fmt: skip


def collect(expert: Expert, policies: Policies, evaluated: Evaluated) -> dict[str, Any]:
    """What `results.json` says of expert, arms, targets and settings."""
    seeds, found = policies.seeds, {key: one.measures for key, one in evaluated.arms.items()}
    arms = {}
    for arm in ARMS:
        usual = {seed: None if arm == BASELINE else found[BASELINE, seed] for seed in seeds}
        arms[arm] = over_seeds({seed: summary(found[arm, seed], usual[seed]) for seed in seeds})
    before = None if evaluated.pretrained is None else summary(evaluated.pretrained.measures, None)
    settings = {arm: policies.arms[arm, seeds[0]].facts["settings"] for arm in ARMS}
    weights = {arm: part["task"]["environment"]["reward"]["kinetic"] for arm, part in settings.items()}
    return {
        "expert": {
            "name": expert.name, "mass": expert.body.total_mass, "foot_length": expert.body.foot_length,
            "seconds": (expert.num_frames - 1) / expert.rate, "cycles": len(expert.strikes[1]) - 1,
            "walking_speed": expert.facts.get("walking_speed", float("nan")), "facts": provenance.plain(expert.facts),
        },
        "seeds": seeds, "load_threshold_n": LOAD_THRESHOLD, "targets": targets(arms, before), "arms": arms,
        "pretrained": before,
        "config": {
            "environment": settings[BASELINE]["task"]["environment"], "ppo": settings[BASELINE]["ppo"],
            "arms": {arm: {name: part[name] for name in ("grf_weight", "cop_weight")} for arm, part in weights.items()},
        },
        "versions": provenance.package_versions(), "code": provenance.code_version(),
    }  # fmt: skip
