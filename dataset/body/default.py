"""The default body of any subject: no licence, no login, no download.

Two unknowns of the shape space are solved for: stature so that the rest mesh has the subject's height, build so that its
volume at 980 kg/m³ has the subject's mass. Where the shape space ends before the height does, the whole body is scaled.
Bones do not grow with fat: above average build the hip centres stay where the regression on the pelvis of the same person at
average build puts them.
"""

from __future__ import annotations

import copy
import functools
from typing import Final

import numpy as np

from dataset.body.inertia import body_inertia, cut_bodies
from dataset.body.model import BodyModel
from dataset.body.rest_pose import RestPose, carried_landmarks, landmark_space, straightened
from dataset.body.shape_space import ShapeSpace, age_coordinate, load_shape_space
from dataset.body.shapes import collision_shapes
from dataset.schema import Subject
from dataset.skeleton import BODY_INDEX

MIN_HEIGHT: Final[float] = 1.1
MAX_HEIGHT: Final[float] = 2.0
"""Standing heights [m] that the body covers."""

DENSITY: Final[float] = 980.0
"""Whole-body density with air in the lungs [kg/m³]; the density for which the shape space was calibrated."""

LEANEST: Final[float] = -1.25
AVERAGE: Final[float] = 1.0
HEAVIEST: Final[float] = 3.5
"""Ends and middle of the build coordinate; the table ends at -1 and 3 and is continued linearly a little beyond."""

_MASS_TOLERANCE: Final[float] = 1e-4
"""Relative mass error of the mesh at which the search for the build stops (the body masses sum exactly by scaling)."""


def make_body(subject: Subject) -> BodyModel:
    """Body of a subject in the rest pose (facing +x, arms along ±y, floor z = 0, pelvis at x = y = 0), cached.

    Height is met exactly (top of the head above the floor, barefoot), the mesh's mass to 0.01 %, and the body masses sum to
    `subject.mass`. The model is mirror-symmetric to the last bit. Takes about 0.1 s.

    Args:
        subject: Person; `name` does not matter to the body. `shape` are coefficients of the low-rank shape space in prior
            standard deviations (at most `load_shape_space().num_shape`), applied before height and mass are met.

    Raises:
        ValueError: If a field is outside the range of the body; the message names field, expected range and value.
    """
    return _cached_body(subject)


def mass_range(subject: Subject) -> tuple[float, float]:
    """Lightest and heaviest mass [kg] of a subject's sex, age, height and shape."""
    _check(subject)
    space, search = load_shape_space(), _Search(subject)
    return search.mass(space, LEANEST), search.mass(space, HEAVIEST)


