"""The picture's geometry: silhouettes of shapes."""

import numpy as np
import pytest

from dataset.body.model import CollisionShape
from dataset.body.picture import FRONT, SIDE, outline


def area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def shape(kind: str, size: tuple[float, ...], axis: int = 2) -> CollisionShape:
    return CollisionShape(body=0, kind=kind, center=np.zeros(3), size=size, axis=np.eye(3)[axis])


def test_silhouettes_have_the_area_of_the_projected_shape():
    origin = np.array([1.0, 2.0, 3.0])
    assert area(outline(shape("box", (0.1, 0.2, 0.3)), origin, FRONT)) == pytest.approx(4 * 0.2 * 0.3)
    assert area(outline(shape("box", (0.1, 0.2, 0.3)), origin, SIDE)) == pytest.approx(4 * 0.1 * 0.3)
    assert area(outline(shape("sphere", (0.5,)), origin, FRONT)) == pytest.approx(np.pi * 0.25, rel=0.02)
    stadium = np.pi * 0.01 + 2 * 0.1 * 2 * 0.3
    assert area(outline(shape("capsule", (0.1, 0.3), axis=1), origin, FRONT)) == pytest.approx(stadium, rel=0.02)
    assert area(outline(shape("capsule", (0.1, 0.3), axis=1), origin, SIDE)) == pytest.approx(np.pi * 0.01, rel=0.02)


def test_the_front_view_shows_the_left_side_on_the_right():
    left = np.array([0.0, 0.3, 1.0])
    assert (FRONT @ left)[0] > 0
    np.testing.assert_allclose(outline(shape("box", (0.01,) * 3), left, FRONT).mean(axis=0), [0.3, 1.0])
