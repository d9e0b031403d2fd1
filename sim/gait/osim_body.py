"""The gait model's body from a scaled OpenSim model: its masses and joint centres, lumped into eight segments.

Bodies are lumped at the model's zero coordinates: patella to the thigh that carries it, talus and toes to the foot, head and
arms to the trunk. The knee, which rolls and slides in OpenSim's model, becomes one hinge: the finite helical axis between
5 and 60 degrees of flexion.
"""

from __future__ import annotations

import numpy as np

from dataset.lab.osim import OsimModel, body_frames
from dataset.rotation import from_matrix, to_rotation_vector
from sim.gait.body import FOOT_BREADTH, GaitBody, Sole
from sim.gait.segments import NUM_SEGMENTS, PARENTS, SEGMENTS

ANCHORS = {
    "pelvis": "pelvis", "torso": "trunk", "femur_l": "l_thigh", "tibia_l": "l_shank", "talus_l": "l_foot",
    "femur_r": "r_thigh", "tibia_r": "r_shank", "talus_r": "r_foot",
}  # fmt: skip
"""OpenSim body that carries each segment and, with its descendants, is lumped into it."""
SEGMENT_BODY = {
    "pelvis": "pelvis", "trunk": "torso", "l_thigh": "femur_l", "l_shank": "tibia_l", "l_foot": "calcn_l",
    "r_thigh": "femur_r", "r_shank": "tibia_r", "r_foot": "calcn_r",
}  # fmt: skip
"""OpenSim body whose motion each segment follows."""
_FLEXED = (np.deg2rad(5.0), np.deg2rad(60.0))
_HEEL_BEHIND, _TOES_AHEAD, _GENERIC_MTP = 0.02, 0.06, 0.1788
"""Flesh behind the calcaneus' origin and toes beyond the metatarsal joint [m] of the unscaled model (Rajagopal et al. 2016),
whose metatarsal joint lies 0.1788 m before the calcaneus' origin: together 0.259 m, the foot of its 1.70 m (0.152 of the height:
Drillis & Contini 1966, in Winter, figure 4.1)."""


def lumped_bodies(model: OsimModel) -> dict[str, list[str]]:
    """OpenSim bodies of each segment.

    Raises:
        ValueError: a body that the segments need is missing.
    """
    needed = (*ANCHORS, "calcn_l", "calcn_r", "toes_l", "toes_r")
    missing = [name for name in needed if name not in model.bodies]
    if missing:
        raise ValueError(
            f"{model.path}: bodies: expected those of a Rajagopal model, missing {', '.join(missing)}; "
            "give a scaled model of that family"
        )
    parent = {joint.child: joint.parent for joint in model.joints}
    groups: dict[str, list[str]] = {segment: [] for segment in SEGMENTS}
    for name in model.bodies:
        at = name
        while at not in ANCHORS:
            at = parent[at]
        groups[ANCHORS[at]].append(name)
    return groups


def neutral_frames(model: OsimModel, **changed: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Orientation (3, 3) and origin (3,) of every body with all coordinates zero but those given."""
    values = {name: np.array([changed.get(name, 0.0)]) for name in model.defaults}
    return {name: (rot[0], pos[0]) for name, (rot, pos) in body_frames(model, values).items()}


def body_from_osim(model: OsimModel) -> GaitBody:
    """Lump an OpenSim model into the gait model's body.

    Args:
        model: Scaled model of the Rajagopal family.

    Returns:
        The body; its soles are flat under the calcaneus' origin until `sim.gait.soles` levels them on the data.

    Raises:
        ValueError: bodies or knee coordinates that the segments need are missing.
    """
    groups, frames = lumped_bodies(model), neutral_frames(model)
    hips = [frames[f"femur_{side}"][1] for side in "lr"]
    origin = {"pelvis": 0.5 * (hips[0] + hips[1]), "trunk": frames["torso"][1]}
    axes = np.empty((2, 3))
    for index, side in enumerate("lr"):
        knee, axes[index] = _knee_hinge(model, side)
        origin |= {f"{side}_thigh": hips[index], f"{side}_shank": knee, f"{side}_foot": frames[f"talus_{side}"][1]}
    mass, com = np.zeros(NUM_SEGMENTS), np.zeros((NUM_SEGMENTS, 3))
    inertia, joint_pos = np.zeros((NUM_SEGMENTS, 3, 3)), np.zeros((NUM_SEGMENTS, 3))
    for row, segment in enumerate(SEGMENTS):
        parts = [(model.bodies[name], *frames[name]) for name in groups[segment]]
        mass[row] = sum(part.mass for part, _, _ in parts)
        centers = [pos + rot @ part.com for part, rot, pos in parts]
        com[row] = sum(part.mass * center for (part, _, _), center in zip(parts, centers)) / mass[row]
        for (part, rot, _), center in zip(parts, centers):
            arm = center - com[row]
            inertia[row] += rot @ part.inertia @ rot.T + part.mass * (arm @ arm * np.eye(3) - np.outer(arm, arm))
        com[row] -= origin[segment]
        if row:
            joint_pos[row] = origin[segment] - origin[SEGMENTS[PARENTS[row]]]
    return GaitBody(
        name=model.path.rsplit("/", 1)[-1], joint_pos=joint_pos, mass=mass, com=com, inertia=inertia, knee_axes=axes,
        soles=(_sole(frames, "l"), _sole(frames, "r")),
        notes=(f"Masses, inertias and joint centres of {model.path.rsplit('/', 1)[-1]}, lumped at its zero coordinates.",),
    )  # fmt: skip


def _knee_hinge(model: OsimModel, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Point and unit axis of the knee's finite helical axis with all coordinates zero, world axes."""
    name = f"knee_angle_{side}"
    if name not in model.defaults:
        raise ValueError(
            f"{model.path}: coordinates: expected {name}, found none; give a model of the Rajagopal family"
        )
    poses = [neutral_frames(model, **{name: angle})[f"tibia_{side}"] for angle in _FLEXED]
    turn = poses[1][0] @ poses[0][0].T
    vector = to_rotation_vector(from_matrix(turn))
    angle = float(np.linalg.norm(vector))
    axis = vector / angle
    # The points that the screw only shifts along the axis: (I - R) p = d - (d·n) n, closest to the knee joint's own centre.
    shift = poses[1][1] - turn @ poses[0][1]
    shift -= (shift @ axis) * axis
    center = poses[0][1]
    point = np.linalg.lstsq(np.eye(3) - turn, shift, rcond=None)[0]
    point -= (point @ axis) * axis
    return point + (center @ axis) * axis, axis


def _sole(frames: dict[str, tuple[np.ndarray, np.ndarray]], side: str) -> Sole:
    ankle, heel = frames[f"talus_{side}"][1], frames[f"calcn_{side}"][1]
    ball = frames[f"toes_{side}"][1] - heel
    scale = ball[0] / _GENERIC_MTP
    length = ball[0] + (_HEEL_BEHIND + _TOES_AHEAD) * scale
    back = heel - ankle - np.array([_HEEL_BEHIND * scale, 0.0, 0.0])
    center = back + np.array([0.5 * length, 0.5 * ball[1], 0.0])
    return Sole(
        center=center, rot_fs=np.eye(3), half_length=0.5 * length, half_width=0.5 * FOOT_BREADTH * length,
        heel=-0.5 * length, foot_length=length,
    )  # fmt: skip
