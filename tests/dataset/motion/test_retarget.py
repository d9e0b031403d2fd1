"""Retargeting: directions, scale, floor, toes, resampling."""

from collections.abc import Callable

import numpy as np
import pytest

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics, global_from_local
from dataset.motion.extremities import HANDS, LARGEST_TOE_BEND, bend_extremities
from dataset.motion.ground import lowest_points
from dataset.motion.resample import resample
from dataset.motion.retarget import TOLERANCE, leg_length, retarget
from dataset.motion.tpose import LIMB_CHILD, canonical_direction, spread_chain
from dataset.schema import Motion
from dataset.skeleton import BODY_INDEX, FEET

MakeMotion = Callable[..., Motion]


def random_motion(make_motion: MakeMotion, frames: int = 31) -> Motion:
    """Smoothly varying random pose, upright."""
    generator = np.random.default_rng(5)
    motion = make_motion(frames)
    ends = generator.normal(scale=0.5, size=(2, 24, 3))
    mix = np.linspace(0.0, 1.0, frames)[:, None, None]
    motion.quat[:, 1:] = rotation.from_rotation_vector((1 - mix) * ends[0] + mix * ends[1])[:, 1:]
    return motion


def lowest(motion: Motion, body: BodyModel) -> np.ndarray:
    body_pos, body_quat = forward_kinematics(body.offset, motion.root_pos, motion.quat)
    return lowest_points(body.shapes, body_pos, body_quat).min(axis=1)


@pytest.mark.parametrize("which", ["body", "child"])
def test_long_bones_point_where_the_source_has_them(
    make_motion: MakeMotion, which: str, request: pytest.FixtureRequest
) -> None:
    body: BodyModel = request.getfixturevalue(which)
    motion = random_motion(make_motion)
    source = global_from_local(motion.quat)
    result = retarget(motion, body)
    body_pos, _ = forward_kinematics(body.offset, result.root_pos, result.quat)
    for limb, child in LIMB_CHILD.items():
        expected = rotation.rotate(source[:, limb], canonical_direction()[limb])
        bone = body_pos[:, child] - body_pos[:, limb]
        np.testing.assert_allclose(bone / np.linalg.norm(bone, axis=1, keepdims=True), expected, atol=1e-9)


def test_the_path_between_the_hips_scales_with_the_leg(make_motion: MakeMotion, child: BodyModel) -> None:
    motion = make_motion(61)
    motion.root_pos[:, 0] = np.linspace(0.0, 2.0, 61)
    result = retarget(motion, child)
    expected = 2.0 * leg_length(child) / 0.85
    assert result.root_pos[-1, 0] - result.root_pos[0, 0] == pytest.approx(expected)
    assert result.subject == child.subject
    assert result.leg_length is None


def test_standing_at_any_height_ends_on_the_floor(make_motion: MakeMotion, body: BodyModel) -> None:
    for height in (0.3, 0.9, 2.0):
        np.testing.assert_allclose(lowest(retarget(make_motion(height=height), body), body), 0.0, atol=2e-3)


def test_a_jump_keeps_its_flight_and_its_floor(make_motion: MakeMotion, body: BodyModel) -> None:
    motion = make_motion(61)
    time = np.arange(61) / 30.0
    flight = (time > 0.8) & (time < 1.2)
    motion.root_pos[flight, 2] += 0.5 * 9.81 * (time[flight] - 0.8) * (1.2 - time[flight])
    height = lowest(retarget(motion, body), body)
    assert height.max() == pytest.approx(0.19 * leg_length(body) / 0.85, abs=0.03)
    assert np.abs(height[~flight]).max() < 0.02


def test_embedded_clips_penetrate_by_no_more_than_the_tolerance(
    clips: dict[str, Motion], body: BodyModel, child: BodyModel
) -> None:
    for name, motion in clips.items():
        for subject in (body, child):
            assert lowest(retarget(motion, subject), subject).min() > -TOLERANCE - 1e-3, name


