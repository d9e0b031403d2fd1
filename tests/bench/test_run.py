"""The command that measures the kernels: it finds them, gates them, keeps rows where asked to, and writes traces."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import run
from bench.harness import Case, Contender, WrongResult, memory_probe, read_rows, table
from bench.machine import Machine

MACHINE = Machine(device="test", copy_bandwidth=10e9, read_bandwidth=20e9, matrix_peak=1e12)


def _case(name: str) -> Case:
    return Case(kernel="toy", name=name, items=10, unit="things", bytes=4000, flops=100)


def _right() -> None:
    """A check that finds nothing wrong."""


def _wrong() -> None:
    raise AssertionError("off by one")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One family whose second case is wrong, on a machine that need not be measured."""

    def contests(device: str):
        assert device == "cpu"
        rival = Contender(impl="rival", run=lambda: np.zeros(1000).sum(), check=_right, is_rival=True)
        yield _case("good"), [Contender(impl="ours", run=lambda: np.ones(10), check=_right), rival]
        yield _case("bad"), [Contender(impl="ours", run=lambda: None, check=_wrong), rival]
        yield _case("later"), [rival]

    monkeypatch.setattr(run, "find_contests", lambda kernels: {"toy": contests})
    monkeypatch.setattr(run, "_machine", lambda cfg: MACHINE)


def test_every_family_is_found_by_its_file_and_an_unknown_one_is_named() -> None:
    assert {"grf", "momentum", "markers", "windows"} <= set(run.find_contests())
    assert list(run.find_contests(("grf",))) == ["grf"]
    with pytest.raises(ValueError, match=r"kernel: expected some of .*'grf'.*, got \['nothing'\]"):
        run.find_contests(("nothing",))


def test_a_wrong_case_gets_no_speed_and_the_others_are_still_measured(toy, tmp_path: Path, capsys) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(WrongResult, match="toy/bad: ours gives a wrong result: off by one"):
        run.main(run.BenchConfig(json=path, rounds=3))
    rows = read_rows(path)
    assert [(row.case, row.impl) for row in rows] == [
        ("good", "ours"), ("good", "rival"), ("good", "memory copy"), ("later", "rival"), ("later", "memory copy"),
    ]  # fmt: skip
    said = capsys.readouterr()
    assert "x rival" in said.out and "% copy" in said.out and "% peak" in said.out
    assert "NOT MEASURED: toy/bad" in said.err and "toy / bad" not in said.out


def test_one_case_with_a_trace_and_without_rows(toy, tmp_path: Path) -> None:
    rows = run.main(
        run.BenchConfig(
            case=("good",), json=tmp_path / "no.jsonl", save=False, rounds=3, profile=True, profile_dir=tmp_path
        )
    )
    assert {row.case for row in rows} == {"good"} and not (tmp_path / "no.jsonl").exists()
    trace = json.loads((tmp_path / "toy_good_cpu.json").read_text())
    assert {"ours", "rival", "memory copy"} <= {event.get("name") for event in trace["traceEvents"]}
    with pytest.raises(ValueError, match=r"case: expected some of \['bad', 'good', 'later'\], got \['worse'\]"):
        run.main(run.BenchConfig(case=("worse",)))


def test_the_probe_moves_the_bytes_of_the_case() -> None:
    probe = memory_probe(_case("good"), MACHINE)
    assert probe is not None and probe.impl == "memory copy" and not probe.is_rival
    probe.run()
    assert memory_probe(Case(kernel="toy", name="n", items=1, unit="x"), MACHINE) is None


def test_shares_of_bandwidth_and_peak_follow_from_the_median() -> None:
    rows = [
        run.Row(
            kernel="toy", case="good", impl="ours", is_rival=False, device="test", median_s=1e-6, p20_s=1e-6, p80_s=1e-6,
            items_per_s=1e7, unit="things", bytes=4000, flops=100, roof_fraction=0.4, correct=True, versions={},
            git_sha="",
        )
    ]  # fmt: skip
    line = table(rows, MACHINE, "read").splitlines()[-1].split()
    # 4 GB/s of 20, 0.1 GFLOP/s of 1000
    assert line[-2:] == ["20", "0.01"]
