"""Recorded sequences as flat arrays ready for training: marker tracks, window frames and mass-normalised targets.

Markers are placed once for all frames (a dense set and the sets of laboratories side by side), and once more from
tracks that were low-passed like those of a laboratory. After that a batch is one gather (`kernels.windows`).

Axis legend: G flat frames over all sequences, P markers, J joints, N bodies, E feet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dataset.low_pass import low_pass
from dataset.marker_tracks import MarkerPlacement, pelvis_heading
from dataset.schema import FRAME_RATE, Dynamics, Subject
from dataset.skeleton import FEET, NUM_BODIES, NUM_JOINTS
from dataset.windows import WINDOW, window_frames
from kernels.grf import sum_bodies


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Sequences laid end to end. Forces and impulses are per kilogram of each sequence's own subject."""

    names: tuple[str, ...]
    """Sequence names, in order."""
    clips: tuple[str, ...]
    """Motion each sequence imitates."""
    offsets: np.ndarray
    """Sequence s is frames offsets[s] to offsets[s + 1], shape (sequences + 1,), int64."""
    markers: np.ndarray
    """Marker positions [m], world, shape (G, P, 3) or, with low-passed copies appended, (2 G, P, 3), float32."""
    pelvis: np.ndarray
    """Pelvis joint [m], world, shape (G, 3)."""
    heading: np.ndarray
    """Angle of the pelvis' forward axis about z [rad], shape (G,)."""
    impulse: np.ndarray
    """Impulse of the transition from each frame to the next [N·m·s/kg], child frame, (G, J, 3); NaN at sequence
    ends."""
    grf: np.ndarray
    """Force on each body [N/kg], world, (G, N, 3)."""
    foot_cop: np.ndarray
    """Centre of pressure of each foot [m], world, (G, E, 2); NaN where unloaded."""
    mass: np.ndarray
    """Mass of the subject [kg], (G,)."""
    usable: np.ndarray
    """Frames t whose window and labels lie inside one sequence, away from one-sided averages, ascending, int64."""

    @property
    def num_frames(self) -> int:
        """Number of frames G, copies not counted."""
        return len(self.mass)

    @property
    def has_smoothed(self) -> bool:
        """True if row G + g holds the low-passed markers of frame g."""
        return len(self.markers) == 2 * self.num_frames

    def sequence_of(self, frame: np.ndarray) -> np.ndarray:
        """Sequence that each flat frame belongs to."""
        return np.searchsorted(self.offsets, frame, side="right") - 1


def build_frames(
    sequences: Sequence[Dynamics],
    placement_of: Callable[[Subject], MarkerPlacement],
    *,
    smoothing: float | None = None,
    progress: Callable[[Sequence[Dynamics]], Iterable[Dynamics]] = lambda items: items,
) -> Frames:
    """Flatten sequences and place their markers.

    Args:
        sequences: Recorded dynamics.
        placement_of: Markers on a subject's body; called once a subject.
        smoothing: Cut-off [Hz] of copies of the markers that passed the filter of `model.trial_markers`; None for no copies.
        progress: Wraps the sequences, for a progress bar.

    Raises:
        ValueError: No sequence is long enough for one window.
    """
    lengths = np.array([item.num_frames for item in sequences], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    usable = [offsets[i] + window_frames(item) for i, item in enumerate(sequences)]
    if not sum(map(len, usable)):
        longest = int(lengths.max(initial=0))
        raise ValueError(f"sequences: expected one of at least {WINDOW + 2} frames, got {len(lengths)} up to {longest}")
    total = int(offsets[-1])
    placements: dict[Subject, MarkerPlacement] = {}
    copies = 1 if smoothing is None else 2
    arrays: dict[str, np.ndarray] = {
        "pelvis": np.empty((total, 3), np.float32), "heading": np.empty(total),
        "impulse": np.full((total, NUM_JOINTS, 3), np.nan, np.float32),
        "grf": np.empty((total, NUM_BODIES, 3), np.float32),
        "foot_cop": np.empty((total, len(FEET), 2), np.float32), "mass": np.empty(total, np.float32),
    }  # fmt: skip
    markers = None
    for index, item in enumerate(progress(sequences)):
        if item.subject not in placements:
            placements[item.subject] = placement_of(item.subject)
        rows = slice(int(offsets[index]), int(offsets[index + 1]))
        tracks = placements[item.subject].place(item.root_pos, item.quat)
        if markers is None:
            markers = np.empty((copies * total, tracks.shape[1], 3), np.float32)
        markers[rows] = tracks
        if smoothing is not None:
            markers[total + rows.start : total + rows.stop] = low_pass(tracks, FRAME_RATE, smoothing)
        mass = item.subject.mass
        arrays["pelvis"][rows] = item.root_pos
        cosine, sine = pelvis_heading(item.quat[:, 0]).T
        arrays["heading"][rows] = np.arctan2(sine, cosine)
        arrays["impulse"][rows][:-1] = item.impulse / mass
        arrays["grf"][rows] = item.grf / mass
        arrays["foot_cop"][rows] = sum_bodies(item.grf, item.cop, item.free_moment, FEET).cop
        arrays["mass"][rows] = mass
    assert markers is not None
    return Frames(
        names=tuple(item.name for item in sequences), clips=tuple(item.clip for item in sequences), offsets=offsets,
        markers=markers, usable=np.concatenate(usable), **arrays,
    )  # fmt: skip
