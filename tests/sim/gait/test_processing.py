"""Cycles, the change to the ground's frame, soles, and the centre of pressure along the foot."""

import dataclasses

import numpy as np
import pytest

from dataset.lab.plates import center_of_pressure
from dataset.skeleton import GRAVITY
from sim.gait.cycles import NUM_POINTS, gait_phase, mean_and_spread, normalise_cycles
from sim.gait.foot_line import foot_line
from sim.gait.kinematics import place
from sim.gait.overground import find_overground
from sim.gait.segments import FEET
from sim.gait.soles import level_soles


def test_cycles_run_from_strike_to_strike():
    values = np.arange(50.0)[:, None] * (1.0, -2.0)
    cycles = normalise_cycles(values, np.array([3.5, 13.5, 33.5]))
    assert cycles.shape == (2, NUM_POINTS, 2)
    np.testing.assert_allclose(cycles[0, :, 0], np.linspace(3.5, 13.5, NUM_POINTS))
    np.testing.assert_allclose(cycles[1, :, 1], -2.0 * np.linspace(13.5, 33.5, NUM_POINTS))
    assert normalise_cycles(values, np.array([3.5])).shape == (0, NUM_POINTS, 2)


def test_the_phase_is_zero_at_strikes_and_goes_on_beyond_them():
    phase = gait_phase(np.array([2.0, 12.0, 32.0]), 40)
    assert phase[2] == phase[12] == phase[32] == 0.0
    assert phase[7] == pytest.approx(0.5)
    assert phase[22] == pytest.approx(0.5)
    assert phase[0] == pytest.approx(0.8)
    assert phase[37] == pytest.approx(0.25)
    with pytest.raises(ValueError, match="at least two heel strikes, found 1"):
        gait_phase(np.array([2.0]), 40)


def test_unknown_samples_do_not_spoil_the_mean():
    mean, spread = mean_and_spread(np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]]))
    assert mean[0] == 2.0
    assert spread[0] == pytest.approx(np.sqrt(2.0))
    assert np.isnan(mean[1])


def test_a_treadmill_walk_becomes_one_over_ground_along_x():
    # walks along +y on a belt that runs along -y at 1.2 m/s; the foot is at rest on the belt
    time = np.linspace(0.0, 2.0, 41)
    qpos = np.zeros((41, 24))
    qpos[:, 3] = 1.0
    qpos[:, 2] = 0.9
    ground = find_overground(time, qpos[:, :3], np.array([0.0, -1.2]))
    over = ground.poses(time, qpos)
    np.testing.assert_allclose(over[:, 0], 1.2 * time, atol=1e-12)
    np.testing.assert_allclose(over[:, 1:3], qpos[:, 1:3], atol=1e-12)
    # a vertical force on the belt's fixed point: its centre of pressure stands still over ground
    force = np.tile([0.0, 0.0, 800.0], (41, 2, 1))
    point = np.zeros((41, 2, 3))
    point[..., 0], point[..., 1] = 0.1, 0.5 - 1.2 * time[:, None]
    wrench = ground.wrenches(time, np.concatenate([force, np.cross(point, force)], axis=-1))
    np.testing.assert_allclose(center_of_pressure(wrench), np.broadcast_to((0.5, -0.1), (41, 2, 2)), atol=1e-12)


def test_a_person_who_stands_has_no_walking_direction():
    with pytest.raises(ValueError, match=r"at least 0.2 m/s .* found 0.00; give a trial of walking"):
        find_overground(np.array([0.0, 1.0]), np.zeros((2, 3)), np.zeros(2))


def rolling_feet(body, raised):
    """Both feet pitched by 5 degrees and rolled by 2, soles 9.5 cm under the ankles, then heels up about points 19 cm ahead.

    Returns:
        Poses (40, 24), wrenches (40, 2, 6), heel-to-point distance; the last `raised` frames are those with heels up.
    """
    pitch, roll = np.deg2rad(5.0), np.deg2rad(2.0)
    qpos = np.zeros((40, 24))
    qpos[:, 3] = 1.0
    for at in (7 + 3 + 4, 7 + 10 + 4):
        qpos[:, at], qpos[:, at + 1] = pitch, roll
    qpos[:, 2] += 0.095 - place(body, qpos).origin[0, FEET[0], 2]
    line = foot_line(body, place(body, qpos))
    ahead = np.linspace(0.02, 0.19, 40)[:, None, None]
    point = np.concatenate([line.heel + ahead * line.ahead, np.zeros((40, 2, 1))], axis=2)
    for frame in range(40 - raised, 40):  # the whole body turns about the world's y axis through the point
        turn = np.deg2rad(11.0 + 1.0 * (frame - 40 + raised))
        pivot = point[-1, 0] * (1.0, 0.0, 1.0)
        rot = np.array([[np.cos(turn), 0.0, np.sin(turn)], [0.0, 1.0, 0.0], [-np.sin(turn), 0.0, np.cos(turn)]])
        qpos[frame, :3] = pivot + rot @ (qpos[frame, :3] - pivot)
        qpos[frame, 3:7] = (np.cos(0.5 * turn), 0.0, np.sin(0.5 * turn), 0.0)
        point[frame] = point[-1]
    force = np.tile([0.0, 0.0, 0.5 * body.total_mass * GRAVITY], (40, 2, 1))
    return qpos, np.concatenate([force, np.cross(point, force)], axis=-1), 0.19


