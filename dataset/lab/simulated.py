"""A recorded simulation as a laboratory would have seen it: markers of a marker set, force plates under the feet.

Used to test everything that reads trials against forces that are known exactly, and to show prediction where no real
trial is at hand. Simulated trials say so in their name and notes.

Axis legend: T frames at 30 Hz, L marker frames, K plate samples, M markers, F = 2 feet (left, right).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.interpolate import PchipInterpolator, make_interp_spline

from dataset.body.marker_sets import MarkerSet, marker_points
from dataset.body.model import BodyModel
from dataset.lab.contact import foot_parts, intervals, merge_short
from dataset.lab.plates import LOAD_THRESHOLD
from dataset.marker_tracks import MarkerPlacement
from dataset.schema import FRAME_RATE, Dynamics, ForcePlate, LabTrial
from dataset.skeleton import FEET
from kernels.grf import sum_bodies

MARKER_RATE, PLATE_RATE = 120.0, 480.0
"""Rates of a simulated trial [Hz]; multiples of the 30 Hz of the record."""
BEHIND_HEEL, BEFORE_FOREFOOT, BESIDE_FOOT = 0.06, 0.13, 0.06
"""Margins of a plate around heel and forefoot marker [m]; the toe tip lies some 8 cm before the forefoot marker."""


def mean_preserving(values: np.ndarray, rate: float) -> np.ndarray:
    """A smooth signal whose means over t ± 1/60 s are the given frames (the first and last over their inner half).

    The cumulative integral is known at the borders of the averaging windows, which touch; its monotone cubic (PCHIP) is
    differentiated, so a force that never pulls never comes out pulling.

    Args:
        values: Window means at 30 Hz, shape (T, ...).
        rate: Rate of the result [Hz], a multiple of 30.

    Returns:
        Samples from the first to the last frame, shape ((T − 1) · rate / 30 + 1, ...).
    """
    length = np.full(len(values), 1.0 / FRAME_RATE)
    length[[0, -1]] *= 0.5
    border = np.concatenate([[0.0], np.cumsum(length)])
    flat = values.reshape(len(values), -1) * length[:, None]
    integral = np.concatenate([np.zeros((1, flat.shape[1])), np.cumsum(flat, axis=0)])
    samples = round((len(values) - 1) * rate / FRAME_RATE) + 1
    clock = np.minimum(np.arange(samples) / rate, border[-1])
    return PchipInterpolator(border, integral, axis=0)(clock, nu=1).reshape(samples, *values.shape[1:])


def foot_wrench(record: Dynamics) -> np.ndarray:
    """Force [N] and moment about the world origin [N·m] on (left, right) foot at 30 Hz, shape (T, F, 6)."""
    feet = sum_bodies(record.grf, record.cop, record.free_moment, FEET)
    point, force = np.nan_to_num(feet.cop), np.asarray(feet.force)
    moment = np.stack(
        [
            point[..., 1] * force[..., 2],
            -point[..., 0] * force[..., 2],
            point[..., 0] * force[..., 1] - point[..., 1] * force[..., 0] + feet.free_moment,
        ],
        axis=-1,
    )
    return np.concatenate([force, moment], axis=-1)


def simulated_trial(
    record: Dynamics, body: BodyModel, markers: MarkerSet, *, noise: float = 0.0, seed: int = 0, path: str = ""
) -> LabTrial:
    """Markers at 120 Hz and the wrench of each foot at 480 Hz of a recorded simulation.

    Args:
        record: Recorded simulation.
        body: Body of its subject.
        markers: Marker set that the person wears.
        noise: Standard deviation of white noise on every marker coordinate [m].
        seed: Seed of the noise.
        path: File the trial will be written to, for messages.

    Returns:
        Trial in the world frame, first frame at time 0, with `foot_wrench`, mass and height.

    Raises:
        ValueError: fewer than 6 frames.
    """
    if record.num_frames < 6:
        raise ValueError(f"record {record.name}: expected at least 6 frames, found {record.num_frames}")
    points, bodies, weights = marker_points(body, markers)
    placement = MarkerPlacement(joint_pos=np.asarray(body.joint_pos), points=points, bodies=bodies, weights=weights)
    at_frames = placement.place(record.root_pos, record.quat).astype(np.float64)
    count = round((record.num_frames - 1) * MARKER_RATE / FRAME_RATE) + 1
    time = np.arange(count) / MARKER_RATE
    spline = make_interp_spline(np.arange(record.num_frames) / FRAME_RATE, at_frames, k=3, axis=0)
    tracks = spline(np.minimum(time, (record.num_frames - 1) / FRAME_RATE))
    tracks = tracks + noise * np.random.default_rng(seed).standard_normal(tracks.shape)
    return LabTrial(
        name=record.name.replace("/", "_"),
        path=path or record.name,
        marker_names=markers.labels,
        marker_rate=MARKER_RATE,
        time=time,
        markers=tracks,
        foot_wrench=mean_preserving(foot_wrench(record), PLATE_RATE),
        foot_rate=PLATE_RATE,
        mass=record.subject.mass,
        height=record.subject.height,
        notes=(f"Simulated motion {record.clip}, marker set {markers.name}: no recording of a person.",),
    )


def lay_plates(trial: LabTrial) -> LabTrial:
    """The trial with one force plate under each step instead of `foot_wrench`, as a C3D file can hold it.

    Args:
        trial: Trial with `foot_wrench` and markers on heels and forefeet.

    Returns:
        Copy whose plates, each under one stance and as large as the foot needs, carry the same forces.

    Raises:
        ValueError: no `foot_wrench`, no foot markers, or no foot ever on the ground.
    """
    if trial.foot_wrench is None:
        raise ValueError(f"{trial.path}: foot_wrench: expected measured feet to lay plates under, found none")
    heel, forefoot = foot_parts(trial)
    clock = trial.plate_start + np.arange(len(trial.foot_wrench)) / trial.foot_rate
    plates = []
    for foot in range(2):
        wrench = trial.foot_wrench[:, foot]
        loaded = merge_short(wrench[:, 2] > LOAD_THRESHOLD, max(2, round(0.03 * trial.foot_rate)))
        for start, stop in intervals(loaded):
            # The plate carries what little acts before and after the threshold too, up to the middle of the swing.
            low = _middle(loaded, start, -1)
            high = _middle(loaded, stop - 1, 1) + 1
            first, last = np.searchsorted(trial.time, [clock[start], clock[stop - 1]])
            seen = slice(int(first), int(last) + 1)
            mine = np.zeros_like(wrench)
            mine[low:high] = wrench[low:high]
            plates.append(
                ForcePlate(
                    rate=trial.foot_rate,
                    force=mine[:, :3],
                    moment=mine[:, 3:],
                    corners=_corners(heel[seen, foot, :2], forefoot[seen, foot, :2]),
                    name=str(len(plates) + 1),
                )
            )
    if not plates:
        raise ValueError(f"{trial.path}: foot_wrench: expected a foot above {LOAD_THRESHOLD} N, found none")
    return dataclasses.replace(trial, plates=tuple(plates), foot_wrench=None, foot_rate=0.0)


def _middle(loaded: np.ndarray, at: int, step: int) -> int:
    """Sample half way from the end of a loaded stretch to the next one, or the end of the record."""
    ahead = loaded[at + step :: step] if at + step >= 0 else loaded[:0]
    away = int(np.argmax(ahead)) if ahead.any() else 2 * len(ahead)
    return int(np.clip(at + step * (away // 2), 0, len(loaded) - 1))


def _corners(heel: np.ndarray, forefoot: np.ndarray) -> np.ndarray:
    """Rectangle along the foot that holds all positions (n, 2) of heel and forefoot with margins, z axis down, (4, 3)."""
    ahead = np.mean(forefoot - heel, axis=0)
    ahead = ahead / np.linalg.norm(ahead)
    left = np.array([-ahead[1], ahead[0]])
    points = np.concatenate([heel, forefoot])
    along, across = points @ ahead, points @ left
    low, high = along.min() - BEHIND_HEEL, along.max() + BEFORE_FOREFOOT
    right_edge, left_edge = across.min() - BESIDE_FOOT, across.max() + BESIDE_FOOT
    corners = [(high, left_edge), (high, right_edge), (low, right_edge), (low, left_edge)]
    return np.array([[*(a * ahead + b * left), 0.0] for a, b in corners])
