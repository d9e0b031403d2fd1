"""Acclaim ASF skeletons: text in, bones with directions, lengths, local axes and degrees of freedom out.

`axis` angles are turns about the fixed x, y, z axes in the order that its letters name. Lengths in an ASF are divided by
the unit `length` to give inches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataset import rotation

AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
"""Unit vectors of the letters."""


@dataclass(kw_only=True)
class AcclaimSkeleton:
    """Content of an ASF file: bones by name, the root first, each after its parent."""

    length_unit: float
    """What lengths and positions are divided by."""
    is_degrees: bool
    """Whether angles are degrees, else radians."""
    root_position: np.ndarray
    """Root position in the rest pose, divided by the unit, shape (3,)."""
    names: list[str] = field(default_factory=lambda: ["root"])
    """Bone names."""
    parents: dict[str, str] = field(default_factory=dict)
    """Bone -> parent bone."""
    direction: dict[str, np.ndarray] = field(default_factory=lambda: {"root": np.zeros(3)})
    """Unit vector from a bone's start to its end in the rest pose, file axes, shape (3,)."""
    length: dict[str, float] = field(default_factory=lambda: {"root": 0.0})
    """Bone length, not yet divided by the unit."""
    axis: dict[str, np.ndarray] = field(default_factory=lambda: {"root": rotation.IDENTITY})
    """Bone's local axes to file axes in the rest pose, quaternion."""
    dof: dict[str, list[str]] = field(default_factory=lambda: {"root": ["tx", "ty", "tz", "rx", "ry", "rz"]})
    """What the numbers of an AMC line are, in order; empty for a rigid bone."""


@dataclass(kw_only=True)
class _Sections:
    """Words of the sections that matter."""

    units: dict[str, list[str]] = field(default_factory=dict)
    root: dict[str, list[str]] = field(default_factory=dict)
    bones: list[dict[str, list[str]]] = field(default_factory=list)
    parents: dict[str, str] = field(default_factory=dict)


def parse_asf(path: str | Path) -> AcclaimSkeleton:
    """The skeleton of an ASF file.

    Raises:
        ValueError: If it is no ASF file, an entry cannot be read, or a bone does not lead to the root.
    """
    sections = _read_sections(path)
    if not sections.bones or not sections.parents:
        raise ValueError(
            f"{path}: expected sections :bonedata and :hierarchy, found {len(sections.bones)} bones; is it an ASF file?"
        )
    try:
        length_unit = float(sections.units.get("length", ["1"])[0])
        is_degrees = sections.units.get("angle", ["deg"])[0].lower().startswith("deg")
        position = np.array(sections.root.get("position", ["0", "0", "0"])[:3], dtype=np.float64)
        orientation = np.array(sections.root.get("orientation", ["0", "0", "0"])[:3], dtype=np.float64)
        bones = {item["name"][0]: item for item in sections.bones}
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"{path}: units, root or bone names: expected numbers and names, found {error!r}; copy it again"
        ) from error
    if not length_unit > 0:
        raise ValueError(f"{path}: units: length: expected a positive number, found {length_unit}; correct it")
    scale = np.pi / 180 if is_degrees else 1.0
    skeleton = AcclaimSkeleton(length_unit=length_unit, is_degrees=is_degrees, root_position=position / length_unit)
    skeleton.parents = sections.parents
    skeleton.axis["root"] = _fixed_axis_turns(orientation * scale, sections.root.get("axis", ["xyz"])[0].lower())
    if "order" in sections.root:
        skeleton.dof["root"] = [word.lower() for word in sections.root["order"]]
    pending = [name for name in sections.parents if name in bones]
    while pending:
        ready = [name for name in pending if sections.parents[name] in skeleton.names]
        if not ready:
            raise ValueError(
                f"{path}: hierarchy: expected bones that lead to the root, found {', '.join(pending)} apart; "
                "copy the file again"
            )
        for name in ready:
            _add_bone(skeleton, name, bones[name], scale, path)
        pending = [name for name in pending if name not in ready]
    return skeleton


def _read_sections(path: str | Path) -> _Sections:
    sections = _Sections()
    section, bone, last_key = "", {}, ""
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        first, rest = words[0], words[1:]
        if first.startswith(":"):
            section = first[1:].lower()
        elif section == "units":
            sections.units[first.lower()] = rest
        elif section == "root":
            sections.root[first.lower()] = rest
        elif section == "hierarchy" and first not in ("begin", "end"):
            sections.parents.update(dict.fromkeys(rest, first))
        elif section == "bonedata" and first == "begin":
            bone = {}
        elif section == "bonedata" and first == "end":
            sections.bones.append(bone)
        elif section == "bonedata" and first.startswith("("):
            bone[last_key] = bone.get(last_key, []) + words  # limits run over several lines
        elif section == "bonedata":
            last_key = first
            bone[last_key] = rest
    return sections


def _add_bone(skeleton: AcclaimSkeleton, name: str, item: dict[str, list[str]], scale: float, path: str | Path) -> None:
    try:
        direction = np.array([float(word) for word in item["direction"][:3]])
        angles = np.array([float(word) for word in item["axis"][:3]]) * scale
        length = float(item["length"][0])
        axis = _fixed_axis_turns(angles, item["axis"][3].lower())
    except (KeyError, ValueError, IndexError) as error:
        expected = "direction, length and axis with their order"
        raise ValueError(f"{path}: bone {name}: expected {expected}, found {item}; copy it again") from error
    skeleton.names.append(name)
    skeleton.direction[name] = direction / max(float(np.linalg.norm(direction)), 1e-9)
    skeleton.length[name] = length
    skeleton.axis[name] = axis
    skeleton.dof[name] = [word.lower() for word in item.get("dof", [])]


def _fixed_axis_turns(angles: np.ndarray, order: str) -> np.ndarray:
    """Turns about the fixed x, y, z axes by `angles` (given in the order of the letters), first letter first."""
    quat = rotation.IDENTITY
    for letter, angle in zip(order, angles):
        quat = rotation.multiply(rotation.from_axis_angle(AXES[letter], angle), quat)
    return quat
