"""Physics on a GPU: thousands of environments of one humanoid stepped together by `mujoco_warp`, every substep returned.

The engine computes in float32 and sums contacts in no fixed order, so results agree with `mujoco_cpu` to rounding and not bit for
bit, and two runs on a GPU differ in the last digits. What acted at a joint is exact all the same: it is the servo force less kv
times a difference of velocities, not of anything divided by the step.

Controls of `chunk` substeps go to the device at once and their trace comes back at once; in between nothing is copied. For
records of long motions `sim.backends.warp_sums` keeps sums of each transition instead of substeps. On warp's `cpu` device
everything runs the same, one environment after the other.

The engine has no warnings and no automatic reset: each substep is judged on the device by MuJoCo's own bounds. Contacts or
constraint rows that do not fit their arrays are an error, since leaving them out is no physics.

Axis legend: E environments, K substeps, B = 24 bodies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dataset.manifest import FLOAT32
from dataset.skeleton import NUM_BODIES
from sim.backends.contract import SubstepTrace
from sim.backends.inputs import check_controls, check_states
from sim.backends.warp_device import find_device
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL, Humanoid

if TYPE_CHECKING:
    from sim.backends.warp_loop import SubstepLoop
    from sim.backends.warp_trace import TraceSink

NUM_STATE = 1 + NUM_QPOS + NUM_QVEL
"""Numbers in a state: time, qpos, qvel."""
_CLOCK_START = 1.0  # as in mujoco_cpu


class MujocoWarp:
    """Environments of one humanoid on one device. Satisfies `sim.backends.contract.PhysicsBackend`."""

    def __init__(
        self,
        humanoid: Humanoid,
        *,
        device: str = "cuda",
        chunk: int | None = None,
        nconmax: int | None = None,
        njmax: int | None = None,
    ) -> None:
        """Find the device.

        Args:
            humanoid: What each environment simulates; its sensors are not used.
            device: `cuda`, `cuda:N` or `cpu`.
            chunk: Substeps between copies to the host; None for one transition.
            nconmax: Contacts to allocate for an environment; None for as many as the humanoid can have.
            njmax: Constraint rows to allocate for an environment; None for as many as those contacts can need.

        Raises:
            RuntimeError: warp or mujoco_warp is not installed.
            ValueError: There is no such device, or a size is not positive.
        """
        self._device = find_device(device)
        self._humanoid = humanoid
        self._chunk = humanoid.substeps if chunk is None else chunk
        if self._chunk < 1:
            raise ValueError(f"chunk: expected at least 1 substep, got {chunk}")
        self._nconmax, self._njmax = nconmax, njmax
        self._loop: SubstepLoop | None = None
        self._sink: TraceSink | None = None
        self._state: np.ndarray | None = None

    @property
    def humanoid(self) -> Humanoid:
        """Humanoid that every environment simulates."""
        return self._humanoid

    def close(self) -> None:
        """Release the device's memory."""
        self._loop, self._sink, self._state = None, None, None

    def reset(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Put the environments into states; their number becomes E. Another E allocates anew.

        Args:
            qpos: Generalised positions, shape (E, 99).
            qvel: Generalised velocities, shape (E, 75).

        Raises:
            ValueError: Wrong shape, a value that is not finite, or a model that the engine cannot simulate.
        """
        check_states(qpos, qvel)
        if self._loop is None or self._loop.num_environments != qpos.shape[0]:
            from sim.backends.warp_loop import SubstepLoop
            from sim.backends.warp_trace import TraceSink

            self._loop = SubstepLoop(
                self._humanoid, qpos.shape[0], self._chunk, self._device, nconmax=self._nconmax, njmax=self._njmax
            )
            self._sink = TraceSink(self._loop)
        self._state = np.concatenate([np.full((len(qpos), 1), _CLOCK_START), qpos, qvel], axis=1)

    def rollout(
        self, ctrl: np.ndarray, *, warmstart: np.ndarray | None = None, residual: np.ndarray | None = None
    ) -> SubstepTrace:
        """Apply servo targets to all environments, from the states they are in.

        Args:
            ctrl: Servo targets [rad], shape (E, K, 69).
            warmstart: Start of the contact solver, shape (1 or E, 75); None for zero.
            residual: Wrench to apply to the pelvis (`SubstepTrace.residual`), shape (E, K, 6); None for none.

        Returns:
            Every substep, float64 arrays of float32 values (the controls and the first state as they were given). The
            environments stay in the states after the last one.

        Raises:
            ValueError: Wrong shape, `reset` was never called, or `nconmax` or `njmax` is too small.
        """
        start = check_controls(self._state, ctrl, warmstart, residual)
        loop, sink = self._loop, self._sink
        assert loop is not None and sink is not None  # reset made them
        count, substeps = ctrl.shape[:2]
        state = np.empty((count, substeps + 1, NUM_STATE))
        state[:, 0] = start
        state[:, :, 0] = _CLOCK_START + loop.step_length * np.arange(substeps + 1)
        ground = {name: np.empty((count, substeps, NUM_BODIES, 3)) for name in ("force", "torque", "point")}
        servo = np.empty((count, substeps, NUM_CTRL))
        loop.write_state(start[:, 1 : 1 + NUM_QPOS], start[:, 1 + NUM_QPOS :], warmstart)
        if (loop.num_wrenches > 0) != (residual is not None):
            loop.apply_wrenches(0 if residual is None else self._chunk)
        valid, reasons = np.full(count, substeps, dtype=np.int64), [""] * count
        for first in range(0, substeps, self._chunk):
            rows = slice(first, min(first + self._chunk, substeps))
            length = rows.stop - first
            _fill_rows(loop.ctrl, ctrl[:, rows])
            if residual is not None:
                _fill_rows(loop.wrench, residual[:, rows])
            loop.rewind()
            loop.run(length)
            state[:, rows.start + 1 : rows.stop + 1, 1 : 1 + NUM_QPOS] = sink.qpos.numpy()[:, :length]
            state[:, rows.start + 1 : rows.stop + 1, 1 + NUM_QPOS :] = sink.qvel.numpy()[:, :length]
            servo[:, rows] = sink.servo_force.numpy()[:, :length]
            ground["force"][:, rows] = sink.ground_force.numpy()[:, :length]
            ground["torque"][:, rows] = sink.ground_torque.numpy()[:, :length]
            ground["point"][:, rows] = sink.ground_point.numpy()[:, :length]
            bad_row, names = loop.verdict()
            for row in np.flatnonzero((bad_row >= 0) & (valid == substeps)):
                # a fault is remembered over chunks: only its first sight says in which chunk it was
                if not reasons[row]:
                    valid[row], reasons[row] = first + bad_row[row], names[row]
        self._state = state[:, -1].copy()
        self._state[:, 0] = _CLOCK_START
        return SubstepTrace(
            substep=self._humanoid.config.substep,
            state=state,
            ctrl=ctrl,
            ground_force=ground["force"],
            ground_torque=ground["torque"],
            ground_point=ground["point"],
            servo_force=servo,
            residual=residual,
            valid_substeps=valid,
            warnings=tuple(reasons),
            warmstart=loop.data.qacc_warmstart.numpy().astype(np.float64) if count == 1 else None,
            flags=(FLOAT32,),
        )


def _fill_rows(target: Any, values: np.ndarray) -> None:
    """Write (E, length, W) values into the first rows of a device array (E, chunk, W), the rest repeating the last."""
    chunk = target.shape[1]
    padded = np.empty((values.shape[0], chunk, values.shape[2]), dtype=np.float32)
    padded[:, : values.shape[1]] = values
    padded[:, values.shape[1] :] = values[:, -1:]
    target.assign(padded)
