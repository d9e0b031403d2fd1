"""Where the person of a trial is and which way they face: the frame of every window, and the joints' frames.

The solver's windows are turned so that the pelvis faces +x and moved so that the pelvis joint is above the origin
(`model.batches`); both come from the body fitted to the markers, or, where too few bony landmarks are labelled for a
fit, from the pelvis markers alone.

Axis legend: T frames at 30 Hz, M markers, N = 24 bodies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset import rotation
from dataset.body.default import MAX_HEIGHT, MIN_HEIGHT, make_body, mass_range
from dataset.body.fit import TooFewLandmarksError, fit_pose, fit_subject
from dataset.body.landmarks import LANDMARK_ROW, LANDMARKS
from dataset.body.marker_labels import canonical_label
from dataset.body.marker_problem import used_labels
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.marker_tracks import pelvis_heading
from dataset.schema import FRAME_RATE, Motion, Subject
from kernels.markers import place_markers
from model.trial_markers import TrialMarkers

PELVIS_LANDMARKS = ("LASI", "RASI", "LPSI", "RPSI", "SACR")
"""Landmarks that carry the pelvis frame where no body could be fitted."""
FARTHEST_FROM_SKIN = 0.05
"""Markers farther than this from the fitted skin [m] (median over frames) are joint centres, computed points, long wands
or objects: nothing the solver has seen."""
_SKIN_FRAMES = 12
_TRUNK = ("Pelvis", "Torso", "Spine", "Chest")


@dataclass(frozen=True, kw_only=True)
class TrialPose:
    """Pelvis frame of every 30 Hz frame, and the fitted body where there is one."""

    pelvis_T3: np.ndarray
    """Pelvis joint [m], world, shape (T, 3); NaN where it cannot be told."""
    heading_T: np.ndarray
    """Angle of the pelvis's forward axis about z [rad], shape (T,)."""
    subject: Subject | None = None
    """Fitted person; None where too few landmarks are labelled."""
    body: BodyModel | None = None
    """Fitted body; None where too few landmarks are labelled."""
    motion: Motion | None = None
    """Its pose at 30 Hz."""
    is_fitted_T: np.ndarray | None = None
    """Frames whose pose is told by markers (at least six landmarks, three on the trunk), shape (T,)."""
    residual: float = float("nan")
    """Root mean square distance of the landmarks from their place on the body [m]."""
    left_out: tuple[tuple[str, str], ...] = ()
    """(label, reason) of markers that are not on the fitted skin."""
    notes: tuple[str, ...] = ()
    """What was assumed, one sentence each."""

    def joint_pos(self) -> np.ndarray | None:
        """Joint centres of the fitted body [m], world, shape (T, N, 3)."""
        if self.body is None or self.motion is None:
            return None
        return forward_kinematics(self.body.offset, self.motion.root_pos, self.motion.quat)[0]

    def body_quat(self) -> np.ndarray | None:
        """Orientation of the fitted bodies, body to world, wxyz, shape (T, N, 4)."""
        if self.body is None or self.motion is None:
            return None
        return forward_kinematics(self.body.offset, self.motion.root_pos, self.motion.quat)[1]


def check_person(mass: float, height: float | None, *, height_source: str = "given") -> None:
    """Refuse a person whom the body does not cover, before anything is fitted.

    Args:
        mass: Body mass [kg].
        height: Standing height [m]; None where the markers will tell it: then the mass must be possible at some height.
        height_source: Where the height comes from, for the error text.

    Raises:
        ValueError: height outside the body's range, or mass outside that of its height.
    """
    if height is not None and not MIN_HEIGHT <= height <= MAX_HEIGHT:
        raise ValueError(
            f"height: expected {MIN_HEIGHT} to {MAX_HEIGHT} m, the range of the body, found {height:g} m ({height_source}); "
            "pass --height in metres; for people outside that range there is no prediction"
        )
    low, high = (
        mass_range(Subject(name="range", height=of, mass=mass))[end]
        for end, of in enumerate((MIN_HEIGHT, MAX_HEIGHT) if height is None else (height, height))
    )
    if not low <= mass <= high:
        where = f"at a height of {height:g} m ({height_source})" if height else f"up to a height of {MAX_HEIGHT} m"
        raise ValueError(
            f"mass: expected {low:.1f} to {high:.1f} kg {where}, the range of the body, found {mass:g} kg; check the mass [kg] "
            "and the height [m] and pass them as --mass and --height"
        )


def find_pose(
    markers: TrialMarkers,
    *,
    mass: float,
    height: float | None = None,
    name: str = "subject",
    subject: Subject | None = None,
) -> TrialPose:
    """Fit a body to the markers; without enough landmarks, take the pelvis frame from the pelvis markers.

    Args:
        markers: Prepared markers.
        mass: Body mass [kg].
        height: Standing height [m] if known.
        name: Name of the person.
        subject: Person whose proportions are known already (another trial was fitted); found from the markers if None.

    Raises:
        ValueError: neither a body nor a pelvis can be placed, or the person is outside the body's range.
    """
    try:
        return _fitted(markers, mass, height, name, subject)
    except TooFewLandmarksError as error:
        return _from_pelvis_markers(markers, mass, height, str(error))


