"""Physics on the CPU: batches of environments, each stepped and recorded by one compiled loop (`engine_loop`), on threads.

The contact solver is warm-started from the previous substep inside a call and from zero at the start of each call,
unless the caller hands in the warm start that a single environment's trace returned. Results depend neither on the
number of threads nor on which other environments share the call, and are those of `mujoco.rollout` bit for bit.

MuJoCo answers a bad state by resetting it, which would splice two motions: an environment stops at its first warning.

Axis legend: E environments, K substeps, N = 24 bodies.
"""

from __future__ import annotations

import copy
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np

from dataset.skeleton import NUM_BODIES
from sim.backends.contract import SubstepTrace
from sim.backends.engine_loop import CONTACT_WIDTH, EngineLoop
from sim.backends.inputs import check_controls, check_states
from sim.engine_warnings import install
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL, Humanoid

NUM_STATE = 1 + NUM_QPOS + NUM_QVEL
"""Numbers in a full-physics state: time, qpos, qvel."""
_CLOCK_START = 1.0  # [s]; where a trace shows what the engine put out after resetting itself, the clock says zero


class MujocoCpu:
    """Environments of one humanoid on CPU threads. Satisfies `sim.backends.contract.PhysicsBackend`."""

    def __init__(self, humanoid: Humanoid, *, nthread: int = 1) -> None:
        """Start the threads.

        Args:
            humanoid: What each environment simulates; its sensors, if it has any, are not evaluated.
            nthread: Threads that step; 1 for the calling thread alone.

        Raises:
            ValueError: No floor in the model, or fewer than one thread.
        """
        if nthread < 1:
            raise ValueError(f"nthread: expected at least 1, got {nthread}")
        floor = mujoco.mj_name2id(humanoid.model, mujoco.mjtObj.mjOBJ_GEOM, "floor")
        if floor < 0:
            raise ValueError("humanoid: expected a geom named 'floor' in its model, found none")
        install()  # a humanoid need not come from make_humanoid
        self._humanoid = humanoid
        model = copy.copy(humanoid.model)
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR
        row_of_body = np.full(model.nbody, -1, dtype=np.int64)
        row_of_body[humanoid.body_id] = np.arange(NUM_BODIES)
        self._loops = [EngineLoop(model, floor, row_of_body[model.geom_bodyid]) for _ in range(nthread)]
        self._pool = ThreadPoolExecutor(nthread - 1, thread_name_prefix="physics") if nthread > 1 else None
        self._state: np.ndarray | None = None

    @property
    def humanoid(self) -> Humanoid:
        """Humanoid that every environment simulates."""
        return self._humanoid

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def reset(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Put the environments into states; their number becomes E.

        Args:
            qpos: Generalised positions, shape (E, 99).
            qvel: Generalised velocities, shape (E, 75).

        Raises:
            ValueError: Wrong shape or a value that is not finite.
        """
        check_states(qpos, qvel)
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
    ) -> SubstepTrace:
        """Apply servo targets to all environments, from the states they are in.

        Args:
            ctrl: Servo targets [rad], shape (E, K, 69).
            warmstart: Start of the contact solver, shape (1 or E, 75); None for zero.
            residual: Wrench to apply to the pelvis (`SubstepTrace.residual`), shape (E, K, 6); None for none.

        Returns:
            Every substep. The environments stay in the states after the last one.

        Raises:
            ValueError: Wrong shape, or `reset` was never called.
        """
        start = check_controls(self._state, ctrl, warmstart, residual)
        trace = self._rollout(start, ctrl, warmstart, residual)
        self._state = trace.state[:, -1].copy()
        self._state[:, 0] = _CLOCK_START
        return trace

    def _rollout(
        self, start: np.ndarray, ctrl: np.ndarray, warmstart: np.ndarray | None, residual: np.ndarray | None
    ) -> SubstepTrace:
        count, substeps = ctrl.shape[:2]
        state = np.empty((count, substeps + 1, NUM_STATE))
        state[:, 0] = start
        contact = np.empty((count, substeps, NUM_BODIES, CONTACT_WIDTH))
        servo_force = np.empty((count, substeps, NUM_CTRL))
        valid, reasons = np.empty(count, dtype=np.int64), [""] * count
        targets = np.ascontiguousarray(ctrl, np.float64)
        push = None if residual is None else np.ascontiguousarray(residual, np.float64)
        turns = deque(range(count))

        def take_turns(loop: EngineLoop) -> None:
            while turns:
                try:
                    row = turns.popleft()
                except IndexError:  # another thread had the last one
                    return
                valid[row], reasons[row] = loop.run(
                    start[row], targets[row], None if warmstart is None else warmstart[min(row, len(warmstart) - 1)],
                    None if push is None else push[row], state[row, 1:], contact[row], servo_force[row],
                )  # fmt: skip

        others = [] if self._pool is None else [self._pool.submit(take_turns, loop) for loop in self._loops[1:count]]
        try:
            take_turns(self._loops[0])
        finally:
            for other in others:  # arrays must not outlive threads that write into them
                other.result()
        return SubstepTrace(
            substep=self._humanoid.config.substep,
            state=state,
            ctrl=ctrl,
            ground_force=contact[..., 0:3],
            ground_torque=contact[..., 3:6],
            ground_point=contact[..., 6:9],
            servo_force=servo_force,
            residual=residual,
            valid_substeps=valid,
            warnings=tuple(reasons),
            warmstart=self._loops[0].warmstart[None] if count == 1 else None,
        )
