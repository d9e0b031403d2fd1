"""Acclaim ASF (skeleton) + AMC (motion) files: text in, a posed joint tree out.

A bone turns about its own start, in the bone's local axes C: its rotation in the file's rest axes is L = C M C⁻¹ with M the
turns of the AMC line applied in the order of `dof`.

Axis legend: T frames, K bones (the root first).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from dataset import rotation
from dataset.motion.asf import AXES, AcclaimSkeleton, parse_asf
from dataset.motion.joint_map import MapReport, canonical_motion
from dataset.motion.tree import JointTree
from dataset.schema import Motion

AMC_RATE = 120.0
"""Frame rate of CMU AMC files [Hz]; the format has no field for it."""


def read_amc(
    path: str | Path, asf_path: str | Path | None = None, *, source: str = "amc", frame_rate: float = AMC_RATE
) -> tuple[Motion, MapReport]:
    """Motion of an AMC file on the canonical skeleton, and the report of the joint mapping.

    Args:
        path: The AMC file.
        asf_path: Its skeleton; default: the ASF beside it whose name begins the AMC's name, or the only one in the
            folder.
        source: Folder or package it came from, stored in the motion.
        frame_rate: Frames per second [Hz]; the format does not say.

    Raises:
        FileNotFoundError: If no ASF is found.
        ValueError: If either file is empty, truncated, malformed or has values that are not finite.
    """
    path = Path(path)
    asf = Path(asf_path) if asf_path is not None else find_asf(path)
    tree = parse_amc(path, asf, frame_rate)
    return canonical_motion(tree, name=path.stem, source=source, path=str(path))


def find_asf(path: Path) -> Path:
    """The skeleton that belongs to an AMC file; FileNotFoundError names what was looked for."""
    candidates = sorted(item for item in path.parent.iterdir() if item.suffix.lower() == ".asf")
    named = [item for item in candidates if path.stem.lower().startswith(item.stem.lower().rstrip("_"))]
    if named:
        return max(named, key=lambda item: len(item.stem))
    if len(candidates) == 1:
        return candidates[0]
    found = ", ".join(item.name for item in candidates) or "none"
    raise FileNotFoundError(
        f"{path}: expected an ASF skeleton named like it in the same folder, found {found}; "
        "put the skeleton there (or pass asf_path)"
    )


def parse_amc(path: str | Path, asf_path: str | Path, frame_rate: float = AMC_RATE) -> JointTree:
    """The posed joint tree of an ASF+AMC pair, lengths divided by the ASF's unit `length`; errors as `read_amc`."""
    skeleton = parse_asf(asf_path)
    frames = _parse_frames(path, skeleton)
    index = {name: position for position, name in enumerate(skeleton.names)}
    count = len(frames)
    quat = np.broadcast_to(rotation.IDENTITY, (count, len(index), 4)).copy()
    root_pos = np.tile(skeleton.root_position, (count, 1))
    for name, joint in index.items():
        dof = skeleton.dof[name]
        if not dof:
            continue
        values = np.array([frame[name] for frame in frames]) if name in frames[0] else np.zeros((count, len(dof)))
        turn = np.broadcast_to(rotation.IDENTITY, (count, 4))
        for column, kind in enumerate(dof):
            if kind in ("tx", "ty", "tz"):
                root_pos[:, "xyz".index(kind[1])] = values[:, column] / skeleton.length_unit
            elif kind in ("rx", "ry", "rz"):
                angle = np.radians(values[:, column]) if skeleton.is_degrees else values[:, column]
                turn = rotation.multiply(rotation.from_axis_angle(AXES[kind[1]], angle), turn)
        local = skeleton.axis[name]
        quat[:, joint] = rotation.multiply(rotation.multiply(local, turn), rotation.conjugate(local))
    offset = np.zeros((len(index), 3))
    ends = {}
    for name, joint in index.items():
        bone = skeleton.direction[name] * skeleton.length[name] / skeleton.length_unit
        if name != "root":
            parent = skeleton.parents[name]
            offset[joint] = skeleton.direction[parent] * skeleton.length[parent] / skeleton.length_unit
        ends[joint] = bone
    parents = tuple(-1 if name == "root" else index[skeleton.parents[name]] for name in skeleton.names)
    return JointTree(
        names=tuple(skeleton.names), parents=parents, offset=offset, ends=ends, root_pos=root_pos, quat=quat,
        frame_rate=frame_rate,
    )  # fmt: skip


def _parse_frames(path: str | Path, skeleton: AcclaimSkeleton) -> list[dict[str, list[float]]]:
    frames: list[dict[str, list[float]]] = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith(("#", ":")):
            continue
        if len(words) == 1 and words[0].isdigit():
            frames.append({})
            continue
        try:
            values = list(map(float, words[1:]))
        except ValueError as error:
            raise ValueError(
                f"{path}: line {number}: expected `bone numbers`, found {line.strip()!r}; copy it again"
            ) from error
        if not frames or words[0] not in skeleton.dof:
            raise ValueError(
                f"{path}: line {number}: expected a bone of the ASF after a frame number, found {words[0]!r}; "
                "is it the ASF of this file?"
            )
        if len(values) != len(skeleton.dof[words[0]]) or not all(map(math.isfinite, values)):
            expected = " ".join(skeleton.dof[words[0]])
            raise ValueError(
                f"{path}: line {number}: {words[0]}: expected finite values for {expected}, found {words[1:]}; "
                "is it the ASF of this file?"
            )
        frames[-1][words[0]] = values
    if not frames:
        raise ValueError(f"{path}: expected AMC frames, found none; copy the file again")
    full = set(frames[0])
    for position, frame in enumerate(frames):
        if set(frame) != full or "root" not in frame:
            raise ValueError(
                f"{path}: frame {position}: expected the bones of the first frame, found {len(frame)} of {len(full)}; "
                "the file is cut: copy it again"
            )
    return frames
