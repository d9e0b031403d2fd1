"""The survey of a folder, and reading by kind of file."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.motion.read import read_motion
from dataset.motion.survey import Config, main
from dataset.skeleton import BODY_INDEX

ONE_OF_EACH = (
    "deepmimic/humanoid3d_long_walk1.txt", "cmu_amc/02/02_01.amc", "cmu_bvh/acrnn/martial/03.bvh",
    "cmu_bvh/small/131_02.bvh", "cmu_bvh/takes_02_05_06/05/05_01.bvh", "snu_interactive/cmu69_turn/69_01_1.bvh",
    "snu_interactive/tennis/tennis_KangTennisF19.bvh",
    "snu_mass_mss/jump_simple.bvh", "snu_timecritical/s_005_1_2.bvh", "snu_vsports/basket/s_003_1_1.bvh",
    "snu_vsports/cmu16/16_11_1.bvh", "snu_ys2010/Balancing/wd2_n_kick.bvh", "snu_ys2010/Samsung/wd2_middle_walking.bvh",
    "snu_ys2010/Physics2/wd2_WalkForwardNormal00.bvh",
)  # fmt: skip


def test_a_survey_lists_what_is_read_refused_and_copied(write_bvh: Callable[..., Path], tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "set").mkdir(parents=True)
    swing = write_bvh(frames=60, angles={"LeftArm": (20, 0, 0)})
    lines = swing.read_text().splitlines()
    for index in range(60):  # the figure walks, so that something moves
        lines[-60 + index] = lines[-60 + index].replace("0 90.0 0", f"0 90.0 {3.0 * index}", 1)
    (root / "set" / "a.bvh").write_text("\n".join(lines))
    shutil.copy(root / "set" / "a.bvh", root / "set" / "b.bvh")
    (root / "set" / "broken.bvh").write_text("HIERARCHY")
    (root / "set" / "LICENCE.txt").write_text("free")
    rows = {row["clip"]: row for row in main(Config(root=root, out=tmp_path / "table.csv"))}
    assert {clip: row["verdict"] for clip, row in rows.items()} == {
        "set/a.bvh": "usable", "set/b.bvh": "duplicate", "set/broken.bvh": "not read",
    }  # fmt: skip
    assert rows["set/b.bvh"]["reason"] == "set/a.bvh"
    assert "MOTION" in rows["set/broken.bvh"]["reason"]
    assert str(tmp_path) not in rows["set/broken.bvh"]["reason"], "no path of this machine in the table"
    with (tmp_path / "table.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    document = (tmp_path / "table.md").read_text()
    line = next(line for line in document.splitlines() if line.startswith("| set |"))
    assert line.split(" | ")[:5] == ["| set", "3", "1", "0", "1"]
    with pytest.raises(ValueError, match="expected motion files"):
        main(Config(root=tmp_path / "data" / "empty", out=tmp_path / "none.csv"))


def test_files_are_read_by_kind_and_others_refused(tmp_path: Path, write_bvh: Callable[..., Path]) -> None:
    motion, report = read_motion(write_bvh())
    assert report is not None
    assert motion.source == tmp_path.name
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_motion(tmp_path / "none.bvh")
    (tmp_path / "a.fbx").write_text("")
    with pytest.raises(ValueError, match=r"a\.fbx: expected one of"):
        read_motion(tmp_path / "a.fbx")
    np.savez(tmp_path / "a.npz", poses=np.zeros((1, 156)))
    with pytest.raises(ValueError, match="rest_joint_pos"):
        read_motion(tmp_path / "a.npz")


def test_a_header_known_to_be_wrong_is_corrected_and_noted(tmp_path: Path, write_bvh: Callable[..., Path]) -> None:
    folder = tmp_path / "acrnn" / "salsa"
    folder.mkdir(parents=True)
    shutil.copy(write_bvh(), folder / "01.bvh")
    motion, report = read_motion(folder / "01.bvh")
    assert motion.frame_rate == 60.0
    assert report is not None
    assert "60 Hz" in report.notes[-1]


@pytest.mark.data
@pytest.mark.parametrize("clip", ONE_OF_EACH)
def test_knees_and_elbows_of_real_clips_bend_the_human_way(clip: str, data_dir: Path, body: BodyModel) -> None:
    """Knees turn about +y, the left elbow about -z, the right one about +z (T-pose frames): hardly ever the other
    way."""
    motion, _ = read_motion(data_dir / "motion" / clip, rest_joint_pos=body.joint_pos)
    for name, axis, sign in (("L_Knee", 1, 1), ("R_Knee", 1, 1), ("L_Elbow", 2, -1), ("R_Elbow", 2, 1)):
        flexion = sign * rotation.to_rotation_vector(motion.quat[:, BODY_INDEX[name]])[:, axis]
        assert np.percentile(flexion, 2) > np.radians(-20.0), name
        assert np.percentile(flexion, 90) > np.radians(5.0), name
    up = rotation.rotate(motion.quat[:, 0], np.array([0.0, 0.0, 1.0]))[:, 2]
    assert np.median(up) > 0.8, "people are mostly upright"
    travel = np.diff(motion.root_pos[:, :2], axis=0)
    forward = rotation.rotate(motion.quat[:-1, 0], np.array([1.0, 0.0, 0.0]))[:, :2]
    if "walk" in clip.lower() or "02_01" in clip or "16_11" in clip:
        assert np.sum(travel * forward) > 0.8 * np.linalg.norm(travel, axis=1).sum(), "walkers face where they go"