def test_soles_are_levelled_where_the_loaded_feet_rest_and_end_where_they_roll(body):
    qpos, wrench, ball = rolling_feet(body, 10)
    line = foot_line(body, place(body, qpos))
    levelled = level_soles(body, qpos, 100.0, wrench)
    placement = place(body, qpos)
    for foot, segment in enumerate(FEET):
        sole = levelled.soles[foot]
        corners = placement.points(np.full(4, segment), sole.corners)
        np.testing.assert_allclose(corners[0, :, 2], 0.0, atol=1e-9)
        tips = corners[:, 2:].mean(axis=1)
        assert (tips[0, :2] - line.heel[0, foot]) @ line.ahead[0, foot] == pytest.approx(ball, abs=0.004)
        np.testing.assert_allclose(tips[-10:, 2], 0.0, atol=1e-3)
        assert sole.foot_length == body.soles[foot].foot_length


def test_a_foot_that_never_rolls_ends_at_the_foremost_pressure_and_says_so(body):
    qpos, wrench, _ = rolling_feet(body, 3)
    qpos, wrench = qpos[:37], wrench[:37]
    levelled = level_soles(body, qpos, 100.0, wrench)
    line, placement = foot_line(body, place(body, qpos)), place(body, qpos)
    for foot, (segment, side) in enumerate(zip(FEET, ("left", "right"), strict=True)):
        tips = placement.points(np.full(4, segment), levelled.soles[foot].corners)[0, 2:].mean(axis=0)[:2]
        assert (tips - line.heel[0, foot]) @ line.ahead[0, foot] == pytest.approx(0.177, abs=0.004)
        assert any(f"loaded {side} foot has its heel up in fewer than 5 frames" in note for note in levelled.notes)


def test_a_foot_that_turns_beside_itself_is_named(body):
    qpos, wrench, _ = rolling_feet(body, 10)
    qpos[-10:, 2] += 0.05  # a floor that is 5 cm lower as soon as the heels are up
    with pytest.raises(
        ValueError, match=r"left foot: expected it to turn about a line.* found 1\d\d %; check that forces"
    ):
        level_soles(body, qpos, 100.0, wrench)


def test_a_foot_that_never_rests_is_named(body):
    qpos = np.zeros((30, 24))
    qpos[:, 3] = 1.0
    wrench = np.zeros((30, 2, 6))
    wrench[:, 1, 2] = 700.0
    with pytest.raises(ValueError, match="forces of the left foot: expected at least 5 frames"):
        level_soles(body, qpos, 100.0, wrench)


def test_the_pressure_is_measured_along_a_turned_foot(body):
    qpos = np.zeros((1, 24))
    qpos[0, 3:7] = (np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))  # facing +y
    line = foot_line(body, place(body, qpos))
    np.testing.assert_allclose(line.ahead[0], [[0.0, 1.0], [0.0, 1.0]], atol=1e-12)
    np.testing.assert_allclose(line.along(line.heel + np.array([0.3, 0.12])), 0.12, atol=1e-12)


def test_an_expert_is_the_same_after_writing_and_reading(expert, tmp_path):
    from sim.gait.expert_file import cut, load_expert, save_expert

    save_expert(tmp_path / "e.npz", expert)
    again = load_expert(tmp_path / "e.npz")
    for name in ("qpos", "qvel", "wrench", "moment", "phase"):
        np.testing.assert_array_equal(getattr(again, name), getattr(expert, name))
    for field in dataclasses.fields(expert.body.soles[0]):
        np.testing.assert_array_equal(
            getattr(again.body.soles[1], field.name), getattr(expert.body.soles[1], field.name)
        )
    np.testing.assert_array_equal(again.body.inertia, expert.body.inertia)
    part = cut(again, 10, 21)
    assert part.num_frames == 11
    assert part.wrench.shape[0] == 10
    np.testing.assert_array_equal(part.wrench[0], expert.wrench[10])
    (tmp_path / "no.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"expected an expert written by python -m sim\.gait\.expert"):
        load_expert(tmp_path / "no.npz")
