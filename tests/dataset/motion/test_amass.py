"""AMASS npz: axes, both spellings of the frame rate, and no pickles."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.motion.amass import read_amass
from dataset.motion.retarget import retarget
from dataset.skeleton import BODY_INDEX

UPRIGHT = (np.pi / 2, 0.0, 0.0)
"""Root rotation vector that stands SMPL's y-up rest pose on a z-up floor; the figure then faces -y."""


def fields(frames: int = 9, numbers: int = 156) -> dict[str, np.ndarray]:
    poses = np.zeros((frames, numbers))
    poses[:, :3] = UPRIGHT
    return {"poses": poses, "trans": np.tile([1.0, 2.0, 0.9], (frames, 1)), "mocap_framerate": np.array(120.0)}


def written(path: Path, content: dict[str, np.ndarray]) -> Path:
    np.savez(path, **content)  # type: ignore[arg-type]
    return path


def joints_of(path: Path, body: BodyModel) -> np.ndarray:
    motion = retarget(read_amass(path, body.joint_pos), body)
    return forward_kinematics(body.offset, motion.root_pos, motion.quat)[0][0]


@pytest.mark.parametrize("numbers", [156, 165])
def test_the_rest_pose_is_the_bodys_own_t_pose_facing_minus_y(tmp_path: Path, body: BodyModel, numbers: int) -> None:
    at = joints_of(written(tmp_path / "a.npz", fields(numbers=numbers)), body)
    turn = rotation.from_axis_angle((0.0, 0.0, 1.0), -np.pi / 2)
    expected = rotation.rotate(turn, body.joint_pos - body.joint_pos[0])
    np.testing.assert_allclose(at - at[0], expected, atol=1e-9)
    np.testing.assert_allclose(at[0, :2], [1.0, 2.0], atol=1e-9)


def test_joint_rotations_change_axes_with_the_body(tmp_path: Path, body: BodyModel) -> None:
    content = fields()
    content["poses"][:, 3 * 4] = np.pi / 2  # left knee about SMPL's x (left): the foot goes back
    content["poses"][:, 3 * 19 + 1] = np.pi / 2  # right elbow about SMPL's y (up): the hand goes forward
    at = joints_of(written(tmp_path / "a.npz", content), body)
    for upper, lower, expected in (("L_Knee", "L_Ankle", [0, 1, 0]), ("R_Elbow", "R_Wrist", [0, -1, 0])):  # facing -y
        bone = at[BODY_INDEX[lower]] - at[BODY_INDEX[upper]]
        np.testing.assert_allclose(bone / np.linalg.norm(bone), expected, atol=0.02)


@pytest.mark.parametrize("name", ["mocap_framerate", "mocap_frame_rate"])
def test_both_spellings_of_the_frame_rate_are_read(tmp_path: Path, body: BodyModel, name: str) -> None:
    content = fields()
    content[name] = content.pop("mocap_framerate")
    assert read_amass(written(tmp_path / "a.npz", content), body.joint_pos).frame_rate == 120.0


def test_object_arrays_are_refused_and_never_loaded(tmp_path: Path, body: BodyModel) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    content = fields()
    content["poses"] = np.array([Trap()], dtype=object)
    path = written(tmp_path / "a.npz", content)
    with pytest.raises(ValueError, match=r"a\.npz: poses: expected numbers, found an object array"):
        read_amass(path, body.joint_pos)
    assert not (tmp_path / "ran").exists()


def _nan(content: dict[str, np.ndarray]) -> None:
    content["trans"][2, 1] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("poses"), "poses: expected this field"),
        (lambda content: content.pop("mocap_framerate"), "mocap_framerate or mocap_frame_rate"),
        (lambda content: content.update(poses=np.zeros((9, 63))), r"poses: expected \(frames, 156\)"),
        (lambda content: content.update(trans=np.zeros((2, 3))), r"trans: expected \(9, 3\), found \(2, 3\)"),
        (lambda content: content.update(mocap_framerate=np.array(0.0)), "positive rate"),
        (_nan, "trans: expected finite numbers, found NaN or infinity in frame 2"),
    ],
)
def test_wrong_fields_are_refused_by_name(
    tmp_path: Path, body: BodyModel, change: Callable[[dict[str, np.ndarray]], object], message: str
) -> None:
    content = fields()
    change(content)
    path = written(tmp_path / "a.npz", content)
    with pytest.raises(ValueError, match=message) as error:
        read_amass(path, body.joint_pos)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_empty_and_truncated_files_are_refused(tmp_path: Path, body: BodyModel, keep: int) -> None:
    path = written(tmp_path / "a.npz", fields())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="expected an AMASS npz"):
        read_amass(path, body.joint_pos)
