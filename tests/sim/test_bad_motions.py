"""Motion files that cannot be used, through the real command lines: sim.track refuses them, sim.collect counts them and goes on.

Each text names the file, the field, what was expected and found, and what to do.
"""

import io
import json
import sys

import numpy as np
import pytest

from dataset.command_line import run_command
from sim import collect, track

BVH = """HIERARCHY
ROOT Tail
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Fin
  {
    OFFSET 0 10 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 10 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.033333
0 0 0 0 0 0 0 0 0
0 0 0 0 0 0 0 0 0
"""


def _npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _bad_motions(arm_swing):
    """File name, its content, and words of the error."""
    good = {"poses": np.zeros((40, 156)), "trans": np.zeros((40, 3)), "mocap_framerate": np.array(30.0)}
    objects = np.array([None] * 40, dtype=object)
    nan = good["poses"].copy()
    nan[7, 3] = np.nan
    return [
        ("fish.bvh", BVH.encode(), ("skeleton: expected joint names", "found Tail, Fin", "rename the joints")),
        ("cut.bvh", BVH.encode()[:150], ("expected BVH text with HIERARCHY and MOTION", "found", "again")),
        ("open.bvh", BVH.replace("}\n", "", 1).encode(), ("HIERARCHY: expected closed joint blocks", "found", "again")),
        ("short.bvh", BVH.encode()[:-20], ("MOTION: expected", "found", "again")),
        ("text.bvh", b"no motion\n", ("expected", "found", "again")),
        ("empty.bvh", b"", ("expected", "found", "again")),
        (
            "objects.npz",
            _npz(**good | {"poses": objects}),
            ("poses: expected numbers, found an object array", "convert"),
        ),
        ("torn.npz", _npz(**good)[:3000], ("expected an AMASS npz file, found", "again")),
        ("nothing.npz", b"", ("expected an AMASS npz file, found", "again")),
        ("nan.npz", _npz(**good | {"poses": nan}), ("poses: expected finite numbers", "frame 7", "repair")),
        (
            "width.npz",
            _npz(**good | {"poses": np.zeros((40, 12))}),
            ("poses: expected (frames, 156)", "found (40, 12)", "give"),
        ),
        (
            "rate.npz",
            _npz(poses=good["poses"], trans=good["trans"]),
            ("expected mocap_framerate", "found poses, trans", "add"),
        ),
        (
            "alone.amc",
            b":FULLY-SPECIFIED\n:DEGREES\n1\nroot 0 0 0 0 0 0\n",
            ("expected an ASF skeleton", "found none", "put the skeleton there"),
        ),
        ("part.txt", arm_swing(1.6)[:5000].encode(), ("expected", "found", "again")),
        (
            "other.json",
            json.dumps({"Frames": [[1, 2, 3]]}).encode(),
            ("Frames: expected", "found shape (1, 3)", "is it"),
        ),
        ("movie.mp4", b"....", ("expected one of .bvh, .amc, .npz, .txt, .json", "found .mp4", "convert")),
    ]


@pytest.fixture
def drive(monkeypatch, capsys):
    """(status, lines on stderr without the progress bar) of a command line."""

    def run(module, name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        status = run_command(name, module.run)
        text = capsys.readouterr().err.replace("\r", "\n")
        return status, [
            line for line in text.splitlines() if line.strip() and "clip/s" not in line and "?clip" not in line
        ]

    return run


def test_a_bad_motion_file_ends_tracking_with_one_line(tmp_path, arm_swing, drive) -> None:
    """Status 2, and nothing is searched or written."""
    wrong = []
    for name, content, words in _bad_motions(arm_swing):
        (tmp_path / name).write_bytes(content)
        arguments = (tmp_path / name, "--workers", 1, "--solutions", tmp_path / "solutions")
        status, lines = drive(track, "track", *arguments)
        if status != 2 or len(lines) != 1 or not all(word in lines[0] for word in (name, *words)):
            wrong.append((name, status, words, lines))
    assert not wrong, "\n".join(map(str, wrong))
    assert not (tmp_path / "solutions").exists()


def test_arguments_that_name_nothing_are_refused_before_the_work(tmp_path, drive) -> None:
    """Unknown clips, people and folders, a list without its folder, and an output that is a file."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "list.csv").write_text("source,clip\n")
    out = ("--out", tmp_path / "set")
    cases = [
        (track, ("wlak",), ("motions: expected embedded", "got 'wlak'", "does not exist")),
        (
            track,
            ("walk", "--subjects", "nobody", "--workers", 1),
            ("subject: expected one of neutral172", "got 'nobody'"),
        ),
        (collect, ("--motions", "embedded/wlak", *out), ("motions: expected one of", "got 'wlak'")),
        (collect, ("--motions", tmp_path / "empty", *out), ("motions: expected motion files", "found none")),
        (collect, ("--motions", tmp_path / "list.csv", *out), ("root: expected the motion folder", "list.csv")),
        (collect, ("--motions", tmp_path / "list.csv", "--root", tmp_path, *out), ("list.csv", "expected", "found")),
        (
            collect,
            ("--motions", "embedded/walk", "--subjects", "nobody", *out),
            ("subject", "expected", "got 'nobody'"),
        ),
        (
            collect,
            ("--motions", "embedded/walk", "--out", tmp_path / "file"),
            (str(tmp_path / "file"), "file", "another"),
        ),
    ]
    wrong = []
    for module, arguments, words in cases:
        status, lines = drive(module, module.__name__.rsplit(".", 1)[-1], *arguments)
        if status != 2 or len(lines) != 1 or not all(word in lines[0] for word in words):
            wrong.append((arguments, status, words, lines))
    assert not wrong, "\n".join(map(str, wrong))
    assert not (tmp_path / "set").exists()


def test_a_collection_counts_bad_files_and_says_which(tmp_path, arm_swing, drive) -> None:
    """Every file gets its line; the run record holds them too."""
    bad = _bad_motions(arm_swing)[:-1]  # a folder's other files are not looked at
    (tmp_path / "motions").mkdir()
    for name, content, _ in bad:
        (tmp_path / "motions" / name).write_bytes(content)
    status, lines = drive(
        collect, "collect", "--motions", tmp_path / "motions", "--workers", 1, "--out", tmp_path / "set"
    )
    assert status == 0, lines
    text = "\n".join(lines)
    for name, _, words in bad:
        (line,) = [line for line in lines if f"motions/{name}" in line]
        assert all(word in line for word in words), line
    assert "Traceback" not in text
