"""Bony landmarks on the skin of the default body, and the joint centres that follow from them.

A landmark is a vertex of the default topology (13718 vertices). The indices were found once, by rules of height, width and
extremity on the neutral adult, and stay fixed for every body: the same vertex is the same anatomical place on a child. Those
that sat more than a centimetre off in the same direction on eleven real people of three laboratories (fits to the standing
trials of `opencap_subject4`, four of `biomechzoo_children`, six of `schreiber2019`) were then moved to the vertex nearest to
where the markers were: KNE 21 mm up, T10 24 mm up, WRA and FIN 9 and 14 mm along the limb, and most of `FURTHER_LANDMARKS`.
Joint centres are laboratory convention: hip by the regression of Harrington et al. (2007), knee, ankle and elbow half way
between the medial and lateral landmarks. The bone heads of the mesh's own rig lie 35-47 mm from functional hip centres;
the regression on the body's own pelvis brings that to 10-31 mm (measured on five adults).
"""

from __future__ import annotations

from typing import Final

import numpy as np

LEFT_LANDMARKS: Final[dict[str, tuple[int, str]]] = {
    "LFHD": (6989, "Head"), "LBHD": (7642, "Head"), "LSHO": (8260, "L_Thorax"), "LUPA": (8360, "L_Shoulder"),
    "LELB": (10025, "L_Shoulder"), "LELM": (10020, "L_Shoulder"), "LFRM": (10093, "L_Elbow"),
    "LWRA": (10555, "L_Elbow"), "LWRB": (10523, "L_Elbow"), "LFIN": (9811, "L_Wrist"), "LASI": (10959, "Pelvis"),
    "LPSI": (10793, "Pelvis"), "LTHI": (11083, "L_Hip"), "LKNE": (11178, "L_Hip"), "LKNM": (12969, "L_Hip"),
    "LTIB": (11330, "L_Knee"), "LSHN": (11274, "L_Knee"), "LANK": (11412, "L_Knee"), "LMED": (12907, "L_Knee"),
    "LHEE": (12421, "L_Ankle"), "LTOE": (13088, "L_Ankle"), "LMT5": (12722, "L_Ankle"), "LMT1": (12358, "L_Ankle"),
}  # fmt: skip
"""Left landmark -> (vertex, body that carries it rigidly)."""

RIGHT_LANDMARKS: Final[dict[str, tuple[int, str]]] = {
    "RFHD": (232, "Head"), "RBHD": (960, "Head"), "RSHO": (1604, "R_Thorax"), "RUPA": (1704, "R_Shoulder"),
    "RELB": (3373, "R_Shoulder"), "RELM": (3368, "R_Shoulder"), "RFRM": (3441, "R_Elbow"), "RWRA": (3906, "R_Elbow"),
    "RWRB": (3874, "R_Elbow"), "RFIN": (3159, "R_Wrist"), "RASI": (4352, "Pelvis"), "RPSI": (4169, "Pelvis"),
    "RTHI": (4481, "R_Hip"), "RKNE": (4576, "R_Hip"), "RKNM": (6388, "R_Hip"), "RTIB": (4728, "R_Knee"),
    "RSHN": (4672, "R_Knee"), "RANK": (4810, "R_Knee"), "RMED": (6326, "R_Knee"), "RHEE": (5840, "R_Ankle"),
    "RTOE": (6508, "R_Ankle"), "RMT5": (6141, "R_Ankle"), "RMT1": (5777, "R_Ankle"),
}  # fmt: skip
"""The mirror images of `LEFT_LANDMARKS`."""

MIDLINE_LANDMARKS: Final[dict[str, tuple[int, str]]] = {
    "C7": (857, "Chest"), "T10": (3944, "Spine"), "CLAV": (1526, "Chest"), "STRN": (4072, "Spine"),
    "RBAK": (3823, "Chest"),
}  # fmt: skip
"""Landmarks of the trunk; RBAK (right shoulder blade) has no counterpart on the left by convention."""

