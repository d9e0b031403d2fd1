"""Registers, spills and shared memory of every Triton kernel: `python -m bench.resources`, which needs no GPU.

Compiles for sm_80 and sm_90 and writes `docs/results/kernel_resources.csv`; the tests hold the kernels to it.
"""

from __future__ import annotations

import sys

from dataset.command_line import run_command


def run() -> None:
    """The command line."""
    from kernels import ahead_of_time

    rows = []
    for row in ahead_of_time.compile_all():
        print(row)
        rows.append(row)
    ahead_of_time.write_table(rows)


if __name__ == "__main__":
    sys.exit(run_command("resources", run))
