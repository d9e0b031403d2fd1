"""C3D reader and writer: round trip, gaps, axes, units, plate signs and the errors a user can cause."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dataset.lab.axes import UP_ROTATION
from dataset.lab.c3d import read_c3d, write_c3d
from dataset.schema import ForcePlate, LabTrial

pytest.importorskip("ezc3d")

NAMES = ("LASI", "RASI", "SACR", "LHEE", "LTOE", "RHEE", "RTOE", "C7")
REST = np.array([
    [0.1, 0.12, 0.95], [0.1, -0.12, 0.95], [-0.1, 0.0, 0.97], [-0.05, 0.1, 0.03], [0.15, 0.1, 0.04], [-0.05, -0.1, 0.03],
    [0.15, -0.1, 0.04], [-0.05, 0.0, 1.45],
])  # fmt: skip


def standing_trial(up: str = "z", frames: int = 40) -> LabTrial:
    """A person swaying on one plate, 700 N, pressing at (0.03, -0.02)."""
    time = np.arange(frames) / 100.0
    sway = 0.01 * np.sin(2 * np.pi * time)[:, None, None] * np.array([1.0, 0.5, 0.0])
    clock = np.arange(frames * 10)
    force = np.column_stack([5.0 + 0.0 * clock, -3.0 + 0.0 * clock, 700.0 + np.sin(clock)])
    point = np.array([0.03, -0.02, 0.0])
    moment = np.cross(np.broadcast_to(point, force.shape), force) + np.array([0.0, 0.0, 1.5])
    corners = np.array([[0.3, 0.25, 0.0], [0.3, -0.25, 0.0], [-0.3, -0.25, 0.0], [-0.3, 0.25, 0.0]])
    plate = ForcePlate(rate=1000.0, force=force, moment=moment, corners=corners, name="Fx1")
    return LabTrial(
        name="stand", path="", marker_names=NAMES, marker_rate=100.0, time=time, markers=REST + sway,
        rot_world_lab=UP_ROTATION[up], plates=(plate,), mass=71.4, height=1.71,
    )  # fmt: skip


@pytest.mark.parametrize("up", ["z", "y", "x"])
def test_a_written_trial_is_read_back_whatever_axis_points_up(tmp_path: Path, up: str) -> None:
    trial = standing_trial(up)
    write_c3d(tmp_path / "a.c3d", trial)
    back = read_c3d(tmp_path / "a.c3d")
    assert back.marker_names == NAMES
    np.testing.assert_allclose(back.markers, trial.markers, atol=1e-6)  # float32 millimetres
    np.testing.assert_allclose(back.rot_world_lab, UP_ROTATION[up])
    np.testing.assert_allclose(back.plates[0].force, trial.plates[0].force, atol=1e-3)
    np.testing.assert_allclose(back.plates[0].moment, trial.plates[0].moment, atol=1e-3)
    assert back.plates[0].corners is not None and trial.plates[0].corners is not None
    np.testing.assert_allclose(back.plates[0].corners, trial.plates[0].corners, atol=1e-6)
    assert back.time[0] == 0.0
    assert back.mass == pytest.approx(71.4)
    assert back.height == pytest.approx(1.71)


def test_gaps_stay_gaps_and_do_not_move_other_markers(tmp_path: Path) -> None:
    trial = standing_trial()
    markers = trial.markers.copy()
    markers[5:9, 2] = np.nan
    write_c3d(tmp_path / "gap.c3d", dataclasses.replace(trial, markers=markers))
    back = read_c3d(tmp_path / "gap.c3d")
    np.testing.assert_array_equal(np.isnan(back.markers), np.isnan(markers))
    np.testing.assert_allclose(back.markers, markers, atol=1e-6)


def test_plates_that_store_the_force_on_the_plate_are_negated(tmp_path: Path) -> None:
    trial = standing_trial()
    plate = trial.plates[0]
    flipped = dataclasses.replace(plate, force=-plate.force, moment=-plate.moment)
    write_c3d(tmp_path / "neg.c3d", dataclasses.replace(trial, plates=(flipped,)))
    back = read_c3d(tmp_path / "neg.c3d")
    np.testing.assert_allclose(back.plates[0].force, plate.force, atol=1e-3)
    assert any("negated" in note for note in back.notes)


def test_subject_prefixes_are_removed_and_reported(tmp_path: Path) -> None:
    trial = standing_trial()
    named = dataclasses.replace(trial, marker_names=tuple(f"Anna:{name}" for name in NAMES))
    write_c3d(tmp_path / "p.c3d", named)
    back = read_c3d(tmp_path / "p.c3d")
    assert back.marker_names == NAMES
    assert any("Anna" in note for note in back.notes)


def test_a_person_of_wrong_units_is_refused_with_the_size_found(tmp_path: Path) -> None:
    trial = standing_trial()
    for factor in (1000.0, 0.001):
        write_c3d(tmp_path / "u.c3d", dataclasses.replace(trial, markers=trial.markers * factor, plates=()))
        with pytest.raises(ValueError, match=r"u\.c3d: unit of length: expected .* found .* m .*correct the unit"):
            read_c3d(tmp_path / "u.c3d")


def _write_with_unit(path: Path, trial: LabTrial, unit: str) -> None:
    import ezc3d

    write_c3d(path, dataclasses.replace(trial, plates=()))
    content = ezc3d.c3d(str(path))
    content["parameters"]["POINT"]["UNITS"]["value"] = [unit]
    content.write(str(path))


def test_millimetres_called_metres_and_the_reverse_are_refused_with_the_unit_that_fits(tmp_path: Path) -> None:
    trial = standing_trial()
    metres = dataclasses.replace(trial, markers=trial.markers / 1000.0)  # the writer counts millimetres
    for source, unit, fits in (
        (trial, "m", "look like mm"),
        (metres, "mm", "look like m"),
        (metres, "", "look like m"),
    ):
        _write_with_unit(tmp_path / "u.c3d", source, unit)
        with pytest.raises(ValueError, match=r"u\.c3d: unit of length: expected .* found .*LASI.*" + fits + r"\)"):
            read_c3d(tmp_path / "u.c3d")
    with pytest.raises(ValueError, match="assumed: POINT:UNITS is missing"):
        read_c3d(tmp_path / "u.c3d")
    _write_with_unit(tmp_path / "missing.c3d", trial, "")
    back = read_c3d(tmp_path / "missing.c3d")
    np.testing.assert_allclose(back.markers, trial.markers, atol=1e-6)
    assert any("UNITS is missing" in note for note in back.notes)
    _write_with_unit(tmp_path / "furlong.c3d", trial, "furlong")
    with pytest.raises(ValueError, match="POINT:UNITS: expected mm, cm, dm or m, found 'furlong'"):
        read_c3d(tmp_path / "furlong.c3d")


def test_markers_of_a_part_of_the_body_are_refused_as_such(tmp_path: Path) -> None:
    trial = standing_trial()
    keep = [NAMES.index(name) for name in ("LHEE", "LTOE", "RHEE", "RTOE")]
    feet = dataclasses.replace(
        trial, markers=trial.markers[:, keep], marker_names=tuple(NAMES[k] for k in keep), plates=()
    )
    write_c3d(tmp_path / "feet.c3d", feet)
    with pytest.raises(ValueError, match=r"LHEE, LTOE, RHEE, RTOE.*give a file with the markers of a whole person"):
        read_c3d(tmp_path / "feet.c3d")


@pytest.mark.parametrize(
    ("size", "found"),
    [(512, "where its parameters begin"), (520, "blocks of parameters"), (900, "blocks of parameters"),
     (1500, "blocks of parameters"), (4000, "40 frames of 8 points and 60 analog samples")],
)  # fmt: skip
def test_a_cut_file_is_refused_before_the_library_hangs_on_it(tmp_path: Path, size: int, found: str) -> None:
    # ezc3d crashes on 520 bytes, never returns from 900, and reads 4000 as a shorter trial
    write_c3d(tmp_path / "whole.c3d", standing_trial())
    (tmp_path / "cut.c3d").write_bytes((tmp_path / "whole.c3d").read_bytes()[:size])
    with pytest.raises(ValueError, match=rf"cut\.c3d: file size: expected .*{found}.* found {size}; the file is cut"):
        read_c3d(tmp_path / "cut.c3d")


def test_a_folder_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "trial.c3d").mkdir()
    with pytest.raises(IsADirectoryError, match=r"trial\.c3d: expected a C3D trial, found a folder"):
        read_c3d(tmp_path / "trial.c3d")
    with pytest.raises(FileNotFoundError, match=r"none\.c3d: no such file; expected a C3D trial"):
        read_c3d(tmp_path / "none.c3d")


@pytest.mark.parametrize("stored", [1.71, 171.0, 1710.0])
def test_a_height_in_metres_centimetres_or_millimetres_is_read_in_metres(tmp_path: Path, stored: float) -> None:
    write_c3d(tmp_path / "h.c3d", dataclasses.replace(standing_trial(), height=stored / 1000.0))
    assert read_c3d(tmp_path / "h.c3d").height == pytest.approx(1.71)


def test_unknown_labels_are_refused_unless_asked_for(tmp_path: Path) -> None:
    trial = dataclasses.replace(standing_trial(), marker_names=tuple(f"foo{index}" for index in range(len(NAMES))))
    write_c3d(tmp_path / "l.c3d", trial)
    with pytest.raises(ValueError, match=r"l\.c3d: marker labels: .*foo0.*rename"):
        read_c3d(tmp_path / "l.c3d")
    assert read_c3d(tmp_path / "l.c3d", require_known=False).marker_names[0] == "foo0"


def test_files_that_are_no_c3d_or_hold_no_markers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.c3d").write_text("hello " * 200)
    with pytest.raises(ValueError, match=r"text\.c3d: expected a C3D file"):
        read_c3d(tmp_path / "text.c3d")
    (tmp_path / "empty.c3d").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.c3d: expected a C3D file .* found 0 bytes"):
        read_c3d(tmp_path / "empty.c3d")
    import ezc3d

    bare = ezc3d.c3d()
    bare["data"]["points"] = np.zeros((4, 0, 10))
    bare["parameters"]["POINT"]["RATE"]["value"] = [100.0]
    bare.write(str(tmp_path / "bare.c3d"))
    with pytest.raises(
        ValueError, match=r"bare\.c3d: POINT data: expected frames with markers, found \d+ frames of 0 points"
    ):
        read_c3d(tmp_path / "bare.c3d")
    hidden = dataclasses.replace(standing_trial(), markers=np.full((40, len(NAMES), 3), np.nan))
    write_c3d(tmp_path / "hidden.c3d", hidden)
    with pytest.raises(ValueError, match=r"hidden\.c3d: POINT data: .*without a single position"):
        read_c3d(tmp_path / "hidden.c3d")


def test_a_stretch_without_any_marker_is_refused_with_its_frames(tmp_path: Path) -> None:
    trial = standing_trial(frames=80)
    markers = trial.markers.copy()
    markers[20:50] = np.nan
    write_c3d(tmp_path / "hole.c3d", dataclasses.replace(trial, markers=markers, plates=()))
    with pytest.raises(ValueError, match=r"hole\.c3d: marker positions: .* from frame 20 to 49 \(0\.30 s\)"):
        read_c3d(tmp_path / "hole.c3d")


def test_a_real_child_stands_with_its_own_weight_inside_its_plate(data_dir: Path) -> None:
    path = data_dir / "lab/biomechzoo_children/HC030A/Static/HC030A01.c3d"
    trial = read_c3d(path)
    plate = trial.plates[0]
    assert trial.mass == pytest.approx(45.8, abs=0.01)
    assert plate.force[:, 2].mean() / 9.81 == pytest.approx(45.8, rel=0.01)
    cop = np.column_stack([-plate.moment[:, 1], plate.moment[:, 0]]).mean(axis=0) / plate.force[:, 2].mean()
    assert plate.corners is not None
    assert (cop > plate.corners[:, :2].min(axis=0)).all() and (cop < plate.corners[:, :2].max(axis=0)).all()
    feet = [trial.marker_names.index(name) for name in ("LHEE", "LTOE", "RHEE", "RTOE")]
    assert np.linalg.norm(np.nanmean(trial.markers[:, feet, :2], axis=(0, 1)) - cop) < 0.06
