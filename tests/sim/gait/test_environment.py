import dataclasses

import numpy as np
import pytest

from sim.gait.environment import GaitEnvironment
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.inverse_dynamics import inverse_dynamics
from sim.gait.rewards import KineticConfig, RewardConfig


def actions(environment, steps, size=0.2, seed=0):
    rng = np.random.default_rng(seed)
    return (size * rng.standard_normal((steps, environment.num_envs, 23))).astype(np.float32)


@pytest.fixture
def environment(expert):
    made = GaitEnvironment(expert, EnvironmentConfig(target="relative"), num_envs=5)
    made.reset(0)
    yield made
    made.close()


def test_shapes_are_the_papers(environment):
    observation = environment.reset(1)
    assert (environment.observation_size, environment.action_size) == (46, 23)
    assert observation.shape == (5, 46)
    assert observation.dtype == np.float32
    observation, reward, terminated, truncated, info = environment.step(np.zeros((5, 23), np.float32))
    assert observation.shape == (5, 46)
    assert reward.shape == terminated.shape == truncated.shape == (5,)
    assert reward.dtype == np.float32
    assert terminated.dtype == truncated.dtype == bool
    assert info["final_observation"].shape == (5, 46)


def test_torques_forces_and_residual_close_the_equations_of_motion(environment):
    gait = environment.gait
    for action in actions(environment, 6, size=1.0):  # hard enough to saturate servos
        environment.step(action)
        record = environment.last
        qpos, qvel = record.qpos, record.qvel
        acceleration = np.diff(qvel, axis=1) / gait.config.substep
        for e in range(2):
            found = inverse_dynamics(gait, qpos[e, :-1], qvel[e, :-1], acceleration[e], record.ground[e])
            np.testing.assert_allclose(found.moment, record.torque[e], atol=1e-6)
            np.testing.assert_allclose(found.residual_force, np.tile(record.residual[e, :3], (15, 1)), atol=1e-6)
            w = qpos[e, :-1, 3:7]
            from dataset.rotation import rotate

            np.testing.assert_allclose(found.residual_moment, rotate(w, record.residual[e, 3:]), atol=1e-6)


def test_servos_follow_the_impedance_law(expert):
    # At rest and far from the floor: τ = −Kp (ψ − ψ_eq) − Kd dψ/dt with the velocity at the end of the substep.
    environment = GaitEnvironment(expert, EnvironmentConfig(target="absolute"), num_envs=1)
    environment.reset_at(np.array([3]))
    environment._state[:, 3] += 5.0
    action = actions(environment, 1)[0]
    action[:, 17:] = 0.0
    wanted = environment.equilibrium(action.astype(float), np.array([4]))
    environment.step(action)
    record, gait = environment.last, environment.gait
    law = -gait.stiffness * (record.qpos[0, :-1, 7:] - wanted) - gait.damping * record.qvel[0, 1:, 6:]
    unsaturated = np.abs(law) < 350.0
    np.testing.assert_allclose(record.torque[0][unsaturated], law[unsaturated], atol=1e-9)
    assert unsaturated.mean() > 0.8
    environment.close()


def test_relative_targets_are_the_experts_and_may_lead_the_damping(expert):
    action = actions(GaitEnvironment(expert, num_envs=2), 1)[0].astype(float)
    at = np.array([4, 9])
    for led in (False, True):
        environment = GaitEnvironment(expert, EnvironmentConfig(target="relative", is_damping_led=led), num_envs=2)
        environment.reset_at(at)
        lead = environment.gait.damping / environment.gait.stiffness * expert.qvel[at, 6:] if led else 0.0
        wanted = expert.qpos[at, 7:] + lead + 0.5 * action[:, :17]
        np.testing.assert_allclose(environment.equilibrium(action, at), wanted, atol=1e-12)
        environment.close()


def test_a_seed_fixes_the_run_whatever_the_threads(expert):
    runs = []
    for threads in (1, 2):
        environment = GaitEnvironment(expert, EnvironmentConfig(), num_envs=4, num_threads=threads)
        seen = [environment.reset(7)]
        for action in actions(environment, 40, size=0.5):
            observation, reward, terminated, truncated, _ = environment.step(action)
            seen += [observation, reward, terminated, truncated]
        environment.close()
        runs.append(seen)
    for first, second in zip(*runs):
        np.testing.assert_array_equal(first, second)


