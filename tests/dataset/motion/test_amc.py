"""ASF+AMC: units, axes, order, the AMC's ASF, refusals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.motion.amc import parse_amc, read_amc
from dataset.motion.retarget import retarget
from dataset.skeleton import BODY_INDEX

# bone, parent, direction in the rest pose (x left, y up, z forward), length in inches, degrees of freedom
_BONES = (
    ("lowerback", "root", (0, 1, 0), 5, "rx ry rz"), ("thorax", "lowerback", (0, 1, 0), 10, "rx ry rz"),
    ("head", "thorax", (0, 1, 0), 6, "rx ry rz"),
    ("lhipjoint", "root", (1, 0, 0), 4, ""), ("lfemur", "lhipjoint", (0, -1, 0), 17, "rx ry rz"),
    ("ltibia", "lfemur", (0, -1, 0), 16, "rx"), ("lfoot", "ltibia", (0, -0.3, 1), 6, "rx rz"),
    ("ltoes", "lfoot", (0, 0, 1), 2, "rx"),
    ("rhipjoint", "root", (-1, 0, 0), 4, ""), ("rfemur", "rhipjoint", (0, -1, 0), 17, "rx ry rz"),
    ("rtibia", "rfemur", (0, -1, 0), 16, "rx"), ("rfoot", "rtibia", (0, -0.3, 1), 6, "rx rz"),
    ("rtoes", "rfoot", (0, 0, 1), 2, "rx"),
    ("lclavicle", "thorax", (1, 0, 0), 6, ""), ("lhumerus", "lclavicle", (1, 0, 0), 11, "rx ry rz"),
    ("lradius", "lhumerus", (1, 0, 0), 9, "rx"), ("rclavicle", "thorax", (-1, 0, 0), 6, ""),
    ("rhumerus", "rclavicle", (-1, 0, 0), 11, "rx ry rz"), ("rradius", "rhumerus", (-1, 0, 0), 9, "rx"),
)  # fmt: skip

WriteAmc = Callable[..., Path]


@pytest.fixture
def write_amc(tmp_path: Path) -> WriteAmc:
    """Writer of an ASF+AMC pair; `angles` maps a bone to its numbers in every frame, `axes` to its `axis` line."""

    def write(
        *,
        angles: dict[str, tuple[float, ...]] | None = None,
        axes: dict[str, str] | None = None,
        unit: float = 1.0,
        angle: str = "deg",
        stem: str = "01",
        frames: int = 9,
    ) -> Path:
        angles, axes = angles or {}, axes or {}
        lines = [":version 1.10", ":units", f"  length {unit}", f"  angle {angle}", ":root"]
        lines += ["  order TX TY TZ RX RY RZ", "  axis XYZ", "  position 0 0 0", "  orientation 0 0 0", ":bonedata"]
        for number, (name, _, direction, length, dof) in enumerate(_BONES):
            lines += [
                "  begin",
                f"    id {number}",
                f"    name {name}",
                "    direction " + " ".join(map(str, direction)),
            ]
            lines += [f"    length {length * unit}", f"    axis {axes.get(name, '0 0 0 XYZ')}"]
            if dof:
                lines += [f"    dof {dof}", "    limits (-180 180)", *["    (-180 180)"] * (len(dof.split()) - 1)]
            lines.append("  end")
        lines += [":hierarchy", "  begin"]
        for parent in dict.fromkeys(item[1] for item in _BONES):
            lines.append(f"    {parent} " + " ".join(item[0] for item in _BONES if item[1] == parent))
        (tmp_path / f"{stem}.asf").write_text("\n".join([*lines, "  end"]) + "\n")
        rows = ["#!comment", ":FULLY-SPECIFIED", ":DEGREES"]
        for frame in range(1, frames + 1):
            rows.append(str(frame))
            rows.append("root " + " ".join(str(value) for value in angles.get("root", (0, 33 * unit, 0, 0, 0, 0))))
            for name, _, _, _, dof in _BONES:
                if dof:
                    rows.append(
                        f"{name} " + " ".join(str(value) for value in angles.get(name, (0,) * len(dof.split())))
                    )
        path = tmp_path / f"{stem}_01.amc"
        path.write_text("\n".join(rows) + "\n")
        return path

    return write


def direction_of(path: Path, body: BodyModel, upper: str, lower: str) -> np.ndarray:
    motion = retarget(read_amc(path)[0], body)
    at, _ = forward_kinematics(body.offset, motion.root_pos, motion.quat)
    bone = at[0, BODY_INDEX[lower]] - at[0, BODY_INDEX[upper]]
    return bone / np.linalg.norm(bone)


def test_rest_pose_is_the_t_pose_in_metres(write_amc: WriteAmc) -> None:
    motion, report = read_amc(write_amc())
    np.testing.assert_allclose(rotation.angle_between(motion.quat, rotation.IDENTITY), 0.0, atol=1e-7)
    np.testing.assert_allclose(motion.root_pos[0], [0, 0, 33 * 0.0254], atol=1e-9)
    assert report.unit == "inch"
    assert motion.frame_rate == 120.0


def test_the_length_unit_scales_positions_and_bones_alike(write_amc: WriteAmc) -> None:
    one, _ = read_amc(write_amc())
    other, _ = read_amc(write_amc(unit=0.45))
    np.testing.assert_allclose(other.root_pos, one.root_pos, atol=1e-9)
    assert other.leg_length == pytest.approx(one.leg_length)


def test_degrees_and_radians_give_the_same_motion(write_amc: WriteAmc) -> None:
    one, _ = read_amc(write_amc(angles={"lfemur": (30, 20, 10)}, axes={"lfemur": "10 0 20 XYZ"}))
    axis = f"{np.radians(10)} 0 {np.radians(20)} XYZ"
    angles = tuple(np.radians((30, 20, 10)))
    other, _ = read_amc(write_amc(angles={"lfemur": angles}, axes={"lfemur": axis}, angle="rad"))
    np.testing.assert_allclose(other.quat, one.quat, atol=1e-9)


def test_a_positive_tibia_angle_bends_the_knee_backwards(write_amc: WriteAmc, body: BodyModel) -> None:
    path = write_amc(angles={"ltibia": (90,)})
    np.testing.assert_allclose(direction_of(path, body, "L_Knee", "L_Ankle"), [-1, 0, 0], atol=1e-6)


def test_the_bone_turns_about_its_own_axes(write_amc: WriteAmc, body: BodyModel) -> None:
    # axis Z by 90: the bone's local x is the file's y (up), so rx of -90 takes the left forearm from left to forward
    path = write_amc(angles={"lradius": (-90,)}, axes={"lradius": "0 0 90 XYZ"})
    np.testing.assert_allclose(direction_of(path, body, "L_Elbow", "L_Wrist"), [1, 0, 0], atol=1e-6)


def test_rotations_are_applied_x_first(write_amc: WriteAmc) -> None:
    tree = parse_amc(path := write_amc(angles={"lfemur": (90, 0, 90)}), path.with_name("01.asf"))
    turned = rotation.rotate(tree.quat[0, tree.names.index("lfemur")], np.array([0.0, -1.0, 0.0]))
    np.testing.assert_allclose(turned, [0, 0, -1], atol=1e-9)  # x takes down to back, z leaves back where it is


def test_an_amc_without_its_asf_names_what_was_found(write_amc: WriteAmc) -> None:
    path = write_amc(stem="01")
    write_amc(stem="08")
    stray = path.with_name("77_05.amc")
    stray.write_text(path.read_text())
    with pytest.raises(FileNotFoundError, match=r"77_05.amc.*01\.asf, 08\.asf"):
        read_amc(stray)
    read_amc(stray, path.with_name("08.asf"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "found none"),
        (lambda text: text[: text.rindex("rfemur")], "frame 8: expected the bones of the first frame"),
        (lambda text: text.replace("ltibia 0", "ltibia 0 0", 1), "ltibia: expected finite values for rx"),
        (lambda text: text.replace("ltibia 0", "ltibia nan", 1), "ltibia: expected finite values for rx"),
        (lambda text: text.replace("ltibia 0", "shinbone 0", 1), "shinbone"),
        (lambda text: text.replace("ltibia 0", "ltibia x", 1), "expected `bone numbers`"),
    ],
)
def test_broken_amc_is_refused_by_line(write_amc: WriteAmc, change: Callable[[str], str], message: str) -> None:
    path = write_amc()
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message) as error:
        read_amc(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "is it an ASF file"),
        (lambda text: text.replace("length 1.0", "length 0", 1), "length: expected a positive number"),
        (lambda text: text.replace("    axis 0 0 0 XYZ\n", "", 1), "bone lowerback: expected direction"),
        (lambda text: text.replace("    root lowerback", "    moon lowerback"), "lead to the root"),
    ],
)
def test_broken_asf_is_refused_by_section(write_amc: WriteAmc, change: Callable[[str], str], message: str) -> None:
    path = write_amc()
    asf = path.with_name("01.asf")
    asf.write_text(change(asf.read_text()))
    with pytest.raises(ValueError, match=message) as error:
        read_amc(path)
    assert str(asf) in str(error.value)
