"""What the tracker holds an imitation to besides the reference: joint ranges and clearance between limbs.

Ranges are components of the joint's rotation vector in the child frame (x roll, y pitch, z yaw; the left arm lies along +y).
They are wide anatomical ranges (Kapandji, The Physiology of the Joints) widened where a ball joint in a 24-body skeleton
has to do the work of several; the reference may leave them, the search may not go further out than the reference.

Axis legend: J = 23 joints, C capsules, P pairs.
"""

from __future__ import annotations

import numpy as np

from dataset.body.model import BodyModel
from dataset.skeleton import BODY_INDEX, JOINT_NAMES

_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "Hip": ((-0.6, 1.3), (-2.4, 0.8), (-1.0, 1.0)),
    "Knee": ((-0.25, 0.25), (-0.1, 2.7), (-0.4, 0.4)),
    "Ankle": ((-0.6, 0.6), (-0.7, 1.0), (-0.6, 0.6)),
    "Toe": ((-0.2, 0.2), (-1.2, 0.7), (-0.2, 0.2)),
    "Torso": ((-0.5, 0.5), (-0.5, 1.0), (-0.6, 0.6)),
    "Spine": ((-0.5, 0.5), (-0.5, 1.0), (-0.6, 0.6)),
    "Chest": ((-0.5, 0.5), (-0.5, 1.0), (-0.6, 0.6)),
    "Neck": ((-0.7, 0.7), (-0.9, 0.9), (-1.0, 1.0)),
    "Head": ((-0.7, 0.7), (-0.9, 0.9), (-1.0, 1.0)),
    "Thorax": ((-0.7, 0.7), (-0.5, 0.5), (-0.7, 0.7)),
    "Shoulder": ((-2.0, 2.0), (-2.4, 2.4), (-2.4, 2.4)),
    "Elbow": ((-0.5, 0.5), (-1.8, 1.8), (-2.7, 0.2)),
    "Wrist": ((-1.4, 1.4), (-1.4, 1.4), (-1.4, 1.4)),
    "Hand": ((-1.6, 1.6), (-0.5, 0.5), (-0.5, 0.5)),
}
"""Range of each left (or middle) joint (x, y, z) [rad]; the right side is mirrored."""

_CLEAR_PAIRS: tuple[tuple[str, str], ...] = (
    ("L_Knee", "R_Knee"), ("L_Ankle", "R_Ankle"), ("L_Knee", "R_Ankle"), ("L_Ankle", "R_Knee"), ("L_Toe", "R_Toe"),
    ("L_Toe", "R_Ankle"), ("L_Ankle", "R_Toe"), ("L_Wrist", "Spine"), ("R_Wrist", "Spine"), ("L_Wrist", "L_Hip"),
    ("R_Wrist", "R_Hip"), ("L_Elbow", "Torso"), ("R_Elbow", "Torso"), ("L_Wrist", "Head"), ("R_Wrist", "Head"),
    ("L_Wrist", "R_Wrist"), ("L_Elbow", "R_Elbow"), ("L_Wrist", "Torso"), ("R_Wrist", "Torso"),
)  # fmt: skip
"""Body pairs that must not pass through each other (neighbours in the tree touch by construction and are left out)."""


def joint_ranges() -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of every joint's rotation vector [rad], shapes (J, 3)."""
    lower, upper = np.zeros((len(JOINT_NAMES), 3)), np.zeros((len(JOINT_NAMES), 3))
    for joint, name in enumerate(JOINT_NAMES):
        bounds = np.array(_RANGES[name.split("_")[-1]])
        if name.startswith("R_"):  # reflection turns the signs of rotations about x and z
            bounds[[0, 2]] = -bounds[[0, 2], ::-1]
        lower[joint], upper[joint] = bounds[:, 0], bounds[:, 1]
    return lower, upper


def clearance_capsules(body: BodyModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One capsule a body for the clearance test, and the pairs to test.

    Returns:
        Capsule end points in the body frame [m], shape (N, 2, 3); radii [m], shape (N,); body pairs, shape (P, 2).
    """
    num_bodies = body.joint_pos.shape[0]
    ends, radius = np.zeros((num_bodies, 2, 3)), np.full(num_bodies, 0.03)
    for shape in body.shapes:
        if shape.kind == "box":
            size = np.array(shape.size)
            long = int(np.argmax(size))
            thickness = float(np.sort(size)[:2].mean())
            half = np.eye(3)[long] * max(size[long] - thickness, 0.0)
        else:
            thickness = shape.size[0]
            half = shape.axis * (shape.size[1] if shape.kind == "capsule" else 0.0)
        ends[shape.body] = shape.center - half, shape.center + half
        radius[shape.body] = thickness
    pairs = np.array([(BODY_INDEX[first], BODY_INDEX[second]) for first, second in _CLEAR_PAIRS], dtype=np.int64)
    return ends, radius, pairs
