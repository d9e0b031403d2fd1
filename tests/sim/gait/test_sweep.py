import dataclasses

import numpy as np
import pytest

from dataset.skeleton import GRAVITY
from sim.gait import sweep
from sim.gait.arms import fast
from sim.gait.config import PhysicsConfig
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.expert_file import cut
from sim.gait.regulator import RegulatorConfig
from sim.gait.walk_score import WalkScore, score_walk
from sim.gait.warm_start import WarmStart


def test_variants_change_what_they_say_and_nothing_else():
    preset = fast()
    assert sweep.VARIANTS["base"](preset) == preset
    found = sweep.changed(log_std=-1.0, residual_gain=3.0, episode_steps=7, epochs=2)(preset)
    assert found.ppo.network.log_std == -1.0
    assert found.environment.reward.kinematic.residual_gain == 3.0
    assert found.environment.episode_steps == 7
    assert found.ppo.epochs == 2
    back = sweep.changed(
        log_std=preset.ppo.network.log_std, residual_gain=preset.environment.reward.kinematic.residual_gain,
        episode_steps=preset.environment.episode_steps, epochs=preset.ppo.epochs,
    )(found)  # fmt: skip
    assert back == preset
    with pytest.raises(ValueError, match="weight_of_hope: expected a field"):
        sweep.changed(weight_of_hope=1.0)(preset)
    for name, change in sweep.VARIANTS.items():
        assert (change(preset) == preset) == (name == "base"), name


def test_gains_are_rfcs_times_the_factors():
    physics = sweep.gains(0.5, 0.1)(fast()).environment.physics
    rfc = PhysicsConfig()
    np.testing.assert_allclose(physics.stiffness.per_coordinate(), 0.5 * rfc.stiffness.per_coordinate())
    np.testing.assert_allclose(physics.damping.per_coordinate(), 0.1 * rfc.damping.per_coordinate())


def test_rows_take_the_place_of_older_ones_in_the_order_of_the_variants(tmp_path):
    score = WalkScore(**{f.name: 0.5 for f in dataclasses.fields(WalkScore)})
    first, second = list(sweep.VARIANTS)[:2]
    path = tmp_path / "t.csv"
    sweep.write_rows(path, [sweep.Row(variant=second, steps=10, reward=0.1, length=3.0, score=score)])
    sweep.write_rows(path, [sweep.Row(variant=first, steps=20, reward=0.2, length=4.0, score=score)])
    sweep.write_rows(path, [sweep.Row(variant=second, steps=30, reward=0.3, length=5.0, score=score)])
    lines = path.read_text().splitlines()
    assert [line.split(",")[:4] for line in lines[1:]] == [[first, "20", "0.2", "4"], [second, "30", "0.3", "5"]]
    path.write_text("other,table\n")
    with pytest.raises(ValueError, match="expected columns"):
        sweep.write_rows(path, [])
    with pytest.raises(ValueError, match="expected some of"):
        sweep.SweepConfig(variants=("nonsense",))


def test_a_variant_is_trained_and_walks(expert, monkeypatch):
    monkeypatch.setattr(sweep, "WARM", WarmStart(regulator=RegulatorConfig(frames=4), rounds=1, steps=4, epochs=1))
    row = sweep.measure_variant(cut(expert, 0, 40), "base", steps=1)
    assert row.steps >= fast().ppo.iteration_steps
    assert 0.0 < row.reward <= 1.0
    assert 0.0 <= row.score.finished <= 1.0


def test_the_score_of_a_body_that_stands(expert):
    score = score_walk(
        cut(expert, 0, 33), EnvironmentConfig(target="relative"), lambda seen: np.zeros((len(seen), 23), np.float32),
        walkers=3,
    )  # fmt: skip
    # A walker each from frames 0, 15 and 30 to frame 32; none falls in so short a time.
    assert score.finished == 1.0
    assert score.seconds == pytest.approx((32 + 17 + 2) / 3 / 30.0)
    assert score.residual_force_pct_bw == score.residual_moment == 0.0
    assert score.vertical_bw == pytest.approx(1.0, abs=0.1)
    assert score.joint_rmse_deg < 3.0
    assert score.cop_rmse_pct_fl < 50.0
    pushed = np.zeros((3, 23), np.float32)
    pushed[:, 19] = 1.0
    lifted = score_walk(cut(expert, 0, 33), EnvironmentConfig(target="relative"), lambda seen: pushed, walkers=3)
    weight = expert.body.total_mass * GRAVITY
    assert lifted.residual_force_pct_bw == pytest.approx(100.0 * 100.0 / weight)
    assert lifted.vertical_bw == pytest.approx(score.vertical_bw - 100.0 / weight, abs=0.05)
