"""Data sets, weights and predictions that cannot be used, through the real command lines of the solver.

One line each that names the file or argument, what was expected and found, and what to do; status 2, nothing written.
"""

import dataclasses
import shutil
import sys

import numpy as np
import pytest

from dataset.command_line import run_command
from dataset.store import Store
from model import calibrate, evaluate, evaluate_lab, train, view
from model.config import smoke


@pytest.fixture(scope="module")
def made(sway_sequences, tmp_path_factory):
    """A data set and weights trained on it for a moment."""
    folder = tmp_path_factory.mktemp("made")
    Store.create(folder / "data").append(sway_sequences[:6])
    cfg = dataclasses.replace(smoke(folder / "data", folder / "out"), steps=2, evaluate_every=2)
    return folder / "data", train.main(cfg).weights


@pytest.fixture
def drive(monkeypatch, capsys):
    """(status, lines on stderr) of a command line."""

    def run(module, *arguments):
        name = module.__name__.rsplit(".", 1)[-1]
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        status = run_command(name, module.run)
        return status, capsys.readouterr().err.replace("\r", "\n").strip().splitlines()

    return run


def _broken_data(data, folder):
    """(path of a data set, words of the error)."""

    def copy(name):
        shutil.copytree(data, folder / name)
        return next((folder / name).glob("shard-*"))

    (folder / "empty").mkdir()
    (folder / "a file").write_text("")
    (copy("half") / "_SUCCESS").unlink()
    cut = copy("cut") / "impulse.npy"
    cut.write_bytes(cut.read_bytes()[:5000])
    return [
        (folder / "nowhere", ("expected the folder of a data set, found nothing", "sim.collect")),
        (folder / "a file", ("expected the folder of a data set, found a file", "sim.collect")),
        (folder / "empty", ("at least one complete shard, found none", "sim.collect")),
        (folder / "half", ("only half-written shards: shard-", "delete them and collect again")),
        (folder / "cut", ("impulse.npy: expected", "found 5000 bytes", "delete the shard")),
    ]


def _refusals(drive, cases):
    wrong = []
    for module, arguments, words in cases:
        status, lines = drive(module, *arguments)
        if status != 2 or len(lines) != 1 or not all(word in lines[0] for word in words):
            wrong.append((module.__name__, arguments, status, words, lines))
    return "\n".join(map(str, wrong))


def test_broken_data_sets_stop_training_evaluation_and_calibration(made, tmp_path, drive) -> None:
    data, weights = made
    cases, out = [], ("--out", tmp_path / "out")
    for path, words in _broken_data(data, tmp_path):
        words = (str(path), *words)
        cases += [
            (train, ("--preset", "smoke", "--data", path, *out), words),
            (evaluate, ("--data", path, "--weights", weights, *out), words),
            (calibrate, ("--data", path, "--weights", weights), words),
        ]
    assert not _refusals(drive, cases)
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_work_are_named(made, tmp_path, drive) -> None:
    data, _ = made
    out = ("--out", tmp_path / "out")
    (tmp_path / "lab").mkdir()
    cases = [
        (train, ("--preset", "huge", "--data", data, *out), ("--preset: expected one of smoke", "got 'huge'")),
        (train, ("--preset", "smoke", "--data", data, "--held-out", "toy/none", *out), ("held_out", "toy/none")),
        (
            train,
            ("--preset", "smoke", "--data", data, "--resume", *out),
            ("no checkpoint to resume from", "start without"),
        ),
        (evaluate_lab, ("--data", tmp_path, *out), (str(tmp_path), "expected", "found")),
    ]
    assert not _refusals(drive, cases)


def test_broken_weights_stop_evaluation_and_calibration(made, tmp_path, drive) -> None:
    from safetensors.torch import load_file, save_file

    data, weights = made
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:3000])
    (tmp_path / "empty.safetensors").write_bytes(b"")
    save_file(load_file(weights), tmp_path / "other.safetensors")
    save_file({}, tmp_path / "config.safetensors", {"format": _format(weights)})
    broken = _metadata(weights)
    tensors = load_file(weights)
    tensors.pop(next(name for name in tensors if not name.startswith("scaling_")))
    save_file(tensors, tmp_path / "lacking.safetensors", broken)
    shutil.copy(weights, tmp_path / "spread.safetensors")
    (tmp_path / "spread.spread.json").write_text("{")
    expected = {
        "none": ("no such file", "model.train"),
        "cut": ("expected a safetensors file, found 3000 bytes", "again"),
        "empty": ("expected a safetensors file, found 0 bytes", "again"),
        "other": ("format: expected", "found None", "give the weights"),
        "config": ("config: expected", "copy the weights again"),
        "lacking": ("tensors: expected", "Missing key", "train again"),
    }
    cases = []
    for name, words in expected.items():
        path = tmp_path / f"{name}.safetensors"
        cases += [
            (evaluate, ("--data", data, "--weights", path, "--out", tmp_path / "out"), (str(path), *words)),
            (calibrate, ("--data", data, "--weights", path), (str(path), *words)),
        ]
    cases.append(
        (
            calibrate,
            ("--data", data, "--weights", tmp_path / "spread.safetensors"),
            ("spread.json: expected", "delete the file"),
        )
    )
    assert not _refusals(drive, cases)
    assert not (tmp_path / "out").exists()


def _metadata(weights):
    import safetensors

    with safetensors.safe_open(str(weights), framework="pt") as file:
        return dict(file.metadata())


def _format(weights):
    return _metadata(weights)["format"]


def test_what_cannot_be_animated_is_named(made, tmp_path, drive) -> None:
    _, weights = made
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.save(tmp_path / "bare.npy", np.zeros(3))
    (tmp_path / "bare.npz").write_bytes((tmp_path / "bare.npy").read_bytes())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:100])
    out = ("--out", tmp_path / "anim.html")
    cases = [
        (view, (tmp_path / "none.npz", *out), ("none.npz: no such file", "model.predict")),
        (view, (tmp_path / "other.npz", *out), ("other.npz: format: expected", "found 'none'", "give a kinetics.npz")),
        (view, (tmp_path / "bare.npz", *out), ("bare.npz: expected a kinetics.npz, found one bare array", "again")),
        (view, (tmp_path / "cut.npz", *out), ("cut.npz: expected a kinetics.npz, found", "again")),
        (view, (tmp_path / "none.c3d", *out), ("none.c3d: no such file", "check the path")),
        (view, (weights, *out), ("ending: expected .c3d or .trc", "found '.safetensors'", "convert")),
    ]
    assert not _refusals(drive, cases)
    assert not (tmp_path / "anim.html").exists()
