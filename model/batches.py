"""Training batches: windows drawn from `Frames`, each shown through its own markers.

Every draw depends on (seed, step) alone, so a resumed run sees the batches that the interrupted one would have seen,
and any step can be made again. Of a batch, a worker may make its share of the windows alone: the draws are those of the
whole batch, so the shares of all workers are the batch that one worker makes.

Axis legend: B windows, M tokens, J joints, N bodies, U = 2 times (t, t + 1), E feet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from dataset.skeleton import MIRROR_AXIAL, MIRROR_BODY, MIRROR_VECTOR
from dataset.windows import HALF_WIDTH, WINDOW
from kernels.windows import Disturbance, make_tokens
from model.frames import Frames
from model.losses import Targets

_MIRROR_JOINT = np.array(MIRROR_BODY[1:]) - 1
_NOISE_TABLE = 1 << 20
_SUBSET_BANK = 4096
WHOLE = (0, 1)
"""Share of a batch that is all of it."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far training windows differ from the simulator's perfect markers. Sizes are standard deviations or maxima."""

    least_markers: int = 22
    """Smallest random subset (released code)."""
    most_markers: int = 96
    """Largest random subset (released code); fewer if the dense set is smaller."""
    lab_share: float = 0.3
    """Share of groups shown through a laboratory's marker set instead of a random subset."""
    lab_dropout: float = 0.15
    """Largest share of a laboratory set's markers that is left out of a group."""
    mirror_share: float = 0.5
    """Share of windows that are reflected left to right."""
    smoothed_share: float = 0.5
    """Share of windows whose markers are low-passed, as stored laboratory data are."""
    smoothing: float = 6.0
    """Their cut-off [Hz]."""
    offset_size: float = 0.010
    """Largest standard deviation of a marker's constant displacement over a window [m]: placement and soft tissue."""
    jitter_size: float = 0.001
    """Largest standard deviation of a marker's displacement drawn anew each frame [m]."""
    heading_size: float = 0.12
    """Standard deviation of the error of the window's heading [rad]: a laboratory's pelvis is known from a few
    markers."""
    origin_size: float = 0.02
    """Standard deviation of the error of the window's horizontal origin [m]."""
    floor_size: float = 0.008
    """Standard deviation of the error of the floor's height [m]."""
    groups: int = 8
    """Groups a batch; windows of one group have the same number of markers, so that none is padded."""


NO_AUGMENTATION = Augmentation(
    mirror_share=0.0, smoothed_share=0.0, offset_size=0.0, jitter_size=0.0, heading_size=0.0, origin_size=0.0,
    floor_size=0.0, lab_share=0.0, lab_dropout=0.0,
)  # fmt: skip
"""Clean markers, random subsets: what the released code trains and tests on."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Windows of one step: tokens in groups of equal size, targets of all groups in order."""

    groups: tuple[tuple[Tensor, Tensor], ...]
    """Tokens (B_g, M_g, F) and masks (B_g, M_g) of each group."""
    target: Targets
    """Targets of all windows, B = sum of B_g."""

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""
        groups = tuple((tokens.to(device), mask.to(device)) for tokens, mask in self.groups)
        return Batch(groups=groups, target=self.target.to(device))


