"""k^grf and k^cop with which a pre-trained policy scores as the paper's does: `python -m sim.gait.reward_gains RUN`.

The paper gives neither, but the scores at which its fine-tuning begins (KAIL, figure 4b): R^grf 0.55 to 0.57 and R^cop 0.41. The
policy walks as in training, with its noise, from frames drawn at random, until the episode is cut; all steps count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from dataset.command_line import run_command
from sim.gait.environment import GaitEnvironment
from sim.gait.expert_file import Expert
from sim.gait.rewards import gain_for
from sim.gait.study import open_expert
from sim.gait.trained import load_trained
from sim.learning.train import POLICY_FILE

GRF_SCORE = 0.56
"""R^grf of the paper's pre-trained policy."""
COP_SCORE = 0.41
"""R^cop of the paper's pre-trained policy."""


@dataclass(frozen=True, kw_only=True)
class GainsConfig:
    """Which policy walks where."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run of the pre-training: the folder with its policy."""
    expert: Path | None = None
    """Trial or expert (.npz) that it was trained on; as in sim.gait.study."""
    num_envs: int = 128
    """Walkers."""
    seed: int = 0
    """Seed of start frames and noise."""


@dataclass(frozen=True, kw_only=True)
class RewardGains:
    """Gains for equations 5 and 6, and what the errors are."""

    grf_gain: float
    """k^grf, per squared unit of the environment's `grf_unit`."""
    cop_gain: float
    """k^cop [m⁻²]."""
    grf_error: float
    """Root mean square of |Δf| in that unit."""
    cop_error: float
    """Root mean square of |Δx| [m]."""


def reward_gains(environment: GaitEnvironment, policy: Callable[..., np.ndarray], seed: int = 0) -> RewardGains:
    """Gains at which a policy scores `GRF_SCORE` and `COP_SCORE` in an episode of every walker.

    Args:
        environment: The pre-training's.
        policy: Gives actions (B, 23) to observations (B, 46) and noise (B, 23).
        seed: Seed of start frames and noise.

    Raises:
        ValueError: scores that no gain reaches.
    """
    rng, observation = np.random.default_rng(seed), environment.reset(seed)
    grf, cop = [], []
    for _ in range(environment.config.episode_steps):
        noise = rng.standard_normal((environment.num_envs, environment.action_size))
        observation, _, _, _, info = environment.step(policy(observation, noise).astype(np.float32))
        grf.append(info["grf_error"])
        cop.append(info["cop_error"])
    forces, points = np.concatenate(grf), np.concatenate(cop)
    return RewardGains(
        grf_gain=gain_for(forces, GRF_SCORE), cop_gain=gain_for(points, COP_SCORE),
        grf_error=float(np.sqrt(np.nanmean(forces))), cop_error=float(np.sqrt(np.nanmean(points))),
    )  # fmt: skip


def main(config: GainsConfig) -> RewardGains:
    """Gains of a run's policy in the environment that it was trained in."""
    expert: Expert = open_expert(config.expert)
    trained = load_trained(config.run / POLICY_FILE)
    environment = GaitEnvironment(expert, trained.environment, num_envs=config.num_envs)
    try:
        return reward_gains(environment, trained.policy, config.seed)
    finally:
        environment.close()


def run() -> None:
    """The command line."""
    gains = main(tyro.cli(GainsConfig, description=__doc__))
    print(f"k^grf {gains.grf_gain:.3g} for R^grf {GRF_SCORE} (|Δf| {gains.grf_error:.3f} RMS)")
    print(f"k^cop {gains.cop_gain:.4g} m⁻² for R^cop {COP_SCORE} (|Δx| {1e3 * gains.cop_error:.0f} mm RMS)")


if __name__ == "__main__":
    sys.exit(run_command("reward_gains", run))
