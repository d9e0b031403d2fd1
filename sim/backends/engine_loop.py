"""Substeps of MuJoCo in one compiled loop, each recorded as soon as it is made: states, servo forces, the ground's wrenches.

The engine's sensors give the same numbers (and do, bit for bit: tests/sim/backends/test_engine_loop.py), but each sensor of a
body's contact looks through all contacts, and the values are written once by the engine and once more by whoever reads them:
5 % of a substep, against 1 % here. The loop releases the interpreter lock.

What the engine calls an error, not a warning, ends the process with its words, as in every program that calls it from C: nothing
here can catch it. A model whose memory is set by hand, and too small for the solver, does that.

Axis legend: K substeps, C contacts, N = 24 bodies.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sim.backends.engine_memory import EngineMemory, address_of

CONTACT_WIDTH = 9
"""Numbers of a body's net contact: force, torque, point."""
_INT, _LONG = ir.IntType(32), ir.IntType(64)
_LEAST_WEIGHT = 1e-15  # mjMINVAL: what the engine divides by where nothing presses


class EngineLoop:
    """One simulation of a model, stepped and recorded without the interpreter."""

    def __init__(self, model: mujoco.MjModel, floor: int, row_of_geom: np.ndarray) -> None:
        """Make the simulation.

        Args:
            model: What is simulated. Its sensors are not evaluated if it says so (`mjDSBL_SENSOR`).
            floor: Geom whose contacts are recorded.
            row_of_geom: Row of the record for each geom's body, shape (ngeom,), int64; -1 for none.
        """
        self._model, self._data = model, mujoco.MjData(model)
        self._memory = EngineMemory(self._data)
        self._floor, self._row_of_geom = floor, row_of_geom
        self._wrench = np.empty((len(self._memory.contact_geom), 6))

    def run(
        self, start: np.ndarray, ctrl: np.ndarray, warmstart: np.ndarray | None, residual: np.ndarray | None,
        state_out: np.ndarray, contact_out: np.ndarray, servo_out: np.ndarray,
    ) -> tuple[int, str]:  # fmt: skip
        """Simulate K substeps from a state; after the first warning the rest of every output repeats the substep that warned.

        Args:
            start: Time [s], qpos, qvel, shape (1 + nq + nv,).
            ctrl: Servo targets, shape (K, nu), float64, contiguous.
            warmstart: Start of the contact solver, shape (nv,); None for zero.
            residual: Wrench applied to the first six velocities' coordinates, shape (K, 6), float64, contiguous; None for none.
            state_out: Written: state after each substep, shape (K, 1 + nq + nv).
            contact_out: Written: net force [N] of the floor on each body, its torque [N·m] about the force-weighted centre of the
                contacts, and that centre [m], world, shape (K, N, 9); zero where nothing touches.
            servo_out: Written: forces of the servos, shape (K, nu).

        Returns:
            Substeps before the one that warned (K if none did), and the names of its warnings.
        """
        model, data, memory = self._model, self._data, self._memory
        data.time, data.qpos[:], data.qvel[:] = start[0], start[1 : 1 + model.nq], start[1 + model.nq :]
        data.qacc_warmstart[:] = 0.0 if warmstart is None else warmstart
        data.qfrc_applied[:] = 0.0
        memory.num_warnings[:] = 0
        weight = np.empty(contact_out.shape[1])
        sound = _run(
            _STEP, _CONTACT_FORCE, model._address, data._address, ctrl, residual, memory.clock, data.qpos, data.qvel, data.ctrl,
            data.qfrc_applied, data.actuator_force, memory.num_warnings, memory.num_contacts, memory.contact_position,
            memory.contact_frame, memory.contact_geom, self._floor, self._row_of_geom, self._wrench,
            self._wrench.ctypes.data, weight, state_out, contact_out, servo_out,
        )  # fmt: skip
        kinds = (mujoco.mjtWarning(kind) for kind, number in enumerate(memory.num_warnings) if number)
        return sound, "+".join(kind.name.removeprefix("mjWARN_") for kind in kinds)

    @property
    def warmstart(self) -> np.ndarray:
        """State of the contact solver after the last substep, shape (nv,)."""
        return self._data.qacc_warmstart.copy()


_STEP, _CONTACT_FORCE = address_of("mj_step"), address_of("mj_contactForce")


def _build_step(_: Any, function: Any, model: Any, data: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_LONG, _LONG])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _build_contact_force(_: Any, function: Any, model: Any, data: Any, contact: Any, out: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_LONG, _LONG, _INT, _LONG])
        function, model, data, contact, out = values
        builder.call(builder.inttoptr(function, kind.as_pointer()), [model, data, builder.trunc(contact, _INT), out])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64, types.int64), generate


