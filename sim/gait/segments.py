"""The eight rigid segments and seventeen joint coordinates of the gait model: the one place of their names and order.

Segment frames are parallel to the world in the neutral pose (standing upright, x forward, y left, z up) with the origin at the
proximal joint centre; the pelvis's origin is midway between the hips. Every joint is a chain of hinges through one point, in
the order flexion, adduction, rotation, each carried along by those before it; an angle and the moment about its hinge have
the sign that OpenSim's gait models give them (flexion, adduction, internal rotation and dorsiflexion positive; trunk
extension, bending to the right and rotation to the left positive).

Source of the model: Liu et al. 2026 (KAIL), section II: free pelvis, trunk 3, hips 3, knees 1, ankles 3.
"""

from __future__ import annotations

from typing import Final

import numpy as np

SEGMENTS: Final = ("pelvis", "trunk", "l_thigh", "l_shank", "l_foot", "r_thigh", "r_shank", "r_foot")
"""Segment names, every parent before its children."""
PARENTS: Final = (-1, 0, 0, 2, 3, 0, 5, 6)
"""Index of each segment's parent."""
FEET: Final = (4, 7)
"""Segment indices of the feet (left, right)."""
NUM_SEGMENTS: Final = len(SEGMENTS)

_FLEXION, _RIGHT_LEAN, _TURN = (0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def _mirrored(side: str) -> float:
    return 1.0 if side == "r" else -1.0


def _leg(side: str, thigh: int) -> list[tuple[str, int, tuple[float, float, float]]]:
    sign = _mirrored(side)
    lean, turn = (sign, 0.0, 0.0), (0.0, 0.0, sign)
    return [
        (f"hip_flexion_{side}", thigh, _FLEXION), (f"hip_adduction_{side}", thigh, lean), (f"hip_rotation_{side}", thigh, turn),
        (f"knee_angle_{side}", thigh + 1, (0.0, 1.0, 0.0)),
        (f"ankle_angle_{side}", thigh + 2, _FLEXION), (f"ankle_inversion_{side}", thigh + 2, lean),
        (f"ankle_rotation_{side}", thigh + 2, turn),
    ]  # fmt: skip


_COORDINATES: Final = [
    ("trunk_extension", 1, _FLEXION), ("trunk_bending", 1, _RIGHT_LEAN), ("trunk_rotation", 1, _TURN),
    *_leg("l", 2), *_leg("r", 5),
]  # fmt: skip
COORDINATES: Final = tuple(name for name, _, _ in _COORDINATES)
"""Names of the joint coordinates ψ in the order of qpos[7:] and qvel[6:]."""
NUM_COORDINATES: Final = len(COORDINATES)
SEGMENT_OF_COORDINATE: Final = tuple(segment for _, segment, _ in _COORDINATES)
"""Child segment that each coordinate turns."""
HINGE_AXES: Final[np.ndarray] = np.array([axis for _, _, axis in _COORDINATES])
"""Axis of each hinge in its segment's neutral frame, shape (17, 3); a body may give its knees other axes."""
KNEES: Final = tuple(index for index, name in enumerate(COORDINATES) if name.startswith("knee"))
"""Indices of the knees (left, right) among the coordinates."""
NUM_QPOS, NUM_QVEL = 7 + NUM_COORDINATES, 6 + NUM_COORDINATES
