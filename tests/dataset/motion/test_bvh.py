"""BVH files: joint mapping, axes, units, rest poses, refusals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics, global_from_local
from dataset.motion.bone_aligned import MIRRORED_LEGS, PARALLEL_LEGS, bone_aligned_frames
from dataset.motion.bvh import parse_bvh, read_bvh
from dataset.motion.joint_map import canonical_motion
from dataset.motion.retarget import retarget
from dataset.motion.tree import JointTree
from dataset.skeleton import BODY_INDEX, NUM_BODIES

WriteBvh = Callable[..., Path]


def test_a_t_pose_becomes_the_identity_in_metres(write_bvh: WriteBvh) -> None:
    motion, report = read_bvh(write_bvh())
    np.testing.assert_allclose(rotation.angle_between(motion.quat, rotation.IDENTITY), 0.0, atol=1e-7)
    np.testing.assert_allclose(motion.root_pos[0], [0.0, 0.0, 0.88], atol=1e-9)  # between the hips, 2 cm below Hips
    assert (report.unit, report.up_axis, report.convention) == ("cm", "y", "hips-upleg")
    assert motion.leg_length == pytest.approx(0.82)


@pytest.mark.parametrize(
    ("scale", "unit"), [(0.01, "m"), (1 / 2.54, "inch"), (1 / 5.6444, "inch / 0.45"), (10.0, "mm")]
)
def test_the_unit_is_found_from_the_legs(write_bvh: WriteBvh, scale: float, unit: str) -> None:
    motion, report = read_bvh(write_bvh(scale=scale))
    assert report.unit == unit
    assert motion.leg_length == pytest.approx(0.82, rel=1e-4)


def test_angles_turn_the_right_joint_the_right_way(write_bvh: WriteBvh, body: BodyModel) -> None:
    # the file's x is left: +90 about x takes down to back for a shank; about y takes the left forearm to the back, so
    # -90
    path = write_bvh(angles={"LeftLeg": (0, 90, 0), "LeftForeArm": (0, 0, -90), "RightUpLeg": (0, -90, 0)})
    motion = retarget(read_bvh(path)[0], body)
    at, _ = forward_kinematics(body.offset, motion.root_pos, motion.quat)
    for upper, lower, expected in (
        ("L_Knee", "L_Ankle", [-1, 0, 0]), ("L_Elbow", "L_Wrist", [1, 0, 0]), ("R_Hip", "R_Knee", [1, 0, 0]),
    ):  # fmt: skip
        bone = at[0, BODY_INDEX[lower]] - at[0, BODY_INDEX[upper]]
        np.testing.assert_allclose(bone / np.linalg.norm(bone), expected, atol=1e-6)


def test_arms_down_in_the_rest_pose_stay_down(write_bvh: WriteBvh, body: BodyModel) -> None:
    down = {"LeftForeArm": (0, -27, 0), "LeftHand": (0, -24, 0), "RightForeArm": (0, -27, 0), "RightHand": (0, -24, 0)}
    motion = retarget(read_bvh(write_bvh(offsets=down))[0], body)
    at, _ = forward_kinematics(body.offset, motion.root_pos, motion.quat)
    for side in ("L_", "R_"):
        bone = at[0, BODY_INDEX[side + "Wrist"]] - at[0, BODY_INDEX[side + "Shoulder"]]
        np.testing.assert_allclose(bone / np.linalg.norm(bone), [0, 0, -1], atol=1e-6)


def test_splayed_legs_in_the_rest_pose_keep_their_direction(write_bvh: WriteBvh, body: BodyModel) -> None:
    splayed = {"LeftLeg": (14, -40, 0), "LeftFoot": (13, -38, 0), "RightLeg": (-14, -40, 0), "RightFoot": (-13, -38, 0)}
    motion = retarget(read_bvh(write_bvh(offsets=splayed))[0], body)
    at, _ = forward_kinematics(body.offset, motion.root_pos, motion.quat)
    thigh = at[0, BODY_INDEX["L_Knee"]] - at[0, BODY_INDEX["L_Hip"]]
    np.testing.assert_allclose(thigh / np.linalg.norm(thigh), np.array([0, 14, -40]) / np.hypot(14, 40), atol=1e-6)


def test_one_spine_joint_bends_three_bodies_evenly_and_the_chest_fully(write_bvh: WriteBvh) -> None:
    path = write_bvh(angles={"Spine": (0, 30, 0), "Spine1": (0, 30, 0)})
    world = global_from_local(read_bvh(path)[0].quat)
    leans = [
        np.degrees(rotation.angle_between(world[0, BODY_INDEX[name]], rotation.IDENTITY))
        for name in ("Torso", "Spine", "Chest")
    ]
    np.testing.assert_allclose(leans, [20.0, 40.0, 60.0], atol=1e-6)


def test_the_report_says_what_drives_what_and_what_is_dropped(write_bvh: WriteBvh) -> None:
    _, report = read_bvh(write_bvh(rename={"LeftToeBase": "LeftToeThing"}))
    assert report.driven_by["L_Knee"] == "LeftLeg"
    assert report.driven_by["Torso"] == "spread along Spine + Spine1"
    assert report.driven_by["L_Toe"] == "(at rest)"
    assert report.dropped == ("LeftToeThing",)
    assert "L_Knee     <- LeftLeg" in report.as_text()


def test_positions_of_other_joints_than_the_root_are_noted(write_bvh: WriteBvh) -> None:
    plain, nothing = read_bvh(write_bvh())
    path = write_bvh(name="positions.bvh")
    head, three, tail = path.read_text().rpartition("CHANNELS 3 Zrotation Xrotation Yrotation")
    hierarchy, frames = (head + three.replace("3", "6") + " Xposition Yposition Zposition" + tail).split("MOTION\n")
    rows = frames.strip().split("\n")
    rows[2:] = [f"{row} 1 2 {number}" for number, row in enumerate(rows[2:])]
    path.write_text("\n".join([hierarchy + "MOTION", *rows]) + "\n")
    motion, report = read_bvh(path)
    np.testing.assert_array_equal(motion.quat, plain.quat)
    [note] = set(report.notes) - set(nothing.notes)
    assert "1 joints below the root (" in note and "vary by up to 3 of" in note


def test_an_unknown_skeleton_is_refused_with_the_names_found(write_bvh: WriteBvh) -> None:
    path = write_bvh(rename={"LeftUpLeg": "Bein", "RightLeg": "Wade"})
    with pytest.raises(ValueError, match=r"Bein.*Nearest is hips-upleg, which lacks leftupleg, rightleg") as error:
        read_bvh(path)
    assert str(path) in str(error.value)


def test_a_figure_of_no_human_size_is_refused(write_bvh: WriteBvh) -> None:
    with pytest.raises(ValueError, match="units"):
        read_bvh(write_bvh(scale=1000.0))


def with_nan(text: str, *, frame: int) -> str:
    head, rows = text.split("Frame Time: 0.0333333\n")
    lines = rows.splitlines()
    lines[frame] = lines[frame].replace("90.0", "nan", 1)
    return head + "Frame Time: 0.0333333\n" + "\n".join(lines)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "an empty file"),
        (lambda text: "HIERARCHY\nROOT Hips\n{\n", "MOTION"),
        (lambda text: text[: int(len(text) * 0.98)].rsplit(" ", 1)[0], "truncated"),
        (lambda text: text.replace("Frame Time: 0.0333333", "Frame Time: 0"), "Frame Time > 0"),
        (lambda text: with_nan(text, frame=2), "frame 2"),
        (lambda text: text.replace("Zrotation Xrotation", "Zrotation Wrotation", 1), "line 5"),
        (lambda text: text.replace("}\nMOTION", "MOTION"), "open blocks"),
    ],
)
def test_broken_files_are_refused_by_name_and_place(
    write_bvh: WriteBvh, change: Callable[[str], str], message: str
) -> None:
    path = write_bvh()
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message) as error:
        read_bvh(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("table", [PARALLEL_LEGS, MIRRORED_LEGS])
def test_bone_aligned_joints_posed_as_the_table_says_are_a_t_pose(table: dict[str, str], write_bvh: WriteBvh) -> None:
    """Each joint is posed so that its axes point where the table has them in a T-pose, and its offset runs along x."""
    ordinary = parse_bvh(write_bvh())
    words = {
        "forward": (0, 0, 1),
        "back": (0, 0, -1),
        "left": (1, 0, 0),
        "right": (-1, 0, 0),
        "up": (0, 1, 0),
        "down": (0, -1, 0),
    }
    driven = {
        "Hips": "Pelvis", "LeftUpLeg": "L_Hip", "LeftLeg": "L_Knee", "LeftFoot": "L_Ankle", "LeftToeBase": "L_Toe",
        "LeftShoulder": "L_Thorax", "LeftArm": "L_Shoulder", "LeftForeArm": "L_Elbow", "LeftHand": "L_Wrist",
    }  # fmt: skip
    driven |= {
        name.replace("Left", "Right"): item.replace("L_", "R_") for name, item in driven.items() if "Left" in name
    }
    axes = [
        np.array([words[word] for word in table[driven.get(name, "trunk")].split()], dtype=float).T
        for name in ordinary.names
    ]
    world = rotation.from_matrix(np.array(axes))
    offset, quat = ordinary.offset.copy(), np.empty((2, len(world), 4))
    for joint, parent in enumerate(ordinary.parents):
        up = rotation.conjugate(world[parent]) if parent >= 0 else rotation.IDENTITY
        quat[:, joint] = rotation.multiply(up, world[joint])
        offset[joint] = rotation.rotate(up, ordinary.offset[joint])
    tree = JointTree(
        names=ordinary.names,
        parents=ordinary.parents,
        offset=offset,
        ends={},
        root_pos=ordinary.root_pos[:2],
        quat=quat,
        frame_rate=30.0,
    )
    motion, report = canonical_motion(tree, name="made", source="test", path="made.bvh")
    np.testing.assert_allclose(rotation.angle_between(motion.quat, rotation.IDENTITY), 0.0, atol=1e-7)
    assert "along the bones" in report.notes[0]
    assert motion.quat.shape == (2, NUM_BODIES, 4)


def test_an_ordinary_rest_pose_is_not_taken_for_bone_aligned(write_bvh: WriteBvh) -> None:
    tree = parse_bvh(write_bvh())
    index = {name: joint for joint, name in enumerate(tree.names)}
    joints = {
        "L_Knee": index["LeftLeg"],
        "R_Knee": index["RightLeg"],
        "L_Elbow": index["LeftForeArm"],
        "R_Elbow": index["RightForeArm"],
    }
    assert bone_aligned_frames(tree, joints) is None