FURTHER_LANDMARKS: Final[dict[str, tuple[int, str]]] = {
    "LFTC": (10882, "L_Hip"), "LTTC": (11255, "L_Knee"), "LFAX": (11251, "L_Knee"), "LHM2": (9886, "L_Wrist"),
    "LHM5": (9789, "L_Wrist"), "LTHM": (9411, "L_Wrist"), "LSIA": (8232, "Chest"), "LSRS": (8214, "Chest"),
    "LSAA": (8258, "L_Thorax"), "LSTC": (8145, "Chest"), "LTIP": (11592, "L_Toe"), "LHLX": (11554, "L_Toe"),
    "RFTC": (4268, "R_Hip"), "RTTC": (4653, "R_Knee"), "RFAX": (4649, "R_Knee"), "RHM2": (3234, "R_Wrist"),
    "RHM5": (3137, "R_Wrist"), "RTHM": (2759, "R_Wrist"), "RSIA": (1570, "Chest"), "RSRS": (1552, "Chest"),
    "RSAA": (1602, "R_Thorax"), "RSTC": (1475, "Chest"), "RTIP": (4990, "R_Toe"), "RHLX": (4952, "R_Toe"),
    "T2": (1467, "Chest"), "T6": (3827, "Chest"), "T12": (3972, "Spine"), "SACR": (4172, "Pelvis"), "HEAD": (881, "Head"),
}  # fmt: skip
"""Spots of other laboratories' sets, named as there: greater trochanter FTC, tibial tuberosity TTC, fibula head FAX, second and
fifth metacarpal HM2 HM5, thumb tip THM, scapula SIA SRS SAA, sternoclavicular joint STC, tip of the second toe TIP, spine T2 T6
T12, sacrum SACR, vertex of the head HEAD, tip of the great toe HLX. Found by the same kind of rules, less checked than the 51."""

LANDMARKS: Final[dict[str, tuple[int, str]]] = {
    **LEFT_LANDMARKS, **RIGHT_LANDMARKS, **MIDLINE_LANDMARKS, **FURTHER_LANDMARKS,
}  # fmt: skip
"""Landmark -> (vertex, body that carries it rigidly)."""

LANDMARK_ROW: Final[dict[str, int]] = {name: row for row, name in enumerate(LANDMARKS)}
"""Row of each landmark in `BodyModel.landmark_pos`."""

JOINT_MIDPOINTS: Final[dict[str, tuple[str, str]]] = {
    "L_Knee": ("LKNE", "LKNM"), "L_Ankle": ("LANK", "LMED"), "L_Elbow": ("LELB", "LELM"),
}  # fmt: skip
"""Joints whose centre is the midpoint of the lateral and the medial landmark."""


def hip_centre(asis: np.ndarray, psis: np.ndarray) -> np.ndarray:
    """Left hip joint centre of a mirror-symmetric pelvis [m], shape (3,).

    Regression of Harrington et al. (2007, J. Biomech. 40:595) in the pelvis frame (origin midway between the anterior
    superior iliac spines, x forward in the plane of the four spines, y left, z up), with PW the distance between the anterior
    spines and PD the distance between the midpoints of the anterior and the posterior spines, in mm:
    x = -0.24 PD - 9.9, y = 0.33 PW + 7.3, z = -0.30 PW - 10.9.

    Args:
        asis: Left anterior superior iliac spine [m], x forward, y left from the mid-plane, z up, shape (3,).
        psis: Left posterior superior iliac spine [m], same axes, shape (3,).
    """
    width = 2.0 * asis[1]
    forward = np.array([asis[0] - psis[0], 0.0, asis[2] - psis[2]])
    depth = float(np.linalg.norm(forward))
    forward = forward / depth
    up = np.array([-forward[2], 0.0, forward[0]])
    return (
        np.array([asis[0], 0.0, asis[2]])
        - (0.24 * depth + 0.0099) * forward
        + np.array([0.0, 0.33 * width + 0.0073, 0.0])
        - (0.30 * width + 0.0109) * up
    )
