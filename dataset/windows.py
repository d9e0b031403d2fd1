"""Training windows of a data set: which frames have one, and batches of markers with their impulse and force targets.

A window around frame t shows the markers of frames t - W to t + W + 1; its targets are the impulse of the transition
t -> t + 1 and the ground reaction forces at t and t + 1 (ImDy section 4.1). Which windows exist, their order in an epoch and
every random draw depend on (data, seed, epoch) alone.

Axis legend: B windows, K markers of a window, W frames of a window, J joints, N bodies, U = 2 times (t, t + 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dataset.marker_tracks import MarkerTracks
from dataset.schema import FRAME_RATE
from dataset.store import Store
from kernels.windows import gather_windows, list_window_frames


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """How windows are cut and shown."""

    half_width: int = 2
    """Frames before t, and after t + 1 (ImDy: 2, a window of 6 frames)."""
    min_markers: int = 22
    """Least number of markers drawn for a window (released code)."""
    max_markers: int = 96
    """Greatest number of markers drawn; the padded width."""
    canonical_heading: bool = True
    """Turn windows and forces to the pelvis's heading at t (ImDy section 4.1; the released marker path does not)."""
    offset_std: float = 0.0
    """Standard deviation of a constant displacement of each marker in a window [m]."""
    jitter_std: float = 0.0
    """Standard deviation of a displacement of each marker in each frame [m]."""
    batch: int = 2400
    """Windows in a batch (ImDy section 5.1)."""
    seed: int = 0
    """Seed of order, marker draws and displacements."""


@dataclass(frozen=True, kw_only=True)
class WindowBatch:
    """Windows and what is to be predicted from them."""

    features: np.ndarray
    """Position [m] and velocity [m/s] of each marker in each frame, window frame, shape (B, K, W, 6), float32."""
    mask: np.ndarray
    """True where a marker is present, shape (B, K), bool."""
    marker: np.ndarray
    """Which marker of the set each token is, shape (B, K), int32; -1 where masked."""
    impulse: np.ndarray
    """Imposed angular momentum of the transition t -> t + 1 [N·m·s], child frames, shape (B, J, 3), float32."""
    grf: np.ndarray
    """Force of the ground on each body at t and t + 1 [N], window frame, shape (B, U, N, 3), float32."""
    mass: np.ndarray
    """Body mass [kg], shape (B,), float32."""
    heading: np.ndarray
    """Cosine and sine of the heading that was taken out, shape (B, 2), float32; (1, 0) if none was."""
    number: np.ndarray
    """Number of each window in its `WindowSet`, shape (B,), int64."""


class WindowSet:
    """All windows of some sequences of a data set.

    Args:
        store: Data set.
        tracks: Its marker positions.
        config: How windows are cut.
        sequences: Numbers of the sequences to use; all if None.

    Raises:
        ValueError: More markers are asked for than the set has, or no sequence is long enough for a window.
    """

    def __init__(
        self, store: Store, tracks: MarkerTracks, config: WindowConfig, sequences: np.ndarray | None = None
    ) -> None:
        self._store, self._tracks, self.config = store, tracks, config
        chosen = np.arange(len(store)) if sequences is None else np.asarray(sequences, dtype=np.int64)
        stored = tracks.marker_pos.shape[1]
        if config.max_markers > stored:
            raise ValueError(f"max_markers: expected at most the {stored} markers of the set, got {config.max_markers}")
        offsets = store.frame_offsets
        frame = list_window_frames(offsets, config.half_width)
        sequence = np.searchsorted(offsets, frame, side="right") - 1
        is_edge = store.gather("is_edge", np.arange(store.num_frames))
        # a one-sided average is another quantity than the two-sided one that is to be learned
        usable = np.isin(sequence, chosen) & ~is_edge[frame] & ~is_edge[frame + 1]
        self.frame = frame[usable]
        """Flat frame t of each window, ascending, int64."""
        self.sequence = sequence[usable]
        """Sequence of each window."""
        if not self.frame.size:
            least = 2 * config.half_width + 2
            raise ValueError(f"sequences: expected one of at least {least} frames, got {len(chosen)} shorter ones")
        self._mass = np.array([info.subject.mass for info in store.sequences], dtype=np.float32)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.frame)

    def order(self, epoch: int) -> np.ndarray:
        """Windows of an epoch in their random order, shape (number of windows,)."""
        return np.random.default_rng([self.config.seed, epoch]).permutation(len(self))

    def batches(self, epoch: int) -> Iterator[WindowBatch]:
        """All windows of an epoch in random order; the last batch may be smaller."""
        order = self.order(epoch)
        for start in range(0, len(order), self.config.batch):
            yield self.batch(order[start : start + self.config.batch], epoch)

    def batch(self, number: np.ndarray, epoch: int = 0) -> WindowBatch:
        """Windows by number; what is drawn for a window depends on its number, the seed and the epoch.

        Raises:
            ValueError: A number is outside.
        """
        if number.size and not (number.min() >= 0 and number.max() < len(self)):
            raise ValueError(f"number: expected 0 to {len(self) - 1}, got {number.min()} to {number.max()}")
        config, frame, sequence = self.config, self.frame[number], self.sequence[number]
        windows = gather_windows(
            self._tracks.marker_pos,
            self._tracks.origin,
            self._tracks.heading,
            frame,
            number,
            half_width=config.half_width,
            rate=FRAME_RATE,
            min_markers=config.min_markers,
            max_markers=config.max_markers,
            seed=config.seed,
            epoch=epoch,
            canonical_heading=config.canonical_heading,
            offset_std=config.offset_std,
            jitter_std=config.jitter_std,
        )
        if config.canonical_heading:
            heading = self._tracks.heading[frame]
        else:
            heading = np.tile(np.array([1.0, 0.0], np.float32), (len(frame), 1))
        grf = self._store.gather("grf", frame[:, None] + np.arange(2))
        return WindowBatch(
            features=windows.features,
            mask=windows.mask,
            marker=windows.marker,
            impulse=self._store.gather("impulse", frame - sequence),  # each earlier sequence has one transition fewer
            grf=turn_to_heading(grf, heading),
            mass=self._mass[sequence],
            heading=heading,
            number=number,
        )


def turn_to_heading(vector: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """World vectors (B, ..., 3) in frames turned about the vertical by headings (B, 2) of cosine and sine."""
    cosine, sine = (heading[(slice(None), i, *[None] * (vector.ndim - 2))] for i in (0, 1))
    x, y, z = np.moveaxis(vector, -1, 0)
    return np.stack((cosine * x + sine * y, cosine * y - sine * x, z), axis=-1)