def test_what_rests_on_the_floor_is_on_the_floor(clips: dict[str, Motion], body: BodyModel) -> None:
    """Median height of resting frames within 1 cm (punch, kick, jump, walk: people on their feet)."""
    for name in ("walk", "punch", "kick", "jump"):
        result = retarget(clips[name], body)
        body_pos, _ = forward_kinematics(body.offset, result.root_pos, result.quat)
        speed = np.linalg.norm(np.gradient(body_pos[:, [foot[0] for foot in FEET]], 1 / 30, axis=0), axis=-1).min(
            axis=1
        )
        assert abs(np.median(lowest(result, body)[speed < 0.2])) < 0.01, name


def test_the_lift_adds_no_jolt(clips: dict[str, Motion], body: BodyModel) -> None:
    for name in ("walk", "run", "cartwheel"):
        plain, lifted = (retarget(clips[name], body, lift=lift).root_pos[:, 2] for lift in (False, True))
        added = np.diff(lifted - plain, 2) * 30.0**2
        assert np.sqrt(np.mean(added**2)) < 9.81, name


def test_toes_bend_to_roll_over_a_raised_heel(make_motion: MakeMotion, body: BodyModel) -> None:
    motion = retarget(make_motion(5), body)
    ankle, toe = FEET[0]
    quat = motion.quat.copy()
    quat[:, ankle] = rotation.from_axis_angle((0.0, 1.0, 0.0), np.radians(25.0))  # heel up, toes down
    body_pos, _ = forward_kinematics(body.offset, motion.root_pos, quat)
    root_pos = motion.root_pos.copy()
    root_pos[:, 2] += body.joint_pos[toe, 2] - body_pos[:, toe, 2]  # the toe joint stays where it is when standing
    bent = bend_extremities(body, root_pos, quat)
    body_pos, body_quat = forward_kinematics(body.offset, root_pos, bent)
    shapes = [shape for shape in body.shapes if shape.body == toe]
    assert lowest_points(shapes, body_pos, body_quat).min() > -2e-3
    angle = rotation.angle_between(bent[:, toe], quat[:, toe])
    assert np.all((angle > np.radians(15.0)) & (angle < LARGEST_TOE_BEND))
    np.testing.assert_array_equal(np.delete(bent, toe, axis=1), np.delete(quat, toe, axis=1))


def test_toes_above_the_floor_are_left_alone(make_motion: MakeMotion, body: BodyModel) -> None:
    motion = retarget(make_motion(5), body)
    np.testing.assert_array_equal(
        bend_extremities(body, motion.root_pos + np.array([0, 0, 0.5]), motion.quat), motion.quat
    )


@pytest.mark.parametrize("turn", [60.0, 90.0, 120.0])
def test_a_hand_under_the_floor_lies_on_it(make_motion: MakeMotion, body: BodyModel, turn: float) -> None:
    """The left arm hangs down, the floor is 2 cm above the middle of the hand: the palm or the back of it lies flat."""
    motion = retarget(make_motion(5), body)
    quat = motion.quat.copy()
    quat[:, BODY_INDEX["L_Shoulder"]] = rotation.from_axis_angle((1.0, 0.0, 0.0), -np.radians(turn))
    body_pos, _ = forward_kinematics(body.offset, motion.root_pos, quat)
    root_pos = motion.root_pos - np.array([0.0, 0.0, 1.0]) * (body_pos[:1, HANDS[0][1], 2] - 0.02)
    bent = bend_extremities(body, root_pos, quat)
    shapes = [shape for shape in body.shapes if shape.body in HANDS[0]]
    before, after = (
        lowest_points(shapes, *forward_kinematics(body.offset, root_pos, one)).min() for one in (quat, bent)
    )
    assert before < -0.02
    assert after > -2e-3
    assert len(np.unique(np.sign(rotation.to_rotation_vector(bent[:, HANDS[0][0]])[:, 0]))) == 1


