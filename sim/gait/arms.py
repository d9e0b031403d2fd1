"""The four arms of the gait study and how their policies are trained: settings, environments, run folders.

A study trains one policy on R^k alone (`pretrain`) and goes on from its last checkpoint in four ways (`finetune`), each for the
same number of steps: R^k, R^k + R^grf, R^k + R^cop, all three (KAIL, section IV.B). An arm starts with the networks and
observation statistics of that checkpoint; the moments of the optimisers, the adaptive learning rate and the episodes start anew,
so that every arm and every seed begins in the same state whatever the last pre-training steps were. Seeds differ in the
fine-tuning only: start frames, noise, minibatches.

A study's folder holds `pretrain/` and `ARM_seedN/`, each a run of `sim.learning.train`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from dataset import provenance
from sim.gait.config import PhysicsConfig
from sim.gait.environment import GaitEnvironment
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.expert_file import Expert
from sim.gait.rewards import KinematicWeights, RewardConfig
from sim.gait.warm_start import WarmStart, warm_start
from sim.learning import config as ppo_presets
from sim.learning.config import NetworkConfig, PPOConfig
from sim.learning.policy import Policy, load_policy
from sim.learning.train import POLICY_FILE, train

Arm = Literal["kinematic", "grf", "cop", "all"]
ARMS: Final[tuple[Arm, ...]] = get_args(Arm)
"""R^k only; with R^grf; with R^cop; with both."""
PRETRAINED: Final = "pretrain"
"""Folder of the pre-training in a study's folder, and its name among the trained policies."""
WARM: Final = "warm_start"
"""Folder of the warm start in a study's folder."""
WEIGHTS: Final = Path(__file__).parents[2] / "weights" / "gait"
"""Policies that come with the project."""


