"""Marker sets: names of real files, places on the body, mirror pairs, even spread of the dense set."""

import numpy as np
import pytest

from dataset.body.default import make_body
from dataset.body.dense_points import area_uniform_pairs, cell_areas, vertex_areas
from dataset.body.landmarks import LANDMARKS
from dataset.body.marker_labels import canonical_label
from dataset.body.marker_sets import (
    DENSE_LEFT,
    MARKER_OFFSET,
    MARKER_SETS,
    landmark_set,
    marker_points,
    marker_set,
    mirror_markers,
)
from dataset.body.shape_space import load_shape_space
from dataset.schema import Subject
from dataset.skeleton import BODY_INDEX, BODY_NAMES, MIRROR_BODY, MIRROR_VECTOR
from kernels.markers import place_markers

BODY = Subject(name="markers")


@pytest.mark.parametrize(("name", "count"), [("plug_in_gait_39", 39), ("cmu_41", 41), ("opencap", 31), ("dense", 128)])
def test_sets_have_their_number_of_distinct_markers(name, count):
    markers = marker_set(name)
    assert markers.num_markers == len(set(markers.labels)) == len(set(markers.vertices.tolist())) == count


def test_an_unknown_set_or_landmark_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="plug_in_gait_39"):
        marker_set("helen_hayes")
    with pytest.raises(ValueError, match="LNOSE"):
        landmark_set("mine", ["nose"], ["LNOSE"])


@pytest.mark.parametrize("name", MARKER_SETS)
def test_weights_sum_to_one_over_at_most_four_bodies(name):
    points, bodies, weights = marker_points(make_body(BODY), marker_set(name))
    assert points.dtype == np.float64
    assert (bodies.dtype, weights.dtype) == (np.int32, np.float32)
    assert bodies.shape == weights.shape == (len(points), 4)
    assert (bodies >= 0).all() and (bodies < len(BODY_NAMES)).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    if name != "dense":
        np.testing.assert_array_equal(weights[:, 0], 1.0)


def test_the_rest_pose_puts_markers_back_on_their_rest_points():
    body = make_body(BODY)
    rotation = np.tile(np.eye(3), (1, 24, 1, 1))
    for name in MARKER_SETS:
        points, bodies, weights = marker_points(body, marker_set(name))
        placed = place_markers(
            points, body.joint_pos, bodies, weights, body.joint_pos[None], rotation, backend="reference"
        )
        np.testing.assert_allclose(placed[0], points, atol=1e-7)


@pytest.mark.parametrize("name", ["dense", "opencap", "plug_in_gait_39"])
def test_left_and_right_markers_are_mirror_images(name):
    markers = marker_set(name)
    points, bodies, weights = marker_points(make_body(BODY), markers)
    partner = mirror_markers(markers)
    paired = partner >= 0
    assert (~paired).sum() == (1 if name == "plug_in_gait_39" else 0)  # RBAK has no counterpart
    np.testing.assert_allclose(points[partner[paired]], points[paired] * MIRROR_VECTOR, atol=1e-9)
    row = np.zeros((len(points), 24))
    np.add.at(row, (np.arange(len(points))[:, None], bodies), weights)
    np.testing.assert_allclose(row[partner[paired]][:, list(MIRROR_BODY)], row[paired], atol=1e-6)


def test_laboratory_markers_sit_on_the_bone_and_outside_the_skin():
    """Spines of the pelvis on the pelvis, malleoli on the shank; centres 9 mm off the landmark along the outward normal."""
    body, markers = make_body(BODY), marker_set("plug_in_gait_39")
    points, bodies, _ = marker_points(body, markers)
    at = dict(zip(markers.labels, points))
    owner = dict(zip(markers.labels, bodies[:, 0]))
    assert owner["LASI"] == BODY_INDEX["Pelvis"]
    assert owner["LANK"] == BODY_INDEX["L_Knee"]
    rows = [list(LANDMARKS).index(label) for label in markers.labels]
    offset = points - body.landmark_pos[rows]
    np.testing.assert_allclose(np.linalg.norm(offset, axis=1), MARKER_OFFSET, atol=1e-9)
    assert offset[markers.labels.index("STRN")][0] > 0.005
    assert offset[markers.labels.index("C7")][0] < -0.003
    assert offset[markers.labels.index("LANK")][1] > 0.005
    # Anatomy: spines in front and behind, heel behind toe, wrist further out than elbow.
    assert at["LASI"][0] > 0.05 > -0.02 > at["LPSI"][0]
    assert at["LTOE"][0] > at["LANK"][0] > at["LHEE"][0]
    assert at["LWRA"][1] > at["LELB"][1] > at["LSHO"][1] > 0.0 > at["RSHO"][1]
    assert at["C7"][2] > at["CLAV"][2] > at["STRN"][2] > at["LASI"][2]


