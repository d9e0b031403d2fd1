"""Anatomical segment frames from markers, frame by frame: where a body's lengths and its markers' places come from.

Axis legend: T frames, F = 2 sides (left, right).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from dataset.body.landmarks import hip_centre
from dataset.lab.landmarks import find_landmarks
from dataset.lab.trajectories import fill_gaps
from dataset.schema import LabTrial
from sim.gait.de_leva import BodyLengths
from sim.gait.segments import NUM_SEGMENTS

KNEE_HALF_WIDTH, ANKLE_HALF_WIDTH = 0.12, 0.09
"""Lateral marker to joint centre over thigh and shank length, where no medial marker is."""
HEEL_BEHIND = 0.01
"""Back of the foot behind the heel marker [m]."""
FOREFOOT_SHARE = {"mt1": 0.73, "mt5": 0.63, "toe": 0.73}
"""Place of a forefoot marker along the foot, fraction of its length from the back of the heel: heads of the first, fifth and
second metatarsal (adult footprints)."""
TIP_SHARE = {"mt1": 0.95, "mt5": 0.83, "toe": 0.95}
"""The same where the markers of these names sit on the toes, as some laboratories have it; which it is, the foot's length over
the leg's tells (`FOOT_OF_LEG`). A toe marker counts only where there are no others."""
FOOT_OF_LEG = 0.152 / 0.477
"""Length of the foot over thigh and shank: 0.152 of stature (Winter, figure 4.1) over de Leva's 0.477."""
SEGMENT_LANDMARKS = {
    0: ("l_asis", "r_asis", "l_psis", "r_psis", "sacrum"),
    1: ("c7", "t10", "clavicle_notch", "sternum", "l_clavicle", "r_clavicle"),
    2: ("l_knee", "l_knee_med", "l_trochanter", "l_thigh"), 3: ("l_ankle", "l_ankle_med", "l_shank"),
    4: ("l_heel", "l_toe", "l_mt1", "l_mt5"),
    5: ("r_knee", "r_knee_med", "r_trochanter", "r_thigh"), 6: ("r_ankle", "r_ankle_med", "r_shank"),
    7: ("r_heel", "r_toe", "r_mt1", "r_mt5"),
}  # fmt: skip
"""Landmarks that move with each segment."""


@dataclass(frozen=True, kw_only=True)
class MarkerSegments:
    """Segments told from markers alone."""

    origin: np.ndarray
    """Proximal joint centres [m], world, shape (T, 8, 3); NaN where a marker is missing."""
    rot: np.ndarray
    """Orientations, segment to world, shape (T, 8, 3, 3)."""
    ankle: np.ndarray
    """Ankle centres [m], shape (T, F, 3)."""
    heel: np.ndarray
    """Heel markers [m], shape (T, F, 3)."""
    foot_length: tuple[float, float]
    """Heel to toe tip as the forefoot markers have it [m] (left, right)."""
    notes: tuple[str, ...]
    """What was assumed for missing markers."""


class _Paths:
    """Gap-filled landmark paths by name."""

    def __init__(self, trial: LabTrial) -> None:
        self.trial, self.found = trial, find_landmarks(trial.marker_names)

    def has(self, name: str) -> bool:
        return name in self.found

    def get(self, *names: str) -> np.ndarray:
        """Mean path of the landmarks that are there; refuses where none is."""
        have = [name for name in names if name in self.found]
        if not have:
            raise ValueError(
                f"{self.trial.path}: markers: expected {' or '.join(names)}, found none of {len(self.trial.marker_names)}; "
                "the gait model's body cannot be told without it"
            )
        return np.mean(
            [fill_gaps(self.trial.markers[:, self.found[name]], self.trial.marker_rate) for name in have], axis=0
        )


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def _frame_of(first: np.ndarray, second: np.ndarray, order: str) -> np.ndarray:
    """Right-handed axes with `order[0]` along `first` and `order[1]` near `second`, shape (T, 3, 3)."""
    main = _unit(first)
    other = _unit(second - (second * main).sum(axis=-1, keepdims=True) * main)
    columns = {order[0]: main, order[1]: other}
    left = next(axis for axis in "xyz" if axis not in columns)
    columns[left] = {
        "x": lambda: np.cross(columns["y"], columns["z"]), "y": lambda: np.cross(columns["z"], columns["x"]),
        "z": lambda: np.cross(columns["x"], columns["y"]),
    }[left]()  # fmt: skip
    return np.stack([columns["x"], columns["y"], columns["z"]], axis=-1)


