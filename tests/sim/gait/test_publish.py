import dataclasses

import numpy as np
import pytest

from sim.gait import arms
from sim.gait.publish import publish
from sim.gait.trained import find_policies, find_pretrained, load_trained, read_curves
from sim.learning.config import NetworkConfig, PPOConfig


def test_published_policies_are_those_of_the_study(expert, tmp_path):
    ppo = PPOConfig(iteration_steps=32, epochs=1, minibatch=16, network=NetworkConfig(hidden=(8,)))
    tiny = dataclasses.replace(
        arms.fast(), ppo=ppo, pretrain_iterations=1, finetune_iterations=2, num_envs=4, warm_start=None
    )
    study, out = tmp_path / "study", tmp_path / "weights"
    with pytest.raises(ValueError, match="expected the runs of a study"):
        publish(study, out)
    arms.pretrain(expert, tiny, study)
    arms.finetune(expert, tiny, "cop", study, seed=3)
    files = publish(study, out)
    assert [path.name for path in files] == ["cop_seed3.safetensors", "pretrain_seed0.safetensors"]
    assert find_policies(out) == {("cop", 3): arms.weights_file("cop", 3, out)}
    assert find_pretrained(out) == arms.weights_file("pretrain", 0, out)
    seen = np.random.default_rng(0).normal(size=(4, 46)).astype(np.float32)
    there, here = arms.run_policy(study / "cop_seed3"), load_trained(files[0])
    np.testing.assert_array_equal(there(seen), here.policy(seen))
    assert here.environment == arms.arm_config(tiny, "cop")
    curves = read_curves(out)
    assert {name: len(curve["steps"]) for name, curve in curves.items()} == {"cop_seed3": 2, "pretrain": 1}
    # A study with other arms adds to what is there.
    arms.finetune(expert, tiny, "grf", study / "more", initial=study / arms.PRETRAINED)
    (study / "more" / arms.PRETRAINED).symlink_to(study / arms.PRETRAINED)
    publish(study / "more", out)
    assert set(read_curves(out)) == {"cop_seed3", "grf_seed0", "pretrain"}
