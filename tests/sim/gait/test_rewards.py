import numpy as np
import pytest

from sim.gait.rewards import (
    KinematicWeights,
    KineticConfig,
    MotionFeatures,
    cop_error,
    gain_for,
    grf_error,
    half_angle,
    kinematic_reward,
    kinematic_terms,
)


def turn(axis, angle):
    from dataset.rotation import from_axis_angle, to_matrix

    return to_matrix(from_axis_angle(np.eye(3)[axis], angle))


def features(**changed):
    rest = {
        "joint_rot": np.tile(np.eye(3), (1, 7, 1, 1)), "end_effector": np.zeros((1, 3, 3)), "height": np.array([0.9]),
        "tilt": np.eye(3)[None], "velocity": np.zeros((1, 3)), "spin": np.zeros((1, 3)),
    }  # fmt: skip
    return MotionFeatures(**(rest | changed))


def test_the_experts_own_motion_without_residual_scores_one():
    terms = kinematic_terms(features(), features(), np.zeros((1, 6)), KinematicWeights())
    assert all(value[0] == pytest.approx(1.0) for value in terms.values())
    assert kinematic_reward(terms, KinematicWeights())[0] == pytest.approx(1.0)


def test_each_term_is_its_equation():
    w = KinematicWeights()
    joints = np.tile(np.eye(3), (1, 7, 1, 1))
    joints[0, 1], joints[0, 3] = turn(1, 0.4), turn(0, 0.2)  # left thigh, left foot
    mine = features(
        joint_rot=joints, end_effector=np.full((1, 3, 3), 0.01), height=np.array([0.93]), tilt=turn(0, 0.1)[None],
        velocity=np.array([[0.3, 0.0, 0.4]]), spin=np.array([[0.0, 2.0, 0.0]]),
    )  # fmt: skip
    terms = kinematic_terms(mine, features(), np.full((1, 6), 0.5), w)
    assert terms["pose"][0] == pytest.approx(np.exp(-2.0 * (0.2**2 + (0.2 * 0.1) ** 2)))
    assert terms["end_effector"][0] == pytest.approx(np.exp(-20.0 * 9 * 0.01**2))
    assert terms["root_pose"][0] == pytest.approx(np.exp(-300.0 * 0.03**2 - 300.0 * 0.05**2))
    assert terms["root_velocity"][0] == pytest.approx(np.exp(-0.25 - 0.1 * 4.0))
    assert terms["residual"][0] == pytest.approx(np.exp(-6 * 0.25))
    reward = 0.5 * terms["pose"] + 0.3 * terms["end_effector"] + 0.05 * terms["root_pose"]
    reward = reward + 0.1 * terms["root_velocity"] + 0.05 * terms["residual"]
    np.testing.assert_allclose(kinematic_reward(terms, w), reward)


def test_half_angles_are_of_the_shortest_turn():
    assert half_angle(turn(2, 3.0), np.eye(3)) == pytest.approx(1.5)
    assert half_angle(turn(2, 0.4), turn(2, -0.2)) == pytest.approx(0.3)


def test_only_sagittal_forces_count_in_their_unit():
    mine = np.array([[[10.0, 500.0, 700.0], [0.0, 0.0, 0.0]]])
    theirs = np.array([[[0.0, 0.0, 0.0], [0.0, -99.0, 70.0]]])
    squared = 10.0**2 + 700.0**2 + 70.0**2
    assert grf_error(mine, theirs, 70.0, 700.0, "newton")[0] == pytest.approx(squared)
    assert grf_error(mine, theirs, 70.0, 700.0, "body_weight")[0] == pytest.approx(squared / 700.0**2)
    assert grf_error(mine, theirs, 70.0, 700.0, "newton_per_kg")[0] == pytest.approx(squared / 70.0**2)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("ignore", 0.05**2), ("penalise", 0.05**2 + 0.15**2), ("middle", 0.05**2 + (0.13 - 0.2) ** 2)],
)
def test_centres_of_pressure_in_swing_follow_the_rule(rule, expected):
    # left: both loaded, 5 cm apart; right: the expert stands on 0.2 m, the simulated foot is in the air
    cop, expert_cop = np.array([[0.15, np.nan]]), np.array([[0.10, 0.2]])
    loaded, expert_loaded = np.array([[True, False]]), np.array([[True, True]])
    found = cop_error(cop, expert_cop, loaded, expert_loaded, 0.13, KineticConfig(cop_swing=rule))
    assert found[0] == pytest.approx(expected)


def test_the_gain_gives_the_wanted_score():
    errors = np.random.default_rng(0).exponential(size=2000) ** 2
    gain = gain_for(errors, 0.41)
    assert np.exp(-gain * errors).mean() == pytest.approx(0.41, abs=1e-9)


def test_a_score_that_no_gain_reaches_is_refused():
    with pytest.raises(ValueError, match=r"between 0\.50"):
        gain_for(np.array([0.0, 1.0]), 0.3)
