"""A second of swaying that anybody can stand through: a synthetic motion for the tracker, made without any data."""

import numpy as np
import pytest

from dataset import rotation
from dataset.body.default import make_body
from dataset.body.mjcf import HumanoidConfig
from dataset.body.subjects import SUBJECTS
from dataset.schema import Motion
from dataset.skeleton import BODY_INDEX, NUM_BODIES
from sim.humanoid import make_humanoid
from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.solve import solve


@pytest.fixture(scope="session")
def standing():
    """The default subject's humanoid as the tracker uses it."""
    return make_humanoid(make_body(SUBJECTS[0]))


@pytest.fixture(scope="session")
def coarse():
    """The same person in long steps: without a GPU a substep of one environment takes as long as one of thirty."""
    return make_humanoid(make_body(SUBJECTS[0]), HumanoidConfig(substep=1.0 / 120.0))


@pytest.fixture(scope="session")
def sway(standing):
    """1.2 s of standing with arms at the sides, swinging the arms and bending the trunk a little, 30 Hz."""
    time = np.arange(37) / 30.0
    rotvec = np.zeros((len(time), NUM_BODIES, 3))
    rotvec[:, BODY_INDEX["L_Shoulder"], 0], rotvec[:, BODY_INDEX["R_Shoulder"], 0] = -1.3, 1.3
    swing = 0.25 * np.sin(2 * np.pi * time)
    rotvec[:, BODY_INDEX["L_Shoulder"], 1], rotvec[:, BODY_INDEX["R_Shoulder"], 1] = swing, -swing
    rotvec[:, BODY_INDEX["Torso"], 1] = 0.1 * np.sin(2 * np.pi * time)
    root = np.zeros((len(time), 3))
    root[:, 2] = standing.body.joint_pos[0, 2]
    return Motion(
        name="sway", source="test", frame_rate=30.0, root_pos=root, quat=rotation.from_rotation_vector(rotvec),
        subject=standing.body.subject,
    )  # fmt: skip


@pytest.fixture(scope="session")
def solution(standing, sway):
    return solve(standing, sway, seed=3, search=SearchConfig(samples=8, rounds=1))
