"""Foot contact from markers alone: heel and forefoot height and speed.

A part of the foot is down while its marker is less than 4 cm (heel) or 3.5 cm (forefoot) above its own 5th percentile
of height and slower than 0.55 (heel) or 0.85 (forefoot) of the walking speed. On a treadmill all speeds are relative to
the belt. A foot is in contact while either part is down. The thresholds are those measured against force plates in four
data sets.

Axis legend: T frames, F = 2 feet (left, right).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.lab.landmarks import find_landmarks
from dataset.lab.trajectories import derivative, fill_gaps, finite_runs
from dataset.low_pass import low_pass
from dataset.schema import LabTrial

HEEL_HEIGHT, FOREFOOT_HEIGHT = 0.04, 0.035
"""Height above the marker's own 5th percentile below which that part of the foot may be down [m]."""
HEEL_SPEED, FOREFOOT_SPEED = 0.55, 0.85
"""Speed as a fraction of the walking speed below which that part of the foot may be down."""
SLOWEST_WALK = 0.6
"""Walking speed [m/s] assumed for the thresholds when the person hardly moves (standing, squats)."""
SHORTEST_PHASE = 0.06
"""Contacts and swings shorter than this are merged into their surroundings [s]."""
_PARTS = {"heel": ("heel",), "forefoot": ("toe", "mt1", "mt5")}
_PELVIS = ("l_asis", "r_asis", "l_psis", "r_psis", "sacrum")


@dataclass(frozen=True, kw_only=True)
class FootContact:
    """Contact state of both feet and the marker paths it was told from."""

    heel: np.ndarray
    """True while the heel is down, shape (T, F)."""
    forefoot: np.ndarray
    """True while the forefoot is down, shape (T, F)."""
    heel_pos: np.ndarray
    """Heel marker [m], world, shape (T, F, 3); NaN in gaps longer than 0.25 s."""
    forefoot_pos: np.ndarray
    """Mean of the toe and metatarsal markers [m], world, shape (T, F, 3)."""
    walking_speed: float
    """Mean horizontal speed of the pelvis relative to the ground it walks on [m/s]."""
    belt_velocity: np.ndarray
    """Horizontal velocity of a treadmill's belt [m/s], shape (2,); zero overground."""

    @property
    def foot(self) -> np.ndarray:
        """True while heel or forefoot is down, shape (T, F)."""
        return self.heel | self.forefoot


def intervals(state: np.ndarray) -> list[tuple[int, int]]:
    """Half-open ranges [start, stop) in which a boolean sequence is true."""
    edge = np.diff(np.concatenate([[False], state, [False]]).astype(int))
    return [(int(a), int(b)) for a, b in zip(np.flatnonzero(edge == 1), np.flatnonzero(edge == -1))]


def merge_short(state: np.ndarray, shortest: int) -> np.ndarray:
    """Fill gaps, then drop contacts, of fewer than `shortest` samples that lie inside the sequence."""
    merged = state.copy()
    for value in (False, True):
        for start, stop in intervals(merged == value):
            if stop - start < shortest and start > 0 and stop < len(merged):
                merged[start:stop] = not value
    return merged


def _velocity(path: np.ndarray, rate: float) -> np.ndarray:
    """Velocity of a path with gaps: 10 Hz low pass, quintic spline; NaN where the path is missing."""
    velocity = np.full_like(path, np.nan)
    for start, stop in finite_runs(path):
        if stop - start >= 6:
            velocity[start:stop] = derivative(low_pass(path[start:stop], rate, 10.0), rate, 1)
    return velocity


