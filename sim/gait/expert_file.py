"""An expert on disk: one `.npz` of plain arrays, with everything that is no array as JSON inside it.

Axis legend: T frames at 30 Hz, F = 2 feet (left, right), P = 101 points of a cycle.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset.atomic import write_bytes
from dataset.user_paths import require_file
from sim.gait.body import GaitBody, Sole

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Expert:
    """A measured walk at the control rate, walking over ground along +x."""

    name: str
    """Name of the trial."""
    body: GaitBody
    """The person, soles levelled."""
    rate: float
    """Frames per second [Hz]."""
    qpos: np.ndarray
    """Generalised positions, shape (T, 24)."""
    qvel: np.ndarray
    """Generalised velocities, shape (T, 23)."""
    wrench: np.ndarray
    """Force [N] and moment about the world origin [N·m] of the ground on each foot, world, mean over the interval between
    frames t and t + 1, shape (T - 1, F, 6); NaN where not measured."""
    moment: np.ndarray
    """Joint moments by inverse dynamics [N·m] at the frames, shape (T, 17); NaN where not measured."""
    phase: np.ndarray
    """Gait phase from right heel strike to right heel strike, in [0, 1), shape (T,); over the clip where it has no cycles."""
    strikes: tuple[np.ndarray, np.ndarray]
    """Heel strikes (left, right) as fractional frames."""
    cycles: Mapping[str, np.ndarray]
    """Mean and standard deviation over the cycles, each shape (P, ...): see `sim.gait.cycles`."""
    facts: Mapping[str, Any]
    """Figures and settings: residuals, belt speed, filters, notes."""

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return len(self.qpos)


def save_expert(path: str | os.PathLike[str], expert: Expert) -> None:
    """Write an expert, atomically."""
    arrays: dict[str, np.ndarray] = {
        name: getattr(expert, name) for name in ("qpos", "qvel", "wrench", "moment", "phase")
    }
    arrays |= {"strikes_l": expert.strikes[0], "strikes_r": expert.strikes[1]}
    arrays |= {f"cycle/{name}": values for name, values in expert.cycles.items()}
    for name in ("joint_pos", "mass", "com", "inertia", "knee_axes"):
        arrays[f"body/{name}"] = getattr(expert.body, name)
    soles = []
    for side, sole in zip("lr", expert.body.soles):
        arrays |= {f"sole_{side}/center": sole.center, f"sole_{side}/rot_fs": sole.rot_fs}
        soles.append(
            {name: float(getattr(sole, name)) for name in ("half_length", "half_width", "heel", "foot_length")}
        )
    said = {
        "version": _VERSION, "name": expert.name, "rate": expert.rate, "facts": dict(expert.facts), "soles": soles,
        "body": {"name": expert.body.name, "notes": list(expert.body.notes)},
    }  # fmt: skip
    arrays["json"] = np.frombuffer(json.dumps(said).encode(), dtype=np.uint8)
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    write_bytes(Path(path), packed.getvalue())


def load_expert(path: str | os.PathLike[str]) -> Expert:
    """Read an expert that `save_expert` wrote.

    Raises:
        ValueError: the file is no expert, or of another version.
        FileNotFoundError: no such file.
    """
    source = Path(path)
    require_file(source, "an expert written by python -m sim.gait.expert")
    try:
        with np.load(source, allow_pickle=False) as packed:
            arrays = {name: packed[name] for name in packed.files}
        said = json.loads(arrays.pop("json").tobytes().decode())
        version = said["version"]
    except (KeyError, ValueError, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{source}: expected an expert written by python -m sim.gait.expert, found something else ({error}); build it again"
        ) from None
    if version != _VERSION:
        raise ValueError(f"{source}: version: expected {_VERSION}, found {version}; build the expert again")
    soles = [
        Sole(center=arrays[f"sole_{side}/center"], rot_fs=arrays[f"sole_{side}/rot_fs"], **values)
        for side, values in zip("lr", said["soles"])
    ]
    body = GaitBody(
        name=said["body"]["name"], notes=tuple(said["body"]["notes"]), soles=(soles[0], soles[1]),
        **{name: arrays[f"body/{name}"] for name in ("joint_pos", "mass", "com", "inertia", "knee_axes")},
    )  # fmt: skip
    return Expert(
        name=said["name"], body=body, rate=said["rate"], facts=said["facts"],
        strikes=(arrays["strikes_l"], arrays["strikes_r"]),
        cycles={name[6:]: values for name, values in arrays.items() if name.startswith("cycle/")},
        **{name: arrays[name] for name in ("qpos", "qvel", "wrench", "moment", "phase")},
    )  # fmt: skip


def cut(expert: Expert, start: int, stop: int) -> Expert:
    """The frames [start, stop) of an expert; cycles and facts stay those of the whole.

    Raises:
        ValueError: fewer than 2 frames, or outside the expert.
    """
    if not 0 <= start < stop - 1 < expert.num_frames:
        raise ValueError(f"frames: expected 0 <= start < stop - 1 < {expert.num_frames}, got {start}, {stop}")
    return dataclasses.replace(
        expert, wrench=expert.wrench[start : stop - 1],
        strikes=(_inside(expert.strikes[0], start, stop), _inside(expert.strikes[1], start, stop)),
        **{name: getattr(expert, name)[start:stop] for name in ("qpos", "qvel", "moment", "phase")},
    )  # fmt: skip


def _inside(strikes: np.ndarray, start: int, stop: int) -> np.ndarray:
    return strikes[(strikes >= start) & (strikes <= stop - 1)] - start
