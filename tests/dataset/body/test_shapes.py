"""Collision shapes: on the floor, on the body, adjustable feet."""

import dataclasses

import numpy as np
import pytest

from dataset.body.default import make_body
from dataset.body.inertia import cut_bodies
from dataset.body.shapes import measured_foot, shape_table, with_foot
from dataset.schema import Subject
from dataset.skeleton import BODY_INDEX, FEET, MIRROR_BODY, MIRROR_VECTOR, NUM_BODIES

SUBJECTS = (
    Subject(name="adult"),
    Subject(name="child", height=1.1, mass=19.0),
    Subject(name="tall", height=2.0, mass=95.0),
)


def lowest(body, shape) -> float:
    center = body.joint_pos[shape.body, 2] + shape.center[2]
    if shape.kind == "box":
        return center - shape.size[2]
    return center - shape.size[0] - (abs(shape.axis[2]) * shape.size[1] if shape.kind == "capsule" else 0.0)


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_every_body_has_one_shape_and_only_the_soles_touch_the_floor(subject):
    body = make_body(subject)
    assert sorted(shape.body for shape in body.shapes) == list(range(NUM_BODIES))
    feet = {index for foot in FEET for index in foot}
    for shape in body.shapes:
        if shape.body in feet:
            assert shape.kind == "box"
            assert lowest(body, shape) == pytest.approx(0.0, abs=1e-12)
        else:
            assert lowest(body, shape) > 0.01 * subject.height


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_capsules_have_the_volume_and_centre_of_their_piece_of_mesh(subject):
    body = make_body(subject)
    pieces = cut_bodies(body.vertices, body.faces, body.joint_pos)
    for shape in body.shapes:
        if shape.kind == "box":
            continue
        radius, half = shape.size[0], shape.size[1] if shape.kind == "capsule" else 0.0
        assert np.pi * radius**2 * (2 * half + 4 / 3 * radius) == pytest.approx(pieces[shape.body].volume, rel=1e-6)
        np.testing.assert_allclose(shape.center, pieces[shape.body].center - body.joint_pos[shape.body], atol=1e-12)


def test_a_capsule_reproduces_the_spread_along_its_axis():
    body = make_body(SUBJECTS[0])
    piece = cut_bodies(body.vertices, body.faces, body.joint_pos)[BODY_INDEX["L_Knee"]]
    shape = next(shape for shape in body.shapes if shape.body == BODY_INDEX["L_Knee"])
    radius, half = shape.size
    # Variance along the axis by slicing the capsule into discs.
    height = np.linspace(-half - radius, half + radius, 20001)
    area = radius**2 - np.maximum(np.abs(height) - half, 0.0) ** 2
    assert (area * height**2).sum() / area.sum() == pytest.approx(
        piece.second[2, 2] / piece.volume - piece.center[2] ** 2, rel=1e-3
    )


def test_shapes_are_mirror_images():
    body = make_body(SUBJECTS[0])
    by_body = {shape.body: shape for shape in body.shapes}
    for index, shape in by_body.items():
        other = by_body[MIRROR_BODY[index]]
        assert shape.kind == other.kind
        np.testing.assert_allclose(shape.size, other.size)
        np.testing.assert_allclose(shape.center, other.center * MIRROR_VECTOR, atol=1e-12)


def test_feet_cover_the_sole_and_meet_at_the_toe_joint():
    body = make_body(SUBJECTS[0])
    foot = measured_foot(body.vertices, body.weights, body.joint_pos)
    length = foot.heel_back + foot.toe_front + (body.joint_pos[10] - body.joint_pos[7])[0]
    assert 0.13 < length / 1.72 < 0.16  # foot length .152 H heel to tip; the sole that touches is a little shorter
    by_body = {shape.body: shape for shape in body.shapes}
    ankle, toe = by_body[BODY_INDEX["L_Ankle"]], by_body[BODY_INDEX["L_Toe"]]
    front = body.joint_pos[7, 0] + ankle.center[0] + ankle.size[0]
    back = body.joint_pos[10, 0] + toe.center[0] - toe.size[0]
    assert front == pytest.approx(back, abs=1e-12) == pytest.approx(body.joint_pos[10, 0], abs=1e-12)


def test_feet_can_be_replaced_without_touching_the_rest():
    body = make_body(SUBJECTS[0])
    foot = measured_foot(body.vertices, body.weights, body.joint_pos)
    wide = with_foot(body, dataclasses.replace(foot, outer=foot.outer + 0.02, heel_back=0.03))
    for before, after in zip(sorted(body.shapes, key=lambda s: s.body), sorted(wide.shapes, key=lambda s: s.body)):
        if before.body in {index for pair in FEET for index in pair[:1]}:
            assert after.size[1] == pytest.approx(before.size[1] + 0.01)
            assert lowest(wide, after) == pytest.approx(0.0, abs=1e-12)
        else:
            np.testing.assert_allclose(after.size, before.size)


def test_the_table_names_every_body_once():
    table = shape_table(make_body(SUBJECTS[0])).splitlines()
    assert len(table) == NUM_BODIES
    assert any(line.startswith("L_Ankle") and "box" in line for line in table)
