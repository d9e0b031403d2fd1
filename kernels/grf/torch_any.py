"""Ground reactions on torch tensors of any device, differentiable in positions, forces and torques.

Contacts are sorted by frame and body (stably: their order inside a body stays) and every body's run is summed by one
worker from first to last. No scatter or index add: those add in the order in which threads arrive, so on a GPU two runs
would differ. Sums are float64, as in `reference`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class TensorReaction(NamedTuple):
    """`reference.GroundReaction` as tensors."""

    force: Tensor
    """Force of the ground on the body [N], world, shape (T, N, 3)."""
    cop: Tensor
    """Centre of pressure on z = 0 [m], shape (T, N, 2); NaN where `contact` is false."""
    free_moment: Tensor
    """Vertical moment about `cop` [N·m], shape (T, N); 0 where `contact` is false."""
    contact: Tensor
    """True where the vertical force reaches the least force, shape (T, N), bool."""


def check_offsets(offsets: Tensor, total: int) -> None:
    """Refuse offsets that are not 0 = o_0 <= o_1 <= ... <= o_T = total; not checked while a CUDA graph is captured.

    Raises:
        ValueError: Shape, dtype, ends or order are wrong.
    """
    if offsets.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"offsets: expected an integer dtype, got {offsets.dtype}")
    if offsets.ndim != 1 or len(offsets) < 1:
        raise ValueError(f"offsets: expected a vector from 0 to {total}, got shape {tuple(offsets.shape)}")
    if offsets.is_cuda and torch.cuda.is_current_stream_capturing():
        return
    ends = int(offsets[0]), int(offsets[-1])
    if ends != (0, total):
        raise ValueError(f"offsets: expected a vector from 0 to {total}, got ends {ends}")
    if bool((offsets[1:] < offsets[:-1]).any()):
        raise ValueError("offsets: expected non-decreasing offsets")


def aggregate_contacts(
    position: Tensor,
    force: Tensor,
    torque: Tensor | None,
    body: Tensor,
    offsets: Tensor,
    *,
    num_bodies: int,
    min_force: float,
) -> TensorReaction:
    """Same contract as reference, returning tensors."""
    num_frames = len(offsets) - 1
    force_C3 = force.double()
    moment_C3 = torch.linalg.cross(position.double(), force_C3)
    if torque is not None:
        moment_C3 = moment_C3 + torque.double()
    contact_C = torch.arange(len(body), device=body.device)
    frame_C = torch.searchsorted(offsets.long(), contact_C, right=True) - 1
    segment_C, order_C = torch.sort(frame_C * num_bodies + body, stable=True)
    bounds = torch.searchsorted(segment_C, torch.arange(num_frames * num_bodies + 1, device=body.device))
    wrench_C6 = torch.cat([force_C3, moment_C3], dim=1)[order_C]
    sums = torch.segment_reduce(wrench_C6, "sum", lengths=bounds.diff(), axis=0, unsafe=True, initial=0)
    return _read_wrench(sums.reshape(num_frames, num_bodies, 6), min_force, force.dtype)


def _read_wrench(wrench_TN6: Tensor, min_force: float, dtype: torch.dtype) -> TensorReaction:
    fx, fy, fz, mx, my, mz = wrench_TN6.unbind(-1)
    contact = fz >= min_force
    vertical = torch.where(contact, fz, 1.0)
    x = torch.where(contact, -my / vertical, 0.0)
    y = torch.where(contact, mx / vertical, 0.0)
    free_moment = torch.where(contact, mz - (x * fy - y * fx), 0.0)
    cop = torch.where(contact[..., None], torch.stack([x, y], dim=-1), torch.nan)
    return TensorReaction(wrench_TN6[..., :3].to(dtype), cop.to(dtype), free_moment.to(dtype), contact)