class BatchMaker:
    """Draws batches from frames.

    Args:
        frames: Recorded sequences.
        dense: Markers that random subsets are drawn from, indices into the frames' markers.
        lab_sets: Marker sets of laboratories, each as indices.
        augmentation: Disturbances.
        seed: Seed of all draws.
    """

    def __init__(
        self,
        frames: Frames,
        dense: np.ndarray,
        lab_sets: tuple[np.ndarray, ...] = (),
        *,
        augmentation: Augmentation = Augmentation(),
        seed: int = 0,
    ) -> None:
        if len(dense) < augmentation.least_markers:
            raise ValueError(f"dense: expected at least {augmentation.least_markers} markers, got {len(dense)}")
        if augmentation.smoothed_share and not frames.has_smoothed:
            raise ValueError("frames: smoothed_share needs low-passed copies; build the frames with smoothing=...")
        self._frames = frames
        self._lab_sets = lab_sets
        self._augmentation = augmentation
        self._seed = seed
        rng = np.random.default_rng([seed, 0])
        self._noise = rng.standard_normal(_NOISE_TABLE, np.float32)
        order = rng.random((_SUBSET_BANK, len(dense))).argsort(axis=1)
        self._dense = dense.astype(np.int32)[order]
        self._most = min(augmentation.most_markers, len(dense))

    @property
    def num_windows(self) -> int:
        """Windows of one pass over the data."""
        return len(self._frames.usable)

    def epoch(self, epoch: int, batch_size: int, *, skip: int = 0, share: tuple[int, int] = WHOLE) -> Iterator[Batch]:
        """All windows once in random order, the first `skip` batches left out; the last batch may be smaller.

        `share` is that of `make`; `batch_size` counts the windows of all shares.
        """
        order = np.random.default_rng([self._seed, 1, epoch]).permutation(self._frames.usable)
        for step in range(skip, -(-len(order) // batch_size)):
            rows = order[step * batch_size : (step + 1) * batch_size]
            yield self.make(rows, np.random.default_rng([self._seed, 2, epoch, step]), share)

    def sample(self, windows: int) -> Batch:
        """At most `windows` different windows, the same on every call."""
        rng = np.random.default_rng([self._seed, 3])
        usable = self._frames.usable
        return self.make(rng.choice(usable, min(windows, len(usable)), replace=False), rng)

    def make(self, centre: np.ndarray, rng: np.random.Generator, share: tuple[int, int] = WHOLE) -> Batch:
        """Batch of the windows around the frames `centre`, (B,), disturbed by draws from `rng`.

        Of them, `share` (r, N) makes the windows r, r + N, r + 2 N … with the draws that they have in the whole batch;
        a share of a batch of fewer than N windows may have no group.
        """
        is_mirrored = rng.random(len(centre)) < self._augmentation.mirror_share
        heading = self._frames.heading[centre] + rng.normal(0.0, self._augmentation.heading_size, len(centre))
        origin = np.zeros((len(centre), 3), np.float32)
        origin[:, :2] = self._frames.pelvis[centre, :2]
        origin[:, :2] += rng.normal(0.0, self._augmentation.origin_size, (len(centre), 2))
        origin[:, 2] = rng.normal(0.0, self._augmentation.floor_size, len(centre))
        bounds = np.linspace(0, len(centre), min(self._augmentation.groups, len(centre)) + 1).astype(int)
        first, step = share
        groups = []
        for start, stop in pairwise(bounds.tolist()):
            index = self._subset(stop - start, rng)
            frame = centre[start:stop]
            if self._augmentation.smoothed_share:
                is_smoothed = rng.random(stop - start) < self._augmentation.smoothed_share
                frame = frame + is_smoothed * self._frames.num_frames
            disturbance = self._disturbance(index.shape, rng)
            mine = slice((first - start) % step, None, step)
            rows = slice(start + mine.start, stop, step)
            if rows.start >= stop:
                continue
            tokens, mask = make_tokens(
                self._frames.markers, _pick(frame, mine), _pick(index, mine), origin=_pick(origin, rows),
                heading=_pick(heading, rows), is_mirrored=_pick(is_mirrored, rows),
                disturbance=_pick_disturbance(disturbance, mine), half_width=HALF_WIDTH,
            )  # fmt: skip
            groups.append((torch.from_numpy(tokens), torch.from_numpy(mask)))
        rows = slice(first, None, step)
        target = make_targets(self._frames, centre[rows], origin[rows], heading[rows], is_mirrored[rows])
        return Batch(groups=tuple(groups), target=target)

    def _subset(self, windows: int, rng: np.random.Generator) -> np.ndarray:
        """Markers of each window of a group, (windows, M), ascending within a window for the sake of the cache."""
        if self._lab_sets and rng.random() < self._augmentation.lab_share:
            markers = self._lab_sets[rng.integers(len(self._lab_sets))].astype(np.int32)
            keep = round(len(markers) * (1.0 - self._augmentation.lab_dropout * rng.random()))
            chosen = markers[rng.random((windows, len(markers))).argsort(axis=1)[:, :keep]]
        else:
            count = int(rng.integers(self._augmentation.least_markers, self._most + 1))
            chosen = self._dense[rng.integers(_SUBSET_BANK, size=windows), :count]
        return np.sort(chosen, axis=1)

    def _disturbance(self, shape: tuple[int, ...], rng: np.random.Generator) -> Disturbance | None:
        windows, count = shape
        offset, jitter = self._augmentation.offset_size, self._augmentation.jitter_size
        if not (offset or jitter):
            return None
        needed = 3 * (WINDOW + 1) * count
        return Disturbance(
            table=self._noise, start=rng.integers(0, len(self._noise) - needed, windows),
            offset_size=offset * rng.random(windows), jitter_size=jitter * rng.random(windows),
        )  # fmt: skip


def _pick(values: np.ndarray, rows: slice) -> np.ndarray:
    """Rows, end to end in memory as the kernel wants them; no copy of all rows."""
    return np.ascontiguousarray(values[rows])


def _pick_disturbance(disturbance: Disturbance | None, rows: slice) -> Disturbance | None:
    if disturbance is None:
        return None
    return Disturbance(
        table=disturbance.table, start=_pick(disturbance.start, rows),
        offset_size=_pick(disturbance.offset_size, rows), jitter_size=_pick(disturbance.jitter_size, rows),
    )  # fmt: skip


def make_targets(
    frames: Frames, centre: np.ndarray, origin: np.ndarray, heading: np.ndarray, is_mirrored: np.ndarray
) -> Targets:
    """Targets of the windows around `centre` in the frames (origin, heading), reflected where asked.

    A reflected body has its left and right members exchanged; forces and positions reflect as polar vectors in the
    window's frame, impulses as axial vectors in each body's own frame (`dataset.skeleton.MIRROR_AXIAL`).
    """
    times = np.stack([centre, centre + 1], axis=1)
    cosine, sine = np.cos(heading).astype(np.float32), np.sin(heading).astype(np.float32)
    inverse = np.zeros((len(centre), 3, 3), np.float32)
    inverse[:, 0, 0] = inverse[:, 1, 1] = cosine
    inverse[:, 0, 1], inverse[:, 1, 0] = sine, -sine
    inverse[:, 2, 2] = 1.0
    grf = np.einsum("bij,bunj->buni", inverse, frames.grf[times], optimize=True)
    cop = frames.foot_cop[times] - origin[:, None, None, :2]
    cop = np.nan_to_num(np.einsum("bij,buej->buei", inverse[:, :2, :2], cop, optimize=True))
    impulse = frames.impulse[centre]
    flip = np.flatnonzero(is_mirrored)
    impulse[flip] = impulse[flip][:, _MIRROR_JOINT] * MIRROR_AXIAL.astype(np.float32)
    grf[flip] = grf[flip][:, :, list(MIRROR_BODY)] * MIRROR_VECTOR.astype(np.float32)
    cop[flip] = cop[flip][:, :, ::-1] * MIRROR_VECTOR[:2].astype(np.float32)
    return Targets(
        impulse=torch.from_numpy(impulse), grf=torch.from_numpy(np.ascontiguousarray(grf)),
        foot_cop=torch.from_numpy(np.ascontiguousarray(cop)), mass=torch.from_numpy(frames.mass[centre]),
    )  # fmt: skip
