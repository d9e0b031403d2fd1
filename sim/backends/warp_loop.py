"""The substep loop of `mujoco_warp`: many environments of one humanoid on one device, no copy to the host in between.

A substep is: controls in, the engine's step, contacts summed by body, the kernels of a sink (what is to be kept of it), and a
judgement. On a CUDA device it is captured once as a graph and replayed; on warp's `cpu` device its kernels are launched one by
one. The engine's step is captured whole: its solver leaves the iteration by a conditional node of the graph.

Axis legend: E environments, K substeps, B = 24 bodies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
import mujoco_warp
import numpy as np
import warp as wp

from dataset.skeleton import NUM_BODIES
from sim.backends import warp_kernels
from sim.backends.warp_device import contact_bound, device_model, rows_per_contact
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL, Humanoid

_FAULTS = ("BADQPOS", "BADQVEL", "BADQACC", "BADCTRL", "CONTACTFULL", "CNSTRFULL")
"""Names of the bits of a fault, as MuJoCo's warnings are called."""
_CONTACT_OVERFLOW = int(
    mujoco_warp.OverflowType.BROADPHASE | mujoco_warp.OverflowType.NARROWPHASE | mujoco_warp.OverflowType.CCD
)
_ROW_OVERFLOW = int(mujoco_warp.OverflowType.NEFC | mujoco_warp.OverflowType.NJMAX_NNZ)


