"""What a fit to markers believes before it sees them: how far joints turn, and how well markers sit.

These are fitting weights, not anatomy: wide where markers decide, tight where no marker can (a knee's twist, the share of
each spine joint), one-sided where a bend the wrong way is the common false minimum.

Rest pose signs: knee flexion is +y (both sides); elbow flexion is -z on the left, +z on the right.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dataset.skeleton import BODY_INDEX, MIRROR_AXIAL, MIRROR_BODY, NUM_BODIES

_SPREAD: Final[dict[str, tuple[float, float, float]]] = {
    "L_Hip": (1.0, 1.5, 0.8), "L_Knee": (0.06, 2.0, 0.12), "L_Ankle": (0.35, 0.8, 0.35), "L_Toe": (0.05, 0.3, 0.05),
    "Torso": (0.25, 0.3, 0.2), "Spine": (0.25, 0.3, 0.2), "Chest": (0.25, 0.3, 0.2), "Neck": (0.4, 0.4, 0.4),
    "Head": (0.4, 0.4, 0.4), "L_Thorax": (0.25, 0.15, 0.25), "L_Shoulder": (2.0, 1.5, 2.0), "L_Elbow": (0.06, 1.0, 2.0),
    "L_Wrist": (0.5, 0.2, 0.5), "L_Hand": (0.05, 0.05, 0.05),
}  # fmt: skip
"""Standard deviation of the joint's rotation vector about its rest value [rad], components x y z."""

_RANGE: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    "L_Knee": ((-9.0, 9.0), (-0.10, 2.7), (-9.0, 9.0)), "L_Elbow": ((-9.0, 9.0), (-9.0, 9.0), (-2.7, 0.10)),
}  # fmt: skip
"""Range of a component [rad] beyond which `LIMIT_SPREAD` applies."""

LIMIT_SPREAD: Final[float] = 0.03
"""Standard deviation of exceeding a range [rad]."""

MARKER_SPREAD: Final[float] = 0.007
"""Standard deviation of a marker about its place on the model [m]: placement and soft tissue together."""

UNPLACED: Final[frozenset[str]] = frozenset({"THI", "TIB", "SHN", "UPA", "FRM"})
"""Landmarks (without side) that name no bony spot: wands and markers on the middle of a limb sit wherever the laboratory puts
them (up to 130 mm from ours), so a fit leaves them out."""

_MARKER_SPREADS: Final[dict[str, float]] = {
    "KNM": 0.010, "SHO": 0.010, "SAA": 0.014, "SIA": 0.018, "SRS": 0.018, "FTC": 0.018, "RBAK": 0.030, "STRN": 0.010,
    "T10": 0.014, "T6": 0.010, "T12": 0.014, "TIP": 0.010, "HLX": 0.010, "THM": 0.014, "FIN": 0.009, "FAX": 0.010,
    "TTC": 0.010, "HEAD": 0.010, "FHD": 0.010, "BHD": 0.010,
}  # fmt: skip
"""Landmarks (without side) that sit less well than `MARKER_SPREAD` [m]: the scapula slides under the skin, head bands fit as
they fit."""


def joint_precision() -> np.ndarray:
    """Inverse variance of each joint's rotation vector [1/rad²], shape (N, 3); zero for the pelvis, which is free."""
    precision = np.zeros((NUM_BODIES, 3))
    for name, spread in _SPREAD.items():
        body = BODY_INDEX[name]
        precision[[body, MIRROR_BODY[body]]] = 1.0 / np.square(spread)
    return precision


def joint_range() -> np.ndarray:
    """Lower and upper end of each joint's rotation vector [rad], shape (N, 3, 2); ±9 where unlimited."""
    limits = np.tile(np.array([-9.0, 9.0]), (NUM_BODIES, 3, 1))
    for name, ranges in _RANGE.items():
        body = BODY_INDEX[name]
        limits[body] = ranges
        limits[MIRROR_BODY[body]] = np.sort(limits[body] * MIRROR_AXIAL[:, None], axis=1)
    return limits


def marker_spread(landmark: str) -> float:
    """Standard deviation of a landmark's marker [m]."""
    return _MARKER_SPREADS.get(landmark, _MARKER_SPREADS.get(landmark[1:], MARKER_SPREAD))
