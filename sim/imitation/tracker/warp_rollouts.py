"""Roll-outs of a tracker's plans on a device: targets from knot offsets, physics, residuals, nothing through the host.

Tensors are views of warp's arrays; torch and warp work on one stream.

Axis legend: B samples, K substeps of the horizon, C checkpoints, D = 25 searched degrees of freedom, M residuals.
"""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np
import torch
import warp as wp

from dataset.skeleton import FEET, NUM_BODIES
from sim.backends.warp_kernels import CNSTRFULL, CONTACTFULL
from sim.backends.warp_loop import SubstepLoop
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL
from sim.imitation.tracker import warp_kernels
from sim.imitation.tracker.config import SearchConfig, pose_weights
from sim.imitation.tracker.residuals import LOST, num_residuals

if TYPE_CHECKING:
    from sim.imitation.tracker.search import Moment, Tracker, Window
    from sim.imitation.tracker.warp_execution import DeviceMoment


class DeviceReference:
    """A tracker's reference, body and settings on a device, shared by its roll-outs."""

    def __init__(self, tracker: Tracker, device: Any) -> None:
        """Copy them there."""
        quat_address, omega_address, parents, offset, mass, com, inertia = tracker.arrays
        self.device = device
        with wp.ScopedDevice(device):
            self.body = [
                _ints(quat_address), _ints(omega_address), _ints(parents), _vectors(offset), _floats(mass), _vectors(com),
                wp.array(inertia.astype(np.float32), dtype=wp.mat33),
            ]  # fmt: skip
            self.ranges = [_vectors(tracker.range_low), _vectors(tracker.range_high)]
            self.capsules = [_vectors(tracker.ends), _floats(tracker.radius), _ints(tracker.pairs)]
            rotations = [wp.array(q.astype(np.float32), dtype=wp.vec4) for q in (tracker.ref_rot, tracker.ref_quat)]
            summary = _vectors(tracker.ref_summary.reshape(-1, 3, 3))
            self.wanted = [_vectors(tracker.ref_pos), *rotations, summary, _floats(tracker.ref_depth)]
            self.base = _floats(tracker.planning_base)
            self.feet = _ints(np.array([*FEET[0], *FEET[1]]))
            self.joint_weights = _floats(pose_weights())
            searched = np.full(NUM_CTRL, -1)
            searched[tracker.columns] = np.arange(len(tracker.columns))
            self.searched = _ints(searched)


def _floats(values: np.ndarray) -> Any:
    return wp.array(np.ascontiguousarray(values, dtype=np.float32), dtype=float)


def _ints(values: np.ndarray) -> Any:
    return wp.array(np.ascontiguousarray(values, dtype=np.int32), dtype=int)


def _vectors(values: np.ndarray) -> Any:
    return wp.array(np.ascontiguousarray(values, dtype=np.float32), dtype=wp.vec3)


def planning_model(tracker: Tracker) -> mujoco.MjModel:
    """The tracker's planning model with Newton, since this engine has no projected Gauss-Seidel."""
    model = copy.copy(tracker.planning_model)
    model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    model.opt.iterations = tracker.humanoid.model.opt.iterations
    return model


