"""Anatomical landmarks behind the labels of common optical marker sets.

Laboratories call the same spot LASI, L.ASIS, L_IAS or LASIS. Everything that reads markers by their meaning (up axis,
units, contacts, segments, fitting) goes through the one table here. A landmark has a side prefix (`l_`, `r_`) or none
(mid-line).

Covered sets: Plug-in Gait (Vicon), ISB-style labels of Schreiber & Moissenet 2019 (IAS, FLE, FCC ...), OpenCap
laboratory set, Rajagopal 2016, Gait2392, Human Body Model 2 (D-Flow), Oxford foot model additions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_SIDED: Final[dict[str, tuple[str, ...]]] = {
    "asis": ("#asi", "#asis", "#ias"),
    "psis": ("#psi", "#psis", "#ips"),
    "trochanter": ("#ftc", "#gtr", "#troc"),
    "hip_center": ("#hjc", "#hjcreg"),
    "knee": ("#kne", "#knee", "#fle", "#lek", "#kneelat", "#latknee"),
    "knee_med": ("#knm", "#kneemed", "#fme", "#mek", "#mknee", "#mkne", "#medknee"),
    "ankle": ("#ank", "#ankle", "#fal", "#lm", "#anklelat", "#lmal"),
    "ankle_med": ("#med", "#mma", "#tam", "#mm", "#mankle", "#anklemed", "#mmal"),
    "heel": ("#hee", "#heel", "#calc", "#fcc"),
    "toe": ("#toe", "#fm2", "#mt2", "#d2m", "#toetip"),
    "mt1": ("#mt1", "#fm1", "#d1m", "#toemed"),
    "mt5": ("#mt5", "#fm5", "#d5m", "#5meta", "#toelat"),
    "shoulder": ("#sho", "#shoulder", "#sae", "#acromium", "#acromion", "#saa"),
    "clavicle": ("#clavicle", "#sternum"),
    "elbow": ("#elb", "#elbow", "#hle", "#elbowlat"),
    "elbow_med": ("#elm", "#hme", "#elbowmed"),
    "wrist_radius": ("#wra", "#rsp", "#wristradius", "#wrist", "#wristmed", "#wristlat"),
    "wrist_ulna": ("#wrb", "#uhe", "#wristulna"),
    "hand": ("#fin", "#hm2"),
    "hand_ulna": ("#hm5",),
    "head_front": ("#fhd", "#temple"),
    "head_back": ("#bhd",),
    "thigh": ("#thi", "#th1", "#thigh1", "#lthi", "#thighfront"),
    "shank": ("#tib", "#sh1", "#sh2", "#lsha", "#shankfront", "#ttc"),
}

_MIDLINE: Final[dict[str, tuple[str, ...]]] = {
    "c7": ("c7", "cv7"),
    "t10": ("t10", "tv10"),
    "clavicle_notch": ("clav", "sjn", "jn", "ij"),
    "sternum": ("strn", "sxs", "xiph", "px", "sternum"),
    "sacrum": ("sacr", "s2", "vsacral"),
    "head_top": ("tophead", "vertex"),
    "back_right": ("rbak",),
}

LANDMARK_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    **{
        f"{side}_{name}": tuple(alias.replace("#", side) for alias in aliases)
        for side in ("l", "r")
        for name, aliases in _SIDED.items()
    },
    **_MIDLINE,
}
"""Landmark -> normalised labels (lower case, separators removed), most trusted first."""

_SEPARATORS = re.compile(r"[\s._\-]+")


def normalise_label(label: str) -> str:
    """Label in lower case without subject prefix (`name:`) and without spaces, dots, dashes and underscores."""
    return _SEPARATORS.sub("", label.rsplit(":", 1)[-1]).lower()


def find_landmarks(labels: Sequence[str]) -> dict[str, int]:
    """Index of the marker of each landmark that the labels contain.

    Args:
        labels: Marker labels, length M.

    Returns:
        Landmark name -> index into `labels`; landmarks without a marker are absent. Where two labels name one landmark
        the alias that stands first in the table wins.
    """
    position = {}
    for index, label in enumerate(labels):
        position.setdefault(normalise_label(label), index)
    found = {}
    for landmark, aliases in LANDMARK_ALIASES.items():
        for alias in aliases:
            if alias in position:
                found[landmark] = position[alias]
                break
    return found
