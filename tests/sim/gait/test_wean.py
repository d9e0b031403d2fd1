"""Weaning trains stages with falling shares of the wrench, from one to the next, and the last has none."""

import numpy as np
import pytest

from sim.gait import arms
from sim.gait.arms import GaitPreset
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.evaluate import walk_trial
from sim.gait.trained import load_trained
from sim.gait.wean import TABLE, WeanConfig, wean
from sim.learning.config import NetworkConfig, PPOConfig


@pytest.fixture(scope="module")
def tiny():
    ppo = PPOConfig(iteration_steps=32, epochs=1, minibatch=16, network=NetworkConfig(hidden=(8,)), checkpoint_every=1)
    return GaitPreset(
        environment=EnvironmentConfig(target="relative"), ppo=ppo, pretrain_iterations=1, finetune_iterations=1, num_envs=4,
        grf_weight=0.5, cop_weight=0.5,
    )  # fmt: skip


def test_the_last_stage_walks_without_a_wrench(cyclic_expert, tiny, tmp_path):
    study = tmp_path / "study"
    arms.pretrain(cyclic_expert, tiny, study)
    arms.finetune(cyclic_expert, tiny, "all", study, seed=2)
    config = WeanConfig(study=study, out=tmp_path / "out", seed=2, shares=(0.5, 0.0), iterations=1)
    rows = wean(cyclic_expert, tiny, config)
    assert [share for share, _ in rows] == [0.5, 0.0]
    assert rows[0][1].residual_force_pct_bw > 0.0 == rows[1][1].residual_force_pct_bw
    assert [line.split(",")[0] for line in (config.out / TABLE).read_text().splitlines()] == ["share", "0.5", "0"]
    last = load_trained(config.out / "share_0" / "all_seed2" / "policy.safetensors")
    assert last.environment.residual_force_scale == last.environment.residual_moment_scale == 0.0
    walk = walk_trial(cyclic_expert, last.environment, [last.policy])[0]
    np.testing.assert_array_equal(walk.residual, 0.0)
    # a stopped weaning goes on: finished stages are kept as they are; the last stage's policy is published with a card
    weights = tmp_path / "weights"
    again = wean(cyclic_expert, tiny, WeanConfig(**{**vars(config), "resume": True, "publish": weights}))
    assert again == rows
    published = load_trained(weights / "all_seed2.safetensors")
    assert published.environment == last.environment
    card = (weights / "README.md").read_text()
    assert f"| 0 | {rows[1][1].kinematic:.3f} |" in card
    assert "`all_seed2.safetensors` went on from arm `all`" in card and "32 steps each" in card


def test_an_arm_that_was_not_trained_is_named(cyclic_expert, tiny, tmp_path):
    with pytest.raises(ValueError, match="grf_seed0: expected a trained arm, found none; train it"):
        wean(cyclic_expert, tiny, WeanConfig(study=tmp_path, out=tmp_path / "out", arm="grf"))


def test_shares_must_fall(tmp_path):
    with pytest.raises(ValueError, match="expected falling shares"):
        WeanConfig(study=tmp_path, out=tmp_path, shares=(0.0, 0.5))
