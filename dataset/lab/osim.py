"""OpenSim models (`.osim`, format 4): bodies, joints and where the bodies are for given coordinates.

Only what rigid kinematics and dynamics need is read: masses, joint frames, coordinates and markers. Muscles, geometry and
constraints are not (a coupled coordinate is taken from the storage, or stays at its default).

Axis legend: T frames, C coordinates.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from dataset.lab.axes import UP_ROTATION
from dataset.lab.opensim import Storage
from dataset.lab.osim_functions import Function, read_function
from dataset.user_paths import require_file

_OLDEST = 40000
_PIN_AXES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "PinJoint": ((0.0, 0.0, 1.0),),
    "UniversalJoint": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "WeldJoint": (),
}


@dataclass(frozen=True, kw_only=True)
class OsimBody:
    """Inertia of one body in its own frame (OpenSim axes)."""

    mass: float
    """Mass [kg]."""
    com: np.ndarray
    """Centre of mass [m], shape (3,)."""
    inertia: np.ndarray
    """Inertia about the centre of mass [kg·m²], shape (3, 3)."""


@dataclass(frozen=True, kw_only=True)
class OsimAxis:
    """One of the turns or shifts that a joint chains together."""

    direction: np.ndarray
    """Unit vector in the joint's parent frame (turns: after the turns before it), shape (3,)."""
    coordinate: str
    """Coordinate that drives it; empty for none."""
    function: Function
    """Angle [rad] or shift [m] of the coordinate's value."""


@dataclass(frozen=True, kw_only=True)
class OsimJoint:
    """A joint between two bodies."""

    name: str
    """Name in the model."""
    parent: str
    """Parent body, `ground` for the root."""
    child: str
    """Child body."""
    parent_frame: np.ndarray
    """Joint frame in the parent body, homogeneous, shape (4, 4)."""
    child_frame: np.ndarray
    """Joint frame in the child body, homogeneous, shape (4, 4)."""
    turns: tuple[OsimAxis, ...]
    """Rotations, each about an axis carried along by those before it."""
    shifts: tuple[OsimAxis, ...]
    """Translations in the joint's parent frame."""


@dataclass(frozen=True, kw_only=True)
class OsimModel:
    """A multibody model in OpenSim axes (x forward, y up, z right)."""

    path: str
    """File it was read from."""
    bodies: Mapping[str, OsimBody]
    """Bodies by name."""
    joints: tuple[OsimJoint, ...]
    """Joints, every parent before its children."""
    defaults: Mapping[str, float]
    """Default value of every coordinate [rad or m]."""
    markers: Mapping[str, tuple[str, np.ndarray]]
    """Marker name -> body and position in it [m]."""

    @property
    def mass(self) -> float:
        """Sum of the bodies' masses [kg]."""
        return sum(body.mass for body in self.bodies.values())

    def is_rotational(self, coordinate: str) -> bool:
        """True if the coordinate is an angle: it drives a turn of some joint."""
        return any(turn.coordinate == coordinate for joint in self.joints for turn in joint.turns)


def read_osim(path: str | os.PathLike[str]) -> OsimModel:
    """Read the rigid bodies, joints and markers of an OpenSim 4 model.

    Raises:
        ValueError: no XML, no OpenSim 4 model, a joint type or function that is not supported, bodies that no chain of
            joints connects to the ground.
        FileNotFoundError: no such file.
    """
    source = Path(path)
    require_file(source, "an OpenSim model")
    try:
        root = ElementTree.parse(source).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{source}: expected an OpenSim model in XML, found: {error}; save the model again") from None
    model, version = root.find("Model"), root.get("Version", "0")
    if model is None or not version.isdigit() or int(version) < _OLDEST:
        raise ValueError(
            f"{source}: expected <OpenSimDocument Version='{_OLDEST}'> or newer with a <Model>, found version {version}; open "
            "the model in OpenSim 4 and save it"
        )
    bodies = {
        element.get("name", ""): OsimBody(
            mass=float(element.findtext("mass", "0")),
            com=_vector(element.findtext("mass_center", "0 0 0")),
            inertia=_inertia(element.findtext("inertia", "0 0 0 0 0 0")),
        )
        for element in model.findall("BodySet/objects/Body")
    }
    defaults: dict[str, float] = {}
    joints = [_read_joint(str(source), element, defaults) for element in model.findall("JointSet/objects/*")]
    markers = {
        element.get("name", ""): (
            _last(element.findtext("socket_parent_frame", "")),
            _vector(element.findtext("location", "0 0 0")),
        )
        for element in model.findall("MarkerSet/objects/Marker")
    }
    return OsimModel(
        path=str(source),
        bodies=bodies,
        joints=_sorted(str(source), joints, set(bodies)),
        defaults=defaults,
        markers=markers,
    )


