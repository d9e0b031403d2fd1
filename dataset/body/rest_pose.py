"""Straighten the default mesh from its hanging arms to our rest pose, and find its joint centres.

Rest pose: facing +x, thighs and shanks vertical, feet flat with heel to second toe along +x, arms along ±y with the palms
down and the elbow's hinge vertical, trunk and head as the mesh stands; floor z = 0, pelvis joint at x = y = 0. Only the left
half is posed; the right half is its mirror image.

Axis legend: H left-half vertices, R rig points, N = 24 bodies.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np

from dataset.body.landmarks import JOINT_MIDPOINTS, LANDMARKS, hip_centre
from dataset.body.shape_space import RIG_POINT_NAMES, ShapeSpace, load_shape_space
from dataset.skeleton import BODY_INDEX, MIRROR_BODY, MIRROR_VECTOR, NUM_BODIES, PARENTS

_CARRIER_OF_RIG_POINT: Final[dict[str, str]] = {
    "L_Wrist": "L_Elbow", "L_Hand": "L_Wrist", "index_knuckle": "L_Wrist", "little_knuckle": "L_Wrist", "L_Toe": "L_Ankle",
}  # fmt: skip
"""Body that carries a rig point when it moves; the trunk's points do not move."""

_PASSES: Final[int] = 2
"""The first pass turns limbs by up to 50°, which shifts the skin landmarks that define the joints by millimetres; the second
turns the remaining fraction of a degree."""


def joint_centres(
    space: ShapeSpace, half: np.ndarray, rig: np.ndarray, hip_from_pelvis: np.ndarray | None = None
) -> np.ndarray:
    """Joint centres of a left half mesh [m], shape (N, 3), mirror-symmetric.

    Hip by regression on the pelvis spines, knee, ankle and elbow midway between landmarks, the others from the rig.

    Args:
        space: Shape space of the mesh.
        half: Left-half vertices [m], shape (H, 3).
        rig: Rig points [m], shape (R, 3).
        hip_from_pelvis: Left hip centre from the pelvis joint [m], shape (3,), where it is known from elsewhere.
    """

    def landmark(name: str) -> np.ndarray:
        return half[_half_index(space, name)]

    centres = np.zeros((NUM_BODIES, 3))
    for name, point in zip(RIG_POINT_NAMES, rig):
        if name in BODY_INDEX:
            centres[BODY_INDEX[name]] = point
            if not name.startswith("L_"):
                centres[BODY_INDEX[name], 1] = 0.0
    for name, pair in JOINT_MIDPOINTS.items():
        centres[BODY_INDEX[name]] = 0.5 * (landmark(pair[0]) + landmark(pair[1]))
    if hip_from_pelvis is None:
        centres[BODY_INDEX["L_Hip"]] = hip_centre(landmark("LASI"), landmark("LPSI"))
    else:
        centres[BODY_INDEX["L_Hip"]] = centres[BODY_INDEX["Pelvis"]] + hip_from_pelvis
    for body in range(NUM_BODIES):
        if MIRROR_BODY[body] > body:
            centres[MIRROR_BODY[body]] = centres[body] * MIRROR_VECTOR
    return centres


@dataclass(frozen=True, kw_only=True)
class RestPose:
    """A left half mesh in the rest pose, and how its bones got there."""

    half: np.ndarray
    """Left-half vertices [m], shape (H, 3); floor z = 0, pelvis at x = y = 0."""
    joint_pos: np.ndarray
    """Joint centres [m], shape (N, 3)."""
    rotation: np.ndarray
    """Rotation of each body from hanging arms to the rest pose, shape (N, 3, 3)."""
    translation: np.ndarray
    """Its translation [m], shape (N, 3): a point x on the bone went to rotation · x + translation."""

    def scaled(self, scale: float) -> RestPose:
        """The same body, larger by a factor; still maps the unscaled mesh with hanging arms."""
        return RestPose(
            half=self.half * scale,
            joint_pos=self.joint_pos * scale,
            rotation=self.rotation * scale,
            translation=self.translation * scale,
        )