def test_a_landmark_is_carried_by_its_bone_and_not_dragged_by_raised_arms():
    """The skin over the acromion slides 25-35 mm towards the neck when the arm rises; the marker must not."""
    body = make_body(BODY)
    vertex, row = LANDMARKS["LSHO"][0], list(LANDMARKS).index("LSHO")
    assert 0.02 < body.landmark_pos[row, 1] - body.vertices[vertex, 1] < 0.04
    vertex, row = LANDMARKS["LHEE"][0], list(LANDMARKS).index("LHEE")
    np.testing.assert_allclose(body.landmark_pos[row], body.vertices[vertex], atol=1e-3)


@pytest.mark.parametrize(
    ("label", "landmark"),
    [("LASI", "LASI"), ("LFWT", "LASI"), ("r.ASIS", "RASI"), ("L_IAS", "LASI"), ("RBWT", "RPSI"), ("RBAC", "RBAK"),
     ("LHEL", "LHEE"), ("r_calc", "RHEE"), ("r_knee", "RKNE"), ("L_mknee", "LKNM"), ("r_5meta", "RMT5"),
     ("Jim:LASI", "LASI"), ("lasi", "LASI"), ("L_FLE", "LKNE"), ("R_TAM", "RMED"), ("LMMA", "LMED"), ("CV7", "C7"),
     ("SXS", "STRN"), ("R_Sternum", "RSTC"), ("L_wrist_ulna", "LWRB"), ("LIWR", "LWRA"), ("SACR", "SACR"), ("S2", "SACR"),
     ("LUPA", "LUPA"), ("R_HM5", "RHM5"), ("RTHMB", "RTHM")],
)  # fmt: skip
def test_labels_of_real_files_name_their_landmark(label, landmark):
    assert canonical_label(label) == landmark
    assert landmark in LANDMARKS


@pytest.mark.parametrize(
    "label", ["R.TH1", "L_thigh2", "R.Wrist.Med", "LHipAngles", "CentreOfMass", "L_HJC", "LTIP", "PELO", "*12", ""]
)
def test_clusters_wands_and_computed_points_are_no_landmark(label):
    assert canonical_label(label) is None


def test_every_label_of_the_laboratory_sets_names_its_own_landmark():
    for name in ("plug_in_gait_39", "cmu_41", "opencap"):
        markers = marker_set(name)
        assert tuple(canonical_label(label) for label in markers.labels) == markers.landmarks


def test_dense_points_are_spread_evenly_over_the_skin():
    body, space = make_body(BODY), load_shape_space()
    markers = marker_set("dense")
    areas = cell_areas(body.vertices, body.faces, markers.vertices)
    total = vertex_areas(body.vertices, body.faces).sum()
    assert 0.9 * total < areas.sum() <= total  # eyes and tongue are not connected to the skin
    assert areas.std() / areas.mean() < 0.3  # vertices taken at random: about 0.9
    assert areas.max() < 2.0 * areas.mean()
    assert set(DENSE_LEFT) <= set(space.left_vertex.tolist())


def test_sampling_is_deterministic_and_even_on_a_sphere():
    count = 24
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, count + 1)[1:-1], np.arange(2 * count) * np.pi / count, indexing="ij"
    )
    ring = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1).reshape(
        -1, 3
    )
    vertices = np.concatenate([ring, [[0, 0, 1], [0, 0, -1]]])
    index = np.arange(len(ring)).reshape(count - 1, 2 * count)
    right = np.roll(index, -1, axis=1)
    faces = np.concatenate([
        np.stack([index[:-1], index[1:], right[:-1]], axis=-1).reshape(-1, 3),
        np.stack([right[:-1], index[1:], right[1:]], axis=-1).reshape(-1, 3),
        [(len(ring), a, b) for a, b in zip(index[0], right[0])],
        [(len(ring) + 1, b, a) for a, b in zip(index[-1], right[-1])],
    ])  # fmt: skip
    mirror = np.linalg.norm(vertices[:, None] * MIRROR_VECTOR - vertices[None], axis=2).argmin(axis=1)
    points = area_uniform_pairs(vertices, faces, mirror, 6)
    np.testing.assert_array_equal(points, area_uniform_pairs(vertices, faces, mirror, 6))
    assert (vertices[points, 1] > 0).all()
    areas = cell_areas(vertices, faces, np.concatenate([points, mirror[points]]))
    assert areas.std() / areas.mean() < 0.25
