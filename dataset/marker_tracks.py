"""Marker positions of all frames of a data set, placed once from the stored poses and kept in memory or in a cache file.

Axis legend: F frames of all sequences end to end, M markers, N bodies, K weights of a marker.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset import atomic, rotation
from dataset.kinematics import forward_kinematics
from dataset.schema import Subject
from dataset.skeleton import PARENTS
from dataset.store import Store
from kernels.markers import place_markers


@dataclass(frozen=True, kw_only=True)
class MarkerPlacement:
    """Markers on the body of one subject."""

    joint_pos: np.ndarray
    """Joint centres in the rest pose [m], shape (N, 3)."""
    points: np.ndarray
    """Marker points in the rest pose [m], same axes and origin, shape (M, 3)."""
    bodies: np.ndarray
    """Bodies that carry each marker, shape (M, K), integers."""
    weights: np.ndarray
    """Their weights, rows summing to 1, shape (M, K)."""

    def place(self, root_pos: np.ndarray, quat: np.ndarray) -> np.ndarray:
        """Marker positions [m], world, shape (T, M, 3), float32, of poses (T, 3) and (T, N, 4)."""
        offset = self.joint_pos.copy()
        offset[1:] -= self.joint_pos[list(PARENTS[1:])]
        body_pos, body_quat = forward_kinematics(offset, root_pos, quat)
        body_rot = rotation.to_matrix(body_quat)
        return place_markers(self.points, self.joint_pos, self.bodies, self.weights, body_pos, body_rot).astype(
            np.float32
        )


@dataclass(frozen=True, kw_only=True)
class MarkerTracks:
    """What windows are cut from."""

    marker_pos: np.ndarray
    """Marker positions [m], world, shape (F, M, 3), float32; memory-mapped if cached on disk."""
    origin: np.ndarray
    """Horizontal position of the pelvis [m], world, shape (F, 2), float32."""
    heading: np.ndarray
    """Cosine and sine of the pelvis's heading, shape (F, 2), float32."""


def pelvis_heading(quat: np.ndarray) -> np.ndarray:
    """Cosine and sine of the angle of the pelvis's forward axis about the vertical, (T, 4) to (T, 2).

    A pelvis that looks straight up or down has no heading by this axis; then the direction of its up axis, reversed if it
    looks up, is taken (it is where the forward axis points after the shortest turn upright).
    """
    forward = rotation.rotate(quat, np.array([1.0, 0.0, 0.0]))
    up = rotation.rotate(quat, np.array([0.0, 0.0, 1.0]))
    is_steep = np.linalg.norm(forward[..., :2], axis=-1, keepdims=True) < 1e-6
    flat = np.where(is_steep, -np.sign(forward[..., 2:]) * up[..., :2], forward[..., :2])
    return flat / np.linalg.norm(flat, axis=-1, keepdims=True)


def place_store_markers(
    store: Store,
    placement_of: Callable[[Subject], MarkerPlacement],
    *,
    cache: Path | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers,
) -> MarkerTracks:
    """Place the markers of every frame of a data set.

    Args:
        store: Data set.
        placement_of: Markers on a subject's body; the same number of markers for all. Called once a subject.
        cache: Folder for the positions, named by the content of data and markers: a second call maps the file. In memory
            if None.
        progress: Wraps the numbers of the sequences, for a progress bar.

    Raises:
        ValueError: The data set is empty, or subjects have different numbers of markers.
    """
    placements = {subject: placement_of(subject) for subject in store.subjects}
    counts = {placement.points.shape[0] for placement in placements.values()}
    if len(counts) != 1:
        raise ValueError(f"placement_of: expected one number of markers for all subjects, got {sorted(counts)}")
    shape = (store.num_frames, counts.pop(), 3)

    def fill(marker_pos: np.ndarray) -> None:
        for number in progress(range(len(store))):
            item, start = store.read(number), store.frame_offsets[number]
            marker_pos[start : start + item.num_frames] = placements[item.subject].place(item.root_pos, item.quat)

    if cache is None:
        marker_pos = np.empty(shape, np.float32)
        fill(marker_pos)
    else:
        marker_pos = _cached(cache / f"tracks-{_identity(store, placements)}.npy", shape, fill)
    return MarkerTracks(
        marker_pos=marker_pos,
        origin=np.concatenate([array[:, :2] for array in store.fields("root_pos")]),
        heading=np.concatenate([pelvis_heading(array[:, 0]) for array in store.fields("quat")]).astype(np.float32),
    )


def _identity(store: Store, placements: dict[Subject, MarkerPlacement]) -> str:
    digest = hashlib.sha256(store.content.encode())
    for placement in placements.values():
        for array in (placement.joint_pos, placement.points, placement.bodies, placement.weights):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _cached(path: Path, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> np.ndarray:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = atomic.temporary_sibling(path)
        try:
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            fill(array)
            array.flush()
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        atomic.sync_folder(path.parent)
    return np.load(path, mmap_mode="r", allow_pickle=False)
