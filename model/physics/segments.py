"""Body segments from markers: joint centres, centres of mass and long axes of a person, without a fitted model.

Hip centres by regression on the pelvis markers, other joints from the markers beside them, masses and centres of mass
of adults. The trunk's centre of mass lies on the line from the centroid of the pelvis markers to the centroid of the
thorax markers: soft tissue and the spine's curve make it follow that line better than the line from the neck to the
hips.

Axis legend: T frames, S segments.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from dataset.body.segment_parameters import mass_fractions, segment_parameters
from dataset.lab.landmarks import find_landmarks
from dataset.lab.trajectories import fill_gaps
from dataset.schema import LabTrial

_THORAX: Final[tuple[str, ...]] = (
    "c7",
    "clavicle_notch",
    "sternum",
    "t10",
    "l_shoulder",
    "r_shoulder",
    "l_clavicle",
    "r_clavicle",
)
_HEAD: Final[tuple[str, ...]] = ("l_head_front", "r_head_front", "l_head_back", "r_head_back", "head_top")
TRUNK_FROM_C7: Final[float] = 0.505
"""Centre of mass of the trunk from the seventh cervical vertebra, fraction of its distance to the mid-hip point
(de Leva 1996, Table 4, alternative end points: 51.38 % male, 49.64 % female, mean)."""
KNEE_HALF_WIDTH, ANKLE_HALF_WIDTH = 0.12, 0.09
"""Distance from the lateral marker to the joint centre as a fraction of thigh and shank length, where no medial
marker is."""
HEAD_ABOVE_C7 = 0.28
"""Centre of mass of head and neck above C7 as a fraction of the trunk's length (C7 to mid-hip), where no head marker
is."""


@dataclass(frozen=True, kw_only=True)
class SegmentMotion:
    """Rigid segments of a person over time."""

    names: tuple[str, ...]
    """Segment names, length S."""
    fraction_S: np.ndarray
    """Fraction of body mass, shape (S,); sums to 1."""
    com_TS3: np.ndarray
    """Centres of mass [m], world, shape (T, S, 3); NaN where a marker that is needed is missing."""
    axis_TS3: np.ndarray
    """Long axes, proximal to distal end [m], world, shape (T, S, 3)."""
    gyration_S: np.ndarray
    """Radius of gyration about a transverse axis as a fraction of the long axis's length, shape (S,)."""
    hip_TF3: np.ndarray
    """Hip joint centres (left, right) [m], shape (T, 2, 3)."""
    ankle_TF3: np.ndarray
    """Ankle joint centres (left, right) [m], shape (T, 2, 3)."""
    notes: tuple[str, ...]
    """What was assumed for missing markers."""


_AddSegment = Callable[[str, np.ndarray, np.ndarray], None]


class _Landmarks:
    """Gap-filled landmark paths by name."""

    def __init__(self, trial: LabTrial) -> None:
        self.path = trial.path
        self.frames = trial.num_frames
        found = find_landmarks(trial.marker_names)
        self._paths = {
            name: fill_gaps(trial.markers[:, index], trial.marker_rate)
            for name, index in found.items()
            if np.isfinite(trial.markers[:, index, 0]).sum() > max(1, 0.2 * trial.num_frames)
        }

    def get(self, name: str) -> np.ndarray | None:
        return self._paths.get(name)

    def need(self, *names: str) -> np.ndarray:
        """Path of the first of these landmarks that exists."""
        for name in names:
            if name in self._paths:
                return self._paths[name]
        raise ValueError(
            f"{self.path}: markers: expected {' or '.join(names)}, found none of them (or only "
            "gaps) among "
            f"{len(self._paths)} known landmarks; the segment cannot be placed without it"
        )

    def some(self, names: tuple[str, ...]) -> list[np.ndarray]:
        return [self._paths[name] for name in names if name in self._paths]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def _median_length(vector: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmedian(np.linalg.norm(vector, axis=-1)))


