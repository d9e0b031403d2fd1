"""Command lines of data: one line and status 2 for what a user can correct, a traceback for what is our defect."""

import json
import shutil
import subprocess
import sys

import pytest

from dataset import export, inspect
from dataset.command_line import describe, run_command
from dataset.provenance import add_run, run_record
from dataset.store import Store
from dataset.user_paths import require_file, require_output_folder


@pytest.fixture
def refused(monkeypatch, capsys):
    """Runs a command line with arguments that it must refuse; returns its one line."""

    def drive(name, run, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        status = run_command(name, run)
        lines = capsys.readouterr().err.strip().splitlines()
        assert (status, len(lines)) == (2, 1), (status, lines)
        return lines[0]

    return drive


def test_what_a_user_can_correct_is_one_line_and_a_defect_keeps_its_traceback(capsys, monkeypatch) -> None:
    """ValueError and OSError are put in one line, whatever line breaks they hold; other errors pass."""

    def fail(error):
        raise error

    assert run_command("inspect", lambda: None) == 0
    assert run_command("inspect", lambda: 1) == 1
    assert run_command("inspect", lambda: fail(ValueError("a.c3d: mass:\n  expected 5 to 300 kg"))) == 2
    assert capsys.readouterr().err == "inspect: a.c3d: mass: expected 5 to 300 kg\n"
    assert run_command("train", lambda: fail(FloatingPointError("loss: expected a number, found nan"))) == 2
    with pytest.raises(KeyError):
        run_command("inspect", lambda: fail(KeyError("field")))
    monkeypatch.setenv("IMDYLAB_TRACEBACK", "1")
    with pytest.raises(ValueError, match="mass"):
        run_command("inspect", lambda: fail(ValueError("mass")))


def test_what_the_system_refuses_names_the_file(tmp_path) -> None:
    """An error of the operating system says which path, why, and what to do."""
    with pytest.raises(OSError, match="directory") as caught:
        (tmp_path / "none" / "file.csv").write_text("")
    assert describe(caught.value).startswith(f"{tmp_path}/none/file.csv: expected to be able to read or write here, ")
    assert "found: no such file" in describe(caught.value)
    assert "give another path" in describe(caught.value)
    assert describe(OSError(28, "No space left on device")).startswith("the disk: ")
    assert describe(ValueError()) == "ValueError"


def test_paths_are_refused_before_any_work(tmp_path) -> None:
    """A folder where a file is wanted, nothing, and an output folder under a file are refused; what can be made is not."""
    (tmp_path / "file").write_text("")
    assert require_file(tmp_path / "file", "a trial") == tmp_path / "file"
    with pytest.raises(IsADirectoryError, match="expected a trial, found a folder"):
        require_file(tmp_path, "a trial")
    with pytest.raises(FileNotFoundError, match="nothing: no such file; expected a trial: check the path"):
        require_file(tmp_path / "nothing", "a trial")
    assert require_output_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match=r"output folder: expected a folder, found the file .*; give another folder"):
        require_output_folder(tmp_path / "file" / "out")


@pytest.fixture
def folder(tmp_path, three_sequences):
    """A sound data set of one shard."""
    store = Store.create(tmp_path / "set")
    store.append(three_sequences)
    add_run(store.path, run_record("test", {}, seeds={}, result={}))
    return store.path


def test_broken_data_sets_are_refused_by_inspect_and_export(folder, tmp_path, refused) -> None:
    """Nothing there, a file, half-written shards, cut arrays, a changed manifest, a torn run record, an unknown name."""

    def copy(name):
        shutil.copytree(folder, tmp_path / name)
        return next((tmp_path / name).glob("shard-*"))

    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (copy("half") / "_SUCCESS").unlink()
    cut = copy("cut") / "grf.npy"
    cut.write_bytes(cut.read_bytes()[:-100])
    (copy("gone") / "quat.npy").unlink()
    changed = copy("changed") / "manifest.json"
    changed.write_text(changed.read_text().replace("made-up", "measured"))
    header = copy("header") / "grf.npy"
    header.write_bytes(b"\0" * header.stat().st_size)
    copy("run")
    (tmp_path / "run" / "run.json").write_text('[{"time": "2026')
    cases = {
        "nowhere": ("expected the folder of a data set, found nothing", "check the path"),
        "file": ("expected the folder of a data set, found a file", "check the path"),
        "empty": ("at least one complete shard, found none", "sim.collect"),
        "half": ("only half-written shards: shard-", "delete them and collect again"),
        "cut": ("grf.npy: expected", "bytes as in manifest.json, found", "delete the shard"),
        "gone": ("quat.npy: expected", "found no file", "delete the shard"),
        "changed": ("manifest.json: expected sha256", "found", "delete the shard and collect again"),
        "header": ("grf.npy: expected an array", "found", "delete the shard"),
    }
    for name, words in cases.items():
        for line in (
            refused("inspect", inspect.run, tmp_path / name),
            refused("export", export.run, tmp_path / name, "made-up-0", "--out", tmp_path / "out"),
        ):
            assert all(word in line for word in (str(tmp_path / name), *words)), line
    line = refused("inspect", inspect.run, tmp_path / "run")
    assert "run.json: expected" in line and "delete" in line
    assert not (tmp_path / "out").exists()
    line = refused("export", export.run, folder, "made-up-7", "--out", tmp_path / "out")
    assert "expected a sequence or clip 'made-up-7', found others: made-up-0" in line
    line = refused("inspect", inspect.run, folder, "--no-ranges", "--plot", "nobody")
    assert "expected a sequence or clip 'nobody'" in line
    line = refused("export", export.run, folder, "made-up-0", "--out", tmp_path / "file")
    assert "output folder: expected a folder, found the file" in line
    assert json.loads((folder / "run.json").read_text())


def test_a_reader_that_has_seen_enough_is_no_error():
    """`inspect DIR | head`: nothing on stderr, the status of a closed pipe."""
    script = "import sys; from dataset.command_line import run_command; sys.exit(run_command('x', lambda: print('y\\n' * 10**6)))"
    reader = subprocess.Popen(["head", "-1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    writer = subprocess.run([sys.executable, "-c", script], stdout=reader.stdin, stderr=subprocess.PIPE, check=False)
    assert reader.stdin is not None
    reader.stdin.close()
    reader.wait()
    assert (writer.returncode, writer.stderr) == (141, b"")
