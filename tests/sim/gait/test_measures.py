import dataclasses

import numpy as np
import pytest

from dataset.skeleton import GRAVITY
from sim.gait.evaluate import REWARDS, Walk
from sim.gait.mean_cycles import average, mean_cycles
from sim.gait.measures import measure_walk
from sim.gait.segments import COORDINATES
from sim.gait.signals import JOINTS, expert_signals, walk_signals
from sim.gait.study_results import over_seeds, summary, targets, without_nan

SUBSTEPS = 6


@pytest.fixture
def copy(cyclic_expert):
    """A walk that does exactly what was measured, its torque held between the frames."""
    expert = cyclic_expert
    middles = (np.arange(SUBSTEPS) + 0.5) / SUBSTEPS
    at = (np.arange(60)[:, None] + middles).ravel()
    torque = np.stack([np.interp(at, np.arange(61), column) for column in expert.moment.T], axis=1)
    return Walk(
        qpos=expert.qpos.copy(), qvel=expert.qvel.copy(), torque=torque.reshape(60, SUBSTEPS, 17),
        ground=np.repeat(expert.wrench[:, None], SUBSTEPS, axis=1), residual=np.zeros((60, 6)),
        rewards={name: np.linspace(0.5, 0.7, 60) for name in REWARDS}, fell=False,
    )  # fmt: skip


def measured(expert, walk):
    there = expert_signals(expert, 20.0)
    return measure_walk(expert, there, walk, walk_signals(expert, walk, 20.0))


def test_a_copy_of_the_expert_has_no_error(cyclic_expert, copy):
    found = measured(cyclic_expert, copy)
    assert not found.fell
    assert found.share_walked == 1.0
    assert set(found.joints["joint_rmse_deg"]) == set(JOINTS)
    for joint in JOINTS:
        np.testing.assert_array_equal(found.joints["joint_rmse_deg"][joint], 0.0)
        assert (found.joints["moment_rmse_nm_kg"][joint] < 0.02).all()  # means over a step round the peaks
        assert (found.joints["moment_r"][joint] > 0.999).all()
    np.testing.assert_allclose(found.cycles["cop_rmse_pct_fl"], 0.0, atol=1e-9)
    assert found.cycles["cop_rmse_pct_fl"].shape == (3,)
    whole = found.whole
    assert whole["mean_vertical_bw"] == pytest.approx(1.0)
    assert whole["kinematic_reward"] == pytest.approx(0.6)
    assert whole["stance_missed"] == whole["residual_force_n"] == 0.0
    assert whole["grf_rmse_up_pct_bw"] < 1e-9


def test_every_measure_has_its_unit(cyclic_expert, copy):
    expert = cyclic_expert
    mass, length = expert.body.total_mass, expert.body.foot_length
    qpos, torque, ground = copy.qpos.copy(), copy.torque.copy(), copy.ground.copy()
    qpos[:, 7 + COORDINATES.index("knee_angle_l")] += np.radians(8.0)
    torque[..., COORDINATES.index("trunk_bending")] += 0.3 * mass
    ground[..., 4] -= 0.1 * length * ground[..., 2]  # 10 % of the foot forwards: the soles look along +x
    residual = np.tile([3.0, 0.0, 4.0, 0.0, 12.0, 0.0], (60, 1))
    found = measured(expert, dataclasses.replace(copy, torque=torque, ground=ground, residual=residual))
    np.testing.assert_allclose(found.cycles["cop_rmse_pct_fl"], 10.0, rtol=1e-3)
    np.testing.assert_allclose(found.joints["moment_rmse_nm_kg"]["trunk_bending"], 0.3, rtol=0.01)
    assert found.whole["residual_force_n"] == pytest.approx(5.0)
    assert found.whole["residual_force_pct_bw"] == pytest.approx(500.0 / (mass * GRAVITY))
    assert found.whole["residual_moment_nm"] == pytest.approx(12.0)
    turned = copy.qpos.copy()
    half = np.radians(3.0)  # the standing expert faces +x: turned by 6 degrees
    turned[:, 3:7] = np.cos(half), 0.0, 0.0, np.sin(half)
    found = measured(expert, dataclasses.replace(copy, qpos=turned))
    assert found.whole["heading_error_deg"] == pytest.approx(6.0)
    bent = measured(expert, dataclasses.replace(copy, qpos=qpos))
    # One knee of two: √(8² / 2).
    np.testing.assert_allclose(bent.joints["joint_rmse_deg"]["knee_flexion"], 8.0 / np.sqrt(2.0))
    np.testing.assert_array_equal(bent.joints["joint_rmse_deg"]["hip_flexion"], 0.0)


def test_feet_that_miss_their_stance_are_counted(cyclic_expert, copy):
    ground = copy.ground.copy()
    ground[:15, :, 0] = 0.0  # the left foot in the air for a quarter of the time: an eighth of both feet's stance
    found = measured(cyclic_expert, dataclasses.replace(copy, ground=ground))
    assert found.whole["stance_missed"] == pytest.approx(15 / 120)
    np.testing.assert_allclose(found.cycles["cop_rmse_pct_fl"], 0.0, atol=1e-9)


