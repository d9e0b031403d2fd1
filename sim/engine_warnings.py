"""MuJoCo's warnings: counted in this process, and never written to `MUJOCO_LOG.TXT` in the working directory.

MuJoCo hands the text of a warning to one handler per process; without one it appends to a file wherever the process
happens to run. `sim.humanoid.make_humanoid` installs ours, so whoever can simulate has it. A trace says by itself which of
its substeps are sound (`sim.backends.mujoco_cpu`); the counts here are for searches, whose samples leave no trace.
"""

from __future__ import annotations

import logging
from collections import Counter

import mujoco

KINDS: tuple[tuple[str, str], ...] = (
    ("in QACC", "BADQACC"), ("in QVEL", "BADQVEL"), ("in QPOS", "BADQPOS"), ("in CTRL", "BADCTRL"),
    ("many contacts", "CONTACTFULL"), ("number of constraints", "CNSTRFULL"), ("nertia matrix", "INERTIA"),
)  # fmt: skip
"""Words of a warning's text and the name of its counter in `mujoco.mjtWarning`; the first that occurs counts."""

_log = logging.getLogger(__name__)
_counts: Counter[str] = Counter()


def install() -> None:
    """Take over MuJoCo's warnings in this process; harmless if done before."""
    mujoco.set_mju_user_warning(_count)


def engine_warnings() -> Counter[str]:
    """Warnings of this process so far, by kind: take the difference of two calls for those in between."""
    return _counts.copy()


def _count(text: str) -> None:
    _counts[next((kind for word, kind in KINDS if word in text), "OTHER")] += 1
    _log.debug("MuJoCo: %s", text)