@dataclass(frozen=True, kw_only=True)
class GaitPreset:
    """Everything that decides a study but expert and seed."""

    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    """Environment of all arms; its weights w^grf and w^cop are 0, `arm_config` sets them."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """Learner of pre-training and fine-tuning; iterations and seed are set by them."""
    pretrain_iterations: int = 700
    """Iterations with R^k alone (KAIL: 700)."""
    finetune_iterations: int = 200
    """Iterations of every arm (KAIL: 200)."""
    grf_weight: float = 1.0
    """w^grf of the arms that have it. Not in the paper."""
    cop_weight: float = 0.4
    """w^cop of the arms that have it. Not in the paper."""
    num_envs: int = 128
    """Walkers stepped together."""
    warm_start: WarmStart | None = None
    """How the policy begins: as a regulator that it learned, or from nothing (None: the paper's)."""

    def __post_init__(self) -> None:
        kinetic = self.environment.reward.kinetic
        if kinetic.grf_weight or kinetic.cop_weight:
            raise ValueError(
                f"environment: expected w^grf and w^cop of 0, got {kinetic.grf_weight} and {kinetic.cop_weight}; set the arms' "
                "weights by grf_weight and cop_weight"
            )
        for name in ("pretrain_iterations", "finetune_iterations", "num_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("grf_weight", "cop_weight"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive weight, got {getattr(self, name)}")


def paper() -> GaitPreset:
    """KAIL's study: absolute targets, 700 + 200 iterations of 50,000 steps."""
    return GaitPreset(ppo=ppo_presets.paper())


def fast() -> GaitPreset:
    """The same study in a fraction of the steps.

    Targets are relative to the measured motion; servos are half as stiff as RFC's with a quarter of its damping, which gives
    forces without jolts; the residual costs four times RFC's price; episodes end where the body strays.
    Iterations are short: with a fixed standard deviation every one may move the policy by `target_kl` only.
    """
    rfc = PhysicsConfig()
    physics = PhysicsConfig(stiffness=rfc.stiffness.times(0.5), damping=rfc.damping.times(0.25))
    return GaitPreset(
        environment=EnvironmentConfig(
            physics=physics, reward=RewardConfig(kinematic=KinematicWeights(residual_gain=4.0)),
            target="relative", is_damping_led=True, stray_limit=0.4, is_heading_free=False,
        ),
        ppo=dataclasses.replace(
            ppo_presets.fast(), iteration_steps=4096, minibatch=512, policy_rate=4e-5, target_kl=0.02, checkpoint_every=25,
            network=NetworkConfig(hidden=(256, 128), log_std=-2.0),
        ),
        pretrain_iterations=100, finetune_iterations=150, warm_start=WarmStart(),
    )  # fmt: skip


PRESETS: Final[dict[str, Callable[[], GaitPreset]]] = {"paper": paper, "fast": fast}
"""Presets by name."""


def arm_config(preset: GaitPreset, arm: Arm) -> EnvironmentConfig:
    """Settings of an arm's environment: the preset's with the arm's weights.

    Raises:
        ValueError: no such arm.
    """
    if arm not in ARMS:
        raise ValueError(f"arm: expected one of {', '.join(ARMS)}, got {arm!r}")
    reward = preset.environment.reward
    kinetic = dataclasses.replace(
        reward.kinetic,
        grf_weight=preset.grf_weight if arm in ("grf", "all") else 0.0,
        cop_weight=preset.cop_weight if arm in ("cop", "all") else 0.0,
    )
    return dataclasses.replace(preset.environment, reward=dataclasses.replace(reward, kinetic=kinetic))


def make_environment(
    expert: Expert, preset: GaitPreset, arm: Arm = "kinematic", *, num_envs: int | None = None, num_threads: int = 1
) -> GaitEnvironment:
    """Environment of an arm.

    Args:
        expert: The measured walk.
        preset: Settings.
        arm: Which rewards count; the environment computes all of them in any arm.
        num_envs: Walkers; the preset's where not given.
        num_threads: Threads that step them.

    Raises:
        ValueError: no such arm, or whatever the environment refuses.
    """
    count = preset.num_envs if num_envs is None else num_envs
    return GaitEnvironment(expert, arm_config(preset, arm), num_envs=count, num_threads=num_threads)


def pretrain(
    expert: Expert, preset: GaitPreset, study: Path, *, seed: int = 0, num_threads: int = 1, resume: bool = False
) -> Path:
    """Train on R^k alone, after the preset's warm start in `study`/warm_start if it has one; returns the folder `study`/pretrain.

    Args:
        expert: The measured walk.
        preset: Settings.
        study: Folder of the study.
        seed: Seed of the run.
        num_threads: Threads that step the walkers; the result does not depend on it.
        resume: Go on from the last checkpoint.

    Raises:
        ValueError: whatever `sim.learning.train` refuses.
    """
    config = dataclasses.replace(preset.ppo, iterations=preset.pretrain_iterations, seed=seed)
    initial = None
    if preset.warm_start is not None and not resume:
        environment = make_environment(expert, preset, num_threads=num_threads)
        try:
            initial = warm_start(expert, environment, config, preset.warm_start, study / WARM)
        finally:
            environment.close()
    return _train(
        expert, preset, "kinematic", config, study / PRETRAINED, num_threads=num_threads, resume=resume, initial=initial
    )


def finetune(
    expert: Expert,
    preset: GaitPreset,
    arm: Arm,
    study: Path,
    *,
    seed: int = 0,
    num_threads: int = 1,
    resume: bool = False,
    initial: Path | None = None,
) -> Path:
    """Train an arm from the pre-trained checkpoint; returns the run's folder, `study`/ARM_seedN.

    Args:
        expert: The measured walk.
        preset: Settings.
        arm: Which rewards count.
        study: Folder of the study.
        seed: Seed of the run.
        num_threads: Threads that step the walkers; the result does not depend on it.
        resume: Go on from the last checkpoint of this arm.
        initial: Checkpoint or run to start from; `study`/pretrain where not given.

    Raises:
        ValueError: nothing to start from, or whatever `sim.learning.train` refuses.
    """
    config = dataclasses.replace(preset.ppo, iterations=preset.finetune_iterations, seed=seed)
    return _train(
        expert, preset, arm, config, arm_folder(study, arm, seed), num_threads=num_threads, resume=resume,
        initial=study / PRETRAINED if initial is None else initial,
    )  # fmt: skip


def arm_folder(study: Path, arm: Arm, seed: int) -> Path:
    """Run folder of an arm in a study's folder."""
    return study / f"{arm}_seed{seed}"


def run_policy(folder: Path) -> Policy:
    """The policy at the end of a run.

    Raises:
        ValueError: the run has not ended, or its policy is damaged.
    """
    return load_policy(folder / POLICY_FILE)


def weights_file(arm: str, seed: int, folder: Path = WEIGHTS) -> Path:
    """File of a published policy of an arm, or of `PRETRAINED`: `ARM_seedN.safetensors`, settings beside it as .json."""
    return folder / f"{arm}_seed{seed}.safetensors"


def expert_identity(expert: Expert) -> dict[str, Any]:
    """Name of an expert and a hash of its motion and forces, rounded to 1e-4 against other machines' last bits."""
    digest = hashlib.sha256()
    for array in (expert.qpos, expert.qvel, expert.wrench):
        digest.update((array.round(4) + 0.0).tobytes())
    return {"name": expert.name, "sha256": digest.hexdigest()[:16]}


def _train(
    expert: Expert,
    preset: GaitPreset,
    arm: Arm,
    config: PPOConfig,
    out: Path,
    *,
    num_threads: int,
    resume: bool,
    initial: Path | None = None,
) -> Path:
    environment = make_environment(expert, preset, arm, num_threads=num_threads)
    task = {
        "arm": arm, "expert": expert_identity(expert), "num_envs": environment.num_envs,
        "environment": provenance.plain(environment.config),
    }  # fmt: skip
    try:
        train(environment, config, out, resume=resume, initial=initial, task=task)
    finally:
        environment.close()
    return out
