"""The table of measured kernels in the README, from the newest rows of `bench/results`: `python -m bench.kernel_table`.

One line an implementation of ours and case: rate, share of the machine's limit and of what a bare copy or sum of as many bytes
reached in the same interleaved run, and how many times faster than each rival of that run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.harness import RESULTS, Row, read_rows
from dataset.command_line import run_command

_PROBE = "memory "
"""How the names of the memory probes begin (`bench.harness.memory_probe`)."""


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """What to show."""

    kernel: tuple[str, ...] = ("grf", "momentum", "markers", "windows", "encoder")
    """Families, in the order of the lines; one without rows has no line."""
    results: Path = RESULTS
    """Folder of the rows."""


def newest_run(rows: Sequence[Row]) -> list[Row]:
    """Of the rows of one case, those of its last run: runs are appended, each of one version with every implementation once."""
    found: dict[str, Row] = {}
    for row in reversed(rows):
        if row.impl in found or row.git_sha != rows[-1].git_sha:
            break
        found[row.impl] = row
    return list(reversed(found.values()))


def lines(rows: Sequence[Row]) -> list[str]:
    """Lines of one run of one case: ours only, rivals as ratios, the fastest rival first."""
    rivals = sorted((row for row in rows if row.is_rival), key=lambda row: row.median_s)
    probe = next((row for row in rows if row.impl.startswith(_PROBE)), None)
    made = []
    for row in rows:
        if row.is_rival or row.impl.startswith(_PROBE):
            continue
        ratios = ", ".join(f"{_short(rival.median_s / row.median_s)}x {rival.impl}" for rival in rivals)
        roof = "-" if row.roof_fraction is None else f"{100 * row.roof_fraction:.0f} %"
        rate = f"{_rate(row.items_per_s)} {row.unit}/s"
        beside = _share_of_probe(row, probe)
        made.append(f"| {row.kernel} | {row.case} | {row.impl} | {rate} | {roof} | {beside} | {ratios} |")
    return made


def _share_of_probe(row: Row, probe: Row | None) -> str:
    """Time of the memory probe that was timed in turns with it over its own; a dash where arithmetic bounds it."""
    if probe is None or row.roof_fraction is None or row.roof_fraction * row.median_s > 2.0 * probe.median_s:
        return "-"
    return f"{100 * probe.median_s / row.median_s:.0f} %"


def table(cfg: TableConfig) -> str:
    """The table in Markdown.

    Raises:
        ValueError: A file of rows cannot be read; names file and line.
    """
    text = [
        "| kernel | case | implementation | rate | of the roof | of the probe | against its rivals |",
        "| - | - | - | - | - | - | - |",
    ]
    for kernel in cfg.kernel:
        path = cfg.results / f"{kernel}.jsonl"
        rows = read_rows(path) if path.exists() else []
        for key in dict.fromkeys((row.case, row.device) for row in rows):
            text += lines(newest_run([row for row in rows if (row.case, row.device) == key]))
    return "\n".join(text)


def _rate(value: float) -> str:
    for scale, unit in ((1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def run() -> None:
    """The command line."""
    import tyro

    print(table(tyro.cli(TableConfig, description=__doc__)))


if __name__ == "__main__":
    sys.exit(run_command("kernel_table", run))
