"""Collection by `mujoco_warp` beside its bare step: what summing, judging, the equations-of-motion check and copying cost.

Work: environments of a standing person, each servo with a target of its own held throughout (0.02 rad), at the step of the
collection. The rival is `mujoco_warp.step` on the same arrays with nothing around it, one graph a step on a GPU. Each number
of environments is a case; its figures stand only if the first environments agree with `mujoco_cpu`. Then the tracker's
roll-outs with their residuals, and a whole collection on the device (plans, execution, records), each beside bare stepping of
the same environments. On a GPU if there is one, else on warp's `cpu` device,
whose figures say nothing about a GPU. `python -m bench.bench_warp` measures and appends rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.harness import Case, Contender, Row, append_rows, measure, table
from bench.machine import Machine, measure_machine
from dataset.body.default import make_body
from dataset.command_line import run_command
from dataset.schema import Dynamics, Subject
from sim.backends.contract import FLOAT32_CLOSURE
from sim.backends.mujoco_cpu import MujocoCpu
from sim.backends.mujoco_warp import MujocoWarp
from sim.backends.warp_device import find_device
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL, Humanoid, make_humanoid
from sim.imitation.tracker.config import SearchConfig
from sim.record import Origin, RecordConfig

_COMPARED = 4
"""Environments that are simulated by `mujoco_cpu` too."""
_RECORDING = RecordConfig(transient=0.0, min_duration=0.0, max_closure=FLOAT32_CLOSURE)


@dataclass(frozen=True, kw_only=True)
class WarpBench:
    """Settings of the measurement."""

    device: str = ""
    """`cuda`, `cuda:N` or `cpu`; empty for a GPU if there is one."""
    worlds: tuple[int, ...] = ()
    """Numbers of environments; empty for 1 to 8192 on a GPU, 1 to 32 on the processor."""
    transitions: int = 0
    """Transitions of 1/30 s in a call; 0 for 8 on a GPU, 1 on the processor."""
    rounds: int = 5
    """Samples of each contender."""
    search: bool = True
    """Also measure the search's roll-outs, and a collection that stays on the device."""
    knots: int = 0
    """Knots of that collection; 0 for 10 on a GPU, 1 on the processor."""
    save: bool = True
    """Append the rows to bench/results/warp.jsonl."""


class ManyWorlds:
    """Inputs of one case, and the work on them."""

    def __init__(self, device: str, worlds: int, transitions: int) -> None:
        from sim.backends.warp_loop import SubstepLoop
        from sim.backends.warp_sums import WarpTransitions

        self.humanoid: Humanoid = make_humanoid(make_body(Subject(name="default")))
        self.substeps = transitions * self.humanoid.substeps
        self.qpos, self.qvel = np.zeros((worlds, NUM_QPOS)), np.zeros((worlds, NUM_QVEL))
        self.qpos[:, 2] = self.humanoid.body.joint_pos[0, 2] - 0.001  # soles in the floor: no contact by rounding
        self.qpos[:, self.humanoid.quat_columns[:, 0]] = 1.0
        held = 0.02 * np.random.default_rng(0).standard_normal((worlds, 1, NUM_CTRL))
        self.ctrl = np.repeat(held, self.substeps, axis=1)
        self.backend = MujocoWarp(self.humanoid, device=device, chunk=self.substeps)
        self.transitions = WarpTransitions(self.humanoid, worlds, device=device, chunk=transitions)
        self.bare_loop = SubstepLoop(self.humanoid, worlds, 1, find_device(device))
        self._step = bare_step(self.bare_loop)

    def bare(self) -> np.ndarray:
        """The engine's steps alone; the last positions."""
        self.bare_loop.write_state(self.qpos, self.qvel)
        self.bare_loop.data.ctrl.assign(self.ctrl[:, 0].astype(np.float32))
        for _ in range(self.substeps):
            self._step()
        return self.bare_loop.data.qpos.numpy()

    def trace(self) -> np.ndarray:
        """Every substep returned; the last positions."""
        self.backend.reset(self.qpos, self.qvel)
        return self.backend.rollout(self.ctrl).qpos[:, -1]

    def sums(self) -> Any:
        """Sums of transitions, equations of motion checked."""
        return self.transitions.run(self.qpos, self.qvel, self.ctrl)

    def records(self) -> list[Dynamics]:
        """The same, made into records on the processor."""
        from sim.record_sums import record_sums

        sums, kept = self.sums(), []
        for row in range(len(self.qpos)):
            origin = Origin(name=str(row), clip="bench")
            kept += record_sums(self.humanoid, sums, origin, environment=row, config=_RECORDING)[0]
        return kept

    def by_mujoco(self) -> np.ndarray:
        """Last positions of the first environments by `mujoco_cpu`."""
        backend, few = MujocoCpu(self.humanoid), slice(min(_COMPARED, len(self.qpos)))
        backend.reset(self.qpos[few], self.qvel[few])
        return backend.rollout(self.ctrl[few]).qpos[:, -1]