def coordinate_values(model: OsimModel, storage: Storage) -> dict[str, np.ndarray]:
    """Coordinates of a model [rad or m] over a storage's rows, each shape (T,).

    Columns may be plain names or paths (`/jointset/hip_r/hip_flexion_r/value`); angles in degrees are converted where the
    header says so. Coordinates without a column stay at their default.

    Raises:
        ValueError: none of the columns is a coordinate of the model, or a coordinate of the pelvis, hips, knees or ankles
            has no column.
    """
    columns: dict[str, np.ndarray] = {}
    for index, label in enumerate(storage.labels):
        match = re.match(r"^(?:.*/)?([^/]+)/(value|speed)$", label)
        name = match[1] if match else label
        if name in model.defaults and not (match and match[2] == "speed"):
            values = storage.values[:, index]
            columns[name] = np.deg2rad(values) if storage.in_degrees and model.is_rotational(name) else values
    needed = [name for name in model.defaults if name.startswith(("pelvis_", "hip_", "knee_angle", "ankle_angle"))]
    missing = [name for name in needed if name not in columns and not name.endswith("_beta")]
    if missing or not columns:
        raise ValueError(
            f"{storage.path}: columns: expected the coordinates of {model.path}, missing {', '.join(missing) or 'all of them'}; "
            "give the inverse kinematics of this model"
        )
    full = {name: np.full(len(storage.time), value) for name, value in model.defaults.items()}
    full.update(columns)
    return full


