"""Collision shapes: one primitive a body, fitted to the mesh; feet as two boxes with the sole exactly on the floor.

Capsules and spheres have the volume, the centre and the spread along their axis of the piece of mesh that the body owns
(`dataset.body.inertia.cut_bodies`). The foot boxes are what the ground feels in walking, so their sizes are explicit
(`FootBoxes`): measured on the sole of the mesh by default, replaceable by `with_foot`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

import numpy as np

from dataset.body.mesh_cuts import Moments
from dataset.body.model import BodyModel, CollisionShape
from dataset.skeleton import BODY_INDEX, BODY_NAMES, MIRROR_BODY, MIRROR_VECTOR

CAPSULE_AXIS: Final[dict[str, int]] = {
    "Pelvis": 1, "Torso": 1, "Spine": 1, "Chest": 1, "Neck": 2, "Head": 2, "L_Thorax": 1, "L_Shoulder": 1, "L_Elbow": 1,
    "L_Wrist": 1, "L_Hip": 2, "L_Knee": 2,
}  # fmt: skip
"""Axis of each body's capsule in the rest pose (1 = y, 2 = z); a piece shorter than a sphere becomes a sphere."""

SOLE_BAND: Final[float] = 0.012
"""Skin within this height of the floor [m, at 1.72 m] counts as sole: what touches when the heel pad is loaded."""


@dataclass(frozen=True, kw_only=True)
class FootBoxes:
    """Sizes of the left foot's two boxes [m]; the right foot mirrors them. Both stand on z = 0 in the rest pose."""

    heel_back: float
    """Back of the heel box behind the ankle joint."""
    toe_front: float
    """Front of the toe box before the toe joint."""
    inner: float
    """Medial edge of the heel box from the ankle joint, towards the other foot."""
    outer: float
    """Lateral edge of the heel box from the ankle joint."""
    toe_inner: float
    """Medial edge of the toe box from the toe joint."""
    toe_outer: float
    """Lateral edge of the toe box from the toe joint."""
    height: float
    """Height of the heel box above the floor."""
    toe_height: float
    """Height of the toe box above the floor."""


def measured_foot(vertices: np.ndarray, weights: np.ndarray, joint_pos: np.ndarray) -> FootBoxes:
    """Boxes that cover the sole of the left foot of a mesh in the rest pose (ankle to toe joint, toe joint to tip).

    Args:
        vertices: Skin [m], shape (V, 3).
        weights: Skinning weights, shape (V, N).
        joint_pos: Joint centres [m], shape (N, 3).
    """
    ankle, toe = joint_pos[BODY_INDEX["L_Ankle"]], joint_pos[BODY_INDEX["L_Toe"]]
    owner = weights.argmax(axis=1)
    foot = vertices[(owner == BODY_INDEX["L_Ankle"]) | (owner == BODY_INDEX["L_Toe"])]
    sole = foot[foot[:, 2] < SOLE_BAND * vertices[:, 2].max() / 1.72]
    rear, front = sole[sole[:, 0] <= toe[0]], sole[sole[:, 0] >= toe[0]]
    return FootBoxes(
        heel_back=float(ankle[0] - rear[:, 0].min()),
        toe_front=float(front[:, 0].max() - toe[0]),
        inner=float(ankle[1] - rear[:, 1].min()),
        outer=float(rear[:, 1].max() - ankle[1]),
        toe_inner=float(toe[1] - front[:, 1].min()),
        toe_outer=float(front[:, 1].max() - toe[1]),
        height=float(ankle[2]),
        toe_height=float(foot[foot[:, 0] >= toe[0], 2].max()),
    )


def foot_shapes(foot: FootBoxes, joint_pos: np.ndarray) -> tuple[CollisionShape, ...]:
    """The four boxes (left heel, left toes, right heel, right toes) in their bodies' frames."""
    ankle, toe = joint_pos[BODY_INDEX["L_Ankle"]], joint_pos[BODY_INDEX["L_Toe"]]
    corners = {
        "L_Ankle": ((-foot.heel_back, -foot.inner, -ankle[2]), (toe[0] - ankle[0], foot.outer, foot.height - ankle[2])),
        "L_Toe": ((0.0, -foot.toe_inner, -toe[2]), (foot.toe_front, foot.toe_outer, foot.toe_height - toe[2])),
    }
    shapes = []
    for side in (1, -1):
        for name, (low, high) in corners.items():
            center, half = 0.5 * (np.array(high) + np.array(low)), 0.5 * (np.array(high) - np.array(low))
            body = BODY_INDEX[name] if side > 0 else MIRROR_BODY[BODY_INDEX[name]]
            shapes.append(
                _shape(body, "box", center if side > 0 else center * MIRROR_VECTOR, tuple(map(float, half)), 2)
            )
    return tuple(shapes)


