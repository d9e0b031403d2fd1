"""Fit the body to markers: poses of a known body, and the proportions of an unknown one.

Axis legend: T frames, L labels of the file, M markers of them that are landmarks of the body, N = 24 bodies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dataset import rotation
from dataset.body.default import MAX_HEIGHT, MIN_HEIGHT, make_body, mass_range, shape_derivatives
from dataset.body.joint_priors import joint_precision
from dataset.body.landmarks import LANDMARK_ROW
from dataset.body.marker_problem import HUBER, MarkerProblem, TooFewLandmarksError, used_labels
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.schema import Motion, Subject
from dataset.skeleton import NUM_BODIES, PARENTS

__all__ = ["FitReport", "TooFewLandmarksError", "fit_pose", "fit_subject", "used_labels"]


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """How well markers and body agree."""

    rms: float
    """Root mean square distance of markers from their place on the body [m]."""
    worst: float
    """Largest distance [m]."""
    per_marker: dict[str, float]
    """Root mean square distance of each used label [m]."""
    ignored: tuple[str, ...]
    """Labels that are no landmark of the body, or a second label of the same."""
    height_is_given: bool
    """False where the height was found from the markers."""
    shape_size: float
    """Root mean square of the shape coefficients [prior standard deviations]; above 1.5 the body is unlikely."""
    frames: tuple[int, ...]
    """Frames that the proportions were fitted on."""

    def describe(self) -> str:
        """One line for a log."""
        name = max(self.per_marker, key=lambda label: self.per_marker[label])
        return (
            f"{len(self.per_marker)} markers, RMS {1e3 * self.rms:.1f} mm, worst {1e3 * self.worst:.1f} mm "
            f"(label with the largest RMS: {name}, {1e3 * self.per_marker[name]:.1f} mm), shape {self.shape_size:.2f} sd"
        )


def fit_pose(
    body: BodyModel,
    labels: Sequence[str],
    markers: np.ndarray,
    *,
    frame_rate: float,
    name: str = "fit",
    source: str = "markers",
) -> tuple[Motion, np.ndarray]:
    """Motion of a body that follows markers (inverse kinematics), gaps allowed.

    Args:
        body: Body of the subject.
        labels: Labels of the file, length L; those that are no landmark of the body are left out.
        markers: Positions [m], world (z up), shape (T, L, 3); NaN in gaps.
        frame_rate: Frames per second [Hz].
        name: Name of the motion.
        source: Source of the motion.

    Returns:
        The motion, and the distance of each marker from its place on the body [m], shape (T, L); NaN in gaps and for
        labels left out.

    Raises:
        TooFewLandmarksError: If fewer than three markers of the trunk or six in all are known in every frame.
        ValueError: If shapes disagree.
    """
    problem = MarkerProblem(labels, markers)
    problem.place_on(body)
    root, quat = problem.solve(np.arange(len(markers)), frame_rate)
    residual = np.full(markers.shape[:2], np.nan)
    residual[:, problem.index] = np.linalg.norm(problem.errors(root, quat), axis=2)
    motion = Motion(name=name, source=source, frame_rate=frame_rate, root_pos=root, quat=quat, subject=body.subject)
    return motion, residual


def fit_subject(
    labels: Sequence[str],
    markers: np.ndarray,
    *,
    mass: float,
    height: float | None = None,
    sex: float = 0.5,
    age: float = 30.0,
    name: str = "subject",
    max_frames: int = 5,
    num_shape: int = 20,
    iterations: int = 8,
) -> tuple[Subject, FitReport]:
    """Proportions of a person from markers, best of a standing trial: height (unless given) and shape coefficients.

    Minimises Σ |x_m − p_m(pose, height, shape)|² / (K σ_m²) over the K chosen frames + |shape|² + priors of the joints, by
    Gauss-Newton over poses and proportions together; mass, sex and age are taken as given (they are not separable from
    markers). The masses and inertias of the body follow from the subject that is returned (`make_body`).

    Args:
        labels: Labels of the file, length L.
        markers: Positions [m], world (z up), shape (T, L, 3); NaN in gaps. Up to `max_frames` well-seen frames are used.
        mass: Body mass [kg].
        height: Standing height [m] if known; None finds it.
        sex: 0 male, 1 female, 0.5 unknown.
        age: Age [years].
        name: Name of the subject.
        max_frames: Number of frames K at most.
        num_shape: Number of shape coefficients.
        iterations: Gauss-Newton steps at most.

    Raises:
        TooFewLandmarksError: As `fit_pose`.
        ValueError: As `fit_pose`; if height or mass are outside the body's range, or the markers those of a giant or a dwarf.
    """
    problem = MarkerProblem(labels, markers)
    full = np.flatnonzero(problem.count >= 0.9 * problem.count.max())
    frames = np.unique(full[np.linspace(0, len(full) - 1, min(max_frames, len(full))).round().astype(int)])
    guess = height if height is not None else _height_guess(problem, frames, mass, sex, age)
    wanted = Subject(name=name, sex=sex, height=guess, mass=mass, age=age, shape=(0.0,) * num_shape)
    subject, body = _search_body(wanted)
    problem.place_on(body)
    root, quat = problem.solve(frames, frame_rate=100.0)
    for _ in range(iterations):
        step, root, quat = _proportion_step(problem, subject, height is None, frames, root, quat)
        shape = tuple(float(value) for value in np.clip(np.add(subject.shape, step[1:]), -3.0, 3.0))
        grown = float(np.clip(subject.height * np.exp(step[0]), MIN_HEIGHT, MAX_HEIGHT)) if height is None else height
        wanted = dataclasses.replace(wanted, shape=shape, height=grown)
        subject, body = _search_body(wanted)
        problem.place_on(body)
        root, quat = problem.solve(frames, 100.0, (root, quat))
        if np.abs(step).max() < 0.02:
            break
    # A shape found from markers may leave no room for the mass; the nearest to it that does is taken.
    for share in (1.0, 0.75, 0.5, 0.25, 0.0):
        subject = dataclasses.replace(wanted, shape=tuple(share * value for value in wanted.shape))
        low, high = mass_range(subject)
        if low <= mass <= high:
            break
    problem.place_on(make_body(subject))  # refuses a mass outside the range of the average shape too, with the range
    root, quat = problem.solve(frames, 100.0, (root, quat))
    error = np.linalg.norm(problem.errors_on(frames, root, quat), axis=2)
    return subject, FitReport(
        rms=float(np.sqrt(np.nanmean(error**2))),
        worst=float(np.nanmax(error)),
        per_marker={label: float(np.sqrt(np.nanmean(error[:, i] ** 2))) for i, label in enumerate(problem.set.labels)},
        ignored=problem.ignored,
        height_is_given=height is not None,
        shape_size=float(np.sqrt(np.mean(np.square(subject.shape)))),
        frames=tuple(int(frame) for frame in frames),
    )


_LENGTH_PAIRS: Final[tuple[tuple[str, str], ...]] = (
    ("LKNE", "LANK"), ("RKNE", "RANK"), ("LELB", "LWRB"), ("RELB", "RWRB"), ("LASI", "LKNE"), ("RASI", "RKNE"),
    ("LSHO", "LELB"), ("RSHO", "RELB"), ("LASI", "RASI"), ("LHEE", "LTOE"), ("RHEE", "RTOE"), ("C7", "SACR"), ("C7", "LPSI"),
)  # fmt: skip
"""Landmarks whose distance hardly depends on the pose: their ratio to the average body's gives a first height."""


