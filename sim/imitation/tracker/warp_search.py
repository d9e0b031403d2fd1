"""The tracker's search with its samples on a GPU: the same plans, thousands of roll-outs a step instead of 28.

Samples are drawn, rolled out by `mujoco_warp`, compared with the reference and turned into Gauss-Newton steps on the device; what
comes back is one plan a knot and whether it is good enough. `solve` has it executed by MuJoCo on the processor, so that stored
solutions replay bit for bit on any machine that replays others; `tracker.warp_execution` executes it on the device. The planning
solver is Newton, not projected Gauss-Seidel, which the engine does not have.

Axis legend: B samples, D = 25 searched degrees of freedom, X unknowns, M residuals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import warp as wp

from sim.backends.warp_device import find_device
from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.search import Moment, Tracker, Window
from sim.imitation.tracker.warp_rollouts import DeviceReference, WarpRollouts, one_stream

if TYPE_CHECKING:
    from sim.imitation.tracker.warp_execution import DeviceMoment


@dataclass(eq=False)
class WarpTracker(Tracker):
    """A `Tracker` that plans on a device."""

    device: str = "cuda"
    """`cuda`, `cuda:N` or `cpu`."""

    def __post_init__(self) -> None:
        """Prepare the search, and copy the reference to the device.

        Raises:
            RuntimeError: warp or mujoco_warp is not installed.
            ValueError: There is no such device, or the planning step does not fit the humanoid's.
        """
        super().__post_init__()
        self.place: Any = find_device(self.device)
        self.on_device = DeviceReference(self, self.place)
        self._rollouts: dict[int, WarpRollouts] = {}

    def close(self) -> None:
        """Let go of the device's memory at once; Python, which does not see it, would in its own time."""
        for rollouts in self._rollouts.values():
            rollouts.loop.close()
        self._rollouts.clear()

    def _rollouts_of(self, count: int) -> WarpRollouts:
        """Roll-outs for so many plans; a number that was used before is at hand."""
        if count not in self._rollouts:
            self._rollouts[count] = WarpRollouts(
                self, self.on_device, count, self.search.knots, self.search.checkpoints
            )
        return self._rollouts[count]

    def evaluate(
        self,
        moment: Moment | DeviceMoment,
        held: torch.Tensor,
        plans: torch.Tensor,
        window: Window,
        search: SearchConfig,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Residuals (B, M) and costs (B,) of plans (B, knots, D), all on the device."""
        count = len(plans)
        rollouts = self._rollouts_of(max(count, len(search.damping), 2))
        padded = torch.cat([plans, plans[:1].expand(rollouts.count - count, -1, -1)])
        offsets = torch.cat([held.expand(rollouts.count, 1, -1), padded], dim=1)
        rollouts.roll(moment, offsets, window)
        simulated = rollouts.residuals(window, search)[:count]
        scaled = offsets[:count] / torch.as_tensor(
            self.widths * search.width_scale, dtype=torch.float32, device=plans.device
        )
        factor = 1.0 / float(np.sqrt(plans[0].numel()))
        size = float(np.sqrt(search.weights.offset_size)) * factor * scaled[:, 1:].reshape(count, -1)
        rate = float(np.sqrt(search.weights.offset_rate)) * factor * scaled.diff(dim=1).reshape(count, -1)
        residual = torch.cat([simulated, size, rate], dim=1)
        return residual, (residual * residual).sum(dim=1)

    def plan(
        self,
        moment: Moment,
        knot: int,
        held: np.ndarray,
        warm: np.ndarray,
        rng: np.random.Generator,
        search: SearchConfig,
    ) -> np.ndarray:
        """As `Tracker.plan`, the samples being drawn on the device from a seed of `rng`.

        Raises:
            ValueError: Contacts did not fit (cannot happen with the room that is allocated).
        """
        with one_stream(self.place):
            plan = self.search_plan(moment, knot, held, warm, rng, search)
            return plan.cpu().numpy().astype(np.float64)

    def search_plan(
        self,
        moment: Moment | DeviceMoment,
        knot: int,
        held: np.ndarray | torch.Tensor,
        warm: np.ndarray | torch.Tensor,
        rng: np.random.Generator,
        search: SearchConfig,
    ) -> torch.Tensor:
        """As `plan`, what is there already and the result being on the device; the caller sees to the stream."""
        window = self._window(knot, search)
        place = wp.device_to_torch(self.place)
        draw = torch.Generator(device=place).manual_seed(int(rng.integers(2**62)))
        now = torch.as_tensor(held, dtype=torch.float32, device=place)
        center = torch.as_tensor(warm[: window.knots], dtype=torch.float32, device=place)
        best = self._improve(moment, now, center, window, search, draw)
        for rollouts in self._rollouts.values():
            rollouts.check_room()
        return best

    def _improve(
        self,
        moment: Moment | DeviceMoment,
        held: torch.Tensor,
        warm: torch.Tensor,
        window: Window,
        search: SearchConfig,
        draw: torch.Generator,
    ) -> torch.Tensor:
        sigma = torch.as_tensor(self.widths * search.width_scale, dtype=torch.float32, device=warm.device)
        offered = torch.stack([warm, torch.zeros_like(warm)])
        residuals, costs = self.evaluate(moment, held, offered, window, search)
        best = int(costs.argmin())
        center, residual, cost = offered[best], residuals[best], costs[best]
        tried: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        width = search.first_width
        for _ in range(search.rounds):
            noise = torch.randn(search.samples, *center.shape, generator=draw, device=warm.device)
            sampled = center + sigma * width * noise
            residuals, costs = self.evaluate(moment, held, sampled, window, search)
            tried.append((sampled.flatten(1), residuals, costs))
            samples, residuals, costs = (torch.cat(parts) for parts in zip(*tried, strict=True))
            near = costs < torch.maximum(search.trusted_cost * cost, costs.quantile(0.5))
            deviations, changes = samples[near] - center.flatten(), residuals[near] - residual
            steps = damped_steps(deviations, changes, residual, search.damping)
            offered = center + steps.reshape(-1, *center.shape)
            residuals, costs = self.evaluate(moment, held, offered, window, search)
            best = int(costs.argmin())
            if costs[best] < cost:
                center, residual, cost = offered[best], residuals[best], costs[best]
            if cost < search.good_cost:
                break
            width = max(width * search.width_decay, search.width_floor)
        return center


def damped_steps(
    deviations: torch.Tensor, changes: torch.Tensor, residual: torch.Tensor, damping: tuple[float, ...]
) -> torch.Tensor:
    """`tracker.sampled_gauss_newton.damped_steps` on the device, in float32; same contract."""
    rows, columns = changes.shape
    is_wide = rows <= columns
    # (CCᵀ + λI)⁻¹ C = C (CᵀC + λI)⁻¹: the smaller of the two systems
    gram, slope = (changes @ changes.T, changes @ residual) if is_wide else (changes.T @ changes, residual)
    scale = gram.trace() / rows
    identity = torch.eye(len(gram), device=gram.device)
    damped = torch.stack([gram + value * scale * identity for value in damping])
    factor, _ = torch.linalg.cholesky_ex(damped)
    weights = torch.cholesky_solve(slope[:, None].expand(len(damping), -1, 1), factor)[..., 0]
    return -(weights if is_wide else weights @ changes.T) @ deviations
