"""Mass, centre of mass and inertia of the 24 bodies.

Adults (from 1.55 m): segment masses, and centres and radii of gyration of the four long limb segments, from de Leva
(`dataset.body.segment_parameters`); the split of trunk, head, hand and foot among their bodies, and the centre and inertia of
those, from the body's own mesh cut by planes through its joints, at the uniform density that gives the segment its mass.
Children (below 1.5 m; de Leva measured none): everything from the mesh at uniform density. Between, the two are blended
linearly in height. Cut planes: horizontal through the trunk joints and the neck; thigh by the plane through the hip centre
inclined 37° to the sagittal plane (Zatsiorsky's); arm by the sagittal plane through the shoulder; knee, ankle, elbow, wrist,
toes and fingers by planes through the joint normal to the limb; head by a plane through the skull base falling 45° to the front.

Why not mesh volume for adults: at uniform density it makes the upper arm up to 25 % too heavy and the male thigh 16 % too
light, because lungs and fat are not water.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dataset.body.mesh_cuts import Moments, Plane, clip, cut_moments
from dataset.body.segment_parameters import mass_fractions, segment_parameters
from dataset.skeleton import BODY_INDEX, MIRROR_BODY, MIRROR_VECTOR, NUM_BODIES

SEGMENT_BODIES: Final[dict[str, tuple[str, ...]]] = {
    "trunk": ("Pelvis", "Torso", "Spine", "Chest", "L_Thorax", "R_Thorax"), "head": ("Neck", "Head"),
    "upper_arm": ("L_Shoulder",), "forearm": ("L_Elbow",), "hand": ("L_Wrist", "L_Hand"),
    "thigh": ("L_Hip",), "shank": ("L_Knee",), "foot": ("L_Ankle", "L_Toe"),
}  # fmt: skip
"""Bodies that make up a segment (left side of the paired ones)."""

_LONG_SEGMENTS: Final[dict[str, tuple[str, str, int]]] = {
    "thigh": ("L_Hip", "L_Knee", 2), "shank": ("L_Knee", "L_Ankle", 2), "upper_arm": ("L_Shoulder", "L_Elbow", 1),
    "forearm": ("L_Elbow", "L_Wrist", 1),
}  # fmt: skip
"""Segment -> (body, next joint, long axis in the rest pose)."""

THIGH_CUT_ANGLE: Final[float] = np.deg2rad(37.0)
"""Angle of the plane between thigh and trunk to the sagittal plane."""

CHILD_BELOW: Final[float] = 1.50
ADULT_FROM: Final[float] = 1.55
"""Heights [m] between which mesh and de Leva parameters are blended."""


def body_inertia(
    pieces: list[Moments], joint_pos: np.ndarray, sex: float, height: float, mass: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masses (N,) [kg], centres from the own joint (N, 3) [m], inertias about them (N, 3, 3) [kg·m²], body frames.

    Args:
        pieces: Moments of each body's piece of the mesh (`cut_bodies`), length N.
        joint_pos: Joint centres in the rest pose [m], shape (N, 3).
        sex: 0 male … 1 female.
        height: Standing height [m].
        mass: Body mass [kg]; the returned masses sum to it.

    Raises:
        ValueError: If the cuts give a body no volume (the mesh is not closed or not in the rest pose).
    """
    volumes = np.array([piece.volume for piece in pieces])
    if not (volumes > 0.0).all():
        empty = int(np.argmin(volumes))
        raise ValueError(f"body_inertia: expected every body to have volume, body {empty} has {volumes[empty]:.2e} m³")
    centers = np.stack([piece.center for piece in pieces]) - joint_pos
    per_mass = np.stack([piece.inertia_per_mass for piece in pieces])

    adult = float(np.clip((height - CHILD_BELOW) / (ADULT_FROM - CHILD_BELOW), 0.0, 1.0))
    mesh_mass = volumes / volumes.sum() * mass
    fractions = mass_fractions(sex)
    table_mass = np.zeros(NUM_BODIES)
    for segment, names in SEGMENT_BODIES.items():
        bodies = [BODY_INDEX[name] for name in names]
        for side in (bodies, [MIRROR_BODY[body] for body in bodies]):
            table_mass[side] = volumes[side] / volumes[side].sum() * fractions[segment] * mass
    table_center, table_per_mass = centers.copy(), per_mass.copy()
    for segment, (name, end, axis) in _LONG_SEGMENTS.items():
        body = BODY_INDEX[name]
        along = joint_pos[BODY_INDEX[end]] - joint_pos[body]
        parameters = segment_parameters(segment, sex)
        sagittal, transverse, longitudinal = (np.array(parameters.radii) * np.linalg.norm(along)) ** 2
        about = np.diag([sagittal, transverse, longitudinal] if axis == 2 else [sagittal, longitudinal, transverse])
        table_center[body], table_per_mass[body] = parameters.center * along, about
        table_center[MIRROR_BODY[body]], table_per_mass[MIRROR_BODY[body]] = (
            parameters.center * along * MIRROR_VECTOR,
            about,
        )
    masses = (1.0 - adult) * mesh_mass + adult * table_mass
    centers = (1.0 - adult) * centers + adult * table_center
    per_mass = (1.0 - adult) * per_mass + adult * table_per_mass
    return masses * (mass / masses.sum()), centers, per_mass * masses[:, None, None]