class SubstepLoop:
    """E environments stepped together. `row` counts the substeps since `rewind`; sinks read it on the device."""

    def __init__(
        self,
        humanoid: Humanoid,
        num_environments: int,
        max_substeps: int,
        device: Any,
        *,
        model: mujoco.MjModel | None = None,
        nconmax: int | None = None,
        njmax: int | None = None,
    ) -> None:
        """Allocate everything on the device.

        Args:
            humanoid: What each environment simulates.
            num_environments: E.
            max_substeps: Substeps whose controls are held at once.
            device: A warp device (`warp_device.find_device`).
            model: Model to step instead of the humanoid's own (another step or solver).
            nconmax: Contacts to allocate for an environment; None for as many as the humanoid can have.
            njmax: Constraint rows to allocate for an environment; None for as many as the contacts can need.

        Raises:
            ValueError: A size is not positive, or the engine cannot simulate the model.
        """
        for name, value in (("num_environments", num_environments), ("max_substeps", max_substeps)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        bound = contact_bound(humanoid)
        self.device = device
        self.humanoid = humanoid
        self.host_model = model or humanoid.model
        self.num_environments, self.max_substeps = num_environments, max_substeps
        self.nconmax = bound if nconmax is None else nconmax
        self.njmax = bound * rows_per_contact(self.host_model) if njmax is None else njmax
        for name, value in (("nconmax", self.nconmax), ("njmax", self.njmax)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.step_length = float(self.host_model.opt.timestep)
        self.model = device_model(self.host_model, device)
        self._allocate()
        self._sink: Callable[[], None] = lambda: None
        self._graph: Any = None

    def _allocate(self) -> None:
        E, K = self.num_environments, self.max_substeps
        with wp.ScopedDevice(self.device):
            self.data = mujoco_warp.make_data(self.host_model, nworld=E, nconmax=self.nconmax, njmax=self.njmax)
            contacts = int(self.data.naconmax)
            self.ctrl = wp.zeros((E, K, NUM_CTRL), dtype=float)
            self.wrench = wp.zeros((1, 1, 6), dtype=float)
            self.num_wrenches = 0
            self.row = wp.zeros(E, dtype=int)
            self.fault = wp.zeros(E, dtype=int)
            self.bad_row = wp.full(E, value=-1, dtype=int)
            self.bad_fault = wp.zeros(E, dtype=int)
            self.qpos_before = wp.zeros((E, NUM_QPOS), dtype=float)
            self.qvel_before = wp.zeros((E, NUM_QVEL), dtype=float)
            self.force = wp.zeros((E, NUM_BODIES), dtype=wp.vec3)
            self.moment = wp.zeros((E, NUM_BODIES), dtype=wp.vec3)
            self.lever = wp.zeros((E, NUM_BODIES), dtype=wp.vec3)
            self.weight = wp.zeros((E, NUM_BODIES), dtype=float)
            self._contact_ids = wp.array(np.arange(contacts, dtype=np.int32))
            self._contact_wrench: Any = wp.zeros(contacts, dtype=wp.spatial_vector)
            skeleton = np.full(self.host_model.nbody, -1, dtype=np.int32)
            skeleton[self.humanoid.body_id] = np.arange(NUM_BODIES)
            self._body_of_geom = wp.array(skeleton[self.host_model.geom_bodyid])
            self.engine_body = wp.array(self.humanoid.body_id.astype(np.int32))

    def observe_with(self, sink: Callable[[], None]) -> None:
        """Launch these kernels after every engine step; to be set before the first `run`."""
        self._sink, self._graph = sink, None

    def close(self) -> None:
        """Let go of the graph and the sink, which holds this loop as this loop holds it."""
        self.observe_with(lambda: None)

    def apply_wrenches(self, max_substeps: int) -> None:
        """Make room for a wrench on the root of each substep (`SubstepTrace.residual`), or for none with 0."""
        self.num_wrenches, self._graph = max_substeps, None
        if max_substeps:
            self.wrench = wp.zeros((self.num_environments, max_substeps, 6), dtype=float, device=self.device)

    def write_state(self, qpos: np.ndarray, qvel: np.ndarray, warmstart: np.ndarray | None = None) -> None:
        """Put the environments into states, (E, 99) and (E, 75), the contact solver starting from `warmstart` or zero."""
        self.data.qpos.assign(np.ascontiguousarray(qpos, dtype=np.float32))
        self.data.qvel.assign(np.ascontiguousarray(qvel, dtype=np.float32))
        if warmstart is None:
            self.data.qacc_warmstart.zero_()
        else:
            wide = np.broadcast_to(warmstart, (self.num_environments, NUM_QVEL))
            self.data.qacc_warmstart.assign(np.ascontiguousarray(wide, dtype=np.float32))
        self.forget_faults()
        self.rewind()

    def forget_faults(self) -> None:
        """Take every environment for sound again."""
        self.data.overflow.zero_()
        self.fault.zero_()
        self.bad_row.fill_(-1)
        self.bad_fault.zero_()

    def rewind(self) -> None:
        """Count substeps from 0 again: the next one takes the first row of the controls."""
        self.row.zero_()

    def run(self, substeps: int) -> None:
        """Step all environments, controls being in place. Returns before a GPU has finished."""
        with wp.ScopedDevice(self.device):
            if not self.device.is_cuda:
                for _ in range(substeps):
                    self._substep()
                return
            if self._graph is None:
                self._graph = self._captured()
            for _ in range(substeps):
                wp.capture_launch(self._graph)

    def _captured(self) -> Any:
        """The substep as a CUDA graph. One substep beforehand loads all modules; what it changed is put back."""
        kept = [self.data.qpos, self.data.qvel, self.data.qacc_warmstart, self.data.overflow, self.data.time]
        kept += [self.row, self.fault, self.bad_row, self.bad_fault]
        before = [wp.clone(array) for array in kept]
        self._substep()
        with wp.ScopedCapture() as capture:
            self._substep()
        for array, value in zip(kept, before, strict=True):
            wp.copy(array, value)
        return capture.graph

    def _substep(self) -> None:
        E, data = self.num_environments, self.data
        sums = [self.force, self.moment, self.lever, self.weight]
        wp.launch(
            warp_kernels.begin_substep,
            dim=(E, NUM_QPOS),
            inputs=[self.ctrl, self.wrench, self.num_wrenches, self.row, data.qpos, data.qvel],
            outputs=[data.ctrl, data.qfrc_applied, self.qpos_before, self.qvel_before, *sums, self.fault],
        )
        mujoco_warp.step(self.model, data)
        mujoco_warp.contact_force(self.model, data, self._contact_ids, True, self._contact_wrench)
        contact = data.contact
        wp.launch(
            warp_kernels.add_contacts,
            dim=self._contact_ids.shape[0],
            inputs=[
                data.nacon, contact.worldid, contact.geom, contact.pos, self._contact_wrench, self._body_of_geom,
                self.engine_body, data.xpos,
            ],
            outputs=sums,
        )  # fmt: skip
        self._sink()
        wp.launch(
            warp_kernels.end_substep,
            dim=E,
            inputs=[
                data.qvel, self.qvel_before, 1.0 / self.step_length, data.overflow, _CONTACT_OVERFLOW, _ROW_OVERFLOW,
                self.fault, self.row,
            ],
            outputs=[self.bad_row, self.bad_fault],
        )  # fmt: skip

    def verdict(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """First substep that is not sound of each environment since `rewind` (-1 where none), and what was wrong.

        Raises:
            ValueError: Contacts or constraint rows did not fit; says how many were needed.
        """
        bad_row, fault = self.bad_row.numpy(), self.bad_fault.numpy()
        full = fault & (warp_kernels.CONTACTFULL | warp_kernels.CNSTRFULL)
        if np.any(full):
            self._raise_overflow(int(np.argmax(full != 0)), int(full[full != 0][0]))
        names = tuple(
            "+".join(name for bit, name in enumerate(_FAULTS) if (int(bits) >> bit) & 1) if first >= 0 else ""
            for first, bits in zip(bad_row, fault, strict=True)
        )
        return bad_row, names

    def _raise_overflow(self, environment: int, fault: int) -> None:
        E, where = self.num_environments, f"environment {environment}"
        if fault & warp_kernels.CONTACTFULL:
            found = max(int(self.data.nacon.numpy()[0]), int(self.data.ncollision.numpy()[0]))
            raise ValueError(
                f"nconmax: expected room for the contacts of {E} environments, which share it, got {self.nconmax} for each;"
                f" {found} contacts or pairs of shapes in the last substep, first missed in {where};"
                f" leave it out to have room for all that can be"
            )
        found = int(self.data.nefc.numpy()[environment])
        raise ValueError(
            f"njmax: expected room for the constraint rows of {where}, got {self.njmax}; {found} in the last substep;"
            f" leave it out to have room for all that can be"
        )


def sound_substeps(bad_row: np.ndarray, substeps: int) -> np.ndarray:
    """Leading sound substeps of each environment (int64) of so many, from `SubstepLoop.verdict`."""
    return np.where(bad_row < 0, substeps, bad_row).astype(np.int64)