def straightened(space: ShapeSpace, points: np.ndarray, hip_from_pelvis: np.ndarray | None = None) -> RestPose:
    """The rest pose of a left half with hanging arms.

    Args:
        space: Shape space of the mesh.
        points: Left-half vertices and rig points with hanging arms [m], shape (H + R, 3) (`ShapeSpace.points`).
        hip_from_pelvis: See `joint_centres`.
    """
    half, rig = points[: len(space.left_vertex)], points[len(space.left_vertex) :]
    rotation, translation = np.tile(np.eye(3), (NUM_BODIES, 1, 1)), np.zeros((NUM_BODIES, 3))
    for _ in range(_PASSES):
        centres = joint_centres(space, half, rig, hip_from_pelvis)
        turn, shift = _limb_transforms(space, half, rig, centres)
        blended = space.half_weights @ np.concatenate([turn.reshape(NUM_BODIES, 9), shift], axis=1)
        half = np.einsum("hij,hj->hi", blended[:, :9].reshape(-1, 3, 3), half) + blended[:, 9:]
        moved = rig.copy()
        for row, name in enumerate(RIG_POINT_NAMES):
            if name in _CARRIER_OF_RIG_POINT:
                body = BODY_INDEX[_CARRIER_OF_RIG_POINT[name]]
                moved[row] = turn[body] @ rig[row] + shift[body]
        rig = moved
        rotation = turn @ rotation
        translation = np.einsum("nij,nj->ni", turn, translation) + shift
    half[space.left_vertex == space.right_vertex, 1] = 0.0
    centres = joint_centres(space, half, rig, hip_from_pelvis)
    origin = np.array([centres[0, 0], 0.0, half[:, 2].min()])
    return RestPose(half=half - origin, joint_pos=centres - origin, rotation=rotation, translation=translation - origin)


def carried_landmarks(space: ShapeSpace, hanging: np.ndarray, rest: RestPose) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks as laboratories place them: on the skin with hanging arms, then carried rigidly by their bone.

    Raising the arms slides the skin over the bone: the vertex on the acromion moves 30 mm towards the neck.

    Args:
        space: Shape space of the mesh.
        hanging: Left-half vertices with hanging arms [m], shape (>= H, 3).
        rest: The rest pose of that mesh.

    Returns:
        Positions in the rest pose [m] and outward unit normals of the skin, both shape (L, 3), in the order of `LANDMARKS`.
    """
    skin = space.full_vertices(hanging[: len(space.left_vertex)])
    vertices = np.array([vertex for vertex, _ in LANDMARKS.values()])
    bodies = np.array([BODY_INDEX[body] for _, body in LANDMARKS.values()])
    normal = _normals_at(skin, space.faces, vertices)
    position = np.einsum("lij,lj->li", rest.rotation[bodies], skin[vertices]) + rest.translation[bodies]
    turned = np.einsum("lij,lj->li", rest.rotation[bodies], normal)
    return position, turned / np.linalg.norm(turned, axis=1, keepdims=True)


@functools.cache
def landmark_space() -> ShapeSpace:
    """The shape space on the vertices that landmarks, joint centres and height depend on: thirty times fewer."""
    space = load_shape_space()
    rows, _ = _faces_around(len(LANDMARKS))
    used = np.isin(space.left_vertex, space.faces[rows]) | np.isin(space.right_vertex, space.faces[rows])
    height = space.mean[: len(space.left_vertex), 2]
    return space.restricted(np.flatnonzero(used | (height < height.min() + 0.02) | (height > height.max() - 0.02)))


@functools.cache
def _faces_around(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles that touch a landmark, and the landmark of each: rows of the default topology's faces."""
    faces = load_shape_space().faces
    vertices = np.array([vertex for vertex, _ in LANDMARKS.values()])
    owner = np.full(load_shape_space().num_vertices, -1)
    owner[vertices] = np.arange(count)
    rows, corner = np.nonzero(owner[faces] >= 0)
    return rows, owner[faces][rows, corner]


