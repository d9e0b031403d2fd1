"""The harness times only what is right, keeps rivals in one run, and its rows survive the file."""

import json
import time
from pathlib import Path

import pytest

from bench import harness
from bench.harness import Case, Contender, WrongResult, append_rows, measure, read_rows, table
from bench.machine import Machine, measure_machine

MACHINE = Machine(device="test", copy_bandwidth=10e9, read_bandwidth=20e9, matrix_peak=1e12)


def right() -> None:
    """A check that finds nothing wrong."""


def sleeper(seconds: float, calls: list[str], name: str):
    def run() -> None:
        calls.append(name)
        time.sleep(seconds)

    return run


def test_a_wrong_contender_stops_the_run_before_anything_is_timed() -> None:
    calls: list[str] = []

    def wrong() -> None:
        raise AssertionError("off by 3 N")

    contenders = [
        Contender(impl="good", run=sleeper(0, calls, "good"), check=right),
        Contender(impl="bad", run=sleeper(0, calls, "bad"), check=wrong),
    ]
    with pytest.raises(WrongResult, match=r"grf/walk: bad gives a wrong result: off by 3 N"):
        measure(Case(kernel="grf", name="walk", items=1, unit="frames"), contenders, machine=MACHINE)
    assert calls == []


def test_rates_and_roof_fractions_follow_from_the_median_and_the_work() -> None:
    calls: list[str] = []
    case = Case(kernel="grf", name="walk", items=50, unit="frames", bytes=10_000_000, flops=10)
    contenders = [
        Contender(impl="fast", run=sleeper(0.004, calls, "fast"), check=right),
        Contender(impl="slow", run=sleeper(0.012, calls, "slow"), check=right, is_rival=True),
    ]
    fast, slow = measure(case, contenders, machine=MACHINE, rounds=5, sample_seconds=0)
    assert fast.p20_s <= fast.median_s <= fast.p80_s
    assert 0.004 <= fast.median_s < slow.median_s and slow.median_s >= 0.012
    assert fast.items_per_s == pytest.approx(50 / fast.median_s)
    # 10 MB at 10 GB/s take 1 ms, more than 10 operations at 1 TFLOP/s.
    assert fast.roof_fraction == pytest.approx(0.001 / fast.median_s)
    text = table([fast, slow])
    assert "x slow" in text and "frames/s" in text and "x fast" not in text


def test_the_read_bandwidth_bounds_a_case_that_says_so() -> None:
    case = Case(kernel="momentum", name="sum", items=1, unit="sums", bytes=20_000_000, bandwidth="read")
    contender = Contender(impl="only", run=sleeper(0.002, [], "only"), check=right)
    (row,) = measure(case, [contender], machine=MACHINE, rounds=3, sample_seconds=0)
    assert row.roof_fraction == pytest.approx(0.001 / row.median_s)


def test_contenders_take_turns_and_each_starts_a_round() -> None:
    calls: list[str] = []
    contenders = [Contender(impl=name, run=sleeper(0, calls, name), check=right) for name in "abc"]
    measure(
        Case(kernel="k", name="c", items=1, unit="x"), contenders, machine=MACHINE, rounds=3, sample_seconds=0
    )  # fmt: skip
    assert "".join(calls[-18:]) == "aabbccbbccaaccaabb"  # each first once untimed


def test_a_long_call_is_not_made_twice_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its one call, which woke its threads itself, is the sample."""
    monkeypatch.setattr(harness, "_LONG_SECONDS", 0.001)
    calls: list[str] = []
    contender = Contender(impl="long", run=sleeper(0.002, calls, "x"), check=right)
    case = Case(kernel="k", name="c", items=1, unit="x")
    (row,) = measure(case, [contender], machine=MACHINE, rounds=3, sample_seconds=0)
    assert len(calls) == 2 + 3 and row.median_s >= 0.002


def test_repeated_names_and_too_few_rounds_are_refused() -> None:
    case = Case(kernel="k", name="c", items=1, unit="x")
    one = Contender(impl="a", run=right, check=right)
    with pytest.raises(ValueError, match=r"names unique, got \['a', 'a'\]"):
        measure(case, [one, one], machine=MACHINE)
    with pytest.raises(ValueError, match="at least 3"):
        measure(case, [one], machine=MACHINE, rounds=2)


def test_rows_read_back_equal_and_a_broken_line_is_named(tmp_path: Path) -> None:
    case = Case(kernel="k", name="c", items=1, unit="x")
    rows = measure(case, [Contender(impl="a", run=right, check=right)], machine=MACHINE, rounds=3, sample_seconds=0)
    path = tmp_path / "deep" / "rows.jsonl"
    append_rows(rows, path)
    append_rows(rows, path)
    assert read_rows(path) == [*rows, *rows]
    assert set(json.loads(path.read_text().splitlines()[0])) >= {
        "kernel", "case", "impl", "is_rival", "device", "median_s", "p20_s", "p80_s", "items_per_s", "bytes", "flops",
        "roof_fraction", "correct", "versions", "git_sha",
    }  # fmt: skip
    with path.open("a") as stream:
        stream.write('{"kernel": "k"\n')
    with pytest.raises(ValueError, match=r"rows.jsonl, line 3: expected a row"):
        read_rows(path)


def test_the_machine_reads_no_slower_than_a_tape_and_names_its_processor() -> None:
    machine = measure_machine(threads=1, repeats=1)
    assert machine.device.startswith("cpu ") and machine.device.endswith(" x1")
    # Any computer of this century copies more than 0.1 GB/s and less than 10 TB/s: the units are right.
    assert 1e8 < machine.copy_bandwidth < 1e13
    assert 1e8 < machine.read_bandwidth < 1e13
    assert 1e8 < machine.matrix_peak < 1e16
    with pytest.raises(ValueError, match="at least 1"):
        measure_machine(threads=0)