def shape_derivatives(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """How the rest pose changes with each coefficient of `subject.shape`, at the subject's height and build.

    Forward differences of half a standard deviation. The build stays, so the mass does not quite.

    Returns:
        Change of the landmarks (`BodyModel.landmark_pos`) [m], shape (S, L, 3), and of the joint centres [m], shape (S, N, 3),
        per coefficient that `subject.shape` has.
    """
    search = _Search(subject)
    build = search.solve_build(load_shape_space())
    space = landmark_space()
    rows = np.searchsorted(load_shape_space().left_vertex, space.left_vertex)
    kept = np.concatenate(
        [rows, np.arange(len(search.displacement) - (len(space.mean) - len(rows)), len(search.displacement))]
    )
    search.displacement = search.displacement[kept]
    hanging, rest = search.mesh(space, build)
    base, _ = carried_landmarks(space, hanging, rest)
    by_landmark, by_joint = [], []
    for index in range(len(subject.shape)):
        moved = copy.copy(search)
        one = tuple(0.5 if other == index else 0.0 for other in range(index + 1))
        moved.displacement = search.displacement + space.shape_displacement(one, subject.height)
        moved.hip_from_pelvis = None if build <= AVERAGE else moved.average_hip(space)
        moved_hanging, moved_rest = moved.mesh(space, build)
        by_landmark.append((carried_landmarks(space, moved_hanging, moved_rest)[0] - base) / 0.5)
        by_joint.append((moved_rest.joint_pos - rest.joint_pos) / 0.5)
    return np.stack(by_landmark), np.stack(by_joint)


@functools.lru_cache(maxsize=64)
def _cached_body(subject: Subject) -> BodyModel:
    _check(subject)
    space = load_shape_space()
    search = _Search(subject)
    build = search.solve_build(space)
    hanging, rest = search.mesh(space, build)
    joint_pos = rest.joint_pos
    vertices, faces, weights = space.full_vertices(rest.half), space.faces, space.full_weights()
    pieces = cut_bodies(vertices, faces, joint_pos)
    mass, com, inertia = body_inertia(pieces, joint_pos, subject.sex, subject.height, subject.mass)
    landmark_pos, landmark_normal = carried_landmarks(space, hanging, rest)
    for array in (vertices, weights, joint_pos, mass, com, inertia, landmark_pos, landmark_normal):
        array.flags.writeable = False  # the model is shared through the cache
    return BodyModel(
        subject=subject,
        joint_pos=joint_pos,
        mass=mass,
        com=com,
        inertia=inertia,
        shapes=collision_shapes(vertices, weights, joint_pos, pieces),
        vertices=vertices,
        faces=faces,
        weights=weights,
        provenance="default",
        landmark_pos=landmark_pos,
        landmark_normal=landmark_normal,
    )


def _check(subject: Subject) -> None:
    ranges = {"sex": (0.0, 1.0), "height": (MIN_HEIGHT, MAX_HEIGHT), "age": (0.0, 120.0)}
    units = {"sex": "", "height": " m", "age": " years"}
    for field, (low, high) in ranges.items():
        value = getattr(subject, field)
        if not low <= value <= high:
            raise ValueError(
                f"Subject.{field} of '{subject.name}': expected {low} to {high}{units[field]}, got {value}; check the "
                "value and its unit"
            )
    if not subject.mass > 0.0:
        raise ValueError(f"Subject.mass of '{subject.name}': expected a positive mass in kg, got {subject.mass}")
    limit = load_shape_space().num_shape
    if len(subject.shape) > limit or not np.isfinite(subject.shape).all():
        raise ValueError(
            f"Subject.shape of '{subject.name}': expected at most {limit} finite coefficients, got {subject.shape}"
        )


class _Search:
    """Meshes of one subject along the build coordinate."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        space = load_shape_space()
        self.age = age_coordinate(subject.height, subject.age)
        self.displacement = space.shape_displacement(subject.shape, subject.height)
        statures = np.array([0.0, 0.5, 1.0])
        self.hip_from_pelvis: np.ndarray | None = None
        heights = [self._unscaled(space, AVERAGE, stature)[1].half[:, 2].max() for stature in statures]
        self.stature = float(np.interp(subject.height, heights, statures))
        self.hip_from_pelvis = self.average_hip(space)

    def average_hip(self, space: ShapeSpace) -> np.ndarray:
        """Left hip centre from the pelvis joint at average build, before scaling to the height [m], shape (3,)."""
        joint_pos = self._unscaled(space, AVERAGE, self.stature)[1].joint_pos
        return joint_pos[BODY_INDEX["L_Hip"]] - joint_pos[BODY_INDEX["Pelvis"]]

    def _unscaled(self, space: ShapeSpace, build: float, stature: float) -> tuple[np.ndarray, RestPose]:
        points = space.points(self.subject.sex, self.age, build, stature, self.displacement)
        return points, straightened(space, points, self.hip_from_pelvis if build > AVERAGE else None)

    def mesh(self, space: ShapeSpace, build: float) -> tuple[np.ndarray, RestPose]:
        """Left half with hanging arms [m] before scaling, and its rest pose at the subject's height."""
        hanging, rest = self._unscaled(space, build, self.stature)
        return hanging, rest.scaled(self.subject.height / rest.half[:, 2].max())

    def mass(self, space: ShapeSpace, build: float) -> float:
        """Mass of the mesh [kg] at a build."""
        corner = space.full_vertices(self.mesh(space, build)[1].half)[space.faces]
        return DENSITY / 6.0 * float(np.einsum("fi,fi->", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])))

    def solve_build(self, space: ShapeSpace) -> float:
        """Build at which the mesh has the subject's mass: bracket between nodes, then false position (Illinois)."""
        target = self.subject.mass
        low = high = AVERAGE
        low_mass = high_mass = self.mass(space, AVERAGE)
        while low_mass > target and low > LEANEST:
            high, high_mass = low, low_mass
            low = max(low - 1.0, LEANEST)
            low_mass = self.mass(space, low)
        while high_mass < target and high < HEAVIEST:
            low, low_mass = high, high_mass
            high = min(high + 1.0, HEAVIEST)
            high_mass = self.mass(space, high)
        if not low_mass <= target <= high_mass:
            lightest, heaviest = (self.mass(space, build) for build in (LEANEST, HEAVIEST))
            raise ValueError(
                f"Subject.mass of '{self.subject.name}': expected {lightest:.1f} to {heaviest:.1f} kg at height "
                f"{self.subject.height} m, sex {self.subject.sex}, age {self.subject.age}, got {target}; check mass [kg] and "
                "height [m]"
            )
        low_error, high_error = low_mass - target, high_mass - target
        build, last_side = low, 0
        while low_error < 0.0 < high_error:
            build = (low * high_error - high * low_error) / (high_error - low_error)
            error = self.mass(space, build) - target
            if abs(error) < _MASS_TOLERANCE * target:
                return build
            if error < 0.0:
                low, low_error = build, error
                high_error *= 0.5 if last_side < 0 else 1.0
                last_side = -1
            else:
                high, high_error = build, error
                low_error *= 0.5 if last_side > 0 else 1.0
                last_side = 1
        return low if low_error == 0.0 else high
