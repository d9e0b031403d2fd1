"""TRC, MOT and external loads: round trips, spellings of the force columns, header mismatches, broken files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset.lab.axes import UP_ROTATION
from dataset.lab.external_loads import read_forces, write_grf_mot
from dataset.lab.opensim import read_storage, read_trc, write_storage, write_trc
from dataset.lab.read import read_trial
from dataset.schema import LabTrial

NAMES = ("L.ASIS", "R.ASIS", "S2", "L.Heel", "L.Toe", "R.Heel", "R.Toe")
REST = np.array([
    [0.1, 0.12, 0.95], [0.1, -0.12, 0.95], [-0.1, 0.0, 0.97], [-0.05, 0.1, 0.03], [0.15, 0.1, 0.04], [-0.05, -0.1, 0.03],
    [0.15, -0.1, 0.04],
])  # fmt: skip


def trial(frames: int = 30, start: float = 2.0) -> LabTrial:
    time = start + np.arange(frames) / 100.0
    markers = REST + 0.02 * np.sin(time)[:, None, None]
    return LabTrial(name="t", path="", marker_names=NAMES, marker_rate=100.0, time=time, markers=markers,
                    rot_world_lab=UP_ROTATION["y"])  # fmt: skip


def test_trc_round_trip_keeps_clock_gaps_and_axes(tmp_path: Path) -> None:
    source = trial()
    source.markers[3:6, 1] = np.nan
    write_trc(tmp_path / "a.trc", source)
    back = read_trial(tmp_path / "a.trc")
    assert back.marker_names == NAMES
    np.testing.assert_allclose(back.time, source.time)
    np.testing.assert_allclose(back.markers, source.markers, atol=1e-6)
    np.testing.assert_allclose(back.rot_world_lab, UP_ROTATION["y"])


def test_trc_in_millimetres_is_read_in_metres(tmp_path: Path) -> None:
    write_trc(tmp_path / "a.trc", trial())
    lines = (tmp_path / "a.trc").read_text().splitlines()
    lines[2] = lines[2].replace("\tm\t", "\tmm\t")
    body = [line.split("\t") for line in lines[6:]]
    scaled = ["\t".join([*row[:2], *(f"{1000 * float(cell):.4f}" for cell in row[2:])]) for row in body]
    (tmp_path / "mm.trc").write_text("\n".join(lines[:6] + scaled) + "\n")
    np.testing.assert_allclose(read_trc(tmp_path / "mm.trc").markers, read_trc(tmp_path / "a.trc").markers, atol=1e-6)
    (tmp_path / "wrong.trc").write_text("\n".join(lines[:6] + ["\t".join(row) for row in body]) + "\n")
    with pytest.raises(ValueError, match=r"wrong\.trc: unit of length"):
        read_trc(tmp_path / "wrong.trc")


def test_broken_trc_files_name_the_line_and_what_to_do(tmp_path: Path) -> None:
    write_trc(tmp_path / "a.trc", trial())
    lines = (tmp_path / "a.trc").read_text().splitlines()
    cases = {
        "time: expected strictly increasing": [*lines[:8], lines[7], *lines[8:]],
        "expected a number, found 'abc'": [*lines[:6], lines[6].replace(lines[6].split("\t")[4], "abc"), *lines[7:]],
        "Units: expected mm, cm or m": [*lines[:2], lines[2].replace("\tm\t", "\tfurlong\t"), *lines[3:]],
        "Units: expected mm, cm or m, found ''": [*lines[:2], lines[2].replace("\tm\t", "\t\t"), *lines[3:]],
        "table: expected markers and rows": lines[:6],
        "header: expected the five header lines": lines[:3],
        "header: .* found 35 lines, the fourth 'X1": [lines[0], *lines[2:]],
        "table: expected 30 rows as NumFrames says, found 20; the file is cut": lines[:26],
        "marker labels: expected one for each of 7 markers .* found 8": [
            *lines[:3],
            "Frame#\tTime\tEXTRA\t\t\t" + lines[3].removeprefix("Frame#\tTime\t"),
            *lines[4:],
        ],
        "time: expected finite times": [*lines[:6], "\t".join(["1", "nan", *lines[6].split("\t")[2:]]), *lines[7:]],
    }
    for message, content in cases.items():
        (tmp_path / "bad.trc").write_text("\n".join(content) + "\n")
        with pytest.raises(ValueError, match=r"bad\.trc: .*" + message.replace("(", r"\(")):
            read_trc(tmp_path / "bad.trc")


def test_a_table_longer_than_its_header_says_is_read_and_noted(tmp_path: Path) -> None:
    write_trc(tmp_path / "a.trc", trial())
    text = (tmp_path / "a.trc").read_text().replace("100\t30\t7", "100\t20\t7")
    (tmp_path / "a.trc").write_text(text)
    back = read_trc(tmp_path / "a.trc")
    assert back.num_frames == 30
    assert "Header says NumFrames=20, the table has 30: the table is used." in back.notes


def test_storage_header_counts_that_disagree_become_a_note_with_both_counts(tmp_path: Path) -> None:
    write_storage(tmp_path / "a.mot", np.arange(5) / 10, ["x", "y"], np.arange(10.0).reshape(5, 2))
    text = (tmp_path / "a.mot").read_text().replace("nRows=5", "nRows=7")
    (tmp_path / "a.mot").write_text(text)
    storage = read_storage(tmp_path / "a.mot")
    np.testing.assert_allclose(storage.values, np.arange(10.0).reshape(5, 2))
    assert "nrows=7" in storage.notes[0] and "5" in storage.notes[0]


FORCES = np.array([[10.0, 600.0, -5.0], [0.0, 0.0, 0.0]])
POINTS = np.array([[0.2, 0.0, 0.1], [0.5, 0.0, -0.1]])
SPELLINGS = {
    "gait2392": ("ground_force_v{}", "ground_force_p{}", "ground_torque_{}", "1_ground_force_v{}", "1_ground_force_p{}",
                 "1_ground_torque_{}"),
    "moco": ("ground_force_1_v{}", "ground_force_1_p{}", "ground_torque_1_{}", "ground_force_2_v{}", "ground_force_2_p{}",
             "ground_torque_2_{}"),
    "addbio": ("ground_force_1_v{}", "ground_force_1_p{}", "ground_force_1_m{}", "ground_force_2_v{}", "ground_force_2_p{}",
               "ground_force_2_m{}"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_force_columns_gives_the_same_plates(tmp_path: Path, name: str) -> None:
    time = 2.0 + np.arange(300) / 1000
    labels = [part.format(axis) for part in SPELLINGS[name] for axis in "xyz"]
    row = np.concatenate([FORCES[0], POINTS[0], [0.0, 2.0, 0.0], FORCES[1], POINTS[1], [0.0, 0.0, 0.0]])
    write_storage(tmp_path / "f.mot", time, labels, np.tile(row, (300, 1)))
    loaded = read_forces(tmp_path / "f.mot", trial())
    assert len(loaded.plates) == 2 and loaded.plate_start == pytest.approx(2.0)
    np.testing.assert_allclose(loaded.plates[0].force[0], [10.0, 5.0, 600.0])
    np.testing.assert_allclose(
        loaded.plates[0].moment[0],
        np.cross([0.2, -0.1, 0.0], [10.0, 5.0, 600.0]) + np.array([0.0, 0.0, 2.0]),
        atol=1e-9,
    )


def test_written_foot_forces_come_back_as_the_wrench_of_each_foot(tmp_path: Path) -> None:
    time = 2.0 + np.arange(30) / 100.0
    grf = np.zeros((30, 2, 3))
    grf[:, 0] = [10.0, -4.0, 400.0]
    grf[:, 1] = [-10.0, 6.0, 300.0]
    cop = np.tile([[0.1, 0.1], [0.2, -0.1]], (30, 1, 1))
    write_grf_mot(tmp_path / "grf.mot", time, grf, cop, np.full((30, 2), 1.5))
    back = read_forces(tmp_path / "grf.mot", trial())
    assert back.foot_wrench is not None and back.foot_rate == pytest.approx(100.0)
    np.testing.assert_allclose(back.foot_wrench[:, :, :3], grf, atol=1e-4)
    expected = np.cross(np.array([0.1, 0.1, 0.0]), grf[0, 0]) + np.array([0.0, 0.0, 1.5])
    np.testing.assert_allclose(back.foot_wrench[0, 0, 3:], expected, atol=1e-4)


def test_force_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    labels = [part.format(axis) for part in SPELLINGS["moco"][:3] for axis in "xyz"]
    row = np.concatenate([FORCES[0], POINTS[0], [0.0, 2.0, 0.0]])
    write_storage(tmp_path / "late.mot", 50.0 + np.arange(300) / 1000, labels, np.tile(row, (300, 1)))
    with pytest.raises(ValueError, match=r"late\.mot: time: expected an overlap"):
        read_forces(tmp_path / "late.mot", trial())
    write_storage(tmp_path / "down.mot", 2.0 + np.arange(300) / 1000, labels, np.tile(-row, (300, 1)))
    with pytest.raises(ValueError, match=r"down\.mot: force columns: expected forces that push the body up"):
        read_forces(tmp_path / "down.mot", trial())
    write_storage(tmp_path / "ik.mot", 2.0 + np.arange(30) / 100, ["pelvis_tx"], np.zeros((30, 1)))
    with pytest.raises(ValueError, match=r"ik\.mot: columns: expected ground_force"):
        read_forces(tmp_path / "ik.mot", trial())
