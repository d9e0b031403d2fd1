"""Masses and inertias: plane cuts against solids with known answers, de Leva's table, physical plausibility."""

import numpy as np
import pytest

from dataset.body.default import make_body
from dataset.body.inertia import SEGMENT_BODIES, body_inertia, cut_bodies
from dataset.body.mesh_cuts import clip, cut_moments
from dataset.body.segment_parameters import PAIRED_SEGMENTS, SEGMENTS, mass_fractions, segment_parameters
from dataset.schema import Subject
from dataset.skeleton import BODY_INDEX


def box(low, high) -> np.ndarray:
    """Triangles of an axis-aligned box, outward."""
    corner = np.array([[(low, high)[bit >> axis & 1][axis] for axis in range(3)] for bit in range(8)], dtype=float)
    quads = ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5))
    return np.array([corner[[a, b, c]] for q in quads for a, b, c in ((q[0], q[1], q[2]), (q[0], q[2], q[3]))])


def axis_plane(axis: int, at: float, sign: float = 1.0):
    return sign * np.eye(3)[axis], at * np.eye(3)[axis]


def test_a_whole_box_has_its_textbook_moments():
    whole = cut_moments(box((1, 2, 3), (2, 4, 6)))
    assert whole.volume == pytest.approx(6.0)
    np.testing.assert_allclose(whole.center, [1.5, 3.0, 4.5])
    sides = np.array([1.0, 2.0, 3.0]) ** 2
    np.testing.assert_allclose(whole.inertia_per_mass, np.diag(sides.sum() - sides) / 12.0, atol=1e-12)


def test_cutting_with_one_two_and_three_planes_leaves_the_exact_box():
    for planes, high in (
        ([axis_plane(0, 0.7, -1.0)], (0.7, 1, 1)),
        ([axis_plane(0, 0.7, -1.0), axis_plane(2, 0.2, -1.0)], (0.7, 1, 0.2)),
        ([axis_plane(0, 0.7, -1.0), axis_plane(2, 0.2, -1.0), axis_plane(1, 0.5, -1.0)], (0.7, 0.5, 0.2)),
    ):
        piece, expected = cut_moments(box((0, 0, 0), (1, 1, 1)), *planes), cut_moments(box((0, 0, 0), high))
        assert piece.volume == pytest.approx(expected.volume)
        np.testing.assert_allclose(piece.first, expected.first, atol=1e-12)
        np.testing.assert_allclose(piece.second, expected.second, atol=1e-12)


def test_an_inclined_cut_halves_a_cube():
    plane = (np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.5, 0.5]))
    piece = cut_moments(box((0, 0, 0), (1, 1, 1)), plane)
    assert piece.volume == pytest.approx(0.5)
    np.testing.assert_allclose(piece.center, [2 / 3, 0.5, 2 / 3])


def test_parallel_planes_are_refused():
    with pytest.raises(ValueError, match="meet in a point or line"):
        cut_moments(box((0, 0, 0), (1, 1, 1)), axis_plane(0, 0.2), axis_plane(0, 0.7, -1.0))


def test_clipping_keeps_area_on_both_sides():
    triangles = box((0, 0, 0), (1, 1, 1))
    plane = (np.array([0.3, -0.5, 0.8]), np.array([0.4, 0.5, 0.6]))

    def area(part):
        return np.linalg.norm(np.cross(part[:, 1] - part[:, 0], part[:, 2] - part[:, 0]), axis=1).sum() / 2

    total = area(clip(triangles, plane)) + area(clip(triangles, (-plane[0], plane[1])))
    assert total == pytest.approx(6.0)


def test_de_leva_masses_sum_to_the_whole_body():
    for sex, total in ((0.0, 1.0), (1.0, 0.9999)):
        printed = sum(segment_parameters(s, sex).mass * (2 if s in PAIRED_SEGMENTS else 1) for s in SEGMENTS)
        assert printed == pytest.approx(total, abs=1e-9)
        exact = sum(mass * (2 if s in PAIRED_SEGMENTS else 1) for s, mass in mass_fractions(sex).items())
        assert exact == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("sex", [0.0, 1.0])
