"""The distillation's own arithmetic (Anny itself is a build-time extra and not needed here)."""

import numpy as np
import pytest

from dataset.body.distil import BONES_OF_BODY, RIG_POINTS, _components, _mirror_vertices, _quantised
from dataset.body.shape_space import RIG_POINT_NAMES, load_shape_space
from dataset.skeleton import BODY_INDEX, MIRROR_BODY


def test_components_of_full_rank_rebuild_the_samples():
    samples = np.random.default_rng(0).normal(size=(6, 10, 3))
    coefficients, basis, error = _components(samples, 6)
    np.testing.assert_allclose(np.tensordot(coefficients, basis, axes=1), samples, atol=1e-12)
    assert error < 1e-12
    _, _, truncated = _components(samples, 3)
    assert truncated > 0.1


def test_quantised_bases_are_exact_to_a_65000th_of_their_largest_entry():
    basis = np.random.default_rng(1).normal(size=(4, 20, 3)) * np.array([1e-3, 1.0, 5.0, 1e2])[:, None, None]
    rows, scale = _quantised(basis)
    assert rows.dtype == np.int16
    largest = np.abs(basis).max(axis=(1, 2))
    assert (np.abs(rows * scale[:, None, None] - basis).max(axis=(1, 2)) <= largest / 65000.0).all()


def test_mirror_images_are_found_and_asymmetry_is_refused():
    points = np.array([[0.0, 1.0, 2.0], [0.0, -1.0, 2.0], [3.0, 0.0, 1.0]])
    np.testing.assert_array_equal(_mirror_vertices(points), [1, 0, 2])
    points[1, 1] = -1.1
    with pytest.raises(ValueError, match="mirror symmetric"):
        _mirror_vertices(points)


def test_every_body_is_covered_by_bones_or_their_mirror_images():
    covered = {BODY_INDEX[name] for name in BONES_OF_BODY}
    assert covered | {MIRROR_BODY[body] for body in covered} == set(BODY_INDEX.values())
    assert tuple(name for name, _ in RIG_POINTS) == RIG_POINT_NAMES


def test_a_restricted_space_gives_the_same_points_of_fewer_vertices():
    space = load_shape_space()
    rows = np.arange(0, len(space.left_vertex), 97)
    few = space.restricted(rows)
    arguments = (0.3, 0.5, 1.4, 0.6)
    whole = space.points(*arguments, space.shape_displacement((0.5, -1.0), 1.6))
    part = few.points(*arguments, few.shape_displacement((0.5, -1.0), 1.6))
    np.testing.assert_allclose(part[: len(rows)], whole[rows], atol=1e-12)
    np.testing.assert_allclose(part[len(rows) :], whole[len(space.left_vertex) :], atol=1e-12)