def test_a_run_goes_on_from_its_state(expert):
    environment = GaitEnvironment(expert, num_envs=4)
    environment.reset(3)
    moves = actions(environment, 40, size=0.7)
    for action in moves[:15]:
        environment.step(action)
    saved = environment.state()
    first = [environment.step(action) for action in moves[15:]]
    other = GaitEnvironment(expert, num_envs=4)
    other.reset(99)
    other.set_state(saved)
    for action, (observation, reward, terminated, truncated, _) in zip(moves[15:], first):
        again = other.step(action)
        np.testing.assert_array_equal(again[0], observation)
        np.testing.assert_array_equal(again[1], reward)
        np.testing.assert_array_equal(again[2] | again[3], terminated | truncated)
    assert any((step[2] | step[3]).any() for step in first)  # resets, so the generator counts
    with pytest.raises(ValueError, match=r"physics: expected shape \(2, 48\), got \(4, 48\)"):
        GaitEnvironment(expert, num_envs=2).set_state(saved)
    environment.close()
    other.close()


def test_environments_do_not_depend_on_their_neighbours(expert):
    found = []
    for count in (1, 3):
        environment = GaitEnvironment(expert, num_envs=count)
        environment.reset_at(np.full(count, 10))
        observation = environment.step(np.full((count, 23), 0.1, np.float32))[0]
        found.append(observation[0])
        environment.close()
    np.testing.assert_array_equal(*found)


def test_falls_terminate_and_start_anew(environment):
    ended = False
    for action in actions(environment, 60, size=3.0):
        before = environment.frame
        observation, _, terminated, truncated, info = environment.step(action)
        done = terminated | truncated
        same = (observation == info["final_observation"]).all(axis=1)
        np.testing.assert_array_equal(same, ~done)
        np.testing.assert_array_equal(environment.frame[~done], before[~done] + 1)
        if terminated.any():
            ended = True
            low = environment.expert.qpos[:, 2].min() - 0.1
            assert (info["final_observation"][terminated, 0] < low).all() or not environment.last.is_sound.all()
            assert (observation[done, 0] > low).all()
    assert ended


def test_the_end_of_the_expert_truncates(environment):
    environment.reset_at(np.full(5, environment.expert.num_frames - 2))
    _, _, terminated, truncated, _ = environment.step(np.zeros((5, 23), np.float32))
    assert truncated.all()
    assert not terminated.any()


def test_the_residual_is_held_and_can_be_taken_away(environment):
    action = np.zeros((5, 23), np.float32)
    action[:, 17:] = (1.0, 0.0, 0.5, 0.0, 0.2, 0.0)
    _, _, _, _, info = environment.step(action)
    np.testing.assert_allclose(info["residual_force"], 100.0 * np.hypot(1.0, 0.5))
    np.testing.assert_allclose(info["residual_moment"], 20.0)
    environment.residual_factor = 0.0
    _, _, _, _, info = environment.step(action)
    np.testing.assert_array_equal(info["residual_force"], 0.0)
    np.testing.assert_allclose(info["residual"], 1.0)


def test_the_standing_expert_is_scored_by_its_own_forces(environment):
    # Held near its reference the body stands: each foot carries about half the weight under the middle of the foot.
    environment.reset_at(np.full(5, 5))
    for _ in range(6):
        _, _, terminated, _, info = environment.step(np.zeros((5, 23), np.float32))
        assert not terminated.any()
    total = environment.last.ground[..., 2].sum(axis=2).mean()
    assert total == pytest.approx(environment.gait.weight, rel=0.25)
    assert (info["grf_error"] < 0.3).all()
    assert (info["cop_error"] < 0.15**2).all()


def test_kinetic_weights_add_to_the_reward(expert):
    kinetic = KineticConfig(grf_weight=0.4, cop_weight=0.3)
    environment = GaitEnvironment(expert, EnvironmentConfig(reward=RewardConfig(kinetic=kinetic)), num_envs=3)
    environment.reset(0)
    _, reward, _, _, info = environment.step(np.zeros((3, 23), np.float32))
    np.testing.assert_allclose(reward, info["kinematic"] + 0.4 * info["grf"] + 0.3 * info["cop"], rtol=1e-6)
    environment.close()