def _normals_at(skin: np.ndarray, faces: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    rows, owner = _faces_around(len(vertices))
    corner = skin[faces[rows]]
    normal = np.zeros((len(vertices), 3))
    np.add.at(normal, owner, np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]))
    return normal


def _half_index(space: ShapeSpace, landmark: str) -> int:
    """Row of a left or midline landmark in the left half."""
    return int(np.searchsorted(space.left_vertex, LANDMARKS[landmark][0]))


def _limb_transforms(
    space: ShapeSpace, half: np.ndarray, rig: np.ndarray, centres: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (N, 3, 3) and translations (N, 3) that straighten the limbs about their joints."""

    def at(name: str) -> np.ndarray:
        return centres[BODY_INDEX[name]]

    def knuckle(name: str) -> np.ndarray:
        return rig[RIG_POINT_NAMES.index(name)]

    down, left, forward = np.array([0.0, 0.0, -1.0]), np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])
    thigh, shank = at("L_Knee") - at("L_Hip"), at("L_Ankle") - at("L_Knee")
    foot = half[_half_index(space, "LTOE")] - half[_half_index(space, "LHEE")]
    upper, fore, hand = at("L_Elbow") - at("L_Shoulder"), at("L_Wrist") - at("L_Elbow"), at("L_Hand") - at("L_Wrist")
    palm = knuckle("index_knuckle") - knuckle("little_knuckle")
    hinge = _cross(upper, fore)
    if np.linalg.norm(hinge) < 0.05 * np.linalg.norm(upper) * np.linalg.norm(fore):
        hinge = down  # the arm is straight already: its hinge is vertical from the pass before

    local = {
        "L_Hip": _shortest_turn(thigh, down),
        "L_Knee": _shortest_turn(shank, down),
        "L_Ankle": _shortest_turn(np.array([foot[0], foot[1], 0.0]), forward),
        "L_Shoulder": _turn(upper, hinge, left, down),
        "L_Elbow": _turn(fore, hinge, left, down),
        "L_Wrist": _turn(hand, palm, left, forward),
    }
    local["L_Toe"], local["L_Hand"] = local["L_Ankle"], local["L_Wrist"]
    rotation = np.tile(np.eye(3), (NUM_BODIES, 1, 1))
    moved = centres.copy()
    for body in range(1, NUM_BODIES):
        parent = PARENTS[body]
        moved[body] = moved[parent] + rotation[parent] @ (centres[body] - centres[parent])
        for name, turn in local.items():
            if BODY_INDEX[name] == body:
                rotation[body] = turn
            elif MIRROR_BODY[BODY_INDEX[name]] == body:
                rotation[body] = turn * np.outer(MIRROR_VECTOR, MIRROR_VECTOR)
    return rotation, moved - np.einsum("nij,nj->ni", rotation, centres)


def _turn(along: np.ndarray, across: np.ndarray, to_along: np.ndarray, to_across: np.ndarray) -> np.ndarray:
    """Rotation taking `along` to `to_along` and the part of `across` normal to it to `to_across`, shape (3, 3)."""

    def frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        first = first / np.linalg.norm(first)
        third = _cross(first, second)
        third = third / np.linalg.norm(third)
        return np.stack([first, _cross(third, first), third], axis=1)

    return frame(to_along, to_across) @ frame(along, across).T


def _shortest_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Smallest rotation taking the direction of `start` to the unit vector `end`, shape (3, 3)."""
    start = start / np.linalg.norm(start)
    axis = _cross(start, end)
    cross = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    return np.eye(3) + cross + cross @ cross / (1.0 + start @ end)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product of two single vectors: numpy's own spends 50 µs on the general case."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