def bare_step(loop: Any) -> Callable[[], None]:
    """One engine step of a loop's model and data, as a graph on a GPU."""
    import mujoco_warp
    import warp as wp

    def step() -> None:
        with wp.ScopedDevice(loop.device):
            mujoco_warp.step(loop.model, loop.data)

    if not loop.device.is_cuda:
        return step
    step()
    with wp.ScopedDevice(loop.device), wp.ScopedCapture() as capture:
        mujoco_warp.step(loop.model, loop.data)
    graph: Any = capture.graph
    return lambda: wp.capture_launch(graph)


def measure_worlds(cfg: WarpBench, device: str, worlds: int, transitions: int, machine: Machine) -> list[Row]:
    """Rows of one number of environments."""
    work = ManyWorlds(device, worlds, transitions)
    expected = work.by_mujoco()

    def agree(found: np.ndarray) -> None:
        error = np.abs(found[: len(expected)] - expected).max()
        assert error < 1e-4, f"positions differ from mujoco_cpu by {error}"

    def check_sums() -> None:
        sums = work.sums()
        agree(sums.qpos[:, -1])
        assert np.all(sums.valid_substeps == work.substeps), f"not sound: {set(sums.warnings)}"
        assert sums.closure.max() < FLOAT32_CLOSURE, f"equations of motion close to {sums.closure.max()} only"

    def check_records() -> None:
        kept = work.records()
        assert [item.num_frames for item in kept] == [transitions + 1] * worlds, "a stretch was cut"

    rate = 1.0 / work.humanoid.config.substep
    case = Case(
        kernel="warp", name=f"stand_{worlds}_worlds_at_{rate:.0f}Hz", items=work.substeps * worlds, unit="substeps"
    )
    contenders = [
        Contender(impl="bare mujoco_warp.step", run=work.bare, check=lambda: agree(work.bare()), is_rival=True),
        Contender(impl="every substep returned", run=work.trace, check=lambda: agree(work.trace())),
        Contender(impl="sums of transitions, checked", run=work.sums, check=check_sums),
        Contender(impl="records of them", run=work.records, check=check_records),
    ]
    # each waits for the device at its end: its result is on the host
    contenders = [Contender(**{**vars(item), "is_capturable": False}) for item in contenders]
    return measure(case, contenders, machine=machine, rounds=cfg.rounds)


def measure_search(cfg: WarpBench, device: str, samples: int, machine: Machine) -> list[Row]:
    """Rows of so many roll-outs of the search: 0.4 s of the embedded walk, 3000 residuals each."""
    import torch
    import warp as wp

    from sim.imitation.tracker.search import Tracker
    from sim.imitation.tracker.warp_rollouts import one_stream
    from sim.imitation.tracker.warp_search import WarpTracker

    search = SearchConfig(planning_sweeps=0, samples=samples)
    humanoid, followed = _walk()
    plain = Tracker(humanoid, followed.reference, followed.base, search)
    tracker = WarpTracker(humanoid, followed.reference, followed.base, search, device=device)
    window, moment = tracker._window(2, search), tracker.reference_moment(2)
    plans = 0.05 * np.random.default_rng(0).standard_normal((samples, window.knots, len(tracker.columns)))
    place = wp.device_to_torch(tracker.place)
    held = torch.zeros(len(tracker.columns), device=place)
    offered = torch.as_tensor(plans, dtype=torch.float32, device=place)

    def costs() -> np.ndarray:
        with one_stream(tracker.place):
            return tracker.evaluate(moment, held, offered, window, search)[1].cpu().numpy()

    def check() -> None:
        expected = plain._evaluate(moment, held.cpu().numpy(), plans[:_COMPARED], window, search).cost
        error = np.abs(costs()[:_COMPARED] / expected - 1.0).max()
        assert error < 0.02, f"costs differ from the processor's by {error:.1%}"

    costs()  # allocates
    bare = bare_steps(tracker, 2, [(tracker._rollouts_of(samples).loop, window.steps, 1)])
    case = Case(kernel="warp", name=f"search_{samples}_rollouts", items=samples * window.steps, unit="substeps")
    return _beside_bare(cfg, case, Contender(impl="roll-outs and residuals", run=costs, check=check), bare, machine)


