"""The data set's command line: true numbers, plots on request, exit status that scripts can use."""

import subprocess
import sys

import numpy as np
import pytest

from dataset import inspect as command
from dataset.command_line import run_command
from dataset.manifest import Dropped
from dataset.provenance import add_run, run_record
from dataset.store import Store
from dataset.summary import field_ranges, summarize


@pytest.fixture
def folder(tmp_path, three_sequences):
    """Two shards, two failures, one recorded run."""
    store = Store.create(tmp_path / "set")
    fell = Dropped(clip="other/flip", subject="made-up-tall", seed=1, reason="fell", seconds=2.0)
    slow = Dropped(clip="other/spin", subject="made-up-tall", seed=1, reason="tracking", seconds=1.0)
    store.append(three_sequences[:2], dropped=[fell])
    store.append(three_sequences[2:], dropped=[slow])
    add_run(tmp_path / "set", run_record("sim.collect"))
    return tmp_path / "set"


def test_the_summary_counts_what_is_there_and_what_was_dropped(folder) -> None:
    """91 transitions kept, 3 s dropped for two reasons."""
    summary = summarize(Store.open(folder))
    assert (summary.sequences, summary.clips, summary.subjects, summary.shards) == (3, 2, 2, 2)
    assert summary.seconds == pytest.approx(91 / 30)
    assert summary.recordings == 2 and summary.unique_seconds == pytest.approx((39 + 22) / 30)
    assert summary.success == pytest.approx((91 / 30) / (91 / 30 + 3.0))
    assert [(reason, share.seconds) for reason, share in summary.dropped.items()] == [("fell", 2.0), ("tracking", 1.0)]
    assert list(summary.completion) == ["made-up", "other"] and summary.completion["made-up"].stretches == 3
    assert summary.closure_max < 1e-12 and 0 < summary.momentum_median < summary.momentum_p95 < 0.005


def test_ranges_are_those_of_the_arrays(folder, three_sequences) -> None:
    """Over all shards; where a value may be missing, the share that is there is given."""
    ranges = {row.field.name: row for row in field_ranges(Store.open(folder))}
    forces = np.concatenate([item.grf.ravel() for item in three_sequences])
    assert ranges["grf"].min == forces.min() and ranges["grf"].max == forces.max()
    assert ranges["grf"].mean == pytest.approx(forces.mean(dtype=np.float64), rel=1e-12)
    places = np.concatenate([item.cop.ravel() for item in three_sequences])
    assert ranges["cop"].finite == pytest.approx(np.isfinite(places).mean()) and ranges["cop"].min == np.nanmin(places)


def test_the_command_prints_verifies_and_plots(folder, tmp_path, capsys) -> None:
    """One call with everything on a sound data set."""
    result = command.main(
        command.InspectConfig(folder=folder, verify=True, plot="made-up/turn", out=tmp_path / "plots")
    )
    printed = capsys.readouterr().out
    assert result.complaints == []
    for text in ("in 3 sequences of 2 clips and 2 subjects", "2.0 s of 2 recordings",
                 "dropped fell: 2.0 s in 1", "success   50.3 %", "N·m·s",
                 "verified: 2 shards, 3 sequences, nothing wrong", "sim.collect, commit"):  # fmt: skip
        assert text in printed
    assert [path.name for path in result.figures] == ["made-up-1_grf.png", "made-up-1_torque.png"]
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in result.figures)


def test_exit_status_tells_damage_from_absence(folder, tmp_path, monkeypatch, capsys) -> None:
    """0 sound, 1 something is wrong, 2 nothing to read; the error says what."""
    monkeypatch.setattr(sys, "argv", ["inspect", str(folder), "--verify", "--no-ranges"])
    assert command.run() == 0
    (shard,) = Store.open(folder).shards[:1]
    data = bytearray((shard.path / "grf.npy").read_bytes())
    data[-1] ^= 1
    (shard.path / "grf.npy").write_bytes(data)
    assert command.run() == 1
    assert "grf.npy: expected sha256" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["inspect", str(tmp_path / "nowhere")])
    assert run_command("inspect", command.run) == 2
    assert "inspect: " in capsys.readouterr().err


def test_the_module_runs_as_a_command_and_importing_it_loads_no_plotting() -> None:
    """`python -m dataset.inspect --help` works, and figures are paid for only when drawn."""
    code = "import sys, dataset.inspect, dataset.figures; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
