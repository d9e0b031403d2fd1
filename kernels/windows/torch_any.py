"""Flat frames to canonical windows on torch tensors of any device: the frames stay where they are, no loader is needed.

Same numbers as `reference` in the markers' dtype. Nothing waits for the device, so a training step with its windows can
be captured in one CUDA graph. (The compiled CPU version makes one pass; here each line is a pass over the batch.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.windows.reference import Disturbance


def make_tokens(
    marker_pos: Tensor,
    frame: Tensor,
    index: Tensor,
    origin: Tensor,
    heading: Tensor,
    is_mirrored: Tensor,
    disturbance: Disturbance | None,
    order: Tensor | None,
    half_width: int,
    rate: float,
) -> tuple[Tensor, Tensor]:
    """Same contract as reference, returning tokens and mask."""
    dtype, num_frames = marker_pos.dtype, 2 * half_width + 2
    shown_BQ = torch.arange(num_frames, device=frame.device).expand(len(frame), -1) if order is None else order
    row_BQ1 = (frame.long() - half_width)[:, None, None] + shown_BQ.long()[:, :, None]
    pos_BQM3 = marker_pos[row_BQ1, index.long().clamp_min(0)[:, None]] - origin.to(dtype)[:, None, None]
    if disturbance is not None:
        size = 3 * (num_frames + 1)
        entry = disturbance.start.long()[:, None] + torch.arange(index.shape[1] * size, device=frame.device)
        noise = disturbance.table[entry].unflatten(1, (index.shape[1], num_frames + 1, 3)).transpose(1, 2)
        offset = disturbance.offset_size.to(dtype)[:, None, None, None] * noise[:, :1]
        pos_BQM3 = pos_BQM3 + (offset + disturbance.jitter_size.to(dtype)[:, None, None, None] * noise[:, 1:])
    c, s = heading.cos().to(dtype)[:, None, None], heading.sin().to(dtype)[:, None, None]
    side = 1.0 - 2.0 * is_mirrored.to(dtype)[:, None, None]
    x, y, z = pos_BQM3.unbind(-1)
    seen_BQM3 = torch.stack([c * x + s * y, side * (c * y - s * x), z], dim=-1)
    before = torch.cat([seen_BQM3[:, :1], seen_BQM3[:, :-1]], dim=1)
    after = torch.cat([seen_BQM3[:, 1:], seen_BQM3[:, -1:]], dim=1)
    span = torch.full((num_frames, 1, 1), 0.5 * rate, dtype=dtype, device=frame.device)
    span[0], span[-1] = rate, rate
    velocity_BQM3 = (after - before) * span
    mask = (index >= 0) & seen_BQM3.isfinite().all(-1).all(1)
    tokens = torch.cat([seen_BQM3, velocity_BQM3], dim=-1).transpose(1, 2).flatten(2)
    return torch.where(mask[..., None], tokens, 0.0), mask
