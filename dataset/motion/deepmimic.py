"""DeepMimic text clips (Peng et al. 2018): JSON of 44 numbers a frame.

Seconds, root position (y up), root wxyz, chest 4, neck 4, right hip 4, right knee 1, right ankle 4, right shoulder 4,
right elbow 1, then the left side in the same order. The humanoid's rest pose has the arms down, x forward, y up, z
right; knees and elbows are one angle about z. Its root joint lies midway between the hips, legs are 0.4215 + 0.4099 m.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np

from dataset import rotation
from dataset.kinematics import local_from_global
from dataset.motion.resample import sample_poses
from dataset.motion.tpose import canonical_direction, keep_bone_directions, spread_chain
from dataset.schema import Motion
from dataset.skeleton import BODY_INDEX, NUM_BODIES, PARENTS

FRAME_NUMBERS: Final[int] = 44
LEG_LENGTH: Final[float] = 0.8314
"""Hip to knee to ankle of the DeepMimic humanoid [m]."""

_QUATERNIONS = {
    "root": 4, "chest": 8, "neck": 12, "R_Hip": 16, "R_Ankle": 21, "R_Shoulder": 25, "L_Hip": 30, "L_Ankle": 35,
    "L_Shoulder": 39,
}  # fmt: skip
_HINGES = {"R_Knee": 20, "R_Elbow": 29, "L_Knee": 34, "L_Elbow": 43}


def read_deepmimic(path: str | Path, *, source: str = "deepmimic") -> Motion:
    """Reads a DeepMimic clip from a file; see `parse_deepmimic`."""
    path = Path(path)
    return parse_deepmimic(
        path.read_text(encoding="utf-8", errors="replace"), name=path.stem, source=source, path=str(path)
    )


def parse_deepmimic(text: str, *, name: str, source: str, path: str) -> Motion:
    """Motion of a DeepMimic clip on the canonical skeleton, z up.

    The one joint between root and chest is spread over Torso, Spine and Chest, the neck over Neck and Head; thoraces,
    toes, wrists and hands stay at rest. Frames of uneven duration are resampled to the most frequent one.

    Args:
        text: The file's content.
        name: Clip name.
        source: Folder or package it came from.
        path: What errors call the file.

    Raises:
        ValueError: If the text is not such a clip, a frame is not 44 finite numbers, or fewer than 2 frames have a
        duration.
    """
    try:
        content = json.loads(text)
        frames = content["Frames"]
        table = np.array(frames, dtype=np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected a DeepMimic clip (JSON with `Frames`, {FRAME_NUMBERS} numbers each), found {error!r}; "
            "copy the complete file again"
        ) from error
    if table.ndim != 2 or table.shape[1] != FRAME_NUMBERS or len(table) < 2:
        raise ValueError(
            f"{path}: Frames: expected at least 2 frames of {FRAME_NUMBERS} numbers, found shape {table.shape}; "
            "is it a clip of this humanoid?"
        )
    if not np.all(np.isfinite(table)):
        first = int(np.argmax(~np.all(np.isfinite(table), axis=1)))
        raise ValueError(
            f"{path}: Frames: expected finite numbers, found NaN or infinity in frame {first}; repair or cut such frames"
        )

    time = np.concatenate(([0.0], np.cumsum(table[:-1, 0])))
    if not np.all(table[:-1, 0] > 0):
        raise ValueError(
            f"{path}: Frames: expected positive frame durations [s], found {table[:-1, 0].min()}; correct them"
        )
    root_pos = table[:, [1, 3, 2]] * np.array([1.0, -1.0, 1.0])
    quat = local_from_global(_body_rotations(table))

    step = float(np.median(table[:-1, 0]))
    if np.max(np.abs(table[:-1, 0] - step)) > 1e-4:
        at = np.arange(int(np.floor(time[-1] / step + 1e-6)) + 1) * step
        root_pos, quat = sample_poses(time, root_pos, quat, np.minimum(at, time[-1]))
    return Motion(
        name=name, source=source, frame_rate=1.0 / step, root_pos=root_pos, quat=quat,
        is_cyclic=content.get("Loop") == "wrap", leg_length=LEG_LENGTH,
    )  # fmt: skip


def _body_rotations(table: np.ndarray) -> np.ndarray:
    """Canonical body-to-world rotations, shape (T, N, 4)."""
    frames = len(table)
    local: dict[str, np.ndarray] = {}
    for joint, column in _QUATERNIONS.items():
        wxyz = rotation.normalize(table[:, column : column + 4])
        local[joint] = wxyz[:, [0, 1, 3, 2]] * np.array(
            [1.0, 1.0, -1.0, 1.0]
        )  # (x, y up, z right) -> (x, y left, z up)
    for joint, column in _HINGES.items():
        local[joint] = rotation.from_axis_angle((0.0, -1.0, 0.0), table[:, column])

    world = np.zeros((frames, NUM_BODIES, 4))
    chest = rotation.multiply(local["root"], local["chest"])
    head = rotation.multiply(chest, local["neck"])
    placed = {"Pelvis": local["root"]}
    placed.update(zip(("Torso", "Spine", "Chest"), spread_chain([local["root"], chest], 3)))
    placed.update(zip(("Neck", "Head"), spread_chain([chest, head], 2)))
    for side in ("L_", "R_"):
        placed[side + "Hip"] = rotation.multiply(local["root"], local[side + "Hip"])
        placed[side + "Knee"] = rotation.multiply(placed[side + "Hip"], local[side + "Knee"])
        placed[side + "Ankle"] = rotation.multiply(placed[side + "Knee"], local[side + "Ankle"])
        placed[side + "Thorax"] = chest
        placed[side + "Shoulder"] = rotation.multiply(chest, local[side + "Shoulder"])
        placed[side + "Elbow"] = rotation.multiply(placed[side + "Shoulder"], local[side + "Elbow"])
    for name, quat in placed.items():
        world[:, BODY_INDEX[name]] = quat

    target = canonical_direction()
    rest = target.copy()
    rest[BODY_INDEX["L_Shoulder"] :][:4] = (0.0, 0.0, -1.0)  # shoulders and elbows: arms down
    world = keep_bone_directions(world, rest, target)
    for name in ("L_Toe", "R_Toe", "L_Wrist", "R_Wrist", "L_Hand", "R_Hand"):
        body = BODY_INDEX[name]
        world[:, body] = world[:, PARENTS[body]]
    return world