def measure_collection(cfg: WarpBench, device: str, samples: int, machine: Machine) -> list[Row]:
    """Rows of a collection that stays on the device: knots of the embedded walk planned, executed, summed, and recorded.

    Bare is as many steps of as many environments: two rounds of samples, three of a few plans, and the executed knot.
    """
    from sim.imitation.tracker.warp_execution import WarpExecutor
    from sim.record_sums import record_sums

    search = SearchConfig(planning_sweeps=0, samples=samples, good_cost=0.0)  # no round is spared
    humanoid, followed = _walk()
    executor = WarpExecutor(humanoid, followed.reference, followed.base, search, device=device)
    knots = cfg.knots or (10 if device != "cpu" else 1)

    def collect() -> tuple[list[Dynamics], float]:
        rng, step = np.random.default_rng(0), executor.first_step(0)
        for knot in range(knots):
            step = executor.next_step(step, knot, rng, search)
        origin = Origin(name="walk", clip="bench")
        kept, _ = record_sums(humanoid, executor.sums(0, knots), origin, config=_RECORDING)
        return kept, step.error

    def check() -> None:
        kept, error = collect()
        assert [item.num_frames for item in kept] == [2 * knots + 1], "a transition was cut"
        assert error < 0.1, f"the walk is {error:.2f} m away"

    collect()  # allocates
    planner = executor.planner
    steps = planner._window(0, search).steps
    few = planner._rollouts_of(len(search.damping))
    work = [
        (planner._rollouts_of(samples).loop, steps, knots * search.rounds),
        (few.loop, steps, knots * (search.rounds + 1)),
        (executor.loop, executor.execute_steps, knots),
    ]
    items = sum(loop.num_environments * count * times for loop, count, times in work)
    case = Case(kernel="warp", name=f"collect_{knots}_knots_of_{samples}_samples", items=items, unit="substeps")
    ours = Contender(impl="planned, executed, recorded", run=collect, check=check)
    return _beside_bare(cfg, case, ours, bare_steps(planner, 0, work), machine)


def _walk() -> tuple[Humanoid, Any]:
    """The default humanoid and what it follows to walk."""
    from sim.imitation.tracker.solve import followed_reference
    from sim.work_items import list_clips

    humanoid = make_humanoid(make_body(Subject(name="default")))
    [motion] = list_clips(["embedded/walk"])[0].motions(humanoid.body)
    return humanoid, followed_reference(humanoid, motion)


def bare_steps(tracker: Any, knot: int, work: list[tuple[Any, int, int]]) -> Callable[[], np.ndarray]:
    """The engine's steps alone, of (loop, steps, times); waits for the device at its end.

    All environments go from the reference's state under its targets, where those of a search are spread about it: their solvers
    end together, which is a little quicker.
    """
    import warp as wp

    moment, target = tracker.reference_moment(knot), tracker.base[knot * tracker.execute_steps]
    runs = []
    for loop, steps, times in work:
        every = loop.num_environments
        loop.write_state(*(np.repeat(part[None], every, axis=0) for part in np.split(moment.state[1:], [NUM_QPOS])))
        loop.data.ctrl.assign(np.repeat(target[None], every, axis=0).astype(np.float32))
        start = [
            (array, wp.clone(array))
            for array in (loop.data.qpos, loop.data.qvel, loop.data.qacc_warmstart, loop.data.ctrl)
        ]
        runs.append((bare_step(loop), start, steps, times))

    def run() -> np.ndarray:
        for step, start, steps, times in runs:
            for _ in range(times):
                for array, value in start:
                    wp.copy(array, value)
                for _ in range(steps):
                    step()
        return work[-1][0].data.qpos.numpy()

    return run


def _beside_bare(
    cfg: WarpBench, case: Case, ours: Contender, bare: Callable[[], np.ndarray], machine: Machine
) -> list[Row]:
    rival = Contender(impl="bare mujoco_warp.step", run=bare, check=lambda: None, is_rival=True, is_capturable=False)
    contenders = [Contender(**{**vars(ours), "is_capturable": False}), rival]
    return measure(case, contenders, machine=machine, rounds=cfg.rounds)


def main(cfg: WarpBench) -> list[Row]:
    """Measure, print and keep the rows."""
    device = cfg.device or _gpu_if_any()
    is_gpu = device != "cpu"
    if is_gpu:
        from bench.cuda import measure_cuda

        machine = measure_cuda()
    else:
        machine = measure_machine(threads=1)
    worlds = cfg.worlds or ((1, 16, 256, 1024, 4096, 8192) if is_gpu else (1, 8, 32))
    rows: list[Row] = []
    for count in worlds:
        measured = measure_worlds(cfg, device, count, cfg.transitions or (8 if is_gpu else 1), machine)
        print(table(measured))
        shares = [f"{row.impl} {measured[0].median_s / row.median_s:.1%}" for row in measured[1:]]
        print(f"of bare stepping: {', '.join(shares)}\n")
        rows += measured
    for samples in ((1024, 4096) if is_gpu else (28,)) if cfg.search else ():
        for measure_with in (measure_search, measure_collection):
            measured = measure_with(cfg, device, samples, machine)
            print(table(measured))
            print(f"of bare stepping: {measured[1].median_s / measured[0].median_s:.1%}\n")
            rows += measured
    if cfg.save:
        append_rows(rows)
    return rows


def _gpu_if_any() -> str:
    find_device("cpu")
    import warp as wp

    return "cuda" if wp.get_cuda_device_count() else "cpu"


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(WarpBench, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("bench_warp", run))
