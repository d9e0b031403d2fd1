"""Baselines on simulated windows: the training mean, body weight split over contact, and another simulation.

Axis legend: B windows, J joints, N bodies, U = 2 times (t, t + 1), E feet.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from dataset.skeleton import FEET, GRAVITY
from model.frames import Frames
from model.losses import CONTACT_FORCE, Targets
from model.metrics import Estimate
from model.scaling import Scaling

Baseline = Callable[[Targets], Estimate]
"""What a baseline says about windows; it may look at the targets where its definition says so."""


def mean_estimate(scaling: Scaling) -> Baseline:
    """The mean of the training targets, whatever the motion."""

    def estimate(target: Targets) -> Estimate:
        count = len(target.mass)
        grf = scaling.grf_mean.expand(count, target.grf.shape[1], -1, -1)
        return Estimate(impulse=scaling.impulse_mean.expand(count, -1, -1), grf=grf)

    return estimate


def weight_over_true_contact(target: Targets) -> Estimate:
    """Body weight, straight up, shared evenly by what touches the ground; it knows the true contacts.

    Each foot counts once, however many of its bodies touch, and gives them equal parts; every other touching body
    counts once. Nothing in flight. It says nothing about impulses. Knowing the contacts makes it stronger than any
    method that has to find them.
    """
    touches = (target.grf.norm(dim=-1) > CONTACT_FORCE).to(target.grf.dtype)
    share = touches.clone()
    for foot in FEET:
        bodies = list(foot)
        share[..., bodies] = touches[..., bodies] / touches[..., bodies].sum(-1, keepdim=True).clamp_min(1.0)
    share = share / share.sum(-1, keepdim=True).clamp_min(1e-6)
    grf = torch.zeros_like(target.grf)
    grf[..., 2] = GRAVITY * share
    return Estimate(impulse=None, grf=grf)


def matching_rows(frames: Frames, other: Frames) -> np.ndarray:
    """Flat row of `other` that shows the same frame of the same sequence as each row of `frames`, -1 where none does.

    Sequences match by name; of a different length, they match frame by frame from the start.
    """
    place = {name: index for index, name in enumerate(other.names)}
    rows = np.full(frames.num_frames, -1, dtype=np.int64)
    for index, name in enumerate(frames.names):
        if name not in place:
            continue
        start, stop = frames.offsets[index : index + 2]
        first, last = other.offsets[place[name] : place[name] + 2]
        count = min(stop - start, last - first)
        rows[start : start + count] = first + np.arange(count)
    return rows
