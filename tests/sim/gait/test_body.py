import numpy as np
import pytest

from sim.gait.body import GaitBody, rescaled
from sim.gait.de_leva import body_of_lengths, lump, stature_of_legs
from sim.gait.segments import NUM_SEGMENTS, SEGMENTS


def test_the_parts_of_a_body_weigh_the_whole(body):
    assert body.total_mass == pytest.approx(70.0, rel=1e-12)
    assert body.mass[SEGMENTS.index("pelvis")] / 70.0 == pytest.approx(
        0.1117, abs=2e-4
    )  # lower trunk of de Leva's males
    assert body.mass[SEGMENTS.index("l_thigh")] / 70.0 == pytest.approx(0.1416, abs=2e-4)


def test_the_center_of_mass_of_a_standing_body_is_where_anatomy_has_it(body):
    # neutral pose: hips 0.93 m above the floor; textbooks have the centre at 55 to 57 % of stature
    heights = np.zeros(NUM_SEGMENTS)
    for segment, parent in enumerate((-1, 0, 0, 2, 3, 0, 5, 6)):
        heights[segment] = 0.93 if parent < 0 else heights[parent] + body.joint_pos[segment, 2]
    center = (body.mass * (heights + body.com[:, 2])).sum() / body.total_mass
    assert 0.54 < center / 1.75 < 0.585


def test_inertias_are_those_of_solid_bodies(body):
    for segment, inertia in enumerate(body.inertia):
        moments = np.linalg.eigvalsh(inertia)
        assert moments[0] > 0, SEGMENTS[segment]
        assert moments[2] < moments[0] + moments[1], SEGMENTS[segment]  # triangle inequality of real mass distributions


def test_two_points_lump_into_a_dumbbell():
    parts = [(1.0, np.array([0.0, 0.0, 1.0]), np.zeros((3, 3))), (1.0, np.array([0.0, 0.0, -1.0]), np.zeros((3, 3)))]
    mass, center, inertia = lump(parts)
    assert mass == 2.0
    np.testing.assert_allclose(center, 0.0)
    np.testing.assert_allclose(inertia, np.diag([2.0, 2.0, 0.0]))


def test_legs_of_de_levas_males_belong_to_their_stature(body):
    lengths = {"hip": np.zeros((2, 3)), "heel": np.zeros((2, 3)), "foot": (0.26, 0.26)}
    from sim.gait.de_leva import BodyLengths

    assert stature_of_legs(BodyLengths(thigh=(0.4222,) * 2, shank=(0.434,) * 2, **lengths), 0.0) == pytest.approx(1.741)


def test_rescaling_keeps_lengths_and_scales_inertia_with_mass(body):
    heavy = rescaled(body, 140.0)
    assert heavy.total_mass == pytest.approx(140.0)
    np.testing.assert_allclose(heavy.inertia, 2.0 * body.inertia)
    np.testing.assert_array_equal(heavy.joint_pos, body.joint_pos)


@pytest.mark.parametrize(
    ("mass", "stature", "found"), [(700.0, 1.75, "mass: expected 10 to 300"), (70.0, 17.5, "stature")]
)
def test_wrong_units_are_refused(body, mass, stature, found):
    from sim.gait.de_leva import BodyLengths

    lengths = BodyLengths(
        hip=np.zeros((2, 3)), thigh=(0.4, 0.4), shank=(0.4, 0.4), heel=np.zeros((2, 3)), foot=(0.26, 0.26)
    )
    with pytest.raises(ValueError, match=found):
        body_of_lengths(lengths, mass=mass, stature=stature)


def test_a_body_without_mass_is_refused(body):
    fields = {name: getattr(body, name) for name in GaitBody.__dataclass_fields__}
    fields["mass"] = np.where(np.arange(8) == 3, 0.0, body.mass)
    with pytest.raises(ValueError, match="0 kg for the l_shank"):
        GaitBody(**fields)
