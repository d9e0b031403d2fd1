"""Labels of real files -> landmarks of the body.

Which anatomical landmark a label means is decided by the laboratory readers' own table (`dataset.lab.landmarks`); here stands
only what that table does not distinguish: which of our skin landmarks it is, and spots that matter to fitting alone.
"""

from __future__ import annotations

from typing import Final

from dataset.lab.landmarks import LANDMARK_ALIASES, normalise_label

_LANDMARK_OF_MEANING: Final[dict[str, str]] = {
    "asis": "#ASI", "psis": "#PSI", "trochanter": "#FTC", "knee": "#KNE", "knee_med": "#KNM", "ankle": "#ANK",
    "ankle_med": "#MED", "heel": "#HEE", "toe": "#TOE", "mt1": "#MT1", "mt5": "#MT5", "shoulder": "#SHO",
    "clavicle": "#STC", "elbow": "#ELB", "elbow_med": "#ELM", "wrist_radius": "#WRA", "wrist_ulna": "#WRB", "hand": "#HM2",
    "hand_ulna": "#HM5", "head_front": "#FHD", "head_back": "#BHD", "c7": "C7", "t10": "T10", "clavicle_notch": "CLAV",
    "sternum": "STRN", "sacrum": "SACR", "head_top": "HEAD", "back_right": "RBAK",
}  # fmt: skip
"""Meaning in the laboratory table (without side) -> our landmark, # being the side."""

_SIDED_LABELS: Final[dict[str, tuple[str, ...]]] = {
    "#ASI": ("#fwt",), "#PSI": ("#bwt",), "#HEE": ("#hel",), "#WRA": ("#iwr",), "#WRB": ("#owr",), "#THM": ("#thmb", "#thm"),
    "#FIN": ("#fin",), "#UPA": ("#upa",), "#FRM": ("#frm",), "#THI": ("#thi",), "#TIB": ("#tib",), "#SHN": ("#shn",),
    "#TTC": ("#ttc", "#tub"), "#FAX": ("#fax", "#hfb"), "#SIA": ("#sia",), "#SRS": ("#srs",), "#SAA": ("#saa",),
    "#MED": ("#mma",), "#KNM": ("#mknee",), "#TIP": ("#toetip",), "#HLX": ("#hlx",), "#MT1": ("#d1m",), "#MT5": ("#d5m",),
    "": ("#wrist", "#wristmed", "#wristlat", "#thighfront", "#shankfront", "#th1", "#sh1", "#sh2", "#lthi", "#lsha", "#thigh1"),
}  # fmt: skip
"""Our landmark -> labels that mean it before the laboratory table is asked; "" are labels whose spot is not on our skin
table: cluster markers, and wrist markers that do not say which bone."""

_MIDLINE_LABELS: Final[dict[str, str]] = {"rbac": "RBAK", "t2": "T2", "t6": "T6", "t12": "T12", "strn": "STRN"}


def _label_table() -> dict[str, str | None]:
    table: dict[str, str | None] = {}
    for meaning, labels in LANDMARK_ALIASES.items():
        side, _, name = meaning.partition("_")
        is_sided = side in ("l", "r") and name in _LANDMARK_OF_MEANING
        landmark = _LANDMARK_OF_MEANING.get(name if is_sided else meaning)
        for label in labels:
            table[label] = landmark.replace("#", side.upper()) if landmark else None
    for side in "lr":
        for landmark, labels in _SIDED_LABELS.items():
            for label in labels:
                table[label.replace("#", side)] = landmark.replace("#", side.upper()) or None
    return table | _MIDLINE_LABELS


_TABLE: Final[dict[str, str | None]] = _label_table()


def canonical_label(label: str) -> str | None:
    """Landmark of the body (`dataset.body.landmarks.LANDMARKS`) that a label of a real file names, or None.

    Subject prefixes (`Jim:LASI`), case and separators do not matter: `LFWT`, `L.ASIS`, `L_IAS` and `lasi` are all `LASI`.
    """
    return _TABLE.get(normalise_label(label))
