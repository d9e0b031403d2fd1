"""Physics on the CPU: batches of environments stepped by the thread pool of `mujoco.rollout`.

The contact solver is warm-started from the previous substep inside a call and from zero at the start of each call,
unless the caller hands in the warm start that a single environment's trace returned. Results depend neither on the
number of threads nor on which other environments share the call.

MuJoCo answers a bad state by resetting it, which would splice two motions. `mujoco.rollout` stops stepping an
environment at its first warning and repeats the last state, so a clock that stands still or jumps back marks the
substep that warned.

Axis legend: E environments, K substeps, N = 24 bodies.
"""

from __future__ import annotations

import mujoco
import mujoco.rollout
import numpy as np

from dataset.skeleton import NUM_BODIES
from sim.backends.contract import SubstepTrace
from sim.engine_warnings import install
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL, Humanoid

NUM_STATE = 1 + NUM_QPOS + NUM_QVEL
"""Numbers in a full-physics state: time, qpos, qvel."""
_CONTACT_WIDTH = 9
_NUM_CONTACT = _CONTACT_WIDTH * NUM_BODIES
_CLOCK_START = 1.0  # an auto-reset sets the clock to zero: one in the first substep would not show from zero


class MujocoCpu:
    """Environments of one humanoid on CPU threads. Satisfies `sim.backends.contract.PhysicsBackend`."""

    def __init__(self, humanoid: Humanoid, *, nthread: int = 1) -> None:
        """Start the thread pool.

        Args:
            humanoid: What each environment simulates; its model must have sensors.
            nthread: Threads of the pool; 1 steps on the calling thread.

        Raises:
            ValueError: No sensors in the model, or fewer than one thread.
        """
        model = humanoid.model
        if model.nsensordata != _NUM_CONTACT + NUM_CTRL:
            raise ValueError(
                f"humanoid: expected {_NUM_CONTACT + NUM_CTRL} sensor values (contacts, servos), got"
                f" {model.nsensordata}; build it with HumanoidConfig(has_sensors=True)"
            )
        if nthread < 1:
            raise ValueError(f"nthread: expected at least 1, got {nthread}")
        install()  # a humanoid need not come from make_humanoid
        self._humanoid = humanoid
        self._data = [mujoco.MjData(model) for _ in range(nthread)]
        self._pool = mujoco.rollout.Rollout(nthread=nthread if nthread > 1 else 0)
        self._single = self._pool if nthread == 1 else mujoco.rollout.Rollout(nthread=0)
        self._state: np.ndarray | None = None

    @property
    def humanoid(self) -> Humanoid:
        """Humanoid that every environment simulates."""
        return self._humanoid

    def close(self) -> None:
        """Stop the threads."""
        self._pool.close()
        self._single.close()

    def reset(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Put the environments into states; their number becomes E.

        Args:
            qpos: Generalised positions, shape (E, 99).
            qvel: Generalised velocities, shape (E, 75).

        Raises:
            ValueError: Wrong shape or a value that is not finite.
        """
        for name, values, width in (("qpos", qpos, NUM_QPOS), ("qvel", qvel, NUM_QVEL)):
            if values.ndim != 2 or values.shape[1] != width or values.shape[0] != qpos.shape[0]:
                raise ValueError(f"{name}: expected shape (E, {width}), got {values.shape}")
            if not np.all(np.isfinite(values)):
                raise ValueError(f"{name}: expected finite values, got NaN or infinity")
        self._state = np.empty((qpos.shape[0], NUM_STATE))
        self._state[:, 0] = _CLOCK_START
        self._state[:, 1 : 1 + NUM_QPOS] = qpos
        self._state[:, 1 + NUM_QPOS :] = qvel

    def rollout(
        self,
        ctrl: np.ndarray,
        *,
        warmstart: np.ndarray | None = None,
        residual: np.ndarray | None = None,
        has_reasons: bool = True,
    ) -> SubstepTrace:
        """Apply servo targets to all environments, from the states they are in.

        Args:
            ctrl: Servo targets [rad], shape (E, K, 69).
            warmstart: Start of the contact solver, shape (1 or E, 75); None for zero.
            residual: Wrench to apply to the pelvis (`SubstepTrace.residual`), shape (E, K, 6); None for none.
            has_reasons: Name the warning that ended an environment; in a batch that repeats the environment up to
                there. Without it the name is `WARNED`.

        Returns:
            Every substep. The environments stay in the states after the last one.

        Raises:
            ValueError: Wrong shape, or `reset` was never called.
        """
        start = self._checked_start(ctrl, warmstart, residual)
        trace = self._rollout(start, ctrl, warmstart, residual, has_reasons)
        self._state = trace.state[:, -1].copy()
        self._state[:, 0] = _CLOCK_START
        return trace

    def _checked_start(self, ctrl: np.ndarray, warmstart: np.ndarray | None, residual: np.ndarray | None) -> np.ndarray:
        if self._state is None:
            raise ValueError("rollout: expected reset(qpos, qvel) first, it was never called")
        count = self._state.shape[0]
        if ctrl.ndim != 3 or ctrl.shape[0] != count or ctrl.shape[1] < 1 or ctrl.shape[2] != NUM_CTRL:
            raise ValueError(f"ctrl: expected shape ({count}, K >= 1, {NUM_CTRL}), got {ctrl.shape}")
        if warmstart is not None and warmstart.shape not in ((1, NUM_QVEL), (count, NUM_QVEL)):
            raise ValueError(f"warmstart: expected shape (1 or {count}, {NUM_QVEL}), got {warmstart.shape}")
        if residual is not None and residual.shape != (*ctrl.shape[:2], 6):
            raise ValueError(f"residual: expected shape {(*ctrl.shape[:2], 6)}, got {residual.shape}")
        return self._state

    def _rollout(
        self,
        start: np.ndarray,
        ctrl: np.ndarray,
        warmstart: np.ndarray | None,
        residual: np.ndarray | None,
        has_reasons: bool,
    ) -> SubstepTrace:
        count, substeps = ctrl.shape[:2]
        state = np.empty((count, substeps + 1, NUM_STATE))
        state[:, 0] = start
        if count == 1:
            # The one MjData that stepped it still holds the warning counters and the warm start.
            sensors = np.empty((1, substeps, _NUM_CONTACT + NUM_CTRL))
            self._step(self._single, state[:, 0], ctrl, warmstart, residual, state[:, 1:], sensors)
            reason = self._counted_warnings()
            valid = self._sound_substeps(state[:, :, 0], bool(reason))
            final = self._data[0].qacc_warmstart[None].copy()
            reasons = (reason,)
        else:
            # One substep more than asked: a warning in the last one shows only in the clock of the next.
            probe = np.concatenate([ctrl, ctrl[:, -1:]], axis=1)
            push = None if residual is None else np.concatenate([residual, residual[:, -1:]], axis=1)
            stepped = np.empty((count, substeps + 1, NUM_STATE))
            sensors = np.empty((count, substeps + 1, _NUM_CONTACT + NUM_CTRL))
            self._step(self._pool, state[:, 0], probe, warmstart, push, stepped, sensors)
            state[:, 1:] = stepped[:, :-1]
            sensors = sensors[:, :-1]
            valid = self._sound_substeps(np.concatenate([state[:, :, 0], stepped[:, -1:, 0]], axis=1), False)
            final = None
            reasons = tuple(
                self._reason(start[row], ctrl[row], warmstart, residual, row, int(valid[row]), has_reasons)
                for row in range(count)
            )
        contact = sensors[:, :, :_NUM_CONTACT].reshape(count, substeps, NUM_BODIES, _CONTACT_WIDTH)
        # MuJoCo gives what the first body of the pair, ours, does to the floor.
        np.negative(contact[..., :6], out=contact[..., :6])
        return SubstepTrace(
            substep=self._humanoid.config.substep,
            state=state,
            ctrl=ctrl,
            ground_force=contact[..., 0:3],
            ground_torque=contact[..., 3:6],
            ground_point=contact[..., 6:9],
            servo_force=sensors[:, :, _NUM_CONTACT:],
            residual=residual,
            valid_substeps=valid,
            warnings=reasons,
            warmstart=final,
        )

    def _step(
        self,
        pool: mujoco.rollout.Rollout,
        start: np.ndarray,
        ctrl: np.ndarray,
        warmstart: np.ndarray | None,
        residual: np.ndarray | None,
        state: np.ndarray,
        sensors: np.ndarray,
    ) -> None:
        spec = int(mujoco.mjtState.mjSTATE_CTRL)
        if residual is not None:
            spec |= int(mujoco.mjtState.mjSTATE_QFRC_APPLIED)
            applied = np.zeros((*ctrl.shape[:2], NUM_QVEL))
            applied[:, :, :6] = residual
            ctrl = np.concatenate([ctrl, applied], axis=2)
        data = self._data if pool is self._pool else self._data[:1]
        if residual is None:
            for item in data:  # left over from a call that applied one
                item.qfrc_applied[:] = 0.0
        if warmstart is not None and warmstart.shape[0] != start.shape[0]:
            warmstart = np.repeat(warmstart, start.shape[0], axis=0)
        pool.rollout(
            self._humanoid.model,
            data,
            start,
            ctrl,
            control_spec=spec,
            initial_warmstart=warmstart,
            state=state,
            sensordata=sensors,
        )

    def _sound_substeps(self, clock: np.ndarray, is_warned: bool) -> np.ndarray:
        """Substeps before the one that warned, from clocks of shape (E, rows).

        A warning that resets the state makes the clock jump in its own row; any makes it stand still in the next.
        """
        gain = np.diff(clock, axis=1)
        step = self._humanoid.config.substep
        is_off = ~(np.abs(gain - step) < 0.5 * step)
        first = np.where(is_off.any(axis=1), is_off.argmax(axis=1), gain.shape[1])
        row = np.minimum(first, gain.shape[1] - 1)
        stands_still = gain[np.arange(len(first)), row] == 0.0
        valid = np.where(is_off.any(axis=1) & stands_still, first - 1, first)
        if is_warned:
            # Warned in the last row, where no next row tells.
            valid = np.where(is_off.any(axis=1), valid, gain.shape[1] - 1)
        elif clock.shape[0] > 1:
            valid = np.minimum(valid, gain.shape[1] - 1)  # the probe substep is not part of the trace
        return valid.astype(np.int64)

    def _counted_warnings(self) -> str:
        numbers = [item.number for item in self._data[0].warning]
        kinds = [mujoco.mjtWarning(kind) for kind, number in enumerate(numbers) if number]
        return "+".join(kind.name.removeprefix("mjWARN_") for kind in kinds)

    def _reason(
        self,
        start: np.ndarray,
        ctrl: np.ndarray,
        warmstart: np.ndarray | None,
        residual: np.ndarray | None,
        row: int,
        valid: int,
        has_reasons: bool,
    ) -> str:
        """Name of the warning that ended one environment of a batch, by repeating it alone up to there."""
        if valid == ctrl.shape[0]:
            return ""
        if not has_reasons:
            return "WARNED"
        own = None if warmstart is None else warmstart[min(row, warmstart.shape[0] - 1)][None]
        push = None if residual is None else residual[row : row + 1, : valid + 1]
        steps = valid + 1
        state, sensors = np.empty((1, steps, NUM_STATE)), np.empty((1, steps, _NUM_CONTACT + NUM_CTRL))
        self._step(self._single, start[None], ctrl[None, :steps], own, push, state, sensors)
        return self._counted_warnings() or "WARNED"
