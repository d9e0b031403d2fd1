"""The README's table of kernels: newest run, ours against every rival, probes left out."""

from bench.harness import Row, append_rows
from bench.kernel_table import TableConfig, newest_run, table


def _row(impl: str, median_s: float, **changed: object) -> Row:
    values = {
        "kernel": "grf", "case": "feet", "impl": impl, "is_rival": impl.startswith("numpy"), "device": "cpu x2",
        "median_s": median_s, "p20_s": median_s, "p80_s": median_s, "items_per_s": 1000.0 / median_s, "unit": "frames",
        "bytes": 1, "flops": None, "roof_fraction": 0.25, "correct": True, "versions": {}, "git_sha": "abc",
    }  # fmt: skip
    return Row(**values | changed)


def test_a_line_has_the_rate_the_share_of_the_roof_and_the_ratio_to_each_rival(tmp_path) -> None:
    """The newest of two runs counts, rivals are ordered by speed, the memory probe is no implementation."""
    old = [_row("numba", 9.0), _row("numpy add.at", 9.0), _row("memory copy", 9.0)]
    new = [_row("numba", 1e-3), _row("numpy add.at", 0.04), _row("numpy bincount", 5e-3), _row("memory copy", 2e-4)]
    append_rows([*old, *new], tmp_path / "grf.jsonl")
    assert table(TableConfig(results=tmp_path)).splitlines()[2:] == [
        "| grf | feet | numba | 1 M frames/s | 25 % | 20 % | 5x numpy bincount, 40x numpy add.at |"
    ]


def test_runs_of_other_cases_and_devices_have_lines_of_their_own(tmp_path) -> None:
    """A case measured on a GPU stands beside the same case on the CPU; a share that is not stated is a dash."""
    rows = [_row("numba", 1.0), _row("torch", 1.0, device="cuda"), _row("numba", 2.0, case="full", roof_fraction=None)]
    append_rows(rows, tmp_path / "grf.jsonl")
    found = table(TableConfig(results=tmp_path)).splitlines()[2:]
    assert len(found) == 3 and found[2] == "| grf | full | numba | 500 frames/s | - | - |  |"


def test_what_arithmetic_bounds_has_no_share_of_the_memory_probe(tmp_path) -> None:
    """Its roof is 0.25 s, of which a copy of its bytes would take a hundredth."""
    append_rows([_row("numba", 1.0), _row("memory copy", 2.5e-3)], tmp_path / "grf.jsonl")
    assert table(TableConfig(results=tmp_path)).splitlines()[2] == "| grf | feet | numba | 1 k frames/s | 25 % | - |  |"


def test_the_newest_run_ends_where_an_implementation_comes_again_or_the_version_was_another() -> None:
    """Rows are appended run by run; one that is no longer measured is not carried over."""
    before = [_row("gone", 1.0, git_sha="old"), _row("a", 1.0), _row("b", 1.0)]
    rows = [*before, _row("a", 2.0), _row("b", 2.0)]
    assert [(row.impl, row.median_s) for row in newest_run(rows)] == [("a", 2.0), ("b", 2.0)]
    assert [row.impl for row in newest_run(before)] == ["a", "b"]