def body_frames(model: OsimModel, coordinates: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Where every body is, in the world (z up).

    Args:
        model: The model.
        coordinates: Value of every coordinate [rad or m], each shape (T,).

    Returns:
        Body name -> orientation `rot_wb` (T, 3, 3), from the body's OpenSim axes to the world, and origin [m] (T, 3).
    """
    frames_count = len(next(iter(coordinates.values())))
    up = np.eye(4)
    up[:3, :3] = UP_ROTATION["y"]
    placed = {"ground": np.broadcast_to(up, (frames_count, 4, 4))}
    for joint in model.joints:
        motion = np.broadcast_to(np.eye(4), (frames_count, 4, 4)).copy()
        for turn in joint.turns:
            motion[:, :3, :3] = motion[:, :3, :3] @ _rotation(turn.direction, _value(turn, coordinates, frames_count))
        for shift in joint.shifts:
            motion[:, :3, 3] += _value(shift, coordinates, frames_count)[:, None] * shift.direction
        placed[joint.child] = placed[joint.parent] @ joint.parent_frame @ motion @ np.linalg.inv(joint.child_frame)
    return {name: (frame[:, :3, :3], frame[:, :3, 3]) for name, frame in placed.items() if name != "ground"}


def _value(axis: OsimAxis, coordinates: Mapping[str, np.ndarray], frames: int) -> np.ndarray:
    return axis.function(coordinates[axis.coordinate] if axis.coordinate else np.zeros(frames))


def _rotation(axis: np.ndarray, angle_T: np.ndarray) -> np.ndarray:
    """Rodrigues' formula, shape (T, 3, 3)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sine, cosine = np.sin(angle_T)[:, None, None], np.cos(angle_T)[:, None, None]
    return np.eye(3) + sine * cross + (1.0 - cosine) * (cross @ cross)


def _read_joint(path: str, element: Element, defaults: dict[str, float]) -> OsimJoint:
    name = element.get("name", "")
    coordinates = [item.get("name", "") for item in element.findall("coordinates/Coordinate")]
    for item in element.findall("coordinates/Coordinate"):
        defaults[item.get("name", "")] = float(item.findtext("default_value", "0"))
    frames = {item.get("name", ""): item for item in element.findall("frames/PhysicalOffsetFrame")}
    placed = []
    for side in ("parent", "child"):
        frame = _last(element.findtext(f"socket_{side}_frame", ""))
        offset = np.eye(4)
        if frame in frames:
            offset[:3, :3] = _xyz_rotation(_vector(frames[frame].findtext("orientation", "0 0 0")))
            offset[:3, 3] = _vector(frames[frame].findtext("translation", "0 0 0"))
            frame = _last(frames[frame].findtext("socket_parent", ""))
        placed.append((frame, offset))
    turns, shifts = _axes(path, element, name, coordinates)
    return OsimJoint(
        name=name, parent=placed[0][0], child=placed[1][0], parent_frame=placed[0][1], child_frame=placed[1][1],
        turns=turns, shifts=shifts,
    )  # fmt: skip


def _axes(
    path: str, element: Element, name: str, coordinates: list[str]
) -> tuple[tuple[OsimAxis, ...], tuple[OsimAxis, ...]]:
    """Turns and shifts of a joint."""
    if element.tag in _PIN_AXES:
        axes = _PIN_AXES[element.tag]
        if len(axes) != len(coordinates):
            raise ValueError(f"{path}: joint '{name}': expected {len(axes)} coordinates, found {len(coordinates)}")
        same = tuple(
            OsimAxis(direction=np.array(axis), coordinate=coordinate, function=lambda x: np.asarray(x, dtype=float))
            for axis, coordinate in zip(axes, coordinates)
        )
        return same, ()
    transform = element.find("SpatialTransform")
    if element.tag != "CustomJoint" or transform is None:
        raise ValueError(
            f"{path}: joint '{name}': expected CustomJoint, PinJoint, UniversalJoint or WeldJoint, found {element.tag}; "
            "replace it by a CustomJoint"
        )
    found: dict[str, list[OsimAxis]] = {"rotation": [], "translation": []}
    for axis in transform.findall("TransformAxis"):
        functions = [child for child in axis if child.tag not in ("axis", "coordinates", "function")]
        wrapped = axis.find("function")
        functions += list(wrapped) if wrapped is not None else []
        if not functions:
            continue
        direction = _vector(axis.findtext("axis", ""))
        found[(axis.get("name") or "").rstrip("123")].append(
            OsimAxis(
                direction=direction / np.linalg.norm(direction),
                coordinate=(axis.findtext("coordinates") or "").strip(),
                function=read_function(path, functions[0]),
            )
        )
    return tuple(found["rotation"]), tuple(found["translation"])


def _sorted(path: str, joints: list[OsimJoint], bodies: set[str]) -> tuple[OsimJoint, ...]:
    """Joints with every parent before its children."""
    placed, left, order = {"ground"}, list(joints), []
    while ready := [joint for joint in left if joint.parent in placed]:
        order += ready
        placed |= {joint.child for joint in ready}
        left = [joint for joint in left if joint not in ready]
    lost = sorted(bodies - placed)
    if lost or left:
        raise ValueError(
            f"{path}: joints: expected a chain from the ground to every body, found none for {', '.join(lost) or 'a joint'}; "
            "repair the model in OpenSim"
        )
    return tuple(order)


def _last(name: str) -> str:
    return name.strip().rsplit("/", 1)[-1]


def _vector(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])


def _inertia(text: str) -> np.ndarray:
    xx, yy, zz, xy, xz, yz = _vector(text)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _xyz_rotation(angles: np.ndarray) -> np.ndarray:
    """Body-fixed turns about x, y, z, shape (3, 3)."""
    turn = np.eye(3)
    for axis, angle in zip(np.eye(3), angles):
        turn = turn @ _rotation(axis, np.array([angle]))[0]
    return turn
