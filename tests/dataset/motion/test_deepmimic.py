"""DeepMimic text: axes, sides, rest pose and refusals."""

import json

import numpy as np
import pytest

from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.motion.deepmimic import parse_deepmimic
from dataset.motion.retarget import retarget
from dataset.schema import Motion
from dataset.skeleton import BODY_INDEX

_QUATERNION_STARTS = (4, 8, 12, 16, 21, 25, 30, 35, 39)


def frame(duration: float = 0.05, **numbers: float) -> list[float]:
    """A frame at rest (arms down); `n20=-0.5` sets number 20."""
    values = [0.0] * 44
    values[0], values[2] = duration, 0.85
    for start in _QUATERNION_STARTS:
        values[start] = 1.0
    for key, value in numbers.items():
        values[int(key[1:])] = value
    return values


def clip(*frames: list[float], loop: str = "none") -> Motion:
    text = json.dumps({"Loop": loop, "Frames": list(frames)})
    return parse_deepmimic(text, name="made", source="test", path="made.txt")


def posed(motion: Motion, body: BodyModel) -> dict[str, np.ndarray]:
    result = retarget(motion, body)
    body_pos, _ = forward_kinematics(body.offset, result.root_pos, result.quat)
    return {name: body_pos[0, index] for name, index in BODY_INDEX.items()}


def test_rest_pose_has_arms_down_legs_down_and_the_left_side_at_plus_y(body: BodyModel) -> None:
    at = posed(clip(frame(), frame()), body)
    assert at["L_Shoulder"][1] > 0.1 > -0.1 > at["R_Shoulder"][1]
    for side in ("L_", "R_"):
        for upper, lower in (("Shoulder", "Elbow"), ("Elbow", "Wrist"), ("Hip", "Knee"), ("Knee", "Ankle")):
            bone = at[side + lower] - at[side + upper]
            np.testing.assert_allclose(bone / np.linalg.norm(bone), [0, 0, -1], atol=1e-6)
        assert at[side + "Toe"][0] > at[side + "Ankle"][0] + 0.1, "feet point forward, x"


@pytest.mark.parametrize(("number", "side"), [("n29", "R_"), ("n43", "L_")])
def test_positive_elbow_angle_brings_the_hand_forward(number: str, side: str, body: BodyModel) -> None:
    bent = frame(**{number: np.pi / 2})
    at = posed(clip(bent, bent), body)
    forearm = at[side + "Wrist"] - at[side + "Elbow"]
    np.testing.assert_allclose(forearm / np.linalg.norm(forearm), [1, 0, 0], atol=1e-6)


@pytest.mark.parametrize(("number", "side"), [("n20", "R_"), ("n34", "L_")])
def test_negative_knee_angle_brings_the_foot_back(number: str, side: str, body: BodyModel) -> None:
    bent = frame(**{number: -np.pi / 2})
    at = posed(clip(bent, bent), body)
    shank = at[side + "Ankle"] - at[side + "Knee"]
    np.testing.assert_allclose(shank / np.linalg.norm(shank), [-1, 0, 0], atol=1e-6)


def test_root_turns_about_up_and_moves_right_to_minus_y() -> None:
    half = np.radians(45.0)
    moved = frame(n3=2.0, n4=np.cos(half), n6=np.sin(half))  # 90 degrees about the file's y; 2 m along its z, right
    motion = clip(frame(), moved)
    np.testing.assert_allclose(motion.root_pos[1], [0.0, -2.0, 0.85])
    np.testing.assert_allclose(motion.quat[1, 0], [np.cos(half), 0, 0, np.sin(half)], atol=1e-12)


def test_uneven_frame_durations_are_resampled_to_the_usual_one() -> None:
    motion = clip(frame(0.1), frame(0.2, n1=1.0), frame(0.1, n1=3.0), frame(0.1, n1=4.0), frame(0.0, n1=5.0))
    assert motion.frame_rate == pytest.approx(10.0)
    np.testing.assert_allclose(motion.root_pos[:, 0], [0, 1, 2, 3, 4, 5], atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "DeepMimic clip"),
        ('{"Frames": [[0.1, 0.2', "complete"),
        ('{"Loop": "none"}', "Frames"),
        (json.dumps({"Frames": [[0.1] * 43] * 3}), "44 numbers"),
        (json.dumps({"Frames": [frame(), frame(n5=float("nan"))]}), "frame 1"),
        (json.dumps({"Frames": [frame(0.0), frame()]}), "positive frame durations"),
    ],
)
def test_bad_clips_are_refused_by_name_and_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_deepmimic(text, name="bad", source="test", path="folder/bad.txt")
    assert "folder/bad.txt" in str(error.value)