class WarpRollouts:
    """B roll-outs at once. Allocated, and on a GPU captured, once."""

    def __init__(self, tracker: Tracker, reference: DeviceReference, count: int, knots: int, checkpoints: int) -> None:
        """Allocate.

        Args:
            tracker: Whose plans are rolled out.
            reference: It on the device.
            count: B.
            knots: Most knots of a horizon.
            checkpoints: Most checkpoints of a horizon.
        """
        self.count, self.reference, self._tracker = count, reference, tracker
        steps = knots * tracker.knot_steps
        self.loop = SubstepLoop(tracker.humanoid, count, steps, reference.device, model=planning_model(tracker))
        with wp.ScopedDevice(reference.device):
            self.qpos = wp.zeros((count, checkpoints, NUM_QPOS), dtype=float)
            self.qvel = wp.zeros((count, checkpoints, NUM_QVEL), dtype=float)
            self.force_z = wp.zeros((count, steps), dtype=float)
            self._slot_of_row = wp.full(steps, value=-1, dtype=int)
            rows = NUM_BODIES, count * checkpoints
            vectors: list[Any] = [wp.zeros(rows, dtype=wp.vec3) for _ in range(5)]
            self._scratch = [vectors[0], wp.zeros(rows, dtype=wp.vec4), *vectors[1:]]
        self.loop.observe_with(self._keep)

    def _keep(self) -> None:
        data = self.loop.data
        wp.launch(
            warp_kernels.keep_checkpoint,
            dim=(self.count, NUM_QPOS),
            inputs=[self.loop.row, self._slot_of_row, data.qpos, data.qvel, self.loop.force],
            outputs=[self.qpos, self.qvel, self.force_z],
        )

    def roll(self, moment: Moment | DeviceMoment, offsets: torch.Tensor, window: Window) -> None:
        """Roll plans out from a moment.

        Args:
            moment: State and warm start of all samples.
            offsets: Knot offsets [rad], the first row in force now, shape (B, knots + 1, D), on the device.
            window: The horizon.
        """
        loop, device = self.loop, offsets.device
        for array, values in (
            (loop.data.qpos, moment.qpos),
            (loop.data.qvel, moment.qvel),
            (loop.data.qacc_warmstart, moment.warmstart),
        ):
            wp.to_torch(array)[:] = torch.as_tensor(values, dtype=torch.float32, device=device)
        slots = np.full(self._slot_of_row.shape[0], -1, dtype=np.int32)
        slots[window.checks] = np.arange(len(window.checks))
        self._slot_of_row.assign(slots)
        loop.forget_faults()
        loop.rewind()
        held = offsets.contiguous()
        wp.launch(
            warp_kernels.fill_targets,
            dim=(self.count, window.steps, NUM_CTRL),
            inputs=[
                self.reference.base, window.first, wp.from_torch(held), self.reference.searched, self._tracker.knot_steps,
            ],
            outputs=[loop.ctrl],
            device=self.reference.device,
        )  # fmt: skip
        loop.run(window.steps)

    def residuals(self, window: Window, search: SearchConfig) -> torch.Tensor:
        """Residuals of what was rolled out, shape (B, M): `tracker.residuals.rollout_residuals`, and `LOST` likewise."""
        reference, checks = self.reference, len(window.checks)
        lag = self._tracker.soft_lag
        pairs = len(self._tracker.pairs)
        size = num_residuals(checks, reference.feet.shape[0], pairs, window.steps, lag)
        soft = max(window.steps - lag, 0)
        with wp.ScopedDevice(reference.device):
            out: Any = wp.empty((self.count, size), dtype=float)
            weights = _floats(search.weights.vector())
            at = _ints(window.first + window.checks + 1)
            wp.launch(
                warp_kernels.checkpoint_residuals,
                dim=(self.count, checks),
                inputs=[
                    self.qpos[:, :checks], self.qvel[:, :checks], weights, reference.joint_weights, reference.feet, at,
                    *reference.body, *reference.ranges, *reference.capsules, *reference.wanted, *self._scratch,
                ],
                outputs=[out],
            )  # fmt: skip
            if soft:
                wp.launch(
                    warp_kernels.softness_residuals,
                    dim=(self.count, soft),
                    inputs=[self.force_z, lag, soft, size - soft, weights, self._tracker.body_weight],
                    outputs=[out],
                )
        residual = wp.to_torch(out)
        is_lost = (wp.to_torch(self.loop.bad_row) >= 0) | ~torch.isfinite(residual).all(dim=1)
        return torch.where(is_lost[:, None], LOST, residual)

    def check_room(self) -> None:
        """Nothing of a GPU but one bit comes to the host.

        Raises:
            ValueError: Contacts or constraint rows of the last roll-outs did not fit.
        """
        if bool((wp.to_torch(self.loop.bad_fault) & (CONTACTFULL | CNSTRFULL)).any()):
            self.loop.verdict()


def one_stream(device: Any) -> contextlib.AbstractContextManager[Any]:
    """Torch working on warp's stream of a device, so that neither runs ahead of the other."""
    if not device.is_cuda:
        return contextlib.nullcontext()
    return torch.cuda.stream(wp.stream_to_torch(device))