GUESS_ERROR: Final[float] = 1.25
"""Factor by which a first height may be wrong: a few markers of adults of 1.8 m have given 2.2 m."""


def _height_guess(problem: MarkerProblem, frames: np.ndarray, mass: float, sex: float, age: float) -> float:
    """Height [m] at which the average body's segments are as long as the markers say."""
    reference = make_body(Subject(name="reference", sex=sex, height=1.72, mass=65.0, age=age))
    problem.place_on(reference)
    targets = np.nanmedian(problem.targets[frames], axis=0)
    ratios = []
    for pair in _LENGTH_PAIRS:
        if all(landmark in problem.landmarks for landmark in pair):
            first, second = (problem.landmarks.index(landmark) for landmark in pair)
            model = np.linalg.norm(problem.rest[first] - problem.rest[second])
            ratios.append(np.linalg.norm(targets[first] - targets[second]) / model)
    if not np.isfinite(ratios).any():
        return 1.72
    guess = 1.72 * float(np.nanmedian(ratios))
    if not MIN_HEIGHT / GUESS_ERROR <= guess <= MAX_HEIGHT * GUESS_ERROR:
        raise ValueError(
            f"height: expected the markers of a person of {MIN_HEIGHT} to {MAX_HEIGHT} m, found segments of one of about "
            f"{guess:.2f} m; check the unit of the markers and the labels, or give the height [m]"
        )
    return float(np.clip(guess, MIN_HEIGHT, MAX_HEIGHT))


