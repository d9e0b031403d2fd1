import dataclasses

import numpy as np
import pytest

from sim.gait import arms
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.rewards import KineticConfig, RewardConfig
from sim.learning.checkpoint import load_checkpoint
from sim.learning.config import NetworkConfig, PPOConfig


@pytest.fixture
def tiny():
    """A study of seconds."""
    ppo = PPOConfig(iteration_steps=32, epochs=1, minibatch=16, network=NetworkConfig(hidden=(8,)), checkpoint_every=1)
    return dataclasses.replace(arms.fast(), ppo=ppo, pretrain_iterations=2, finetune_iterations=2, num_envs=4)


def test_arms_differ_in_their_weights_only():
    preset = arms.fast()
    found = {arm: arms.arm_config(preset, arm) for arm in arms.ARMS}
    weights = {arm: (c.reward.kinetic.grf_weight, c.reward.kinetic.cop_weight) for arm, c in found.items()}
    grf, cop = preset.grf_weight, preset.cop_weight
    assert weights == {"kinematic": (0, 0), "grf": (grf, 0), "cop": (0, cop), "all": (grf, cop)}
    for config in found.values():
        kinetic = dataclasses.replace(config.reward.kinetic, grf_weight=0.0, cop_weight=0.0)
        bare = dataclasses.replace(config, reward=dataclasses.replace(config.reward, kinetic=kinetic))
        assert bare == preset.environment
    with pytest.raises(ValueError, match="arm: expected one of kinematic, grf, cop, all, got 'none'"):
        arms.arm_config(preset, "none")


def test_presets_keep_the_papers_numbers():
    paper = arms.PRESETS["paper"]()
    assert (paper.pretrain_iterations, paper.finetune_iterations) == (700, 200)
    assert (paper.ppo.iteration_steps, paper.environment.target) == (50_000, "absolute")
    weighted = EnvironmentConfig(reward=RewardConfig(kinetic=KineticConfig(cop_weight=0.2)))
    with pytest.raises(ValueError, match=r"expected w.grf and w.cop of 0, got 0\.0 and 0\.2"):
        dataclasses.replace(paper, environment=weighted)
    with pytest.raises(ValueError, match="num_envs: expected at least 1, got 0"):
        dataclasses.replace(paper, num_envs=0)


def test_arms_start_from_the_pretrained_networks_and_seeds_differ(expert, tiny, tmp_path):
    first = arms.pretrain(expert, tiny, tmp_path)
    pretrained, _ = load_checkpoint(first)
    frozen = dataclasses.replace(tiny, ppo=dataclasses.replace(tiny.ppo, policy_rate=1e-12, schedule="constant"))
    run = arms.finetune(expert, frozen, "all", tmp_path)
    assert run == arms.arm_folder(tmp_path, "all", 0)
    after, facts = load_checkpoint(run)
    policy = [name for name in after if name.startswith("network.policy")]
    assert policy
    for name in policy:  # the policy's rate is nearly 0: what it has is what it started from
        np.testing.assert_allclose(after[name], pretrained[name], atol=1e-9)
    assert facts["settings"]["task"]["arm"] == "all"
    other, _ = load_checkpoint(arms.finetune(expert, frozen, "all", tmp_path, seed=1))
    assert (other["environment.frame"] != after["environment.frame"]).any()
    policy = arms.run_policy(run)
    assert policy(np.zeros((3, 46), np.float32)).shape == (3, 23)


def test_an_arm_goes_on_after_a_stop_as_if_nothing_had_happened(expert, tiny, tmp_path):
    arms.pretrain(expert, tiny, tmp_path)
    start = tmp_path / arms.PRETRAINED
    whole, _ = load_checkpoint(arms.finetune(expert, tiny, "grf", tmp_path / "whole", initial=start))
    half = dataclasses.replace(tiny, finetune_iterations=1)
    arms.finetune(expert, half, "grf", tmp_path / "parts", initial=start)
    parts, _ = load_checkpoint(arms.finetune(expert, tiny, "grf", tmp_path / "parts", resume=True))
    assert whole.keys() == parts.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)
    with pytest.raises(ValueError, match="made with other settings"):
        heavier = dataclasses.replace(tiny, grf_weight=0.7)
        arms.finetune(expert, heavier, "grf", tmp_path / "parts", resume=True)


def test_an_arm_needs_a_pretrained_policy(expert, tiny, tmp_path):
    with pytest.raises(ValueError, match="expected a checkpoint"):
        arms.finetune(expert, tiny, "cop", tmp_path)
