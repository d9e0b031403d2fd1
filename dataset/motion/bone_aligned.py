"""Skeletons whose joint frames run along the bones: how each frame stands in a T-pose.

In most BVH files all joint frames are parallel in the rest pose and the rest pose is a person. Some exports keep
bone-aligned frames instead (x along the bone, z along the hinge of knee and elbow): with all angles zero the figure is
a straight line, so the rest pose says nothing, and a table must say where the axes point when the person stands in a
T-pose. The two variants met differ in the signs of the bone axes. Checked on T-pose frames in the files and by the side
to which knees and elbows bend.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dataset.motion.tree import JointTree

_DIRECTION = {
    "forward": (1.0, 0.0, 0.0), "back": (-1.0, 0.0, 0.0), "left": (0.0, 1.0, 0.0), "right": (0.0, -1.0, 0.0),
    "up": (0.0, 0.0, 1.0), "down": (0.0, 0.0, -1.0),
}  # fmt: skip
_ARM = ("Thorax", "Shoulder", "Elbow")
_LEG = ("Hip", "Knee", "Ankle")


def _table(trunk: str, left: dict[tuple[str, ...], str], right: dict[tuple[str, ...], str]) -> dict[str, str]:
    table = {"Pelvis": trunk, "trunk": trunk, "neck": trunk}
    for letter, side in (("L_", left), ("R_", right)):
        for bodies, axes in side.items():
            table.update({letter + body: axes for body in bodies})
    return table


PARALLEL_LEGS: Final[dict[str, str]] = _table(
    "up forward left",
    {
        _LEG: "down forward right",
        ("Toe",): "forward up right",
        _ARM: "left back up",
        ("Wrist", "Hand"): "left down back",
    },
    {
        _LEG: "down forward right",
        ("Toe",): "forward up right",
        _ARM: "right back down",
        ("Wrist", "Hand"): "right down forward",
    },
)
"""Body -> directions of its joint's x, y, z axes in a T-pose, for files whose bones all run along +x."""

MIRRORED_LEGS: Final[dict[str, str]] = _table(
    "up back right",
    {_LEG: "up back right", ("Toe",): "forward up right", _ARM: "left back up", ("Wrist", "Hand"): "left down back"},
    {
        _LEG: "down forward right",
        ("Toe",): "back down right",
        _ARM: "left forward down",
        ("Wrist", "Hand"): "left up forward",
    },
)
"""The same for files whose left leg and right arm run along -x and the other two along +x."""


def bone_aligned_frames(tree: JointTree, joints: dict[str, int]) -> dict[str, np.ndarray] | None:
    """Rotation joint frame -> body frame for each driven body, or None if the tree has an ordinary rest pose.

    The table is chosen by the signs of the offsets of knees and elbows along their parents' x axes.

    Args:
        tree: Source skeleton.
        joints: Body -> source joint.

    Returns:
        Matrices of shape (3, 3) by body name, with the entries `trunk` and `neck` for the chains.
    """
    signs = []
    for body in ("L_Knee", "R_Knee", "L_Elbow", "R_Elbow"):
        offset = tree.offset[joints[body]]
        if np.abs(offset[0]) < 0.99 * np.linalg.norm(offset):
            return None
        signs.append(int(np.sign(offset[0])))
    table = {(1, 1, 1, 1): PARALLEL_LEGS, (-1, 1, 1, -1): MIRRORED_LEGS}.get(tuple(signs))
    if table is None:
        return None
    return {body: np.array([_DIRECTION[word] for word in axes.split()]).T for body, axes in table.items()}
