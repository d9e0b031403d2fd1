"""From the substeps of a simulated stretch to the records of the data set: 30 Hz frames and the transitions between.

A transition is kept if no residual force acted in it, the engine did not warn, its equations of motion close, the body
was where the reference is, and it lies behind the landing transient at the start. Kept runs that are long enough become
one `Dynamics` each; what is not kept is counted by reason.

The CPU backend hands over all substeps of a stretch at once, so they are summed at once: `average_ground_reaction` is the
streaming form of `kernels.grf` in one run, and `integrate_torque` gives what `kernels.momentum.add_substep` gives substep
by substep. A backend that holds one substep at a time uses those and gets the same record (tests/sim/test_record.py).

Axis legend: K substeps, T frames, P = T - 1 transitions, S substeps of a transition, N = 24 bodies, J = 23 joints.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from dataset.manifest import LANDING
from dataset.schema import FRAME_RATE, Dynamics
from dataset.skeleton import NUM_JOINTS
from kernels.grf import AveragedReaction, average_ground_reaction
from kernels.momentum import integrate_torque
from sim.acting_torque import acting_torque
from sim.backends.contract import SubstepTrace
from sim.closure import closure_residual
from sim.humanoid import Humanoid
from sim.momentum_balance import com_velocity, momentum_error


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """What may enter the data set."""

    transient: float = 0.3
    """Dropped at the start of a stretch [s]: the body lands on the floor there."""
    max_tracking_error: float = 0.5
    """Mean distance of the bodies from the reference above which a frame is a failure [m]."""
    max_closure: float = 1e-8
    """Largest residual of the equations of motion [body weights]."""
    min_duration: float = 0.5
    """Kept runs shorter than this are dropped [s]."""
    has_closure: bool = True
    """Check the equations of motion; off only to time the recording without it (then `closure_error` is NaN)."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a stretch comes from; copied into its records."""

    name: str
    """Identifier; a second and third kept run of a stretch get `#1`, `#2` appended."""
    clip: str
    """`source/name` of the imitated motion."""
    seed: int = 0
    """Seed of the controller's search."""
    clip_start: float = 0.0
    """Time of the clip at the stretch's first state [s]."""
    controller: str = ""
    """What drove the body."""
    solution: str = ""
    """Hash of the replayed solution."""
    perturbation: str = ""
    """Disturbance applied on purpose."""
    flags: tuple[str, ...] = ()
    """Words a user should know."""


@dataclass(kw_only=True)
class RecordReport:
    """What became of the transitions of one or more stretches."""

    simulated: int = 0
    """Transitions simulated, started ones included."""
    kept: int = 0
    """Transitions in the records."""
    cut: Counter[str] = field(default_factory=Counter)
    """Transitions dropped, by the first reason that applies: an engine warning by its name, `residual`, `closure`,
    `transient`, `tracking`, `short`."""
    closure_max: float = 0.0
    """Largest residual among the kept transitions [body weights]."""
    momentum_error: list[np.ndarray] = field(default_factory=list)
    """Momentum balance of the kept transitions [body weights]."""

    def add(self, other: RecordReport) -> None:
        """Count another stretch's transitions in."""
        self.simulated += other.simulated
        self.kept += other.kept
        self.cut.update(other.cut)
        self.closure_max = max(self.closure_max, other.closure_max)
        self.momentum_error += other.momentum_error

    def summary(self) -> dict[str, float | dict[str, float]]:
        """Seconds simulated, kept and cut by reason; largest closure residual; quantiles of the momentum balance."""
        errors = np.concatenate(self.momentum_error) if self.momentum_error else np.zeros(1)
        return {
            "simulated_s": self.simulated / FRAME_RATE,
            "kept_s": self.kept / FRAME_RATE,
            "cut_s": {reason: count / FRAME_RATE for reason, count in sorted(self.cut.items())},
            "closure_max": self.closure_max,
            "momentum_error_median": float(np.median(errors)),
            "momentum_error_p95": float(np.quantile(errors, 0.95)),
        }


