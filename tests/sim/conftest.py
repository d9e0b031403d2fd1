"""The default person as a humanoid, and motions that shake it."""

import json

import numpy as np
import pytest

from dataset.body.default import make_body
from dataset.body.mjcf import HumanoidConfig
from dataset.schema import Subject
from sim.backends.mujoco_cpu import MujocoCpu
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL, make_humanoid
from sim.imitate_clip import ImitationConfig
from sim.imitation.tracker.config import SearchConfig


@pytest.fixture(scope="session")
def body():
    return make_body(Subject(name="default"))


@pytest.fixture(scope="session")
def humanoid(body):
    # an odd number of substeps a frame: the middle one is cut by the force's averaging window
    return make_humanoid(body, HumanoidConfig(substep=1.0 / 150.0))


@pytest.fixture(scope="session")
def rest_state():
    """Rest pose of a humanoid, lifted: qpos (1, 99) and zero qvel (1, 75)."""

    def make(humanoid, lift=0.0):
        qpos = np.zeros((1, NUM_QPOS))
        qpos[:, 2] = humanoid.body.joint_pos[0, 2] + lift
        qpos[:, humanoid.quat_columns[:, 0]] = 1.0
        return qpos, np.zeros((1, NUM_QVEL))

    return make


@pytest.fixture(scope="session")
def random_targets():
    """Servo targets (E, K, 69) [rad], normal with deviation `size`, held for 0.1 s."""

    def make(substeps, size, seed=0, environments=1, hold=15):
        rng = np.random.default_rng(seed)
        held = size * rng.standard_normal((environments, -(-substeps // hold), NUM_CTRL))
        return np.repeat(held, hold, axis=1)[:, :substeps].copy()

    return make


@pytest.fixture(scope="session")
def shaken(humanoid, rest_state, random_targets):
    """2 s of violent motion with hard landings: (trace, share of the servos' substeps at their limit)."""
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid, lift=0.3))
    trace = backend.rollout(random_targets(300, 1.0))
    backend.close()
    saturated = np.abs(trace.servo_force[0]) >= humanoid.model.actuator_forcerange[:, 1]
    return trace, saturated.mean()


@pytest.fixture(scope="session")
def arm_swing():
    """Text of a DeepMimic clip of a person who stands, leaning a little over the toes, and swings both arms to the front."""

    def make(seconds):
        frames = []
        lean = 0.04  # half the angle at the ankles; upright, the centre of mass is over the heels and tips at a breath
        for time in np.arange(0.0, seconds + 1e-9, 1.0 / 30.0):
            half = 0.3 * np.sin(np.pi * time)
            frame = np.zeros(44)
            frame[0], frame[2] = 1.0 / 30.0, 0.9
            frame[[4, 8, 12, 16, 21, 25, 30, 35, 39]] = 1.0  # identity quaternions
            frame[4:8] = np.cos(lean), 0.0, 0.0, -np.sin(lean)
            for ankle in (21, 35):
                frame[ankle : ankle + 4] = np.cos(lean), 0.0, 0.0, np.sin(lean)
            for arm in (25, 39):
                frame[arm], frame[arm + 3] = np.cos(half), np.sin(half)
            frames.append(frame.tolist())
        return json.dumps({"Loop": "none", "Frames": frames})

    return make


@pytest.fixture(scope="session")
def quick_search():
    """Stiff enough to stand by itself, so that hardly a search is enough for a person who swings the arms."""
    return ImitationConfig(
        humanoid=HumanoidConfig(stiffness_scale=3.0),
        search=SearchConfig(samples=2, rounds=1, knots=2, width_scale=0.02),
    )