def marker_segments(trial: LabTrial) -> MarkerSegments:
    """Segment frames of a trial.

    Pelvis: y along the anterior spines, x from the posterior to the anterior ones; hips after Harrington et al. 2007. Thigh and
    shank: z along the bone, y along the knee's epicondyles (the hinge). Foot: x from heel to forefoot, y across the plane of
    heel, forefoot and ankle. Trunk: z from the waist to the upper thorax, x forward through the thorax (or y along the pelvis).

    Raises:
        ValueError: markers of pelvis, knees, ankles, feet or upper thorax that are missing.
    """
    paths, notes = _Paths(trial), []
    l_asis, r_asis = paths.get("l_asis"), paths.get("r_asis")
    front = 0.5 * (l_asis + r_asis)
    if paths.has("l_psis") and paths.has("r_psis"):
        back = 0.5 * (paths.get("l_psis") + paths.get("r_psis"))
    else:
        back = paths.get("sacrum")
    frames = trial.num_frames
    origin, rot = np.full((frames, NUM_SEGMENTS, 3), np.nan), np.full((frames, NUM_SEGMENTS, 3, 3), np.nan)
    rot[:, 0] = _frame_of(l_asis - r_asis, front - back, "yx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames without pelvis markers stay out
        width = float(np.nanmedian(np.linalg.norm(l_asis - r_asis, axis=1)))
        depth = float(np.nanmedian(np.linalg.norm(front - back, axis=1)))
    left_hip = hip_centre(np.array([0.0, 0.5 * width, 0.0]), np.array([-depth, 0.5 * width, 0.0]))
    hips = [front + rot[:, 0] @ (left_hip * (1.0, sign, 1.0)) for sign in (1.0, -1.0)]
    origin[:, 0] = 0.5 * (hips[0] + hips[1])
    ankles, heels, lengths = [], [], []
    for index, side in enumerate("lr"):
        thigh, outward = 2 + 3 * index, 1.0 if side == "l" else -1.0
        knee, axis = _joint(paths, f"{side}_knee", hips[index], rot[:, 0, :, 1] * outward, KNEE_HALF_WIDTH, notes)
        ankle, _ = _joint(paths, f"{side}_ankle", knee, axis, ANKLE_HALF_WIDTH, notes)
        heel, fore = paths.get(f"{side}_heel"), paths.get(f"{side}_toe", f"{side}_mt1", f"{side}_mt5")
        origin[:, thigh], origin[:, thigh + 1], origin[:, thigh + 2] = hips[index], knee, ankle
        rot[:, thigh] = _frame_of(hips[index] - knee, axis * outward, "zy")
        rot[:, thigh + 1] = _frame_of(knee - ankle, axis * outward, "zy")
        rot[:, thigh + 2] = _frame_of(fore - heel, ankle - heel, "xz")
        ankles.append(ankle)
        heels.append(heel)
        leg = np.linalg.norm(hips[index] - knee, axis=1) + np.linalg.norm(knee - ankle, axis=1)
        lengths.append(_foot_length(paths, side, heel, leg))
    _place_trunk(paths, origin, rot, notes)
    return MarkerSegments(
        origin=origin, rot=rot, ankle=np.stack(ankles, axis=1), heel=np.stack(heels, axis=1),
        foot_length=(lengths[0], lengths[1]), notes=tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _foot_length(paths: _Paths, side: str, heel: np.ndarray, leg: np.ndarray) -> float:
    names = [name for name in ("mt1", "mt5") if paths.has(f"{side}_{name}")] or ["toe"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames with gaps stay out
        ahead = [float(np.nanmedian(np.linalg.norm(paths.get(f"{side}_{name}") - heel, axis=1))) for name in names]
        expected = FOOT_OF_LEG * float(np.nanmedian(leg))
    lengths = [
        float(np.mean([(HEEL_BEHIND + far) / share[name] for far, name in zip(ahead, names)]))
        for share in (FOREFOOT_SHARE, TIP_SHARE)
    ]
    return min(lengths, key=lambda length: abs(length - expected))


def _joint(
    paths: _Paths, name: str, above: np.ndarray, outward: np.ndarray, half_width: float, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Centre of a knee or ankle, and the direction from it to the lateral marker."""
    lateral = paths.get(name)
    if paths.has(f"{name}_med"):
        medial = paths.get(f"{name}_med")
        return 0.5 * (lateral + medial), _unit(lateral - medial)
    length = np.linalg.norm(lateral - above, axis=1, keepdims=True)
    bone = _unit(above - lateral)
    across = _unit(outward - (outward * bone).sum(axis=1, keepdims=True) * bone)
    notes.append(
        f"No medial marker at the {name[2:]}: its centre lies {100 * half_width:.0f} % of the bone's length inwards."
    )
    return lateral - half_width * length * across, across


def _place_trunk(paths: _Paths, origin: np.ndarray, rot: np.ndarray, notes: list[str]) -> None:
    """Trunk's axes; its origin (the waist) is set with the body's lengths."""
    if paths.has("c7") and paths.has("clavicle_notch"):
        neck, notch = paths.get("c7"), paths.get("clavicle_notch")
        rot[:, 1] = _frame_of(0.5 * (neck + notch) - origin[:, 0], notch - neck, "zx")
        return
    left, right = paths.get("l_clavicle", "l_shoulder"), paths.get("r_clavicle", "r_shoulder")
    rot[:, 1] = _frame_of(0.5 * (left + right) - origin[:, 0], left - right, "zy")
    notes.append("No C7 and suprasternal markers: the trunk follows the clavicles or shoulders.")


def measure_lengths(segments: MarkerSegments, path: str) -> BodyLengths:
    """Median lengths over the frames that have all markers.

    Raises:
        ValueError: no such frame.
    """
    good = np.isfinite(segments.origin[:, [0, 2, 3, 4, 5, 6, 7]]).all(axis=(1, 2)) & np.isfinite(segments.heel).all(
        axis=(1, 2)
    )
    if not good.any():
        raise ValueError(
            f"{path}: markers: expected frames with all markers of pelvis and legs, found none; fill the gaps"
        )
    origin, rot = segments.origin[good], segments.rot[good]

    def distance(a: int, b: int) -> float:
        return float(np.median(np.linalg.norm(origin[:, a] - origin[:, b], axis=1)))

    hips = [np.median(np.einsum("tji,tj->ti", rot[:, 0], origin[:, s] - origin[:, 0]), axis=0) for s in (2, 5)]
    heels = []
    for side, foot in enumerate((4, 7)):
        back = np.median(np.einsum("tji,tj->ti", rot[:, foot], segments.heel[good][:, side] - origin[:, foot]), axis=0)
        heels.append(np.array([back[0] - HEEL_BEHIND, 0.0, back[2] - 0.03]))
    return BodyLengths(
        hip=np.stack(hips), thigh=(distance(2, 3), distance(5, 6)), shank=(distance(3, 4), distance(6, 7)),
        heel=np.stack(heels), foot=segments.foot_length,
    )  # fmt: skip
