"""Marker tracks of poses, and the heading of a pelvis."""

import numpy as np

from dataset import rotation
from dataset.body.default import make_body
from dataset.body.marker_sets import marker_points, marker_set
from dataset.marker_tracks import MarkerPlacement, pelvis_heading
from dataset.schema import Subject
from dataset.skeleton import NUM_BODIES


def test_a_rest_pose_carried_somewhere_carries_its_markers_along() -> None:
    """A quarter turn about the pelvis and a shift: every marker keeps its place on the body."""
    body = make_body(Subject(name="p", height=1.7, mass=70.0))
    points, bodies, weights = marker_points(body, marker_set("cmu_41"))
    placement = MarkerPlacement(joint_pos=body.joint_pos, points=points, bodies=bodies, weights=weights)
    turn, shift = rotation.from_axis_angle((0, 0, 1), np.pi / 2), np.array([3.0, -2.0, 0.5])
    quat = np.tile(rotation.IDENTITY, (2, NUM_BODIES, 1))
    quat[1, 0] = turn
    tracks = placement.place(np.stack([body.joint_pos[0], shift]), quat)
    assert tracks.shape == (2, 41, 3) and tracks.dtype == np.float32
    np.testing.assert_allclose(tracks[0], points, atol=1e-6)
    np.testing.assert_allclose(tracks[1], shift + rotation.rotate(turn, points - body.joint_pos[0]), atol=1e-6)


def test_heading_is_defined_for_a_pelvis_that_looks_straight_up_or_down() -> None:
    """Upright: the forward axis. On the back or the belly: where it points after getting up the shortest way."""
    identity = rotation.IDENTITY
    left = rotation.from_axis_angle((0, 0, 1), np.pi / 2)
    on_the_back = rotation.multiply(left, rotation.from_axis_angle((0, 1, 0), -np.pi / 2))
    on_the_belly = rotation.multiply(left, rotation.from_axis_angle((0, 1, 0), np.pi / 2))
    found = pelvis_heading(np.stack([identity, left, on_the_back, on_the_belly]))
    np.testing.assert_allclose(found, [[1, 0], [0, 1], [0, 1], [0, 1]], atol=1e-7)