def test_what_carries_the_body_is_brought_to_the_floor_though_it_never_rests(
    make_motion: MakeMotion, body: BodyModel
) -> None:
    """Skating at 2 m/s with 5 cm of air under the feet for half a second: nothing rests, and the body does not fall."""
    motion = make_motion(61)
    time = np.arange(61) / 30.0
    motion.root_pos[:, 0] = 2.0 * time
    motion.root_pos[:, 2] += 0.05 * np.exp(-(((time - 1.0) / 0.3) ** 2))
    assert np.abs(lowest(retarget(motion, body), body)).max() < 0.01


def test_resampling_keeps_constant_speed_and_turning(make_motion: MakeMotion) -> None:
    motion = make_motion(121, rate=120.0)
    time = np.arange(121) / 120.0
    motion.root_pos[:, 0] = 1.5 * time
    motion.quat[:, BODY_INDEX["L_Knee"]] = rotation.from_axis_angle((0.0, 1.0, 0.0), 2.0 * time)
    result = resample(motion, 30.0)
    assert result.num_frames == 31
    np.testing.assert_allclose(np.diff(result.root_pos[:, 0]), 0.05, atol=1e-9)
    turned = rotation.angle_between(result.quat[:-1, BODY_INDEX["L_Knee"]], result.quat[1:, BODY_INDEX["L_Knee"]])
    np.testing.assert_allclose(turned, 2.0 / 30.0, atol=1e-6)


def test_upsampling_follows_a_curve_better_than_chords(make_motion: MakeMotion) -> None:
    motion = make_motion(17, rate=16.0)
    time = np.arange(17) / 16.0
    motion.root_pos[:, 2] = 1.0 + 3.0 * time - 4.905 * time**2
    motion.quat[:, 1] = rotation.from_axis_angle((1.0, 0.0, 0.0), np.sin(2 * np.pi * time))
    result = resample(motion, 30.0)
    at = np.arange(result.num_frames) / 30.0
    inner = slice(4, -4)
    chord = np.interp(at, time, motion.root_pos[:, 2])
    parabola = 1.0 + 3.0 * at - 4.905 * at**2
    assert (
        np.abs(result.root_pos[inner, 2] - parabola[inner]).max() < 0.1 * np.abs(chord[inner] - parabola[inner]).max()
    )
    angle = 2 * np.arctan2(result.quat[inner, 1, 1], result.quat[inner, 1, 0])
    np.testing.assert_allclose(angle, np.sin(2 * np.pi * at[inner]), atol=5e-3)


def test_a_turn_of_half_a_circle_between_frames_is_slerped_to_unit_length(make_motion: MakeMotion) -> None:
    motion = make_motion(5, rate=10.0)
    motion.quat[2:, 3] = rotation.from_axis_angle((0.0, 0.0, 1.0), 3.0)
    result = resample(motion, 40.0)
    np.testing.assert_allclose(np.linalg.norm(result.quat, axis=-1), 1.0, atol=1e-12)
    halfway = rotation.angle_between(result.quat[6, 3], rotation.IDENTITY)
    assert halfway == pytest.approx(1.5)


def test_spread_chain_ends_exactly_with_the_last_joint() -> None:
    chain = [rotation.from_axis_angle((0.0, 1.0, 0.0), np.array([angle])) for angle in (0.0, 0.2, 0.7)]
    for count in (1, 2, 3, 5):
        bodies = spread_chain(chain, count)
        assert len(bodies) == count
        np.testing.assert_allclose(bodies[-1], chain[-1], atol=1e-12)
    np.testing.assert_allclose(spread_chain(chain, 4)[1], chain[1], atol=1e-12)
    np.testing.assert_allclose(spread_chain(chain[:1], 2), [chain[0]] * 2)


def test_retargeting_twice_or_a_single_frame_is_refused(make_motion: MakeMotion, body: BodyModel) -> None:
    with pytest.raises(ValueError, match=r"test/made: .*on a subject already"):
        retarget(retarget(make_motion(), body), body)
    with pytest.raises(ValueError, match="at least 2 frames"):
        retarget(make_motion(1), body)


def test_motions_with_nan_are_refused_when_made(make_motion: MakeMotion) -> None:
    with pytest.raises(ValueError, match="finite"):
        make_motion(3, root_pos=np.full((3, 3), np.nan))