def cut_bodies(vertices: np.ndarray, faces: np.ndarray, joint_pos: np.ndarray) -> list[Moments]:
    """Moments of the 24 pieces of a mirror-symmetric mesh in the rest pose, length N; their volumes add up to the mesh's.

    Only the left half is cut; right pieces are mirror images, middle pieces twice the half.
    """

    def joint(name: str) -> np.ndarray:
        return joint_pos[BODY_INDEX[name]]

    middle: Plane = (np.array([0.0, 1.0, 0.0]), np.zeros(3))
    half = clip(vertices[faces], middle)
    upper, lower = (clip(half, (np.array([0.0, 0.0, sign]), joint("Spine"))) for sign in (1.0, -1.0))

    def above(point: np.ndarray) -> Plane:
        return np.array([0.0, 0.0, 1.0]), point

    def below(point: np.ndarray) -> Plane:
        return np.array([0.0, 0.0, -1.0]), point

    def left_of(point: np.ndarray) -> Plane:
        return np.array([0.0, 1.0, 0.0]), point

    # Nested solids, each with everything distal to its cut.
    from_torso = cut_moments(half, above(joint("Torso")), touching=(middle,))
    from_spine = cut_moments(half, above(joint("Spine")), touching=(middle,))
    from_chest = cut_moments(upper, above(joint("Chest")), touching=(middle,))
    from_neck = cut_moments(upper, above(joint("Neck")), touching=(middle,))
    head = cut_moments(upper, above(joint("Neck")), (np.array([1.0, 0.0, 1.0]), joint("Head")), touching=(middle,))

    thigh_plane: Plane = (np.array([0.0, np.cos(THIGH_CUT_ANGLE), -np.sin(THIGH_CUT_ANGLE)]), joint("L_Hip"))
    leg = cut_moments(lower, thigh_plane, touching=(middle,))
    leg_in_torso = cut_moments(lower, thigh_plane, above(joint("Torso")))
    from_knee = cut_moments(lower, below(joint("L_Knee")), touching=(middle,))
    foot = cut_moments(lower, below(joint("L_Ankle")), touching=(middle,))
    toe = cut_moments(lower, below(joint("L_Ankle")), (np.array([1.0, 0.0, 0.0]), joint("L_Toe")))

    shoulder = joint("L_Shoulder")
    armpit = shoulder - np.array([0.0, 0.0, 0.5 * (joint("L_Elbow")[1] - shoulder[1])])
    arm = cut_moments(upper, left_of(shoulder), above(armpit))
    arm_in_chest = cut_moments(upper, left_of(shoulder), above(joint("Chest")))
    from_elbow, from_wrist, fingers = (
        cut_moments(upper, left_of(joint(name))) for name in ("L_Elbow", "L_Wrist", "L_Hand")
    )
    # Shoulder girdle: outside the middle of the collar bone, above the middle between chest joint and collar bone.
    girdle = 0.5 * (joint("L_Thorax") + np.array([0.0, shoulder[1], joint("Chest")[2]]))
    thorax = cut_moments(upper, left_of(girdle), above(girdle)) - cut_moments(upper, left_of(shoulder), above(girdle))

    left = {
        "Pelvis": cut_moments(half, touching=(middle,)) - from_torso - (leg - leg_in_torso),
        "Torso": from_torso - from_spine - leg_in_torso,
        "Spine": from_spine - from_chest - (arm - arm_in_chest),
        "Chest": from_chest - from_neck - arm_in_chest - thorax,
        "Neck": from_neck - head, "Head": head, "L_Thorax": thorax,
        "L_Hip": leg - from_knee, "L_Knee": from_knee - foot, "L_Ankle": foot - toe, "L_Toe": toe,
        "L_Shoulder": arm - from_elbow, "L_Elbow": from_elbow - from_wrist, "L_Wrist": from_wrist - fingers, "L_Hand": fingers,
    }  # fmt: skip
    pieces: list[Moments] = [Moments(0.0, np.zeros(3), np.zeros((3, 3)))] * NUM_BODIES
    for name, piece in left.items():
        body = BODY_INDEX[name]
        if MIRROR_BODY[body] == body:
            pieces[body] = piece + piece.mirrored()
        else:
            pieces[body], pieces[MIRROR_BODY[body]] = piece, piece.mirrored()
    return pieces