def test_adult_segments_have_de_levas_masses_centres_and_radii(sex):
    subject = Subject(name="adult", sex=sex, height=1.7, mass=66.0)
    body = make_body(subject)
    for segment, names in SEGMENT_BODIES.items():
        mass = sum(body.mass[BODY_INDEX[name]] for name in names)
        assert mass / subject.mass == pytest.approx(mass_fractions(sex)[segment], rel=1e-9)
    thigh, knee = BODY_INDEX["L_Hip"], BODY_INDEX["L_Knee"]
    length = np.linalg.norm(body.joint_pos[knee] - body.joint_pos[thigh])
    expected = segment_parameters("thigh", sex)
    assert -body.com[thigh, 2] / length == pytest.approx(expected.center, rel=1e-3)
    radii = np.sqrt(np.diag(body.inertia[thigh]) / body.mass[thigh]) / length
    np.testing.assert_allclose(radii, expected.radii, rtol=1e-6)


@pytest.mark.parametrize("height", [1.1, 1.3, 1.72, 2.0])
def test_pieces_of_the_mesh_add_up_to_the_mesh(height):
    body = make_body(Subject(name="sum", height=height, mass=20.0 * height**2 if height > 1.2 else 19.0))
    pieces = cut_bodies(body.vertices, body.faces, body.joint_pos)
    whole = cut_moments(body.vertices[body.faces])
    total = pieces[0]
    for piece in pieces[1:]:
        total = total + piece
    assert total.volume == pytest.approx(whole.volume, rel=1e-9)
    np.testing.assert_allclose(total.second, whole.second, atol=1e-9)


def test_child_masses_are_the_meshs_own():
    body = make_body(Subject(name="child", height=1.2, mass=23.0))
    volumes = np.array([piece.volume for piece in cut_bodies(body.vertices, body.faces, body.joint_pos)])
    np.testing.assert_allclose(body.mass / 23.0, volumes / volumes.sum(), rtol=1e-9)


@pytest.mark.parametrize("height", [1.1, 1.53, 1.72, 2.0])
def test_every_inertia_is_one_of_a_real_solid(height):
    """Symmetric, positive, principal moments satisfying the triangle inequality, centre inside the body's reach."""
    body = make_body(Subject(name="real", height=height, mass=20.0 * height**2 if height > 1.2 else 19.0))
    np.testing.assert_allclose(body.inertia, body.inertia.swapaxes(1, 2), atol=1e-15)
    principal = np.linalg.eigvalsh(body.inertia)
    assert (principal > 0).all()
    assert (principal[:, 0] + principal[:, 1] >= principal[:, 2] * (1 - 1e-9)).all()
    assert (np.linalg.norm(body.com, axis=1) < 0.25 * height / 1.72).all()
    assert (body.mass > 0.0005 * body.subject.mass).all()


def test_whole_body_centre_of_mass_is_at_human_height():
    """T-pose: de Leva's masses and centres put it at .559 (F) to .574 (M) of height; the mesh's own at .583."""
    for sex, low, high in ((0.0, 0.565, 0.590), (1.0, 0.555, 0.580)):
        body = make_body(Subject(name="com", sex=sex, height=1.7, mass=66.0))
        com = body.mass @ (body.joint_pos + body.com) / body.subject.mass / 1.7
        assert low < com[2] < high


def test_female_mesh_cut_by_planes_agrees_with_de_leva():
    """The cuts are the anatomist's: on the average woman trunk, thigh and upper arm come out within 15 % of the table."""
    subject = Subject(name="f", sex=1.0, height=1.63, mass=60.0)
    body = make_body(subject)
    volumes = np.array([piece.volume for piece in cut_bodies(body.vertices, body.faces, body.joint_pos)])
    for segment in ("trunk", "thigh", "shank", "upper_arm", "head"):
        share = sum(volumes[BODY_INDEX[name]] for name in SEGMENT_BODIES[segment]) / volumes.sum()
        assert share == pytest.approx(mass_fractions(1.0)[segment], rel=0.20), segment


def test_a_mesh_without_volume_is_refused():
    body = make_body(Subject(name="flat"))
    pieces = cut_bodies(body.vertices * np.array([1.0, 1.0, 0.0]), body.faces, body.joint_pos)
    with pytest.raises(ValueError, match="expected every body to have volume"):
        body_inertia(pieces, body.joint_pos, 0.5, 1.72, 70.0)