def _fitted(markers: TrialMarkers, mass: float, height: float | None, name: str, subject: Subject | None) -> TrialPose:
    notes = []
    if subject is None:
        subject, report = fit_subject(markers.names, markers.markers_TM3, mass=mass, height=height, name=name)
        notes.append(f"Body fitted to {report.describe()}.")
        if not report.height_is_given:
            notes.append(f"Height found from the markers: {subject.height:.2f} m.")
    body = make_body(subject)
    motion, distance = fit_pose(body, markers.names, markers.markers_TM3, frame_rate=FRAME_RATE, name=name)
    is_fitted = _is_told(markers)
    heading = _angle(pelvis_heading(motion.quat[:, 0]))
    if not is_fitted.all():
        notes.append(
            f"In {int((~is_fitted).sum())} of {len(is_fitted)} frames too few landmarks are seen to place the body."
        )
    pelvis = np.where(is_fitted[:, None], motion.root_pos, np.nan)
    return TrialPose(
        pelvis_T3=pelvis, heading_T=heading, subject=subject, body=body, motion=motion, is_fitted_T=is_fitted,
        residual=float(np.sqrt(np.nanmean(distance[is_fitted] ** 2))),
        left_out=_off_the_skin(markers, body, motion, is_fitted), notes=tuple(notes),
    )  # fmt: skip


def _angle(direction: np.ndarray) -> np.ndarray:
    return np.arctan2(direction[:, 1], direction[:, 0])


def _is_told(markers: TrialMarkers) -> np.ndarray:
    """Frames in which at least six landmarks are seen, three of them on pelvis and trunk, shape (T,)."""
    index, chosen, _ = used_labels(markers.names)
    carrier = [LANDMARKS[canonical_label(label) or ""][1] for label in chosen.labels]
    seen = np.isfinite(markers.markers_TM3[:, index, 0])
    trunk = np.isin(carrier, _TRUNK)
    return (seen.sum(axis=1) >= 6) & ((seen & trunk).sum(axis=1) >= 3)


def _off_the_skin(
    markers: TrialMarkers, body: BodyModel, motion: Motion, is_fitted: np.ndarray
) -> tuple[tuple[str, str], ...]:
    """Markers whose median distance from the nearest point of the fitted skin is above `FARTHEST_FROM_SKIN`."""
    frames = np.flatnonzero(is_fitted)
    frames = frames[np.linspace(0, len(frames) - 1, min(_SKIN_FRAMES, len(frames))).round().astype(int)]
    position, orientation = forward_kinematics(body.offset, motion.root_pos[frames], motion.quat[frames])
    order = np.argsort(-body.weights, axis=1, kind="stable")[:, :4].astype(np.int32)
    weights = np.take_along_axis(body.weights, order, axis=1)
    skin = place_markers(
        body.vertices, np.asarray(body.joint_pos), order, weights, position, rotation.to_matrix(orientation)
    )
    from scipy.spatial import KDTree

    distance = np.full((len(frames), len(markers.names)), np.nan)
    for row, frame in enumerate(frames):
        seen = np.isfinite(markers.markers_TM3[frame]).all(axis=1)
        distance[row, seen] = KDTree(skin[row]).query(markers.markers_TM3[frame, seen])[0]
    landmarks, _, _ = used_labels(markers.names)
    result = []
    for m, label in enumerate(markers.names):
        values = distance[:, m][np.isfinite(distance[:, m])]
        if len(values) and m not in landmarks and (away := float(np.median(values))) > FARTHEST_FROM_SKIN:
            result.append((label, f"{1000 * away:.0f} mm from the skin of the fitted body"))
    return tuple(result)


def _from_pelvis_markers(markers: TrialMarkers, mass: float, height: float | None, reason: str) -> TrialPose:
    """Pelvis frame by rigid alignment of the pelvis landmarks of an average body with the markers on them."""
    body = make_body(Subject(name="average", height=1.72, mass=70.0))
    assert body.landmark_pos is not None
    found = {canonical_label(label): m for m, label in enumerate(markers.names)}
    known = [landmark for landmark in PELVIS_LANDMARKS if landmark in found]
    if len(known) < 3:
        raise ValueError(
            f"marker labels: expected at least three of the pelvis ({', '.join(PELVIS_LANDMARKS)} or what other sets call "
            f"them) or a body that can be fitted, found {', '.join(known) or 'none'} and no fit ({reason}); label the pelvis "
            "markers"
        )
    scale = (height or 1.72) / 1.72
    rest = scale * (body.landmark_pos[[LANDMARK_ROW[name] for name in known]] - body.joint_pos[0])
    tracks = markers.markers_TM3[:, [found[name] for name in known]]
    frames = len(tracks)
    pelvis, forward = np.full((frames, 3), np.nan), np.full((frames, 3), np.nan)
    for frame in range(frames):
        seen = np.isfinite(tracks[frame]).all(axis=1)
        if seen.sum() >= 3:
            turn, shift = _rigid_alignment(rest[seen], tracks[frame, seen])
            pelvis[frame], forward[frame] = shift, turn[:, 0]
    if not np.isfinite(pelvis).any():
        raise ValueError(
            f"pelvis markers: expected a frame in which three of {', '.join(known)} are seen, found none; fill their gaps"
        )
    note = (
        f"No body could be fitted ({reason}): the pelvis markers place the windows, torques have lengths but no frames."
    )
    return TrialPose(pelvis_T3=pelvis, heading_T=_angle(forward), notes=(note,))


def _rigid_alignment(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and image of the origin (3,) that bring points (n, 3) nearest to others (Kabsch 1976)."""
    a, b = source.mean(axis=0), target.mean(axis=0)
    left, _, right = np.linalg.svd((target - b).T @ (source - a))
    turn = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
    return turn, b - turn @ a