def _search_body(subject: Subject) -> tuple[Subject, BodyModel]:
    """The subject's body or, while proportions are still being searched, that of the nearest mass they allow."""
    try:
        return subject, make_body(subject)
    except ValueError:
        low, high = mass_range(subject)
        near = dataclasses.replace(subject, mass=float(np.clip(subject.mass, 1.001 * low, 0.999 * high)))
        return near, make_body(near)


def _proportion_step(
    problem: MarkerProblem, subject: Subject, free_height: bool, frames: np.ndarray, root: np.ndarray, quat: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Newton step of (log height, shape coefficients), shape (1 + S,), jointly with the poses."""
    by_landmark, by_joint = shape_derivatives(subject)
    by_vertex = by_landmark[:, [LANDMARK_ROW[landmark] for landmark in problem.landmarks]]
    parents = np.array(PARENTS)
    offset_by = by_joint.copy()
    offset_by[:, 1:] -= by_joint[:, parents[1:]]
    point_by = by_vertex - by_joint[:, problem.carrier]
    offset_by = np.concatenate([problem.offset[None] * free_height, offset_by])
    point_by = np.concatenate([problem.points[None] * free_height, point_by])

    body_pos, body_quat = forward_kinematics(problem.offset, root, quat)
    body_rot = rotation.to_matrix(body_quat)
    # Landmarks moved by each proportion in each pose, shape (S, K, N, 3), then (S, K, M, 3).
    moved = np.zeros((len(offset_by), len(frames), NUM_BODIES, 3))
    for body in range(1, NUM_BODIES):
        moved[:, :, body] = moved[:, :, PARENTS[body]] + np.einsum(
            "kij,sj->ski", body_rot[:, PARENTS[body]], offset_by[:, body]
        )
    moved_by = moved[:, :, problem.carrier] + np.einsum("kmij,smj->skmi", body_rot[:, problem.carrier], point_by)

    error = problem.errors_on(frames, root, quat)
    distance = np.linalg.norm(error, axis=2) / problem.spread
    scale = np.sqrt(np.minimum(1.0, HUBER / np.maximum(distance, 1e-12)) / len(frames)) / problem.spread
    scale = np.where(np.isfinite(error[:, :, 0]), scale, 0.0)
    error = np.nan_to_num(error) * scale[:, :, None]
    size, dofs = len(point_by), 3 + 3 * NUM_BODIES
    normal, gradient = np.zeros((size + len(frames) * dofs,) * 2), np.zeros(size + len(frames) * dofs)
    precision = np.concatenate([np.full(3, 1e-3), (joint_precision() / len(frames)).ravel() + 1e-3])
    for k in range(len(frames)):
        pose = problem.pose_jacobian(body_pos[k], body_rot[k])
        jacobian = np.concatenate([moved_by[:, k].transpose(1, 2, 0), pose], axis=2) * scale[k, :, None, None]
        jacobian = jacobian.reshape(-1, size + dofs)
        own = np.r_[:size, size + k * dofs : size + (k + 1) * dofs]
        normal[np.ix_(own, own)] += jacobian.T @ jacobian
        gradient[own] += jacobian.T @ error[k].ravel()
        normal[own[size:], own[size:]] += precision
        gradient[own[size + 3 :]] -= precision[3:] * rotation.to_rotation_vector(quat[k]).ravel()
    normal[range(size), range(size)] += np.r_[1.0 if free_height else 1e6, np.ones(size - 1)]
    gradient[1:size] -= subject.shape
    step = np.linalg.solve(normal, gradient)
    turns = step[size:].reshape(len(frames), dofs)
    quat = rotation.multiply(quat, rotation.from_rotation_vector(turns[:, 3:].reshape(len(frames), NUM_BODIES, 3)))
    return step[:size], root + turns[:, :3], quat
