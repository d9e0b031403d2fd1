"""What MuJoCo complains about is counted, and nothing is written where the program happens to run."""

import mujoco
import numpy as np
import pytest

from sim.backends.mujoco_cpu import MujocoCpu
from sim.engine_warnings import KINDS, engine_warnings, install
from sim.humanoid import make_humanoid


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """The working directory, empty; MuJoCo's own way of reporting is in force until a humanoid is made."""
    monkeypatch.chdir(tmp_path)
    mujoco.set_mju_user_warning(None)
    yield tmp_path
    install()


def test_a_model_that_explodes_outside_the_backend_is_counted_and_leaves_no_file(empty_folder, body):
    humanoid = make_humanoid(body)
    data, before = mujoco.MjData(humanoid.model), engine_warnings()
    data.qpos[2], data.qvel[70] = 3.0, 3e10  # beyond MuJoCo's bound of 1e10
    mujoco.mj_step(humanoid.model, data)
    assert engine_warnings() - before == {"BADQVEL": 1}
    assert list(empty_folder.iterdir()) == []


def test_the_kinds_are_the_engines_own_names():
    assert {kind for _, kind in KINDS} <= {name.removeprefix("mjWARN_") for name in mujoco.mjtWarning.__members__}


def test_the_counts_agree_with_the_trace(humanoid, rest_state, random_targets):
    before, ctrl = engine_warnings(), random_targets(20, 0.1)
    ctrl[0, 12, 0] = np.inf
    backend = MujocoCpu(humanoid)
    backend.reset(*rest_state(humanoid))
    assert backend.rollout(ctrl).warnings == ("BADCTRL",)
    assert engine_warnings() - before == {"BADCTRL": 1}
