"""Balls and hinges are compared on the same person doing the same thing."""

from itertools import permutations

import numpy as np
import pytest

from dataset import rotation
from sim.studies.joints import Rivals, clip_references, euler_angles


@pytest.mark.parametrize("order", ["".join(axes) for axes in permutations("xyz")])
def test_angles_about_three_axes_give_the_rotation_back(order):
    generator = np.random.default_rng(0)
    quat = rotation.from_rotation_vector(generator.uniform(-1.5, 1.5, size=(50, 2, 3)))
    angles = euler_angles(quat, order)
    back = np.zeros_like(quat)
    back[..., 0] = 1.0
    for axis, name in enumerate(order):
        back = rotation.multiply(back, rotation.from_axis_angle(np.eye(3)["xyz".index(name)], angles[..., axis]))
    assert rotation.angle_between(back, quat).max() < 1e-6


def test_both_people_weigh_the_same_and_stand_in_the_same_pose():
    rivals = Rivals()
    masses = [model.body_mass.sum() for model in rivals.models.values()]
    assert masses[0] == pytest.approx(masses[1], rel=1e-12)
    assert rivals.models["ball"].nu == rivals.models["hinge"].nu == 69
    name, reference = next(clip_references(rivals.humanoid))
    assert name == "backflip"
    states = rivals.states(reference, np.array([0, 40, 200]))
    ball, hinge = (rivals.bodies(kind, states[kind]) for kind in ("ball", "hinge"))
    np.testing.assert_allclose(ball, hinge, atol=1e-9)
