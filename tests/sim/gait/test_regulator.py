import dataclasses

import numpy as np
import pytest

from dataset.rotation import from_rotation_vector, multiply
from sim.gait import arms
from sim.gait.environment import GaitEnvironment
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.expert_file import cut
from sim.gait.regulator import LIMIT, RegulatorConfig, _phase_weights, _riccati, deviation, find_regulator
from sim.gait.warm_start import WarmStart, _returns, _Walked
from sim.learning.checkpoint import load_checkpoint
from sim.learning.config import NetworkConfig, PPOConfig

SIZE = 44


def test_deviations_know_no_horizontal_position_and_measure_the_rest(expert):
    frame = np.array([3, 7])
    qpos, qvel = expert.qpos[frame].copy(), expert.qvel[frame].copy()
    qpos[:, :2] += (3.0, -2.0)
    np.testing.assert_allclose(deviation(expert, frame, qpos, qvel), 0.0, atol=1e-12)
    turn = np.array([0.01, -0.02, 0.03])
    qpos[:, 3:7] = multiply(from_rotation_vector(turn), qpos[:, 3:7])
    qpos[:, 2] += 0.05
    qpos[:, 12] -= 0.2
    qvel[:, 3] += 0.4
    found = deviation(expert, frame, qpos, qvel)
    assert found.shape == (2, SIZE)
    np.testing.assert_allclose(found[:, :3], np.tile(turn, (2, 1)), atol=1e-4)
    np.testing.assert_allclose(found[:, 3], 0.05, atol=1e-12)
    np.testing.assert_allclose(found[:, 4 + 5], -0.2, atol=1e-12)
    np.testing.assert_allclose(found[:, 24], 0.4, atol=1e-12)


def test_phase_weights_are_means_over_neighbours_in_phase():
    phase = np.array([0.0, 0.25, 0.5, 0.75])
    weights = _phase_weights(np.array([0.0, 0.99, 0.5]), phase, 0.01)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert weights.argmax(axis=1).tolist() == [0, 0, 2]  # 0.99 is next to 0: the phase is cyclic
    far = _phase_weights(np.array([0.4]), np.array([0.0]), 1e-4)
    np.testing.assert_allclose(far, 1.0)


def test_the_recursion_finds_the_least_cost_of_a_linear_system():
    # Optimality against a direct solution: the whole cost is a quadratic in all actions, minimised at once.
    rng = np.random.default_rng(0)
    steps, actions = 4, 23
    forward = 0.3 * rng.standard_normal((steps, SIZE, SIZE)) / np.sqrt(SIZE)
    push = rng.standard_normal((steps, SIZE, actions)) / np.sqrt(SIZE)
    along, reached = rng.standard_normal((steps + 1, SIZE)), rng.standard_normal((steps, SIZE))
    config = RegulatorConfig()
    gain, action = _riccati(forward, push, reached, along, config)
    cost = np.concatenate(
        [np.full(2, 60.0), [30.0, 300.0], np.full(17, 30.0), np.full(3, 5.0), np.full(3, 0.1), np.full(17, 0.01)]
    )
    price = np.concatenate([np.full(17, 0.3), np.full(6, 30.0)])

    def total(chosen):
        e, value = first, 0.0
        for t in range(steps):
            value += 0.5 * (cost @ e**2 + price @ chosen[t] ** 2)
            e = reached[t] + forward[t] @ (e - along[t]) + push[t] @ chosen[t]
        return value + 0.5 * cost @ e**2

    first = along[0] + 0.1 * rng.standard_normal(SIZE)
    e, best = first, []
    for t in range(steps):
        best.append(action[t] + gain[t] @ (e - along[t]))
        e = reached[t] + forward[t] @ (e - along[t]) + push[t] @ best[-1]
    best = np.array(best)
    least = total(best)
    for _ in range(20):
        step = 1e-3 * rng.standard_normal(best.shape)
        # A minimum: both sides cost more, and the slope is nothing beside the curvature.
        up, down = total(best + step) - least, total(best - step) - least
        assert up > 0.0
        assert down > 0.0
        assert abs(up - down) < 1e-4 * (up + down)


def test_a_regulated_body_stays_nearer_than_one_without_feedback(expert):
    trial = cut(expert, 0, 40)
    config = EnvironmentConfig(target="relative", is_heading_free=False)
    regulator = find_regulator(trial, config, RegulatorConfig(frames=20))
    assert np.abs(regulator.gain).max() > 0.1
    far = []
    for is_regulated in (True, False):
        environment = GaitEnvironment(trial, config, num_envs=2)
        environment.reset_at(np.array([0, 2]))
        environment._state[:, 26] += 0.1  # pushed sideways and backwards
        environment._state[:, 25] -= 0.1
        for _ in range(30):
            frame = environment.frame
            e = deviation(trial, frame, environment.qpos, environment.qvel)
            action = regulator.act(frame, e) if is_regulated else np.zeros((2, 23))
            assert np.abs(action).max() <= LIMIT
            environment.step(action.astype(np.float32))
        e = deviation(trial, environment.frame, environment.qpos, environment.qvel)
        far.append(np.abs(e[:, :4]).max())
        environment.close()
    assert far[0] < 0.5 * far[1]


def test_a_blind_walker_does_not_steer(expert):
    config = EnvironmentConfig(target="relative", is_heading_free=True)
    regulator = find_regulator(cut(expert, 0, 12), config, RegulatorConfig(frames=4))
    np.testing.assert_array_equal(regulator.gain[..., 2], 0.0)


def test_returns_are_known_where_an_end_or_half_the_walk_is_ahead():
    reward = np.ones((4, 2))
    done = np.zeros((4, 2), dtype=bool)
    done[2, 1] = True
    returns, known = _returns(_Walked(observation=reward, answer=reward, reward=reward, done=done), 0.5)
    np.testing.assert_allclose(returns, [[1.875, 1.75], [1.75, 1.5], [1.5, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(known, [[True, True], [True, True], [False, True], [False, False]])


def test_a_warm_started_policy_does_what_the_regulator_says(expert, tmp_path):
    warm = WarmStart(regulator=RegulatorConfig(frames=20), rounds=4, steps=30, epochs=40, minibatch=64)
    ppo = PPOConfig(iteration_steps=32, epochs=1, minibatch=16, policy_rate=1e-12, network=NetworkConfig(hidden=(32,)))
    preset = dataclasses.replace(
        arms.fast(), ppo=ppo, warm_start=warm, num_envs=16, pretrain_iterations=1, finetune_iterations=1
    )
    trial = cut(expert, 0, 40)
    run = arms.pretrain(trial, preset, tmp_path)
    started, facts = load_checkpoint(tmp_path / arms.WARM)
    trained, _ = load_checkpoint(run)
    assert facts["steps_between_ends"] > 5
    for name in started:
        if name.startswith("network.policy"):
            np.testing.assert_allclose(trained[name], started[name], atol=1e-8)
    policy = arms.run_policy(run)
    environment = arms.make_environment(trial, preset, num_envs=16)
    regulator = find_regulator(trial, environment.config, warm.regulator)
    seen = environment.reset(5)
    answer = regulator.act(environment.frame, deviation(trial, environment.frame, environment.qpos, environment.qvel))
    assert np.sqrt(np.mean((policy(seen) - answer) ** 2)) < 0.5 * np.sqrt(np.mean(answer**2))
    environment.close()


def test_settings_of_the_environment_that_a_regulator_cannot_step_are_refused(expert):
    with pytest.raises(ValueError, match="expected one frame a control step"):
        find_regulator(dataclasses.replace(expert, rate=50.0), EnvironmentConfig())
