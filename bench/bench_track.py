"""Search against replay: what stored solutions save when a data set is made again.

Work: four embedded clips, from walking to a backflip, on the default adult, one core. `search` finds the servo targets,
`regenerate` goes from the motions and the shipped solutions to records with their equations of motion checked, as
`sim.collect` does; `replay and record` (one or two clips) has the references and their feed-forward at hand already. The
column beside `search` says how many times faster each is. `python -m bench.bench_track` measures and appends rows.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.harness import Case, Contender, Row, append_rows, measure, table
from bench.machine import measure_machine
from dataset.body.default import make_body
from dataset.body.subjects import SUBJECTS
from dataset.command_line import run_command
from dataset.schema import Dynamics, Motion
from sim.backends.mujoco_cpu import MujocoCpu
from sim.humanoid import Humanoid, make_humanoid
from sim.imitate_clip import find_solutions
from sim.imitation.solution import Solution, body_hash, load_solution, motion_hash
from sim.imitation.tracker import solve
from sim.imitation.tracker.clip import RetryConfig
from sim.record import Origin, record
from sim.work_items import list_clips

SHIPPED = Path(__file__).parents[1] / "solutions" / "embedded"
"""Solutions that the search must find again and the replay runs."""


@dataclass(frozen=True, kw_only=True)
class TrackBench:
    """Settings of the measurement."""

    clips: tuple[str, ...] = ("walk", "kick", "getup_facedown", "backflip")
    """Names of embedded clips, `embedded` for all of them."""
    rounds: int = 3
    """Samples of each contender; a search takes about four seconds a second of motion."""
    save: bool = True
    """Append the rows to bench/results/track.jsonl."""


class Work:
    """Inputs of the case, and the work on them."""

    def __init__(self, clips: tuple[str, ...]) -> None:
        self.humanoid: Humanoid = make_humanoid(make_body(SUBJECTS[0]))
        body = self.humanoid.body
        names = [clip if clip == "embedded" else f"embedded/{clip}" for clip in clips]
        self.motions: list[Motion] = [motion for clip in list_clips(names) for motion in clip.motions(body)]
        self.backend = MujocoCpu(self.humanoid)
        stored = find_solutions([SHIPPED])
        key = body_hash(body, self.humanoid.config)
        self.solutions: list[Solution] = [load_solution(stored[(motion_hash(m), key, 0)]) for m in self.motions]

    @property
    def seconds(self) -> float:
        """Length of the motions [s]."""
        return sum(motion.duration for motion in self.motions)

    def search(self) -> list[Solution]:
        """Servo targets from nothing."""
        solve.forget_references()
        return [solve.solve(self.humanoid, motion, seed=0, retry=RetryConfig()) for motion in self.motions]

    def replay_and_record(self) -> list[Dynamics]:
        """Records of the stored solutions."""
        kept: list[Dynamics] = []
        for motion, solution in zip(self.motions, self.solutions, strict=True):
            for part in solve.replay(self.humanoid, motion, solution, self.backend):
                assert part.exact_seconds == len(part.stretch.state_hash), "the replay is not the search's motion"
                kept += record(self.humanoid, part.trace, Origin(name=motion.name, clip="bench"))[0]
        return kept

    def regenerate(self) -> list[Dynamics]:
        """The same with the references made anew, as for clips that are met for the first time."""
        solve.forget_references()
        return self.replay_and_record()


def main(cfg: TrackBench) -> list[Row]:
    """Measure, print and keep the rows."""
    work = Work(cfg.clips)
    seconds = work.seconds

    def check_search() -> None:
        for motion, found, shipped in zip(work.motions, work.search(), work.solutions, strict=True):
            same = (
                np.array_equal(a.offsets, b.offsets) for a, b in zip(found.stretches, shipped.stretches, strict=True)
            )
            assert found.is_complete and all(same), f"the search does not find the shipped solution of {motion.name}"

    def check_records(kept: list[Dynamics]) -> None:
        frames = sum(item.num_frames for item in kept)
        assert frames > 0.9 * 30.0 * seconds, f"{frames} frames were kept of {seconds:.1f} s"
        assert max(item.closure_error.max() for item in kept) < 1e-8, "the equations of motion do not close"

    label = "_".join(cfg.clips)
    case = Case(kernel="track", name=f"{label}_{seconds:.0f}s", items=round(seconds), unit="s of motion")
    contenders = [
        Contender(impl="search", run=work.search, check=check_search, is_rival=True),
        Contender(impl="regenerate", run=work.regenerate, check=lambda: check_records(work.regenerate())),
    ]
    if len(work.motions) <= solve.REMEMBERED:  # more references than that are not at hand
        contenders.append(
            Contender(
                impl="replay and record",
                run=work.replay_and_record,
                check=lambda: check_records(work.replay_and_record()),
            )
        )
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