class Stretch(Protocol):
    """What a record needs of a simulated stretch of P transitions, however the substeps were summed."""

    substep: float
    """Physics step h [s]."""
    closure_P: np.ndarray
    """Largest residual of the equations of motion in each transition [body weights], shape (P,); NaN if not checked."""
    reason_P: np.ndarray
    """Why each transition is no sound physics, empty where it is, shape (P,), object."""

    def ground(self, first: int, last: int) -> AveragedReaction:
        """Ground reaction of transitions `first` to `last` alone, their borders one-sided."""
        ...

    def impulse(self, first: int, last: int) -> np.ndarray:
        """Impulse of each of these transitions [N·m·s], shape (last - first, 23, 3)."""
        ...

    def frames(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """qpos and qvel at the frames `first` to `last`, both included."""
        ...


class _TraceStretch:
    """One environment of a trace."""

    def __init__(self, humanoid: Humanoid, trace: SubstepTrace, environment: int, config: RecordConfig) -> None:
        self.substep, self._substeps = trace.substep, humanoid.substeps
        self._trace, self._environment = trace, environment
        transitions, rest = divmod(trace.num_substeps, self._substeps)
        if rest or transitions < 1:
            raise ValueError(
                f"trace: expected a positive multiple of {self._substeps} substeps, got {trace.num_substeps}"
            )
        self._torque = acting_torque(humanoid, trace, environment)
        closure_K = np.full(trace.num_substeps, np.nan)
        if config.has_closure:
            closure_K = closure_residual(humanoid, trace, self._torque, environment)[0]
        self.closure_P = closure_K.reshape(transitions, self._substeps).max(axis=1)
        self.reason_P = _unphysical(trace, environment, transitions, self._substeps, self.closure_P, config)

    def ground(self, first: int, last: int) -> AveragedReaction:
        trace, span = self._trace, slice(first * self._substeps, last * self._substeps)
        return average_ground_reaction(
            trace.ground_force[self._environment, span],
            trace.ground_torque[self._environment, span],
            trace.ground_point[self._environment, span],
            substeps_per_frame=self._substeps,
        )

    def impulse(self, first: int, last: int) -> np.ndarray:
        torque = self._torque[first * self._substeps : last * self._substeps]
        return integrate_torque(torque.reshape(last - first, self._substeps, NUM_JOINTS, 3), self.substep)

    def frames(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(first * self._substeps, last * self._substeps + 1, self._substeps)
        return self._trace.qpos[self._environment, rows], self._trace.qvel[self._environment, rows]


def record(
    humanoid: Humanoid,
    trace: SubstepTrace,
    origin: Origin,
    *,
    environment: int = 0,
    tracking_error: np.ndarray | None = None,
    config: RecordConfig | None = None,
) -> tuple[list[Dynamics], RecordReport]:
    """Records of one environment of a trace.

    Args:
        humanoid: What was simulated.
        trace: All substeps of the stretch, K = (T - 1)·S.
        origin: Where the stretch comes from.
        environment: Which of the trace's environments.
        tracking_error: Mean distance of the bodies from the reference at each frame [m], shape (T,); None where
            there is no reference.
        config: What may enter.

    Returns:
        One `Dynamics` a kept run, in order of time, and what became of every transition.

    Raises:
        ValueError: K is no multiple of S, or `tracking_error` has another length.
    """
    config = config or RecordConfig()
    stretch = _TraceStretch(humanoid, trace, environment, config)
    origin = replace(origin, flags=(*origin.flags, *trace.flags))
    return record_stretch(humanoid, stretch, origin, tracking_error=tracking_error, config=config)


def record_stretch(
    humanoid: Humanoid,
    stretch: Stretch,
    origin: Origin,
    *,
    tracking_error: np.ndarray | None = None,
    config: RecordConfig,
) -> tuple[list[Dynamics], RecordReport]:
    """Records of a stretch whose transitions are summed by whoever simulated it; the same as `record` otherwise.

    Raises:
        ValueError: `tracking_error` has another length than the stretch has frames.
    """
    reason_P, transitions = stretch.reason_P.copy(), len(stretch.reason_P)
    if tracking_error is not None and tracking_error.shape != (transitions + 1,):
        raise ValueError(
            f"tracking_error: expected one value a frame, ({transitions + 1},), got {tracking_error.shape}"
        )
    _mark_unwanted(reason_P, tracking_error, config)

    report = RecordReport(simulated=transitions)
    kept: list[Dynamics] = []
    # Forces are averaged over frames before the stretch is cut to what is wanted: only a physical border is one-sided.
    for first, last in _runs(np.isin(reason_P, ("", "transient", "tracking"))):
        ground, impulse = stretch.ground(first, last), stretch.impulse(first, last)
        qpos, qvel = stretch.frames(first, last)
        balance = momentum_error(
            com_velocity(humanoid, qpos, qvel), ground.grf_mean.sum(axis=1), float(humanoid.body.mass.sum())
        )
        closure = stretch.closure_P[first:last]
        for start, stop in _runs(reason_P[first:last] == ""):
            if stop - start < config.min_duration * FRAME_RATE:
                reason_P[first + start : first + stop] = "short"
                continue
            frames, steps = slice(start, stop + 1), slice(start, stop)
            root_pos, quat = humanoid.pose(qpos[frames])
            kept.append(
                Dynamics(
                    name=origin.name if not kept else f"{origin.name}#{len(kept)}",
                    clip=origin.clip,
                    subject=humanoid.body.subject,
                    seed=origin.seed,
                    substep=stretch.substep,
                    root_pos=root_pos.astype(np.float32),
                    quat=quat.astype(np.float32),
                    root_vel=qvel[frames, :3].astype(np.float32),
                    ang_vel=qvel[frames][:, humanoid.omega_columns].astype(np.float32),
                    impulse=impulse[steps].astype(np.float32),
                    grf_mean=ground.grf_mean[steps].astype(np.float32),
                    grf=ground.grf[frames].astype(np.float32),
                    cop=ground.cop[frames].astype(np.float32),
                    free_moment=ground.free_moment[frames].astype(np.float32),
                    is_edge=ground.is_edge[frames].copy(),
                    momentum_error=balance[steps].astype(np.float32),
                    closure_error=closure[steps].copy(),
                    clip_start=origin.clip_start + (first + start) / FRAME_RATE,
                    controller=origin.controller,
                    solution=origin.solution,
                    perturbation=origin.perturbation,
                    flags=origin.flags,
                )
            )
            report.kept += stop - start
            report.momentum_error.append(balance[steps])
            if config.has_closure:
                report.closure_max = max(report.closure_max, float(closure[steps].max()))
    report.cut.update(Counter(str(reason) for reason in reason_P if reason))
    return kept, report


def _unphysical(
    trace: SubstepTrace, environment: int, transitions: int, substeps: int, closure_P: np.ndarray, config: RecordConfig
) -> np.ndarray:
    """Reason why each transition is no sound physics, empty where it is, shape (P,), object."""
    reason_P = np.full(transitions, "", dtype=object)
    if config.has_closure:
        reason_P[~(closure_P <= config.max_closure)] = "closure"
    if trace.residual is not None:
        acts_K = np.any(trace.residual[environment] != 0, axis=1)
        reason_P[acts_K.reshape(transitions, substeps).any(axis=1)] = "residual"
    reason_P[int(trace.valid_substeps[environment]) // substeps :] = trace.warnings[environment] or "WARNED"
    return reason_P


def _mark_unwanted(reason_P: np.ndarray, tracking_error: np.ndarray | None, config: RecordConfig) -> None:
    """Add the reasons `LANDING` and `tracking` where no other applies, in place."""
    free_P = reason_P == ""
    if tracking_error is not None:
        good_T = tracking_error <= config.max_tracking_error
        reason_P[free_P & ~(good_T[:-1] & good_T[1:])] = "tracking"
    landing = int(np.ceil(config.transient * FRAME_RATE - 1e-9))
    reason_P[:landing][free_P[:landing]] = LANDING


def _runs(is_member: np.ndarray) -> list[tuple[int, int]]:
    """First and past-the-last index of each run of True."""
    padded = np.concatenate([[False], is_member, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
