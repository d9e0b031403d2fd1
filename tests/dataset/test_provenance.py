"""Run records: complete, plain JSON, and silent about the machine's identity."""

import dataclasses
import getpass
import json
import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dataset import provenance


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    out: Path = Path("runs/x")
    inner: Inner = dataclasses.field(default_factory=Inner)
    sizes: tuple[int, ...] = (1, 2)


def test_a_record_holds_config_code_versions_machine_and_seeds() -> None:
    """All values are JSON's own, dataclasses resolved, arrays as lists."""
    record = provenance.run_record("sim.collect", Config(), seeds={"search": 3}, result={"hours": np.float32(0.5)})
    assert record["config"] == {"out": "runs/x", "inner": {"rate": 0.1}, "sizes": [1, 2]}
    assert record["seeds"] == {"search": 3} and record["result"] == {"hours": 0.5}
    assert record["versions"]["numpy"] == np.__version__
    assert record["machine"]["cores"] >= 1 and record["machine"]["system"] == platform.system()
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_a_record_does_not_name_host_or_user() -> None:
    """Records are shared with the data."""
    text = json.dumps(provenance.machine_facts())
    assert platform.node() not in text
    assert getpass.getuser() not in text


def test_the_commit_is_that_of_the_code_not_of_the_working_folder(tmp_path, monkeypatch) -> None:
    """Started from anywhere, the same commit is recorded."""
    here = provenance.code_version()
    monkeypatch.chdir(tmp_path)
    assert provenance.code_version()["commit"] == here["commit"]
    assert here["commit"] == "unknown" or len(here["commit"]) == 40


def test_code_is_modified_by_changes_of_code_and_not_by_rows_of_measurements(tmp_path) -> None:
    """Outside a repository neither is known."""
    assert provenance.code_version(tmp_path) == {"commit": "unknown", "is_modified": None}
    rows, code = tmp_path / "bench" / "results" / "grf.jsonl", tmp_path / "kernel.py"
    rows.parent.mkdir(parents=True)
    for path in (rows, code):
        path.write_text("first")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "--message", "first")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    rows.write_text("second")
    assert provenance.code_version(tmp_path)["is_modified"] is False
    code.write_text("second")
    assert provenance.code_version(tmp_path)["is_modified"] is True


def test_runs_are_appended_and_foreign_files_refused(tmp_path) -> None:
    """Two runs, two records, oldest first."""
    assert provenance.read_runs(tmp_path) == []
    for seed in (1, 2):
        provenance.add_run(tmp_path, provenance.run_record("sim.collect", seeds={"search": seed}))
    assert [run["seeds"]["search"] for run in provenance.read_runs(tmp_path)] == [1, 2]
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ValueError, match=r"run.json: expected an object with a list `runs`"):
        provenance.read_runs(tmp_path)


def test_values_without_a_json_form_become_text() -> None:
    """NaN and infinity would make the file unreadable to others."""
    assert provenance.plain({"a": float("nan"), "b": -float("inf"), "c": {1}, "d": complex(0, 1)}) == {
        "a": "nan", "b": "-inf", "c": [1], "d": "1j",
    }  # fmt: skip
