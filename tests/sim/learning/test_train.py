"""A run in a folder: it survives a kill bit for bit, refuses what does not fit, and leaves a policy that acts."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sim.learning.checkpoint import checkpoints, load_checkpoint
from sim.learning.config import NetworkConfig, PPOConfig
from sim.learning.learner_state import learner_tensors
from sim.learning.point_mass import PointMass
from sim.learning.policy import Policy, load_policy
from sim.learning.ppo import Learner
from sim.learning.progress import METRICS_FILE, read_metrics
from sim.learning.train import CONFIG_FILE, POLICY_FILE, train

ROOT = Path(__file__).parents[3]
KILLED = """
import json, sys
from pathlib import Path
from sim.learning.config import NetworkConfig, PPOConfig
from sim.learning.point_mass import PointMass
from sim.learning.train import train
settings = json.loads(sys.argv[1])
network = NetworkConfig(**(settings.pop("network") | {"hidden": tuple(json.loads(sys.argv[3]))}))
train(PointMass(), PPOConfig(network=network, **settings), Path(sys.argv[2]))
"""


def without_times(folder):
    return [{key: value for key, value in row.items() if key != "steps_per_s"} for row in read_metrics(folder)]


def test_a_killed_run_continues_bit_for_bit(small, tmp_path):
    """kill -9 while it trains; resumed, it ends with the weights, moments, statistics, metrics and environments of a run that
    nobody disturbed. With scaled rewards and a rate that follows the divergence, so that these are continued as well."""
    config = small(iterations=100_000, is_reward_scaled=True)
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    settings = json.dumps(dataclasses.asdict(config))
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, settings, str(cut), json.dumps(config.network.hidden)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        while len(checkpoints(cut)) < 2 and child.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)  # into some iteration or some write, whichever it is at
    finally:
        child.send_signal(signal.SIGKILL)
        _, said = child.communicate()
    assert child.returncode == -signal.SIGKILL, said
    reached = load_checkpoint(cut)[1]["counters"]["iteration"]
    config = dataclasses.replace(config, iterations=reached + 3)
    train(PointMass(), config, cut, resume=True)
    train(PointMass(), config, whole)
    (first, facts), (second, other) = load_checkpoint(cut), load_checkpoint(whole)
    assert facts["counters"] == other["counters"] and facts["counters"]["iteration"] == reached + 3
    assert first.keys() == second.keys()
    assert {"environment.generator", "adam.log_std.step", "reward_scale.discounted"} - first.keys() == {
        "adam.log_std.step"
    }
    assert [name for name in first if not np.array_equal(first[name], second[name])] == []
    assert without_times(cut) == without_times(whole)
    assert (cut / POLICY_FILE).read_bytes() == (whole / POLICY_FILE).read_bytes()


def test_a_run_leaves_settings_metrics_and_the_last_two_checkpoints(small, tmp_path):
    learner = train(PointMass(), small(), tmp_path, task={"name": "point mass"})
    assert json.loads((tmp_path / CONFIG_FILE).read_text())["ppo"]["epochs"] == 3
    assert [path.stem for path in checkpoints(tmp_path)] == ["checkpoint_000003", "checkpoint_000004"]
    assert len(list(tmp_path.glob("checkpoint_*.safetensors"))) == 2
    rows = read_metrics(tmp_path)
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["steps"] == learner.steps == 1024
    assert {"reward", "near", "effort"} == rows[0]["terms"].keys()
    run = json.loads((tmp_path / "run.json").read_text())["runs"][0]
    assert run["seeds"] == {"seed": 0} and "torch" in run["versions"]
    assert load_checkpoint(tmp_path)[1]["versions"] == run["versions"]


def test_a_saved_policy_acts_as_the_learner_does(small, tmp_path):
    """The statistics travel with the policy."""
    environment = PointMass()
    learner = train(environment, small(), tmp_path)
    observation = environment.reset(5)
    action = load_policy(tmp_path / POLICY_FILE)(observation)
    np.testing.assert_array_equal(action, Policy.of(learner)(observation))
    assert learner.statistics.count == 1024
    learner.statistics.mean += 1.0
    assert not np.array_equal(action, Policy.of(learner)(observation))
    noise = np.ones_like(action)
    noisy = load_policy(tmp_path / POLICY_FILE)(observation, noise)
    np.testing.assert_allclose(noisy - action, np.exp(-1.0), rtol=1e-5)


def test_resuming_what_is_not_there_damaged_or_of_other_settings_is_refused(small, tmp_path):
    with pytest.raises(ValueError, match="expected a checkpoint to go on from, found none; start without --resume"):
        train(PointMass(), small(), tmp_path, resume=True)
    train(PointMass(), small(), tmp_path, task={"name": "point mass"})
    with pytest.raises(
        ValueError, match=r"made with other settings \(clip 0\.2 -> 0\.3, name 'point mass' -> 'other'\)"
    ):
        train(PointMass(), small(clip=0.3), tmp_path, resume=True, task={"name": "other"})
    last = checkpoints(tmp_path)[-1]
    arrays = last.with_suffix(".safetensors")
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"\0")
    with pytest.raises(
        ValueError, match=r"checkpoint_000004\.safetensors: expected the arrays .* delete this checkpoint"
    ):
        train(PointMass(), small(), tmp_path, resume=True, task={"name": "point mass"})
    last.unlink()
    assert load_checkpoint(tmp_path)[1]["counters"]["iteration"] == 3


def test_a_linear_schedule_cannot_be_stretched_by_resuming(small, tmp_path):
    train(PointMass(), small(schedule="linear"), tmp_path)
    with pytest.raises(ValueError, match="iterations 4 -> 6"):
        train(PointMass(), small(schedule="linear", iterations=6), tmp_path, resume=True)


def test_an_environment_without_a_state_continues_with_a_warning(small, tmp_path, caplog):
    class Stateless:
        """Only the required part of the contract."""

        def __init__(self):
            inner = PointMass()
            self.num_envs, self.observation_size, self.action_size = (
                inner.num_envs,
                inner.observation_size,
                inner.action_size,
            )
            self.reset, self.step = inner.reset, inner.step

    train(Stateless(), small(iterations=2), tmp_path)
    learner = train(Stateless(), small(iterations=4), tmp_path, resume=True)
    assert learner.iteration == 4 and "its episodes start anew" in caplog.text
    assert [row["iteration"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4]


def test_fine_tuning_starts_from_networks_and_statistics_only(small, tmp_path):
    before = train(PointMass(), small(), tmp_path / "first")
    learner = train(PointMass(), small(seed=1, iterations=1), tmp_path / "second", initial=tmp_path / "first")
    assert learner.steps == 256 and learner.statistics.count == before.statistics.count + 256
    fresh = Learner(PointMass(), small(seed=1))
    start, tuned, new = (learner_tensors(item)["network.policy.0.weight"] for item in (before, learner, fresh))
    assert abs(tuned - start).max() < 0.2 * abs(tuned - new).max()
    with pytest.raises(ValueError, match="expected networks of shapes"):
        train(PointMass(dimensions=2), small(), tmp_path / "third", initial=tmp_path / "first")


def test_a_line_that_a_kill_cut_short_is_dropped(small, tmp_path):
    train(PointMass(), small(), tmp_path)
    with open(tmp_path / METRICS_FILE, "a") as stream:
        stream.write('{"iteration": 5, "st')
    train(PointMass(), small(iterations=5), tmp_path, resume=True)
    assert [row["iteration"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4, 5]


def test_files_that_are_no_policy_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.json: expected a trained policy, found nothing"):
        load_policy(tmp_path / "nothing.safetensors")
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"bad\.safetensors: expected a trained policy"):
        load_policy(tmp_path / "bad.safetensors")


def test_settings_survive_json(small):
    """What `config.json` holds makes the same settings again."""
    config = small()
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    network = NetworkConfig(**(values.pop("network") | {"hidden": config.network.hidden}))
    assert PPOConfig(network=network, **values) == config
