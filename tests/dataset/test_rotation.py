"""The quaternion algebra against SciPy's rotations and its own identities."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dataset import rotation


@pytest.fixture
def quats() -> np.ndarray:
    """Random unit quaternions, the identity and half turns, shape (K, 4)."""
    random = np.random.default_rng(0).normal(size=(40, 4))
    special = [[1, 0, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    return rotation.normalize(np.concatenate((random, special)))


def scipy_rotation(quat: np.ndarray) -> Rotation:
    return Rotation.from_quat(quat[..., [1, 2, 3, 0]])


def test_product_rotation_and_matrix_agree_with_scipy(quats: np.ndarray) -> None:
    vector = np.random.default_rng(1).normal(size=(len(quats), 3))
    other = quats[::-1]
    product = rotation.multiply(quats, other)
    expected = (scipy_rotation(quats) * scipy_rotation(other)).as_matrix()
    np.testing.assert_allclose(rotation.to_matrix(product), expected, atol=1e-14)
    np.testing.assert_allclose(rotation.rotate(quats, vector), scipy_rotation(quats).apply(vector), atol=1e-14)


def test_matrix_and_rotation_vector_round_trip(quats: np.ndarray) -> None:
    for back in (
        rotation.from_matrix(rotation.to_matrix(quats)),
        rotation.from_rotation_vector(rotation.to_rotation_vector(quats)),
    ):
        np.testing.assert_allclose(rotation.angle_between(back, quats), 0.0, atol=1e-7)


def test_rotation_vector_of_tiny_turns_keeps_its_digits() -> None:
    tiny = np.array([[1e-12, -2e-12, 0.0], [0.0, 0.0, 0.0], [3e-9, 0.0, 4e-9]])
    np.testing.assert_allclose(rotation.to_rotation_vector(rotation.from_rotation_vector(tiny)), tiny, rtol=1e-9)


def test_slerp_divides_the_turn_evenly(quats: np.ndarray) -> None:
    start, end = quats[:-1], quats[1:]
    whole = rotation.angle_between(start, end)
    third = rotation.slerp(start, end, 1 / 3)
    np.testing.assert_allclose(rotation.angle_between(start, third), whole / 3, atol=1e-9)
    np.testing.assert_allclose(rotation.angle_between(third, end), 2 * whole / 3, atol=1e-9)


def test_between_vectors_takes_one_to_the_other_even_when_opposite() -> None:
    start = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 2], [1, 2, 3]])
    for end in (start[::-1], -start, start):
        turn = rotation.between_vectors(start, end)
        turned = rotation.rotate(turn, start / np.linalg.norm(start, axis=1, keepdims=True))
        np.testing.assert_allclose(turned, end / np.linalg.norm(end, axis=1, keepdims=True), atol=1e-12)
        smallest = np.arccos(
            np.clip(np.sum(start * end, 1) / np.linalg.norm(start, axis=1) / np.linalg.norm(end, axis=1), -1, 1)
        )
        np.testing.assert_allclose(rotation.angle_between(turn, np.array([1.0, 0, 0, 0])), smallest, atol=1e-7)


def test_rotation_vector_is_short_whatever_the_sign_of_the_quaternion() -> None:
    quat = np.array([[0.6, 0.0, 0.8, 0.0], [-0.6, 0.0, -0.8, 0.0]])
    vectors = rotation.to_rotation_vector(quat)
    np.testing.assert_allclose(vectors[0], vectors[1])
    assert np.linalg.norm(vectors[0]) == pytest.approx(2.0 * np.arctan2(0.8, 0.6))


def test_make_continuous_changes_signs_only(quats: np.ndarray) -> None:
    flipped = quats * np.random.default_rng(2).choice([-1.0, 1.0], size=(len(quats), 1))
    result = rotation.make_continuous(flipped)
    assert np.all(np.sum(result[1:] * result[:-1], axis=-1) >= 0)
    np.testing.assert_array_equal(np.abs(result), np.abs(flipped))


@pytest.mark.parametrize("bad", [np.zeros(4), np.array([np.nan, 0, 0, 1])])
def test_normalize_refuses_what_is_no_rotation(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="quaternion"):
        rotation.normalize(bad)


@pytest.mark.parametrize(("left", "right"), [((3,), (3,)), ((5, 3), (3,)), ((4, 1, 3), (1, 6, 3)), ((0, 3), (3,))])
def test_cross_is_numpys_bit_for_bit(left, right):
    generator = np.random.default_rng(7)
    a, b = generator.normal(size=left), generator.normal(size=right)
    np.testing.assert_array_equal(rotation.cross(a, b), np.cross(a, b))


@pytest.mark.parametrize(("function", "size"), [(rotation.cross, 4), (rotation.multiply, 6)])
def test_products_of_other_sizes_are_refused(function, size):
    with pytest.raises(ValueError, match="last axis"):
        function(np.zeros((5, size)), np.zeros((5, size)))
