"""gymnasium's MuJoCo tasks behind the contract: the same numbers as gymnasium gives, and put back bit for bit."""

import dataclasses

import numpy as np
import pytest

from sim.learning import known_task
from sim.learning.config import benchmark
from sim.learning.environment import FINAL_OBSERVATION, check_observation, check_step
from sim.learning.learner_state import learner_tensors
from sim.learning.train import train

gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed")
pytest.importorskip("imageio", reason="gymnasium's MuJoCo tasks need imageio")

from sim.learning.gym_task import GymTask  # noqa: E402  (after the skip)


def actions(count, task):
    return np.random.default_rng(1).standard_normal((count, task.num_envs, task.action_size)).astype(np.float32)


def test_the_task_steps_as_gymnasium_does():
    """Clipped actions, own seeds, resets and final observations, held against gymnasium by hand."""
    task = GymTask("Hopper-v5", num_envs=2)
    check_observation(task, observation := task.reset(4))
    copies = [gymnasium.make("Hopper-v5") for _ in range(2)]
    seeds = np.random.SeedSequence(4).generate_state(2)
    seen = [copy.reset(seed=int(seed))[0] for copy, seed in zip(copies, seeds)]
    ended = 0
    for action in actions(120, task):
        np.testing.assert_array_equal(observation, np.array(seen, dtype=np.float32))
        step = task.step(action)
        check_step(task, step)
        observation, reward, terminated, truncated, info = step
        for row, copy in enumerate(copies):
            last, own, has_fallen, is_late, _ = copy.step(np.clip(action[row], -1.0, 1.0))
            assert (reward[row], terminated[row], truncated[row]) == (own, has_fallen, is_late)
            np.testing.assert_array_equal(info[FINAL_OBSERVATION][row], last.astype(np.float32))
            seen[row] = copy.reset()[0] if has_fallen or is_late else last
            ended += has_fallen
        assert info.keys() == {"forward", "ctrl", "survive", FINAL_OBSERVATION}
    assert ended >= 2


def test_a_task_put_back_repeats_itself_bit_for_bit():
    """Into another instance, in the middle of an episode, through falls and resets."""
    first, second = GymTask("Hopper-v5", num_envs=2), GymTask("Hopper-v5", num_envs=2)
    first.reset(0)
    moves = actions(100, first)
    for action in moves[:17]:
        first.step(action)
    state = first.state()
    expected = [first.step(action) for action in moves[17:]]
    second.reset(9)
    second.set_state({name: value.copy() for name, value in state.items()})
    for one, action in zip(expected, moves[17:]):
        other = second.step(action)
        assert all(np.array_equal(a, b) for a, b in zip(one[:4], other[:4]))
    assert sum(step[2].sum() for step in expected) >= 2


def test_a_training_on_a_task_resumes_bit_for_bit(tmp_path):
    config = dataclasses.replace(benchmark(), iteration_steps=128, epochs=2, schedule="constant", iterations=4)
    whole = train(GymTask("InvertedPendulum-v5"), config, tmp_path / "whole")
    train(GymTask("InvertedPendulum-v5"), dataclasses.replace(config, iterations=2), tmp_path / "cut")
    resumed = train(GymTask("InvertedPendulum-v5"), config, tmp_path / "cut", resume=True)
    first, second = learner_tensors(whole), learner_tensors(resumed)
    assert [name for name in first if not np.array_equal(first[name], second[name])] == []


def test_the_proof_writes_its_tables_and_figure_and_reads_finished_runs(tmp_path):
    config = known_task.KnownTaskConfig(
        tasks=("InvertedPendulum-v5",), seeds=1, steps=2048, episodes=2, runs=tmp_path / "runs", out=tmp_path / "out"
    )
    rows = known_task.main(config)
    assert [(row.seed, row.steps) for row in rows] == [(0, 2048)]
    table = (config.out / known_task.TABLE).read_text().splitlines()
    assert table[0].startswith("task,seed,steps,training_return,evaluation_return") and len(table) == 2
    assert (config.out / known_task.FIGURE).read_bytes()[:4] == b"\x89PNG"
    assert known_task.main(dataclasses.replace(config, resume=True)) == rows
    assert known_task.main(dataclasses.replace(config, read_only=True)) == rows


def test_unknown_tasks_are_refused():
    with pytest.raises(ValueError, match="Nothing-v5: expected a task that gymnasium has"):
        GymTask("Nothing-v5")
    with pytest.raises(ValueError, match="CartPole-v1: expected a MuJoCo task with a time limit"):
        GymTask("CartPole-v1")
    with pytest.raises(
        ValueError, match=r"tasks: expected some of \['Hopper-v5', 'InvertedPendulum-v5'\], got \['Ant'\]"
    ):
        known_task.KnownTaskConfig(tasks=("Ant",))