def test_unknown_forces_are_refused_where_they_are_needed(expert):
    wrench = expert.wrench.copy()
    wrench[10:20] = np.nan
    blind = dataclasses.replace(expert, wrench=wrench)
    config = EnvironmentConfig(reward=RewardConfig(kinetic=KineticConfig(grf_weight=1.0)))
    with pytest.raises(ValueError, match="missing in 10"):
        GaitEnvironment(blind, config)
    environment = GaitEnvironment(blind, num_envs=1)
    environment.reset_at(np.array([12]))
    info = environment.step(np.zeros((1, 23), np.float32))[4]
    assert np.isnan(info["grf"]).all()
    assert np.isnan(info["cop"]).all()
    environment.close()


def test_actions_that_are_not_finite_are_refused(environment):
    action = np.zeros((5, 23), np.float32)
    action[2, 3] = np.nan
    with pytest.raises(ValueError, match=r"finite values of shape \(5, 23\)"):
        environment.step(action)


def test_an_expert_of_another_rate_is_refused(expert):
    with pytest.raises(ValueError, match="30 Hz"):
        GaitEnvironment(dataclasses.replace(expert, rate=60.0))


def test_walkers_that_stray_are_stopped(expert):
    moves = actions(GaitEnvironment(expert, num_envs=5), 30, size=1.5)
    ends = {}
    for limit in (None, 0.1):
        environment = GaitEnvironment(expert, EnvironmentConfig(target="relative", stray_limit=limit), num_envs=5)
        environment.reset(0)
        ended = np.zeros(5, dtype=bool)
        for action in moves[:5]:
            _, _, terminated, _, info = environment.step(action)
            strayed = info["end_effector"] < np.exp(
                -20.0 * 3 * 0.1**2
            )  # further than 0.1 m even if all three are alike
            if limit is not None:
                assert terminated[strayed].all()
                assert not terminated[info["end_effector"] > np.exp(-20.0 * 0.1**2)].any()
            ended |= terminated
        ends[limit] = ended.sum()
        environment.close()
    assert ends[0.1] > ends[None]


def test_a_heading_counts_where_it_is_shown(expert):
    from dataset.rotation import from_rotation_vector, multiply

    found = {}
    for is_free in (True, False):
        environment = GaitEnvironment(expert, EnvironmentConfig(target="relative", is_heading_free=is_free), num_envs=2)
        frame = np.array([5, 5])
        qpos, qvel = expert.qpos[frame].copy(), expert.qvel[frame].copy()
        turn = from_rotation_vector(np.array([0.0, 0.0, 0.2]))
        qpos[1, 3:7] = multiply(turn, qpos[1, 3:7])
        seen = environment.reset_to(frame, qpos, qvel)
        info = environment.step(np.zeros((2, 23), np.float32))[4]
        found[is_free] = seen[1, 1:5] - seen[0, 1:5], info["root_pose"]
        environment.close()
    np.testing.assert_allclose(found[True][0], 0.0, atol=1e-6)
    assert found[True][1][1] == pytest.approx(found[True][1][0], rel=1e-3)
    assert np.abs(found[False][0]).max() > 0.05
    # Half of 0.2 rad more costs exp(-300 · 0.1²) at least.
    assert found[False][1][1] < 0.1 * found[False][1][0]


def test_given_states_are_where_episodes_start(environment):
    expert, frame = environment.expert, np.arange(5)
    qpos = expert.qpos[frame] + 0.01
    seen = environment.reset_to(frame, qpos, expert.qvel[frame])
    np.testing.assert_array_equal(environment.qpos, qpos)
    np.testing.assert_allclose(seen[:, 0], qpos[:, 2], rtol=1e-6)
    with pytest.raises(ValueError, match=r"states: expected shapes \(5, 24\) and \(5, 23\), got \(4, 24\)"):
        environment.reset_to(frame, qpos[:4], expert.qvel[frame])