def with_foot(body: BodyModel, foot: FootBoxes) -> BodyModel:
    """The same body on other feet: collision boxes of `foot`, everything else unchanged."""
    feet = {BODY_INDEX[name] for name in ("L_Ankle", "R_Ankle", "L_Toe", "R_Toe")}
    kept = tuple(shape for shape in body.shapes if shape.body not in feet)
    return dataclasses.replace(body, shapes=kept + foot_shapes(foot, body.joint_pos))


def collision_shapes(
    vertices: np.ndarray, weights: np.ndarray, joint_pos: np.ndarray, pieces: list[Moments]
) -> tuple[CollisionShape, ...]:
    """One shape a body: capsules or spheres, boxes for feet and fingers.

    Args:
        vertices: Skin in the rest pose [m], shape (V, 3).
        weights: Skinning weights, shape (V, N).
        joint_pos: Joint centres [m], shape (N, 3).
        pieces: Moments of the bodies' pieces of the mesh, length N.
    """
    shapes: list[CollisionShape] = []
    for name, axis in CAPSULE_AXIS.items():
        body = BODY_INDEX[name]
        piece = pieces[body]
        radius, half = _capsule(piece, axis)
        center = piece.center - joint_pos[body]
        for one, flip in ((body, 1), (MIRROR_BODY[body], -1)) if MIRROR_BODY[body] != body else ((body, 1),):
            at = center if flip > 0 else center * MIRROR_VECTOR
            shapes.append(
                _shape(one, "capsule" if half > 0 else "sphere", at, (radius, half) if half > 0 else (radius,), axis)
            )
    shapes.extend(_finger_boxes(vertices, weights, joint_pos))
    shapes.extend(foot_shapes(measured_foot(vertices, weights, joint_pos), joint_pos))
    return tuple(sorted(shapes, key=lambda shape: shape.body))


def _shape(body: int, kind: str, center: np.ndarray, size: tuple[float, ...], axis: int) -> CollisionShape:
    direction = np.eye(3)[axis if kind == "capsule" else 2]
    return CollisionShape(body=body, kind=kind, center=center, size=size, axis=direction)


def _finger_boxes(vertices: np.ndarray, weights: np.ndarray, joint_pos: np.ndarray) -> list[CollisionShape]:
    body = BODY_INDEX["L_Hand"]
    fingers = vertices[weights.argmax(axis=1) == body] - joint_pos[body]
    # The middle 90 % of the skin: the gaps between spread fingers are not solid.
    low, high = np.quantile(fingers, 0.05, axis=0), np.quantile(fingers, 0.95, axis=0)
    low[1], high[1] = 0.0, fingers[:, 1].max()
    center, half = 0.5 * (low + high), tuple(float(side) for side in 0.5 * (high - low))
    return [
        _shape(body, "box", center, half, 2),
        _shape(MIRROR_BODY[body], "box", center * MIRROR_VECTOR, half, 2),
    ]


def _capsule(piece: Moments, axis: int) -> tuple[float, float]:
    """(radius, half length) [m] of the capsule with the volume of a piece and its variance along `axis`.

    With k = half length / radius the volume is π r³ (2 k + 4/3) and the variance along the axis
    r² (2 k³/3 + 4/3 (k² + 3 k/4 + 1/5)) / (2 k + 4/3), which rises with k; half length 0 (a sphere) where the piece is shorter.
    """
    variance = piece.second[axis, axis] / piece.volume - piece.center[axis] ** 2

    def radius(k: float) -> float:
        return float((piece.volume / (np.pi * (2.0 * k + 4.0 / 3.0))) ** (1.0 / 3.0))

    def spread(k: float) -> float:
        return radius(k) ** 2 * (2.0 * k**3 / 3.0 + 4.0 / 3.0 * (k**2 + 0.75 * k + 0.2)) / (2.0 * k + 4.0 / 3.0)

    low, high = 0.0, 100.0
    if spread(low) >= variance:
        return radius(0.0), 0.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if spread(middle) < variance else (low, middle)
    return radius(low), low * radius(low)


def shape_table(body: BodyModel) -> str:
    """One line a shape: body, kind, centre and size in millimetres."""
    rows = []
    for shape in body.shapes:
        center = " ".join(f"{1e3 * value:6.0f}" for value in shape.center)
        size = " ".join(f"{1e3 * value:5.0f}" for value in shape.size)
        rows.append(f"{BODY_NAMES[shape.body]:11s} {shape.kind:8s} {center}  {size}")
    return "\n".join(rows)