def foot_parts(trial: LabTrial) -> tuple[np.ndarray, np.ndarray]:
    """Heel and forefoot paths of both feet.

    Args:
        trial: Trial with a heel and at least one of toe, first or fifth metatarsal marker on each foot.

    Returns:
        heel (T, F, 3) and forefoot (T, F, 3) [m], world; gaps up to 0.25 s are bridged.

    Raises:
        ValueError: a foot without a heel or without any forefoot marker.
    """
    found = find_landmarks(trial.marker_names)
    paths = []
    for part, names in _PARTS.items():
        sides = []
        for side in ("l", "r"):
            columns = [found[f"{side}_{name}"] for name in names if f"{side}_{name}" in found]
            if not columns:
                raise ValueError(
                    f"{trial.path}: markers of the {'left' if side == 'l' else 'right'} {part}: "
                    "expected one of "
                    f"{', '.join(names)}, found none among {len(trial.marker_names)} labels; "
                    "contacts cannot be told without it"
                )
            filled = [fill_gaps(trial.markers[:, column], trial.marker_rate) for column in columns]
            sides.append(np.mean(filled, axis=0))
        paths.append(np.stack(sides, axis=1))
    return paths[0], paths[1]


def _belt_velocity(pelvis: np.ndarray, low_parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Horizontal velocity of the ground under the stance foot: zero unless the person walks on the spot.

    A belt is assumed where the pelvis drifts at less than 0.3 m/s although the lowest-lying foot markers move at more
    than 0.4 m/s, always in the same direction.
    """
    drift = np.linalg.norm(np.nanmean(pelvis, axis=0)) if np.isfinite(pelvis).any() else 0.0
    stance = []
    for height, velocity in low_parts:
        low = height <= np.nanpercentile(height, 25)
        stance.append(velocity[low & np.isfinite(velocity[:, 0])])
    ground = np.concatenate(stance)
    middle = np.median(ground, axis=0)
    if drift < 0.3 and np.linalg.norm(middle) > 0.4:
        return middle
    return np.zeros(2)


def detect_contact(trial: LabTrial) -> FootContact:
    """Detect when heel and forefoot of each foot are on the ground.

    Args:
        trial: Markers of at least one step; see `foot_parts` for the markers that are needed.

    Returns:
        Contact of heel and forefoot; False where the marker is missing.

    Raises:
        ValueError: missing foot markers or fewer than 6 frames.
    """
    heel, forefoot = foot_parts(trial)
    if trial.num_frames < 6:
        raise ValueError(f"{trial.path}: frames: expected at least 6 to tell contacts, found {trial.num_frames}")
    rate = trial.marker_rate
    found = find_landmarks(trial.marker_names)
    columns = [found[name] for name in _PELVIS if name in found]
    if columns:
        pelvis_paths = [_velocity(fill_gaps(trial.markers[:, column], rate), rate)[:, :2] for column in columns]
        pelvis = np.nanmean([np.nanmean(path, axis=0) for path in pelvis_paths], axis=0)[None]
    else:
        pelvis = np.nanmean(
            _velocity((heel + forefoot).reshape(len(heel), -1), rate).reshape(-1, 2, 3)[..., :2], axis=(0, 1)
        )[None]
    speeds = {}
    for name, path in (("heel", heel), ("forefoot", forefoot)):
        speeds[name] = np.stack([_velocity(path[:, foot], rate) for foot in range(2)], axis=1)
    belt = _belt_velocity(pelvis, [(forefoot[:, foot, 2], speeds["forefoot"][:, foot, :2]) for foot in range(2)])
    walking = float(np.linalg.norm(pelvis[0] - belt))
    scale = max(walking, SLOWEST_WALK)
    states = {}
    for name, path, height, fraction in (
        ("heel", heel, HEEL_HEIGHT, HEEL_SPEED),
        ("forefoot", forefoot, FOREFOOT_HEIGHT, FOREFOOT_SPEED),
    ):
        relative = speeds[name] - np.array([belt[0], belt[1], 0.0])
        low = path[:, :, 2] < np.nanpercentile(path[:, :, 2], 5, axis=0) + height
        states[name] = low & (np.linalg.norm(relative, axis=2) < fraction * scale)
    shortest = max(1, round(SHORTEST_PHASE * rate))
    both = np.stack(
        [merge_short(states["heel"][:, foot] | states["forefoot"][:, foot], shortest) for foot in range(2)], axis=1
    )
    return FootContact(
        heel=states["heel"] & both,
        forefoot=(states["forefoot"] & both) | (both & ~states["heel"]),
        heel_pos=heel,
        forefoot_pos=forefoot,
        walking_speed=walking,
        belt_velocity=belt,
    )