def test_after_a_fall_the_whole_cycles_count(cyclic_expert, copy):
    part = {"qpos": 51, "qvel": 51, "torque": 50, "ground": 50, "residual": 50}
    short = {name: getattr(copy, name)[:count] for name, count in part.items()}
    rewards = {name: values[:50] for name, values in copy.rewards.items()}
    found = measured(cyclic_expert, Walk(**short, rewards=rewards, fell=True))
    assert found.fell
    assert found.share_walked == pytest.approx(50 / 60)
    assert found.cycles["cop_rmse_pct_fl"].shape == found.joints["moment_r"]["hip_flexion"].shape == (2,)


def test_mean_cycles_are_those_of_the_signals(cyclic_expert, copy):
    there = expert_signals(cyclic_expert, 20.0)
    found = mean_cycles(there, there, cyclic_expert.strikes, None)
    assert found.angle.shape == found.moment.shape == found.force.shape == (101, 3)
    np.testing.assert_allclose(found.force[:, 2], 0.5)
    np.testing.assert_array_equal(found.residual, 0.0)
    pushed = dataclasses.replace(copy, residual=np.tile([1.0, 2.0, 3.0, 0.0, 4.0, 0.0], (60, 1)))
    own = mean_cycles(walk_signals(cyclic_expert, pushed, 20.0), there, cyclic_expert.strikes, pushed)
    np.testing.assert_allclose(own.residual, np.tile([1.0, 2.0, 3.0, 4.0], (101, 1)))
    np.testing.assert_allclose(average([found, own]).residual, 0.5 * own.residual)
    nothing = dataclasses.replace(own, residual=np.full((101, 4), np.nan))
    np.testing.assert_array_equal(average([nothing, own]).residual, own.residual)


def test_experts_that_cannot_be_compared_are_refused(cyclic_expert):
    wrench = cyclic_expert.wrench.copy()
    wrench[7:9] = np.nan
    with pytest.raises(ValueError, match="standing: forces: expected them in all 60 control steps, missing in 2"):
        expert_signals(dataclasses.replace(cyclic_expert, wrench=wrench), 20.0)
    one = (np.zeros(0), np.array([0.0, 20.0]))
    with pytest.raises(ValueError, match=r"cycles: expected at least 2 .* found 1"):
        expert_signals(dataclasses.replace(cyclic_expert, strikes=one), 20.0)


def arm(expert, copy, seeds, usual=None, factor=1.0):
    """An arm whose moments are `factor` times as wrong as they are here."""
    rng = np.random.default_rng(5)
    found = {}
    for seed in seeds:
        wrong = copy.torque + factor * 20.0 * rng.normal(size=(60, 1, 17))
        found[seed] = measured(expert, dataclasses.replace(copy, torque=wrong))
    base = usual or dict.fromkeys(seeds)
    return found, over_seeds({seed: summary(found[seed], base[seed]) for seed in seeds})


def test_results_say_mean_spread_and_the_largest_p(cyclic_expert, copy):
    base, kinematic = arm(cyclic_expert, copy, (0, 1))
    _, full = arm(cyclic_expert, copy, (0, 1), base, factor=0.1)
    by_seed = [full["seeds"][seed]["moment_rmse_nm_kg"]["hip_flexion"] for seed in ("0", "1")]
    assert full["moment_rmse_nm_kg"]["hip_flexion"] == pytest.approx(np.mean(by_seed))
    assert full["spread"]["moment_rmse_nm_kg"]["hip_flexion"] == pytest.approx(np.std(by_seed, ddof=1))
    p = [full["seeds"][seed]["p_values"]["moment_rmse_nm_kg"]["hip_flexion"] for seed in ("0", "1")]
    assert full["p_values"]["moment_rmse_nm_kg"]["hip_flexion"] == max(p)
    assert 0.0 < min(p) < max(p) < 0.05
    assert "p_values" not in kinematic
    assert not full["fell"]


def test_targets_name_the_worst_and_notice_what_is_unknown(cyclic_expert, copy):
    base, kinematic = arm(cyclic_expert, copy, (0, 1))
    _, better = arm(cyclic_expert, copy, (0, 1), base, factor=0.1)
    rows = {
        row["name"]: row for row in targets({"kinematic": kinematic, "grf": better, "cop": better, "all": better}, None)
    }
    fewer = rows["ALL: hip flexion moment RMSE against R^k [N·m/kg]"]
    assert fewer["reached"]
    assert -0.3 < fewer["found"] < 0.0
    assert rows["every arm: kinematic reward"] == {
        "name": "every arm: kinematic reward", "bar": "≥ 0.9", "found": pytest.approx(0.6), "reached": False,
    }  # fmt: skip
    assert rows["every arm walks the whole trial (share)"]["reached"]
    better["seeds"]["1"]["cop_rmse_pct_fl"]["mean"] = float("nan")
    rows = {
        row["name"]: row for row in targets({"kinematic": kinematic, "grf": better, "cop": better, "all": better}, None)
    }
    assert not rows["ALL: centre of pressure"]["reached"]
    assert without_nan(rows["ALL: centre of pressure"])["found"] is None
