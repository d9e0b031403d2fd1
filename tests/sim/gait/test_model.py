import dataclasses

import mujoco
import numpy as np
import pytest

from dataset.rotation import to_rotation_vector
from sim.gait.config import JointGains, PhysicsConfig
from sim.gait.kinematics import place
from sim.gait.model import gait_mjcf, make_gait_model
from sim.gait.segments import FEET


def test_the_model_is_the_papers(gait):
    model = gait.model
    assert (model.nq, model.nv, model.nu) == (24, 23, 17)
    assert model.opt.timestep == pytest.approx(1.0 / 450.0)
    points = [index for index in range(model.ngeom) if model.geom(index).name.startswith("point_")]
    assert len(points) == 8
    for index in points:
        assert model.geom_margin[index] == 0.05
        np.testing.assert_allclose(model.geom_solref[index], (0.02, 1.0))
    # margins of a pair add: the floor has none
    assert model.geom_margin[model.geom("floor").id] == 0.0
    assert model.body_mass.sum() == pytest.approx(gait.body.total_mass, rel=1e-12)


@pytest.mark.parametrize(
    "change",
    [{}, {"contact_margin": 0.001}, {"contact_impedance": (0.3, 0.9, 0.02)}, {"contact_time": 0.04}],
    ids=["paper", "small margin", "soft", "slow"],
)
def test_the_loaded_foot_stands_at_zero(body, change):
    # The whole model with all its joints, held upright by a moment on the pelvis that adds no vertical force.
    stiff = JointGains(trunk=4000.0, hip=4000.0, knee=4000.0, ankle=4000.0)
    loose = JointGains(trunk=400.0, hip=400.0, knee=400.0, ankle=400.0)
    free = JointGains(trunk=1e4, hip=1e4, knee=1e4, ankle=1e4)
    config = PhysicsConfig(stiffness=stiff, damping=loose, torque_limit=free, **change)
    gait = make_gait_model(body, config)
    data = mujoco.MjData(gait.model)
    data.qpos[:7] = (0.0, 0.0, 0.95, 1.0, 0.0, 0.0, 0.0)
    lift = []
    for step in range(450 * 4):
        data.qfrc_applied[3:6] = -3000.0 * to_rotation_vector(data.qpos[3:7]) - 300.0 * data.qvel[3:6]
        mujoco.mj_step(gait.model, data)
        if step >= 450 * 3:
            contact = data.sensordata[:18].reshape(2, 9)
            lift.append(-contact[:, 2].sum())
    placement = place(body, data.qpos[None])
    for foot, segment in enumerate(FEET):
        height = placement.points(np.full(4, segment), body.soles[foot].corners)[0, :, 2].mean()
        assert abs(height) < 0.002
    # the pelvis still sways a little on soft contacts
    assert np.mean(lift) == pytest.approx(gait.weight, rel=3e-3)


def test_a_standing_foot_without_lift_floats_a_margin_above_the_floor(body):
    # What the lift is for: without it the sole stands where the force begins.
    config = PhysicsConfig()
    assert make_gait_model(body, config).lift == pytest.approx(0.05 + config.point_radius, abs=0.001)


def test_a_model_that_does_not_compile_says_whose(body):
    broken = dataclasses.replace(body, inertia=-body.inertia)
    with pytest.raises(ValueError, match="gait model of 'textbook' does not compile"):
        make_gait_model(broken)


def test_the_text_is_the_same_each_time(body):
    assert gait_mjcf(body, PhysicsConfig(), 0.05) == gait_mjcf(body, PhysicsConfig(), 0.05)
