"""What every backend refuses; a real Python 3.8 with a stand-in for Isaac Gym, which the worker runs under."""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sim.backends.isaacgym_client import IsaacGym
from sim.backends.isaacgym_model import IsaacGymConfig

ROOT = Path(__file__).parents[3]
STAND_IN = Path(__file__).parent / "stand_in_for_isaacgym"


@pytest.fixture
def refuses_wrong_input(humanoid, rest_state):
    """Asks a new backend of the humanoid for what none can do: each says what it expected."""

    def ask(backend):
        with pytest.raises(ValueError, match="reset"):
            backend.rollout(np.zeros((1, 5, 69)))
        qpos, qvel = rest_state(humanoid)
        with pytest.raises(ValueError, match=r"qvel: expected shape \(E >= 1, 75\), got \(1, 74\)"):
            backend.reset(qpos, qvel[:, 1:])
        with pytest.raises(ValueError, match=r"qpos: expected shape \(E >= 1, 99\), got \(0, 99\)"):
            backend.reset(qpos[:0], qvel[:0])
        with pytest.raises(ValueError, match="qpos: expected finite"):
            backend.reset(qpos * np.nan, qvel)
        backend.reset(qpos, qvel)
        for shape in ((2, 5, 69), (1, 0, 69), (1, 5, 68), (5, 69)):
            with pytest.raises(
                ValueError, match=r"ctrl: expected shape \(1, K >= 1, 69\), got " + re.escape(str(shape))
            ):
                backend.rollout(np.zeros(shape))

    return ask


@pytest.fixture(scope="session")
def python38():
    """CPython 3.8 with numpy and MuJoCo: `make env38`, or what IMDYLAB_PYTHON38 names."""
    python = Path(os.environ.get("IMDYLAB_PYTHON38") or ROOT / ".venv38/bin/python")
    probe = "import sys, numpy, mujoco; assert sys.version_info[:2] == (3, 8)"
    try:
        subprocess.run([python, "-c", probe], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"{python} is no Python 3.8 with numpy and mujoco; `make env38` makes one")
    return python


@pytest.fixture
def stand_in(monkeypatch):
    """Let workers find the stand-in, and say how it behaves: stand_in(fault="hang", at=5)."""
    monkeypatch.setenv("PYTHONPATH", os.fspath(STAND_IN))

    def behave(**options):
        monkeypatch.setenv("STAND_IN_ISAACGYM", json.dumps(options))

    behave()
    return behave


@pytest.fixture
def isaacgym(python38, stand_in):
    """Makes backends on the stand-in, and closes them: isaacgym(humanoid, control="position")."""
    made = []

    def make(humanoid, **options):
        made.append(IsaacGym(humanoid, IsaacGymConfig(python=python38, **options)))
        return made[-1]

    yield make
    for backend in made:
        backend.close()