def _centroid(paths: list[np.ndarray]) -> np.ndarray:
    """Mean path; where one of them has a gap, it is replaced by its mean offset from the others."""
    stack = np.stack(paths, axis=1)
    if np.isfinite(stack).all():
        return stack.mean(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        whole = np.isfinite(stack).all(axis=(1, 2))
        if not whole.any():
            return np.nanmean(stack, axis=1)
        reference = stack[whole].mean(axis=0)
        offset = reference - reference.mean(axis=0)
        return np.nanmean(stack - offset, axis=1)


def hip_centers(l_asis: np.ndarray, r_asis: np.ndarray, mid_psis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hip joint centres from the pelvis markers by linear regression.

    In the pelvis frame at the middle of the front spines, with pelvis width W = |LASI − RASI| and depth D from mid-ASIS
    to mid-PSIS: 0.24 D + 9.9 mm backwards, 0.30 W + 10.9 mm down, 0.33 W + 7.3 mm sideways.

    Args:
        l_asis: Left anterior superior iliac spine [m], shape (T, 3).
        r_asis: Right anterior superior iliac spine [m], shape (T, 3).
        mid_psis: Middle of the posterior spines, or the sacrum marker [m], shape (T, 3).

    Returns:
        (left, right) hip centres [m], shape (T, 3) each.

    Source: Harrington et al., J. Biomech. 40:595-602 (2007), one-variable regressions.
    """
    front = 0.5 * (l_asis + r_asis)
    left = _unit(l_asis - r_asis)
    forward = front - mid_psis
    forward = _unit(forward - (forward * left).sum(axis=1, keepdims=True) * left)
    up = np.cross(forward, left)
    width, depth = _median_length(l_asis - r_asis), _median_length(front - mid_psis)
    center = front - (0.24 * depth + 0.0099) * forward - (0.30 * width + 0.0109) * up
    side = (0.33 * width + 0.0073) * left
    return center + side, center - side


def _joint(marks: _Landmarks, side: str, joint: str, upper: np.ndarray, inward: np.ndarray, share: float) -> np.ndarray:
    """Knee or ankle centre: middle of both markers, or the lateral one moved inwards by a share of the length."""
    lateral, medial = marks.need(f"{side}_{joint}"), marks.get(f"{side}_{joint}_med")
    if medial is not None:
        return _centroid([lateral, medial])
    along = _unit(lateral - upper)
    inward = inward - (inward * along).sum(axis=1, keepdims=True) * along
    return lateral + share * _median_length(lateral - upper) * _unit(inward)


def body_segments(trial: LabTrial, *, sex: float = 0.5) -> SegmentMotion:
    """Place the segments of a person from the markers of a trial.

    Args:
        trial: Full-body trial; needs both front spines, the posterior spines or a sacrum marker, shoulders or C7,
            lateral knee and ankle, heel and one forefoot marker of each leg. Missing head or arms are lumped where the
            trunk carries them.
        sex: 0 male, 1 female: table of segment parameters.

    Returns:
        Segments with NaN frames where a marker is missing for more than 0.25 s.

    Raises:
        ValueError: a landmark that cannot be replaced is missing.

    Source: masses and centres de Leva, J. Biomech. 29:1223-1230 (1996), Table 4; hips Harrington et al. 2007.
    """
    marks, notes = _Landmarks(trial), []
    l_asis, r_asis = marks.need("l_asis"), marks.need("r_asis")
    back = marks.some(("l_psis", "r_psis"))
    mid_psis = _centroid(back) if len(back) == 2 else marks.need("sacrum")
    hips = hip_centers(l_asis, r_asis, mid_psis)
    mid_hip = 0.5 * (hips[0] + hips[1])
    pelvis = 0.25 * (l_asis + r_asis) + 0.5 * mid_psis
    thorax_paths = marks.some(_THORAX)
    if len(thorax_paths) < 2:
        raise ValueError(
            f"{trial.path}: markers: expected at least two of {', '.join(_THORAX)}, found "
            f"{len(thorax_paths)}; "
            "the trunk cannot be placed without them"
        )
    thorax = _centroid(thorax_paths)
    neck = marks.get("c7")
    if neck is None:
        neck = _centroid(marks.some(("l_shoulder", "r_shoulder"))) if marks.get("l_shoulder") is not None else thorax
        notes.append("No C7 marker: the middle of the shoulders stands for it.")
    com, axis, names = [], [], []

    def add(name: str, center: np.ndarray, long_axis: np.ndarray) -> None:
        names.append(name)
        com.append(center)
        axis.append(long_axis)

    height = (neck + TRUNK_FROM_C7 * (mid_hip - neck))[:, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        along = float(np.nanmedian((height - pelvis[:, 2]) / (thorax - pelvis)[:, 2]))
    add("trunk", pelvis + along * (thorax - pelvis), mid_hip - neck)
    head_paths = marks.some(_HEAD)
    trunk_up = neck - mid_hip
    if len(head_paths) >= 2:
        head = _centroid(head_paths)
    else:
        head = neck + HEAD_ABOVE_C7 * trunk_up
        notes.append("No head markers: the head moves with the trunk.")
    add("head", head, 0.4 * trunk_up)
    ankles = []
    for index, side in enumerate("lr"):
        inward = (l_asis - r_asis) * (-1.0 if side == "l" else 1.0)
        knee = _joint(marks, side, "knee", hips[index], inward, KNEE_HALF_WIDTH)
        ankle = _joint(marks, side, "ankle", knee, inward, ANKLE_HALF_WIDTH)
        ankles.append(ankle)
        heel = marks.need(f"{side}_heel")
        fore = marks.some((f"{side}_toe", f"{side}_mt1", f"{side}_mt5"))
        toe = _centroid(fore) if fore else marks.need(f"{side}_toe")
        for name, upper, lower in (("thigh", hips[index], knee), ("shank", knee, ankle)):
            share = segment_parameters(name, sex).center
            add(f"{side}_{name}", upper + share * (lower - upper), lower - upper)
        # The heel and forefoot markers span about 0.75 of the foot from heel to toe tip.
        add(f"{side}_foot", heel + segment_parameters("foot", sex).center / 0.75 * (toe - heel), (toe - heel) / 0.75)
        notes += _add_arm(marks, side, sex, thorax, add)
    kinds = [name.removeprefix("l_").removeprefix("r_") for name in names]
    fractions = mass_fractions(sex)
    fraction = np.array([fractions[kind] for kind in kinds])
    gyration = np.array([np.mean(segment_parameters(kind, sex).radii[:2]) for kind in kinds])
    return SegmentMotion(
        names=tuple(names),
        fraction_S=fraction / fraction.sum(),
        com_TS3=np.stack(com, axis=1),
        axis_TS3=np.stack(axis, axis=1),
        gyration_S=gyration,
        hip_TF3=np.stack(hips, axis=1),
        ankle_TF3=np.stack(ankles, axis=1),
        notes=tuple(notes),
    )


def _add_arm(marks: _Landmarks, side: str, sex: float, thorax: np.ndarray, add: _AddSegment) -> list[str]:
    """Upper arm, forearm and hand of one side; at the thorax where the arm has no markers."""
    shoulder, elbow = marks.get(f"{side}_shoulder"), marks.get(f"{side}_elbow")
    wrists = marks.some((f"{side}_wrist_radius", f"{side}_wrist_ulna"))
    if shoulder is None or elbow is None or not wrists:
        for name in ("upper_arm", "forearm", "hand"):
            add(f"{side}_{name}", thorax, np.zeros_like(thorax))
        return [f"No markers on the {'left' if side == 'l' else 'right'} arm: its mass moves with the thorax."]
    medial = marks.get(f"{side}_elbow_med")
    elbow = elbow if medial is None else _centroid([elbow, medial])
    wrist = _centroid(wrists)
    for name, upper, lower in (("upper_arm", shoulder, elbow), ("forearm", elbow, wrist)):
        share = segment_parameters(name, sex).center
        add(f"{side}_{name}", upper + share * (lower - upper), lower - upper)
    knuckles = marks.some((f"{side}_hand", f"{side}_hand_ulna"))
    tip = _centroid(knuckles) if knuckles else wrist + 0.3 * (wrist - elbow)
    add(f"{side}_hand", wrist + segment_parameters("hand", sex).center * (tip - wrist), tip - wrist)
    return []