_step: Any = intrinsic(_build_step)
"""`_step(function, model, data)`: mj_step(model, data), all by address."""
_contact_force: Any = intrinsic(_build_contact_force)
"""`_contact_force(function, model, data, contact, out)`: mj_contactForce(model, data, contact, out), all by address."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _run(
    # the engine
    step_function: int,
    force_function: int,
    model: int,
    data: int,
    # inputs
    ctrl: np.ndarray,
    residual: np.ndarray | None,
    # memory of the engine
    clock: np.ndarray,
    qpos: np.ndarray,
    qvel: np.ndarray,
    ctrl_in_force: np.ndarray,
    applied: np.ndarray,
    servo_force: np.ndarray,
    num_warnings: np.ndarray,
    num_contacts: np.ndarray,
    position: np.ndarray,
    frame: np.ndarray,
    geom: np.ndarray,
    # what is recorded
    floor: int,
    row_of_geom: np.ndarray,
    # scratch
    wrench: np.ndarray,
    wrench_address: int,
    weight: np.ndarray,
    # outputs
    state_out: np.ndarray,
    contact_out: np.ndarray,
    servo_out: np.ndarray,
) -> int:
    substeps, positions = ctrl.shape[0], qpos.shape[0]
    for k in range(substeps):
        for i in range(ctrl.shape[1]):
            ctrl_in_force[i] = ctrl[k, i]
        if residual is not None:
            for i in range(6):
                applied[i] = residual[k, i]
        _step(step_function, model, data)
        state_out[k, 0] = clock[0]
        for i in range(positions):
            state_out[k, 1 + i] = qpos[i]
        for i in range(qvel.shape[0]):
            state_out[k, 1 + positions + i] = qvel[i]
        for i in range(servo_force.shape[0]):
            servo_out[k, i] = servo_force[i]
        for c in range(num_contacts[0]):
            _contact_force(force_function, model, data, c, wrench_address + 48 * c)
        _net_wrenches(num_contacts[0], position, frame, geom, floor, row_of_geom, wrench, weight, contact_out[k])
        for kind in range(num_warnings.shape[0]):
            if num_warnings[kind] > 0:
                for rest in range(k + 1, substeps):
                    state_out[rest], contact_out[rest], servo_out[rest] = state_out[k], contact_out[k], servo_out[k]
                return k
    return substeps


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _net_wrenches(
    # inputs
    count: int,
    position: np.ndarray,
    frame: np.ndarray,
    geom: np.ndarray,
    floor: int,
    row_of_geom: np.ndarray,
    wrench: np.ndarray,
    # scratch
    weight: np.ndarray,
    # outputs
    net_out: np.ndarray,
) -> None:
    """The engine's net-force contact sensor for all bodies at once, with its order of operations.

    The centre is the mean of the contact points, each weighted by the size of its force. The engine gives the force of a
    contact's first geom on its second, in the contact frame.
    """
    for b in range(net_out.shape[0]):
        weight[b] = 0.0
        for i in range(net_out.shape[1]):
            net_out[b, i] = 0.0
    for c in range(count):
        b = _body_on_floor(geom[c, 0], geom[c, 1], floor, row_of_geom)
        if b < 0:
            continue
        f0, f1, f2 = wrench[c, 0], wrench[c, 1], wrench[c, 2]
        size = np.sqrt(f0 * f0 + f1 * f1 + f2 * f2)
        weight[b] += size
        for i in range(3):
            net_out[b, 6 + i] += position[c, i] * size
    for b in range(net_out.shape[0]):
        if weight[b] != 0.0:
            per_weight = 1.0 / max(weight[b], _LEAST_WEIGHT)
            for i in range(3):
                net_out[b, 6 + i] *= per_weight
    for c in range(count):
        b = _body_on_floor(geom[c, 0], geom[c, 1], floor, row_of_geom)
        if b < 0:
            continue
        sign = 1.0 if geom[c, 0] == floor else -1.0
        f0, f1, f2 = sign * wrench[c, 0], sign * wrench[c, 1], sign * wrench[c, 2]
        t0, t1, t2 = sign * wrench[c, 3], sign * wrench[c, 4], sign * wrench[c, 5]
        x0, x1, x2 = frame[c, 0], frame[c, 1], frame[c, 2]
        y0, y1, y2 = frame[c, 3], frame[c, 4], frame[c, 5]
        z0, z1, z2 = frame[c, 6], frame[c, 7], frame[c, 8]
        g0, g1, g2 = x0 * f0 + y0 * f1 + z0 * f2, x1 * f0 + y1 * f1 + z1 * f2, x2 * f0 + y2 * f1 + z2 * f2
        net_out[b, 0] += g0
        net_out[b, 1] += g1
        net_out[b, 2] += g2
        net_out[b, 3] += x0 * t0 + y0 * t1 + z0 * t2
        net_out[b, 4] += x1 * t0 + y1 * t1 + z1 * t2
        net_out[b, 5] += x2 * t0 + y2 * t1 + z2 * t2
        a0, a1, a2 = position[c, 0] - net_out[b, 6], position[c, 1] - net_out[b, 7], position[c, 2] - net_out[b, 8]
        net_out[b, 3] += a1 * g2 - a2 * g1
        net_out[b, 4] += a2 * g0 - a0 * g2
        net_out[b, 5] += a0 * g1 - a1 * g0


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _body_on_floor(first: int, second: int, floor: int, row_of_geom: np.ndarray) -> int:
    """Row of the body that touches the floor, -1 where none does."""
    if first == floor:
        return row_of_geom[second] if second >= 0 else -1
    if second == floor:
        return row_of_geom[first] if first >= 0 else -1
    return -1
