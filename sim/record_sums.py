"""Records from sums of transitions that were made where the physics ran (`sim.backends.warp_sums`).

The same transitions are kept for the same reasons as from a trace (`sim.record`). Two things are float32's: the residual of the
equations of motion, so `FLOAT32_CLOSURE` bounds it here, and with it `closure_error` in the records, which are flagged for it.

Axis legend: E environments, P transitions, S substeps of a transition.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dataset.manifest import FLOAT32
from dataset.schema import Dynamics
from kernels.grf import AveragedReaction, finish_contact_wrench
from sim.backends.contract import FLOAT32_CLOSURE
from sim.backends.warp_sums import TransitionSums
from sim.humanoid import Humanoid
from sim.record import Origin, RecordConfig, RecordReport, record_stretch


class _SummedStretch:
    """One environment of sums."""

    def __init__(self, sums: TransitionSums, environment: int, config: RecordConfig) -> None:
        self.substep, self._substeps = sums.substep, sums.num_substeps
        self._sums, self._environment = sums, environment
        self.closure_P = sums.closure[environment] if config.has_closure else np.full(sums.closure.shape[1], np.nan)
        self.reason_P = np.full(len(self.closure_P), "", dtype=object)
        if config.has_closure:
            self.reason_P[~(self.closure_P <= config.max_closure)] = "closure"
        sound = int(sums.valid_substeps[environment]) // self._substeps
        self.reason_P[sound:] = sums.warnings[environment] or "WARNED"

    def ground(self, first: int, last: int) -> AveragedReaction:
        early = self._sums.early[self._environment, first:last]
        late = self._sums.late[self._environment, first:last]
        frames = np.zeros((last - first + 1, *early.shape[1:]))
        frames[:-1] += early
        frames[1:] += late
        weight = np.full(len(frames), float(self._substeps))
        weight[[0, -1]] = 0.5 * self._substeps
        force = (early + late)[..., :3]
        return finish_contact_wrench(frames, weight, force, substeps_per_frame=self._substeps)

    def impulse(self, first: int, last: int) -> np.ndarray:
        return self._sums.impulse[self._environment, first:last]

    def frames(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(first, last + 1)
        return self._sums.qpos[self._environment, rows], self._sums.qvel[self._environment, rows]


def record_sums(
    humanoid: Humanoid,
    sums: TransitionSums,
    origin: Origin,
    *,
    environment: int = 0,
    tracking_error: np.ndarray | None = None,
    config: RecordConfig | None = None,
) -> tuple[list[Dynamics], RecordReport]:
    """Records of one environment of sums.

    Args:
        humanoid: What was simulated.
        sums: All transitions of the stretch.
        origin: Where the stretch comes from.
        environment: Which environment.
        tracking_error: Mean distance of the bodies from the reference at each frame [m], shape (P + 1,), or None.
        config: What may enter; None for the defaults with `max_closure` at `FLOAT32_CLOSURE`.

    Returns:
        One `Dynamics` a kept run, in order of time, and what became of every transition.

    Raises:
        ValueError: `tracking_error` has another length.
    """
    config = config or replace(RecordConfig(), max_closure=FLOAT32_CLOSURE)
    stretch = _SummedStretch(sums, environment, config)
    origin = replace(origin, flags=(*origin.flags, FLOAT32))
    return record_stretch(humanoid, stretch, origin, tracking_error=tracking_error, config=config)
