"""Sequences in the layout of the released ImDy data: `pos`, `rot`, `torque`, `grf`, `weight`, a list over sequences each.

ImDy ships these lists as pickles, which run code when read. Here each is a NumPy archive whose arrays are called `00000`,
`00001` and so on, with the shapes and meanings of the original; the README.md written beside them turns them into lists.

Axis legend: T frames, J = 23 joints, N = 24 bodies.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dataset import atomic
from dataset.body.default import make_body
from dataset.formats.facts import sequence_facts
from dataset.kinematics import forward_kinematics
from dataset.schema import Dynamics
from dataset.skeleton import NUM_BODIES, PARENTS

RATE = 60.0
"""Physics steps a second of the original, whose torques are sums of two consecutive ones [Hz]."""
NAMES = ("pos", "rot", "torque", "grf", "weight")
"""Lists of the layout."""

_README = """# {count} sequences in the layout of the ImDy release

A list over sequences each, T frames at 30 Hz, 24 bodies in SMPL order, world frame with z up:

| file | shape | meaning |
| - | - | - |
| `pos.npz` | (T, 24, 3) | joint positions [m] |
| `rot.npz` | (T, 24, 4) | body to world, quaternions w first; body axes x forward, y left, z up in the T-pose (upright start) |
| `torque.npz` | (T, 24, 3) | sum of two consecutive 60 Hz torques [N·m] from frame t on, child frame; pelvis zero |
| `grf.npz` | (T, 24, 3) | force of the ground on each body [N], mean over t ± 1/60 s |
| `weight.npz` | () | body mass [kg] |

The last frame of a sequence, from which no transition starts, is left out. `sequences.json` names them in order; data set
{content}.

    lists = {{name: [array for _, array in sorted(numpy.load(f"{{name}}.npz").items())] for name in {names}}}
    joblib.dump(lists["pos"], "pos.pkl")   # and so on, where the original code wants them so
"""


def write_imdy(folder: Path, sequences: Iterable[Dynamics], content: str) -> list[Path]:
    """The five lists, the facts of the sequences and a README.

    torque = impulse · 60 Hz: the impulse of a transition is the sum of torque times step, theirs the sum of two torques with a
    step of 1/60 s.

    Args:
        folder: Folder for the files, made if missing.
        sequences: Records; one at a time is held in memory.
        content: Identity of the data set, for the README.
    """
    facts = []
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.npz" for name in NAMES]
    temporary = [atomic.temporary_sibling(path) for path in paths]
    try:
        with contextlib.ExitStack() as stack:
            archives = [stack.enter_context(zipfile.ZipFile(path, "x")) for path in temporary]
            for number, item in enumerate(sequences):
                facts.append(sequence_facts(item))
                for archive, array in zip(archives, imdy_arrays(item), strict=True):
                    entry = zipfile.ZipInfo(f"{number:05d}.npy")  # without the time of day
                    with archive.open(entry, "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, array, allow_pickle=False)
        for source, path in zip(temporary, paths, strict=True):
            atomic.replace(source, path)
    finally:
        for path in temporary:
            path.unlink(missing_ok=True)
    atomic.write_text(folder / "sequences.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    atomic.write_text(folder / "README.md", _README.format(count=len(facts), content=content, names=NAMES))
    return [*paths, folder / "sequences.json", folder / "README.md"]


def imdy_arrays(item: Dynamics) -> tuple[np.ndarray, ...]:
    """Arrays of one sequence in the order of `NAMES`, float32, T - 1 frames."""
    joint_pos = np.asarray(make_body(item.subject).joint_pos)
    offset = joint_pos - joint_pos[np.maximum(PARENTS, 0)]
    pos, rot = forward_kinematics(offset, item.root_pos[:-1], item.quat[:-1])
    torque = np.zeros((item.num_frames - 1, NUM_BODIES, 3))
    torque[:, 1:] = RATE * item.impulse.astype(np.float64)
    arrays = (pos, rot, torque, item.grf[:-1], np.array(item.subject.mass))
    return tuple(np.ascontiguousarray(array, dtype=np.float32) for array in arrays)
