"""Search against replay: what a stored solution saves when a data set is made again.

Work: the embedded walk (5 s) on the default adult, one core. `search` finds the servo targets, `regenerate` goes from the motion
and the stored solution to records with their equations of motion checked, as `sim.collect` does; `replay and record` has the
reference and its feed-forward at hand already. The column beside `search` says how many times faster each is.
`python -m bench.bench_track` measures and appends rows.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from bench.harness import Case, Contender, Row, append_rows, measure, table
from bench.machine import measure_machine
from dataset.body.default import make_body
from dataset.body.subjects import SUBJECTS
from dataset.command_line import run_command
from dataset.schema import Dynamics, Motion
from sim.backends.mujoco_cpu import MujocoCpu
from sim.humanoid import Humanoid, make_humanoid
from sim.imitation.solution import Solution
from sim.imitation.tracker import solve
from sim.imitation.tracker.clip import RetryConfig
from sim.record import Origin, record
from sim.work_items import list_clips


@dataclass(frozen=True, kw_only=True)
class TrackBench:
    """Settings of the measurement."""

    clip: str = "walk"
    """Embedded clip."""
    rounds: int = 3
    """Samples of each contender; a search takes a quarter of a minute."""
    save: bool = True
    """Append the rows to bench/results/track.jsonl."""


class Work:
    """Inputs of the case, and the work on them."""

    def __init__(self, clip: str) -> None:
        self.humanoid: Humanoid = make_humanoid(make_body(SUBJECTS[0]))
        self.motion: Motion = list_clips((f"embedded/{clip}",))[0].motions(self.humanoid.body)[0]
        self.backend = MujocoCpu(self.humanoid)
        self.solution: Solution = self.search()

    def search(self) -> Solution:
        """Servo targets from nothing."""
        solve.forget_references()
        return solve.solve(self.humanoid, self.motion, seed=0, retry=RetryConfig())

    def replay_and_record(self) -> list[Dynamics]:
        """Records of the stored solution."""
        kept: list[Dynamics] = []
        for part in solve.replay(self.humanoid, self.motion, self.solution, self.backend):
            assert part.exact_seconds == len(part.stretch.state_hash), "the replay is not the search's motion"
            kept += record(self.humanoid, part.trace, Origin(name="walk", clip="bench"))[0]
        return kept

    def regenerate(self) -> list[Dynamics]:
        """The same with the reference made anew, as for a clip that is met for the first time."""
        solve.forget_references()
        return self.replay_and_record()


def main(cfg: TrackBench) -> list[Row]:
    """Measure, print and keep the rows."""
    work = Work(cfg.clip)
    seconds = work.motion.duration

    def check_search() -> None:
        again = work.search()
        same = (
            np.array_equal(a.offsets, b.offsets) for a, b in zip(again.stretches, work.solution.stretches, strict=True)
        )
        assert work.solution.is_complete and all(same), "the search does not follow the whole clip, or not twice alike"

    def check_records(kept: list[Dynamics]) -> None:
        frames = sum(item.num_frames for item in kept)
        assert frames > 0.9 * 30.0 * seconds, f"{frames} frames were kept of {seconds:.1f} s"
        assert max(item.closure_error.max() for item in kept) < 1e-8, "the equations of motion do not close"

    case = Case(kernel="track", name=f"{cfg.clip}_{seconds:.0f}s", items=round(seconds), unit="s of motion")
    contenders = [
        Contender(impl="search", run=work.search, check=check_search, is_rival=True),
        Contender(impl="regenerate", run=work.regenerate, check=lambda: check_records(work.regenerate())),
        Contender(
            impl="replay and record", run=work.replay_and_record, check=lambda: check_records(work.replay_and_record())
        ),
    ]
    rows = measure(case, contenders, machine=measure_machine(), rounds=cfg.rounds)
    print(table(rows))
    if cfg.save:
        append_rows(rows)
    return rows


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(TrackBench, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("bench_track", run))
