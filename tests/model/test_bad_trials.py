"""Trials, arguments and weights that cannot be used, through the command line of predict.

Each gives one line that names file, field, expected, found and what to do; status 2, nothing written.
"""

import dataclasses
import sys

import numpy as np

from dataset.command_line import run_command
from dataset.lab.c3d import write_c3d
from dataset.lab.opensim import write_trc


def _bad_files(folder, trial, weights):
    """(name, arguments of predict, words that the one line of the error must hold)."""
    write_c3d(folder / "good.c3d", dataclasses.replace(trial, foot_wrench=None))
    (folder / "empty.c3d").write_bytes(b"")
    write_c3d(folder / "no_mass.c3d", dataclasses.replace(trial, foot_wrench=None, mass=None))
    strange = tuple(f"P{k}" for k in range(len(trial.marker_names)))
    write_c3d(folder / "labels.c3d", dataclasses.replace(trial, foot_wrench=None, marker_names=strange))
    write_c3d(folder / "units.c3d", dataclasses.replace(trial, foot_wrench=None, markers=1000.0 * trial.markers))
    write_c3d(
        folder / "hidden.c3d", dataclasses.replace(trial, foot_wrench=None, markers=np.full_like(trial.markers, np.nan))
    )
    short = dataclasses.replace(trial, time=trial.time[:8], markers=trial.markers[:8], foot_wrench=None)
    write_c3d(folder / "short.c3d", short)
    (folder / "text.trc").write_text("no trial\n")
    good = folder / "good.c3d"
    (folder / "cut.c3d").write_bytes(good.read_bytes()[: good.stat().st_size * 2 // 3])
    write_trc(folder / "good.trc", trial)
    (folder / "cut.trc").write_bytes(
        (folder / "good.trc").read_bytes()[: (folder / "good.trc").stat().st_size * 2 // 3]
    )
    gap = trial.markers.copy()
    gap[60:150] = np.nan
    write_c3d(folder / "gap.c3d", dataclasses.replace(trial, foot_wrench=None, markers=gap))
    write_c3d(folder / "giant.c3d", dataclasses.replace(trial, foot_wrench=None, height=2.4))
    write_c3d(folder / "no_height.c3d", dataclasses.replace(trial, foot_wrench=None, height=None))
    small = dataclasses.replace(trial, foot_wrench=None, height=None, markers=0.4 * trial.markers)
    write_c3d(folder / "small.c3d", small)
    (folder / "cut.safetensors").write_bytes(weights.read_bytes()[:5000])
    (folder / "other.safetensors").write_bytes(_without_metadata(weights))
    (folder / "markers.mot").write_bytes((folder / "good.trc").read_bytes())
    (folder / "a file").write_text("")
    return [
        ("empty file", [folder / "empty.c3d"], ("empty.c3d", "expected a C3D file", "found 0 bytes")),
        ("missing file", [folder / "nowhere.c3d"], ("nowhere.c3d", "no such file")),
        ("not a trial", [folder / "text.trc"], ("text.trc", "header", "expected", "found")),
        ("no mass", [folder / "no_mass.c3d"], ("no_mass.c3d", "mass", "expected", "found none", "--mass")),
        ("impossible mass", [good, "--mass", "7000"], ("good.c3d", "mass", "expected 5 to 300 kg", "7000")),
        (
            "mass that is no number",
            [good, "--mass", "nan"],
            ("good.c3d", "mass", "expected 5 to 300 kg", "nan", "--mass"),
        ),
        ("a giant", [good, "--height", "2.4"], ("good.c3d", "height", "expected 1.1 to 2.0 m", "found 2.4 m (given)")),
        ("centimetres", [good, "--height", "172"], ("good.c3d", "height", "found 172 m", "--height in metres")),
        ("no height at all", [good, "--height", "0"], ("good.c3d", "height", "expected 1.1 to 2.0 m", "found 0 m")),
        ("a giant's file", [folder / "giant.c3d"], ("giant.c3d", "height", "found 2.4 m (from the file)", "--height")),
        (
            "a doll's markers",
            [folder / "small.c3d"],
            ("small.c3d", "height", "expected the markers of a person", "unit"),
        ),
        (
            "a child of 250 kg",
            [good, "--mass", "250", "--height", "1.2"],
            ("good.c3d", "mass: expected", "kg at a height of 1.2 m (given)", "found 250 kg", "--mass and --height"),
        ),
        (
            "250 kg at any height",
            [folder / "no_height.c3d", "--mass", "250"],
            ("no_height.c3d", "mass: expected", "kg up to a height of 2.0 m", "found 250 kg", "--mass"),
        ),
        (
            "14 kg at the height found",
            [folder / "no_height.c3d", "--mass", "14"],
            ("no_height.c3d", "mass", "expected", "kg at height 1.", "got 14", "check mass"),
        ),
        ("cut C3D", [folder / "cut.c3d"], ("cut.c3d", "file size: expected at least", "found", "the file is cut")),
        ("cut TRC", [folder / "cut.trc"], ("cut.trc", "expected", "found", "again")),
        (
            "NaN frames",
            [folder / "gap.c3d"],
            ("gap.c3d", "expected markers in every stretch", "frame 60 to 149", "gap"),
        ),
        ("a folder", [folder], (str(folder), "expected", "found")),
        ("cut weights", [good, "--weights", folder / "cut.safetensors"], ("cut.safetensors", "5000 bytes", "again")),
        (
            "strange weights",
            [good, "--weights", folder / "other.safetensors"],
            ("other.safetensors", "format", "found None"),
        ),
        ("static without plates", [good, "--static", good], ("good.c3d", "forces", "found none", "pass the mass")),
        ("forces of no kind", [good, "--forces", folder / "markers.mot"], ("markers.mot", "expected", "found")),
        (
            "output is a file",
            [good, "--out", folder / "a file"],
            ("a file", "output folder", "found the file", "give another"),
        ),
        ("unknown labels", [folder / "labels.c3d"], ("labels.c3d", "marker labels", "expected", "P0", "rename")),
        ("wrong unit", [folder / "units.c3d"], ("units.c3d", "unit of length", "expected", "found")),
        ("only gaps", [folder / "hidden.c3d"], ("hidden.c3d", "expected", "found")),
        ("too short", [folder / "short.c3d"], ("short.c3d", "expected at least 0.17 s", "8 frames")),
        ("no forces", [good, "--compare"], ("good.c3d", "forces", "expected", "found none", "--forces")),
        ("other weights", [good, "--weights", folder / "no.safetensors"], ("no.safetensors", "no such file", "train")),
        ("another ending", [weights], ("ending", ".c3d or .trc", ".safetensors")),
    ]


def _without_metadata(weights):
    from safetensors.torch import load_file, save

    return save(load_file(weights))


def test_bad_input_ends_with_one_clear_line_and_status_2(trial, weights, tmp_path, capsys, monkeypatch):
    """Each names file, field, expected, found and what to do; never a traceback, never a result."""
    from model import predict

    wrong = []
    for name, arguments, words in _bad_files(tmp_path, trial, weights):
        out = tmp_path / f"out {name}"
        given = [str(a) for a in arguments]
        if "--weights" not in given:
            given += ["--weights", str(weights)]
        given += [] if "--out" in given else ["--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["predict", *given])
        assert run_command("predict", predict.run) == 2, name
        error = capsys.readouterr().err.strip().splitlines()
        assert not out.exists()
        if len(error) != 1 or not all(word in error[0] for word in words):
            wrong.append((name, words, error))
    assert not wrong
