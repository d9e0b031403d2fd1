"""The 24-body skeleton: names, parents, sides, feet. The only copy in the repository.

SMPL order and topology (Loper et al. 2015, SIGGRAPH Asia; names as in Luo et al. 2023, PHC). In the rest pose (T-pose)
every body frame is aligned with the world: x forward, y left, z up, origin at the joint that connects the body to its parent.

Axis legend: N = 24 bodies, J = 23 actuated joints (joint j moves body j + 1).
"""

from typing import Final

import numpy as np

BODY_NAMES: Final[tuple[str, ...]] = (
    "Pelvis", "L_Hip", "R_Hip", "Torso", "L_Knee", "R_Knee", "Spine", "L_Ankle", "R_Ankle", "Chest", "L_Toe", "R_Toe",
    "Neck", "L_Thorax", "R_Thorax", "Head", "L_Shoulder", "R_Shoulder", "L_Elbow", "R_Elbow", "L_Wrist", "R_Wrist",
    "L_Hand", "R_Hand",
)  # fmt: skip
"""Bodies in storage order, shape (N,)."""

PARENTS: Final[tuple[int, ...]] = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21,
)  # fmt: skip
"""Parent body of each body; -1 for the pelvis. A parent always comes before its children."""

NUM_BODIES: Final[int] = len(BODY_NAMES)
NUM_JOINTS: Final[int] = NUM_BODIES - 1
JOINT_NAMES: Final[tuple[str, ...]] = BODY_NAMES[1:]
"""Actuated joints, named after the body they move, shape (J,)."""

BODY_INDEX: Final[dict[str, int]] = {name: index for index, name in enumerate(BODY_NAMES)}


def _mirrored_name(name: str) -> str:
    swap = {"L_": "R_", "R_": "L_"}
    return swap.get(name[:2], name[:2]) + name[2:]


MIRROR_BODY: Final[tuple[int, ...]] = tuple(BODY_INDEX[_mirrored_name(name)] for name in BODY_NAMES)
"""Body on the other side of the sagittal plane (itself for bodies on the plane), shape (N,)."""

LEFT_FOOT: Final[tuple[int, int]] = (BODY_INDEX["L_Ankle"], BODY_INDEX["L_Toe"])
RIGHT_FOOT: Final[tuple[int, int]] = (BODY_INDEX["R_Ankle"], BODY_INDEX["R_Toe"])
FEET: Final[tuple[tuple[int, int], tuple[int, int]]] = (LEFT_FOOT, RIGHT_FOOT)
"""Bodies whose wrenches add up to a foot's: (left, right)."""

GRAVITY: Final[float] = 9.81
"""Standard gravity used throughout [m/s²]; the gravity vector is (0, 0, -GRAVITY)."""

MIRROR_VECTOR: Final[np.ndarray] = np.array([1.0, -1.0, 1.0])
"""Reflection in the sagittal plane of a polar vector (position, force) in x-forward y-left z-up axes."""

MIRROR_AXIAL: Final[np.ndarray] = np.array([-1.0, 1.0, -1.0])
"""Reflection in the sagittal plane of an axial vector (torque, angular velocity, rotation vector)."""
