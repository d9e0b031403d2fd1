"""Sums of each transition kept on the device instead of its substeps: the sink behind records of thousands of environments.

With S substeps a transition, substep r = 0 .. S - 1 of it adds

    impulse += h·τ;   early += (1 - s_r)·w;   late += s_r·w;   s_r = clip(r + 1 - S/2, 0, 1),

w being each body's ground wrench (force, moment about the world origin) and s_r the substep's share in the next frame's window
(`kernels.grf.reference.accumulate_contact_wrench`). Sums are float64. With the state at the frames and the largest residual of
the equations of motion they are all that a record needs: 14 times less than the substeps at S = 16.

Axis legend: E environments, P transitions of a call, S substeps of a transition, B = 24 bodies, U = 69 servos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp

from dataset.skeleton import NUM_BODIES
from sim.backends.warp_closure import Closure
from sim.backends.warp_device import find_device
from sim.backends.warp_kernels import add_substep
from sim.backends.warp_loop import SubstepLoop, sound_substeps
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL, Humanoid


@dataclass(frozen=True, kw_only=True, eq=False)
class TransitionSums:
    """What P transitions of E environments come to."""

    substep: float
    """Physics step h [s]."""
    num_substeps: int
    """Substeps S of a transition."""
    qpos: np.ndarray
    """Generalised positions at the frames, shape (E, P + 1, 99)."""
    qvel: np.ndarray
    """Generalised velocities at the frames, shape (E, P + 1, 75)."""
    impulse: np.ndarray
    """Sum of h times the torque that acted [N·m·s], child frame, shape (E, P, 23, 3)."""
    early: np.ndarray
    """Sum of the shares in the window of the frame before times the ground wrench [N, N·m], shape (E, P, 24, 6)."""
    late: np.ndarray
    """The same for the frame behind."""
    closure: np.ndarray
    """Largest residual of the equations of motion in a substep of the transition [body weights], shape (E, P)."""
    valid_substeps: np.ndarray
    """Leading sound substeps, shape (E,), int64; P·S where nothing was wrong. What follows is junk."""
    warnings: tuple[str, ...]
    """What ended each environment, empty where nothing did; names as in `SubstepTrace`."""


class SumSink:
    """Sums of as many whole transitions as a loop holds controls for; it observes the loop."""

    def __init__(self, loop: SubstepLoop, num_substeps: int) -> None:
        """Allocate on the loop's device.

        Args:
            loop: What is observed.
            num_substeps: S.
        """
        E, P = loop.num_environments, loop.max_substeps // num_substeps
        self._loop, self._num_substeps = loop, num_substeps
        self.closure_check = Closure(loop)
        with wp.ScopedDevice(loop.device):
            self._dof = wp.array(loop.humanoid.ctrl_dof.astype(np.int32))
            self.qpos = wp.zeros((E, P, NUM_QPOS), dtype=float)
            self.qvel = wp.zeros((E, P, NUM_QVEL), dtype=float)
            self.impulse = wp.zeros((E, P, NUM_CTRL), dtype=wp.float64)
            self.early = wp.zeros((E, P, NUM_BODIES, 6), dtype=wp.float64)
            self.late = wp.zeros((E, P, NUM_BODIES, 6), dtype=wp.float64)
            self.closure = wp.zeros((E, P), dtype=float)
        loop.observe_with(self._launch)

    def copy_out(self, out: dict[str, np.ndarray], first: int, last: int, at: int = 0) -> None:
        """Transitions `first` to `last` of the loop's rows from the device into arrays of `empty_sums`, from transition `at`.

        States go one place further: there the first is the frame before all transitions.
        """
        for name, values in out.items():
            place = at + 1 if name in ("qpos", "qvel") else at
            array: Any = getattr(self, name)
            values[:, place : place + last - first] = array.numpy()[:, first:last]

    def _launch(self) -> None:
        loop, check = self._loop, self.closure_check
        check.launch()
        wp.launch(
            add_substep,
            dim=(loop.num_environments, NUM_QPOS),
            inputs=[
                loop.row, self._num_substeps, loop.step_length, loop.data.qpos, loop.data.qvel, loop.qvel_before,
                loop.data.actuator_force, self._dof, check.damping, check.low, check.high, loop.force, loop.moment,
                loop.engine_body, loop.data.xpos, check.residual,
            ],
            outputs=[self.qpos, self.qvel, self.impulse, self.early, self.late, self.closure],
        )  # fmt: skip


class WarpTransitions:
    """Environments of one humanoid on one device that give sums of transitions, for records of long motions."""

    def __init__(
        self,
        humanoid: Humanoid,
        num_environments: int,
        *,
        device: str = "cuda",
        chunk: int = 1,
        nconmax: int | None = None,
        njmax: int | None = None,
    ) -> None:
        """Allocate on the device.

        Args:
            humanoid: What each environment simulates.
            num_environments: E.
            device: `cuda`, `cuda:N` or `cpu`.
            chunk: Transitions between copies to the host.
            nconmax: Contacts to allocate for an environment; None for as many as the humanoid can have.
            njmax: Constraint rows to allocate for an environment; None for as many as those contacts can need.

        Raises:
            RuntimeError: warp or mujoco_warp is not installed.
            ValueError: There is no such device, or a size is not positive.
        """
        if chunk < 1:
            raise ValueError(f"chunk: expected at least 1 transition, got {chunk}")
        self._substeps, self._chunk = humanoid.substeps, chunk
        self.loop = SubstepLoop(
            humanoid, num_environments, chunk * humanoid.substeps, find_device(device), nconmax=nconmax, njmax=njmax
        )
        self.sink = SumSink(self.loop, humanoid.substeps)

    def run(self, qpos: np.ndarray, qvel: np.ndarray, ctrl: np.ndarray) -> TransitionSums:
        """Step all environments from states through whole transitions.

        Args:
            qpos: Generalised positions, shape (E, 99).
            qvel: Generalised velocities, shape (E, 75).
            ctrl: Servo targets [rad], shape (E, P·S, 69).

        Returns:
            Sums of every transition.

        Raises:
            ValueError: Wrong shape, or `nconmax` or `njmax` is too small.
        """
        E, S = self.loop.num_environments, self._substeps
        transitions, rest = divmod(ctrl.shape[1], S) if ctrl.ndim == 3 else (0, 0)
        if rest or transitions < 1 or ctrl.shape != (E, transitions * S, NUM_CTRL):
            raise ValueError(f"ctrl: expected shape ({E}, P·{S}, {NUM_CTRL}) with P >= 1, got {ctrl.shape}")
        for name, values, width in (("qpos", qpos, NUM_QPOS), ("qvel", qvel, NUM_QVEL)):
            if values.shape != (E, width):
                raise ValueError(f"{name}: expected shape ({E}, {width}), got {values.shape}")
        out = empty_sums(E, transitions)
        out["qpos"][:, 0], out["qvel"][:, 0] = qpos, qvel
        self.loop.write_state(qpos, qvel)
        first_bad = np.full(E, -1, dtype=np.int64)
        reasons = [""] * E
        for first in range(0, transitions, self._chunk):
            last = min(first + self._chunk, transitions)
            held = np.zeros((E, self.loop.max_substeps, NUM_CTRL), dtype=np.float32)
            held[:, : (last - first) * S] = ctrl[:, first * S : last * S]
            self.loop.ctrl.assign(held)
            self.loop.rewind()
            self.loop.run((last - first) * S)
            self.sink.copy_out(out, 0, last - first, at=first)
            bad_row, names = self.loop.verdict()
            for row in np.flatnonzero((bad_row >= 0) & (first_bad < 0)):
                first_bad[row], reasons[row] = first * S + bad_row[row], names[row]
        return TransitionSums(
            substep=self.loop.step_length,
            num_substeps=S,
            impulse=out.pop("impulse").reshape(E, transitions, -1, 3),
            valid_substeps=sound_substeps(first_bad, transitions * S),
            warnings=tuple(reasons),
            **out,
        )


def empty_sums(environments: int, transitions: int) -> dict[str, np.ndarray]:
    """Arrays of `TransitionSums` on the host, to be filled; the impulse as (E, P, 69)."""
    E, P = environments, transitions
    return {
        "qpos": np.empty((E, P + 1, NUM_QPOS)),
        "qvel": np.empty((E, P + 1, NUM_QVEL)),
        "impulse": np.empty((E, P, NUM_CTRL)),
        "early": np.empty((E, P, NUM_BODIES, 6)),
        "late": np.empty((E, P, NUM_BODIES, 6)),
        "closure": np.empty((E, P)),
    }
