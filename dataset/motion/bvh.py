"""BVH files (Biovision hierarchy): text in, a posed joint tree out; `dataset.motion.joint_map` makes a `Motion` of it.

Axis legend: T frames, K joints.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataset import rotation
from dataset.motion.joint_map import MapReport, canonical_motion
from dataset.motion.tree import JointTree
from dataset.schema import Motion

_AXES = {"X": (1.0, 0.0, 0.0), "Y": (0.0, 1.0, 0.0), "Z": (0.0, 0.0, 1.0)}


def read_bvh(path: str | Path, *, source: str = "bvh") -> tuple[Motion, MapReport]:
    """Motion of a BVH file on the canonical skeleton, and the report of the joint mapping.

    Args:
        path: File.
        source: Folder or package it came from, stored in the motion.

    Raises:
        ValueError: If the file is empty, truncated or malformed, has values that are not finite, or has a skeleton
        whose joint
            names fit no known convention (the message lists the names found).
    """
    tree = parse_bvh(path)
    return canonical_motion(tree, name=Path(path).stem, source=source, path=str(path))


def parse_bvh(path: str | Path) -> JointTree:
    """The posed joint tree of a BVH file; errors as `read_bvh`."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    head, found, tail = text.partition("MOTION")
    if not found or "HIERARCHY" not in head:
        raise ValueError(
            f"{path}: expected BVH text with HIERARCHY and MOTION, found {_beginning(text)}; "
            "export or copy the file again"
        )
    names, parents, offsets, channels, ends = _parse_hierarchy(head, path)
    values, frame_time = _parse_motion(tail, sum(len(item) for item in channels), path)

    frames = values.shape[0]
    quat = np.broadcast_to(rotation.IDENTITY, (frames, len(names), 4)).copy()
    root_pos = np.tile(offsets[0], (frames, 1))
    column = 0
    varying: dict[str, float] = {}
    for joint, order in enumerate(channels):
        for channel in order:
            series, axis = values[:, column], channel[0].upper()
            column += 1
            if channel[1:].lower() == "rotation":
                turn = rotation.from_axis_angle(_AXES[axis], np.radians(series))
                quat[:, joint] = rotation.multiply(quat[:, joint], turn)
            elif joint == 0:
                root_pos[:, "XYZ".index(axis)] = series  # absolute in the files met, whatever the root's offset
            else:
                varying[names[joint]] = max(varying.get(names[joint], 0.0), float(np.ptp(series)))
    offset = np.array(offsets)
    offset[0] = 0.0
    return JointTree(
        names=tuple(names), parents=tuple(parents), offset=offset, ends=ends, root_pos=root_pos, quat=quat,
        frame_rate=1.0 / frame_time, notes=_unused_positions(varying),
    )  # fmt: skip


def _unused_positions(varying: dict[str, float]) -> tuple[str, ...]:
    """A note on position channels below the root, by joint and how far they vary in the file's unit; empty without any."""
    if not varying:
        return ()
    names = ", ".join(list(varying)[:4]) + (", ..." if len(varying) > 4 else "")
    return (
        f"Position channels of {len(varying)} joints below the root ({names}) are not used, bones keep their OFFSET; in the "
        f"file they vary by up to {max(varying.values()):.3g} of its length unit.",
    )


def _parse_hierarchy(
    text: str, path: str | Path
) -> tuple[list[str], list[int], list[np.ndarray], list[list[str]], dict[int, np.ndarray]]:
    names: list[str] = []
    parents: list[int] = []
    offsets: list[np.ndarray] = []
    channels: list[list[str]] = []
    ends: dict[int, np.ndarray] = {}
    stack: list[int] = []
    in_end_site = False
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0] == "HIERARCHY":
            continue
        try:
            if words[0] in ("ROOT", "JOINT"):
                names.append("_".join(words[1:]))
                parents.append(stack[-1] if stack else -1)
                offsets.append(np.zeros(3))
                channels.append([])
            elif words[0] == "End":
                in_end_site = True
            elif words[0] == "{":
                if not in_end_site:
                    stack.append(len(names) - 1)
            elif words[0] == "}":
                if in_end_site:
                    in_end_site = False
                else:
                    stack.pop()
            elif words[0] == "OFFSET":
                offset = np.array([float(word) for word in words[1:4]])
                if in_end_site:
                    ends[stack[-1]] = offset
                else:
                    offsets[-1] = offset
            elif words[0] == "CHANNELS":
                channels[-1] = words[2 : 2 + int(words[1])]
                known = {axis + kind for axis in "XYZ" for kind in ("position", "rotation")}
                if not set(channels[-1]) <= known or len(channels[-1]) != int(words[1]):
                    raise ValueError("unknown channels")
            else:
                raise ValueError("unknown keyword")
        except (ValueError, IndexError) as error:
            raise ValueError(
                f"{path}: line {number}: expected a BVH hierarchy entry, found {line.strip()!r} ({error}); "
                "export the file again"
            ) from error
    if not names or stack:
        raise ValueError(
            f"{path}: HIERARCHY: expected closed joint blocks, found {len(names)} joints and {len(stack)} open "
            "blocks; the file is cut: export or copy it again"
        )
    if parents.count(-1) != 1:
        raise ValueError(f"{path}: HIERARCHY: expected one ROOT, found {parents.count(-1)}; keep one figure a file")
    return names, parents, offsets, channels, ends


def _parse_motion(text: str, width: int, path: str | Path) -> tuple[np.ndarray, float]:
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        declared = int(lines[0].split(":")[1])
        frame_time = float(lines[1].split(":")[1])
        numbers = np.array(" ".join(lines[2:]).split(), dtype=np.float64)
    except (IndexError, ValueError) as error:
        raise ValueError(
            f"{path}: MOTION: expected `Frames:`, `Frame Time:` and numbers, found {error}; export the file again"
        ) from error
    if declared < 1 or not frame_time > 0:
        raise ValueError(
            f"{path}: MOTION: expected Frames >= 1 and Frame Time > 0 s, found {declared} and {frame_time}; correct them"
        )
    if numbers.size != declared * width:
        raise ValueError(
            f"{path}: MOTION: expected {declared} frames of {width} channels = {declared * width} numbers, found {numbers.size}; "
            "the file is truncated or its header is wrong: export it again"
        )
    values = numbers.reshape(declared, width)
    if not np.all(np.isfinite(values)):
        first = int(np.argmax(~np.all(np.isfinite(values), axis=1)))
        raise ValueError(
            f"{path}: MOTION: expected finite numbers, found NaN or infinity in frame {first}; repair or cut such frames"
        )
    return values, frame_time


def _beginning(text: str) -> str:
    return "an empty file" if not text.strip() else repr(text.strip()[:40])
