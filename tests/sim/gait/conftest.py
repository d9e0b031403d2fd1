"""A person of textbook lengths, the gait model of it, and an expert that stands and sways."""

import dataclasses

import numpy as np
import pytest

from dataset.skeleton import GRAVITY
from sim.gait.de_leva import BodyLengths, body_of_lengths
from sim.gait.expert_file import Expert
from sim.gait.kinematics import place
from sim.gait.model import make_gait_model
from sim.gait.segments import COORDINATES, FEET, NUM_QVEL
from sim.gait.smooth import smooth_motion


@pytest.fixture(scope="session")
def body():
    lengths = BodyLengths(
        hip=np.array([[0.0, 0.085, 0.0], [0.0, -0.085, 0.0]]),
        thigh=(0.42, 0.42),
        shank=(0.43, 0.43),
        heel=np.array([[-0.05, 0.0, -0.08], [-0.05, 0.0, -0.08]]),
        foot=(0.26, 0.26),
    )
    return body_of_lengths(lengths, mass=70.0, stature=1.75, sex=0.0, name="textbook")


@pytest.fixture(scope="session")
def gait(body):
    return make_gait_model(body)


@pytest.fixture(scope="session")
def random_poses():
    """Poses anywhere in the world with joint angles up to 0.7 rad, shape (count, 24)."""

    def make(count, seed=0):
        rng = np.random.default_rng(seed)
        qpos = np.concatenate(
            [rng.normal(size=(count, 3)), rng.normal(size=(count, 4)), rng.uniform(-0.7, 0.7, (count, 17))], axis=1
        )
        qpos[:, 3:7] /= np.linalg.norm(qpos[:, 3:7], axis=1, keepdims=True)
        return qpos

    return make


@pytest.fixture(scope="session")
def expert(body):
    """Two seconds of standing with swaying trunk and knees, half the weight under the middle of each foot."""
    time = np.arange(61) / 30.0
    qpos = np.zeros((61, 24))
    qpos[:, 3] = 1.0
    qpos[:, 7 + COORDINATES.index("trunk_extension")] = 0.1 * np.sin(4.0 * time)
    for side, at in (("l", 0.0), ("r", 1.0)):
        qpos[:, 7 + COORDINATES.index(f"knee_angle_{side}")] = 0.05 + 0.03 * np.sin(5.0 * time + at)
    qpos[:, 2] = 0.93
    qpos, qvel, _ = smooth_motion(time, qpos, 6.0).at(time)
    placement = place(body, qpos)
    wrench = np.zeros((60, 2, 6))
    wrench[:, :, 2] = 0.5 * body.total_mass * GRAVITY
    for foot, segment in enumerate(FEET):
        point = placement.points(np.array([segment]), body.soles[foot].center[None])[1:, 0]
        wrench[:, foot, 3:] = np.cross(point * (1.0, 1.0, 0.0), wrench[:, foot, :3])
    return Expert(
        name="standing", body=body, rate=30.0, qpos=qpos, qvel=qvel, wrench=wrench,
        moment=np.zeros((61, NUM_QVEL - 6)), phase=np.arange(61) / 61.0, strikes=(np.zeros(0), np.zeros(0)),
        cycles={"count": np.zeros(2)}, facts={"note": "made up"},
    )  # fmt: skip


@pytest.fixture(scope="session")
def cyclic_expert(expert):
    """The standing expert with heel strikes as if it walked (three right cycles of 20 frames) and moments that swing."""
    swing = np.sin(2.0 * np.pi * np.arange(61) / 20.0)[:, None] * np.linspace(5.0, 30.0, 17)
    strikes = (np.array([10.0, 30.0, 50.0]), np.array([0.0, 20.0, 40.0, 60.0]))
    phase = (np.arange(61) / 20.0) % 1.0
    return dataclasses.replace(expert, strikes=strikes, moment=swing, phase=phase, cycles={"count": np.array([2, 3])})
