"""Command line: what is in a data set. `python -m dataset.inspect DIR [--verify] [--plot CLIP --out DIR]`."""

from __future__ import annotations

import dataclasses
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from tqdm import tqdm

from dataset import figure_style
from dataset.command_line import run_command
from dataset.place import Place
from dataset.provenance import read_runs
from dataset.store import Store
from dataset.summary import FieldRange, Share, Summary, field_ranges, summarize
from dataset.verify import VerifyConfig, verify_store


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """Show the contents of a data set."""

    folder: tyro.conf.Positional[Place]
    """Folder of the data set, or its address (`s3://bucket/data`)."""
    verify: bool = False
    """Check every hash, range and stored physics residual; the exit status is 1 if anything is wrong."""
    ranges: bool = True
    """Show the range of every field (reads all data once)."""
    plot: str = ""
    """Name of a sequence or clip to plot: ground reaction forces and torques."""
    out: Path = Path("out")
    """Folder for the plots."""
    limits: VerifyConfig = dataclasses.field(default_factory=VerifyConfig)
    """Limits of `--verify`."""


@dataclass(frozen=True, kw_only=True)
class InspectResult:
    """What was found."""

    summary: Summary
    """Contents."""
    ranges: list[FieldRange]
    """Range of each field; empty if not asked for."""
    complaints: list[str]
    """What `--verify` found wrong; empty if sound or not asked for."""
    figures: list[Path]
    """Plots written."""


def main(config: InspectConfig) -> InspectResult:
    """Print the contents of a data set, check it and plot one sequence, as asked.

    Raises:
        ValueError: No data set there, or no sequence of the name to plot.
    """
    store = Store.open(config.folder)
    summary = summarize(store)
    print("\n".join(_contents(config.folder, summary)))
    for run in read_runs(store.storage):
        print(f"run       {run['time']} {run['command']}, commit {run['code']['commit'][:12]}")
    ranges = []
    if config.ranges:
        ranges = field_ranges(store, progress=lambda fields: tqdm(fields, "ranges", file=sys.stderr, disable=None))
        print("\n".join(_table(ranges)))
    complaints = []
    if config.verify:
        complaints = verify_store(
            store, config.limits, progress=lambda numbers: tqdm(numbers, "verify", file=sys.stderr, disable=None)
        )
        print(
            *complaints or [f"verified: {summary.shards} shards, {summary.sequences} sequences, nothing wrong"],
            sep="\n",
        )
    figures = _plot(store, config.plot, config.out) if config.plot else []
    for path in figures:
        print(f"wrote {path}")
    return InspectResult(summary=summary, ranges=ranges, complaints=complaints, figures=figures)


def _contents(folder: Place, summary: Summary) -> list[str]:
    lines = [
        f"data set  {folder}, content {summary.content[:16]}",
        f"kept      {_time(summary.seconds)} in {summary.sequences} sequences of {summary.clips} clips and"
        f" {summary.subjects} subjects; {summary.shards} shards, {summary.num_bytes / 1e6:.1f} MB",
        f"motion    {_time(summary.unique_seconds)} of {summary.recordings} recordings, each moment counted once",
    ]
    if summary.incomplete:
        lines.append(f"ignored   {summary.incomplete} half-written shards")
    lines += [f"  driven  by {name}: {_share(share)}" for name, share in summary.by_controller.items()]
    lines.append(
        f"success   {100 * summary.success:.1f} % of the duration asked for, beside {_time(summary.landing.seconds)} of landing"
    )
    lines += [f"  source  {name}: {figures.as_text()}" for name, figures in summary.completion.items()]
    lines += [f"  dropped {reason}: {_share(share)}" for reason, share in summary.dropped.items()]
    lines.append(
        f"physics   equations of motion closed to {summary.closure_max:.1e} body weights; momentum balance median"
        f" {100 * summary.momentum_median:.2f} %, 95th percentile {100 * summary.momentum_p95:.2f} % of body weight"
    )
    return lines


def _share(share: Share) -> str:
    return f"{_time(share.seconds)} in {share.sequences}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.2f} h"


def _table(ranges: list[FieldRange]) -> list[str]:
    lines = [f"{'field':<15}{'min':>11}{'mean':>11}{'max':>11}  {'unit':<12}{'frame':<33}finite"]
    lines += [
        f"{row.field.name:<15}{row.min:>11.4g}{row.mean:>11.4g}{row.max:>11.4g}  {row.field.unit:<12}"
        f"{row.field.frame:<33}{100 * row.finite:.1f} %"
        for row in ranges
    ]
    return lines


def _plot(store: Store, name: str, out: Path) -> list[Path]:
    from dataset.figures import plot_ground_reaction, plot_torque

    item = store.read(store.find(name))
    stem = re.sub(r"[^\w.-]+", "_", item.name)
    with figure_style.style():
        return [
            figure_style.save(plot_ground_reaction(item), out / f"{stem}_grf.png"),
            figure_style.save(plot_torque(item), out / f"{stem}_torque.png"),
        ]


def run() -> int:
    """The command line: 0 if all is well, 1 if `--verify` found something."""
    config = tyro.cli(InspectConfig, description=__doc__)
    return 1 if main(config).complaints else 0


if __name__ == "__main__":
    sys.exit(run_command("inspect", run))
