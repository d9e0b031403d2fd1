"""Body poses to marker positions on torch tensors of any device, differentiable in every floating-point argument.

Used by fitting. Computes in the dtype of `body_pos`. Unlike in `reference`, a body of zero weight is read.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.markers.reference import PoseBlend


def place_markers(
    points: Tensor,
    joint_pos: Tensor,
    bodies: Tensor,
    weights: Tensor,
    body_pos: Tensor,
    body_rot: Tensor,
    subject: Tensor,
    blend: PoseBlend | None,
) -> Tensor:
    """Same contract as reference, returning the markers."""
    lever_PMK3 = points[:, :, None] - joint_pos[:, bodies]
    # one subject is the common case of fitting: broadcasting it saves a copy of the levers for every frame
    lever_TMK3 = lever_PMK3 if points.shape[0] == 1 else lever_PMK3[subject]
    if blend is not None:
        eye = torch.eye(3, dtype=body_rot.dtype, device=body_rot.device)
        local_TN33 = body_rot[:, blend.parents[1:]].transpose(-1, -2) @ body_rot[:, 1:] - eye
        offset_TMD = local_TN33.flatten(1) @ blend.directions.flatten(1)
        lever_TMK3 = lever_TMK3 + offset_TMD.unflatten(1, (-1, 1, 3))
    carried_TMK3 = body_pos[:, bodies] + torch.einsum(
        "tmkij,tmkj->tmki", body_rot[:, bodies], lever_TMK3.expand(body_pos.shape[0], -1, -1, -1)
    )
    return torch.einsum("mk,tmki->tmi", weights, carried_TMK3)
