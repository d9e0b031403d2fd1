"""The file's laboratory axes against the world (z up), and plausibility of units: checks shared by all trial readers.

Axis legend: T frames, M markers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from dataset.lab.landmarks import find_landmarks

UP_ROTATION: dict[str, np.ndarray] = {
    "z": np.eye(3),
    "y": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
    "x": np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
    "-z": np.diag([1.0, -1.0, -1.0]),
    "-y": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
    "-x": np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]]),
}
"""Rotation taking laboratory axes to the world (z up), by the laboratory axis that points up; each (3, 3),
determinant 1."""

_UNITS = {"mm": 1e-3, "cm": 1e-2, "m": 1.0}
_LOW = ("heel", "toe", "mt5", "ankle")
_HIGH = ("asis", "psis", "shoulder")
SMALLEST_PERSON = 0.5
LARGEST_PERSON = 3.2
"""Bounds on the largest distance between two landmarks of one person [m] (crouched child, adult with raised arms)."""


def _mean_of(markers: np.ndarray, columns: list[int]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames where all of them are hidden stay NaN on purpose
        return np.nanmean(markers[:, columns], axis=1)


def detect_up_axis(markers: np.ndarray, labels: Sequence[str]) -> str | None:
    """Laboratory axis that points up: the dominant direction from the feet's markers to the pelvis's and shoulders'.

    Args:
        markers: Positions in laboratory axes, any length unit, shape (T, M, 3); NaN in gaps.
        labels: Marker labels, length M.

    Returns:
        One of "x", "y", "z", "-x", "-y", "-z"; None where feet or pelvis are not labelled, or where no axis dominates
        (a person lying down).
    """
    found = find_landmarks(labels)
    low = [found[f"{side}_{name}"] for side in "lr" for name in _LOW if f"{side}_{name}" in found]
    high = [found[f"{side}_{name}"] for side in "lr" for name in _HIGH if f"{side}_{name}" in found]
    if not low or not high:
        return None
    rise = _mean_of(markers, high) - _mean_of(markers, low)
    rise = rise[np.isfinite(rise).all(axis=1)]
    if not len(rise):
        return None
    mean = rise.mean(axis=0)
    axis = int(np.argmax(np.abs(mean)))
    if abs(mean[axis]) < 0.7 * np.linalg.norm(mean):
        return None
    return ("" if mean[axis] > 0 else "-") + "xyz"[axis]


def check_person(
    path: str, markers: np.ndarray, labels: Sequence[str], *, unit: str, scale: float, require_known: bool = True
) -> None:
    """Refuse marker data that cannot be one person in metres.

    Args:
        path: File name for the error text.
        markers: Positions [m], shape (T, M, 3); NaN in gaps.
        labels: Marker labels, length M.
        unit: What the file says its unit is, for the error text.
        scale: Metres per unit of the file.
        require_known: Refuse files none of whose labels is a known landmark.

    Raises:
        ValueError: no label known; no frame with markers; a person smaller than 0.5 m or larger than 3.2 m.
    """
    found = sorted(set(find_landmarks(labels).values()))
    if not found:
        if not require_known:
            return
        shown = ", ".join(labels[:8]) + (" ..." if len(labels) > 8 else "")
        raise ValueError(
            f"{path}: marker labels: expected labels of a known marker set (such as LASI, L.ASIS or L_IAS; "
            f"see dataset/lab/landmarks.py), found {len(labels)} labels none of which is known: {shown}; "
            "rename the markers to one of these sets or pass require_known=False"
        )
    known = markers[:, found]
    seen = np.isfinite(known).all(axis=2)
    if not seen.any():
        raise ValueError(
            f"{path}: marker positions: expected finite positions, found only gaps in all {len(markers)} frames of the "
            f"{len(found)} known markers; export the reconstructed and gap-filled trajectories"
        )
    busy = np.flatnonzero(seen.sum(axis=1) >= min(3, len(found)))
    if len(busy) == 0 or len(found) < 4:
        return
    frames = known[busy[:: max(1, len(busy) // 20)]]
    spread = np.nanmax(frames, axis=1) - np.nanmin(frames, axis=1)
    extent = float(np.median(np.linalg.norm(spread, axis=1)))
    if not SMALLEST_PERSON <= extent <= LARGEST_PERSON:
        labelled = ", ".join(labels[index] for index in found[:6]) + (" ..." if len(found) > 6 else "")
        raise ValueError(
            f"{path}: unit of length: expected a person whose markers span {SMALLEST_PERSON} to {LARGEST_PERSON} m, "
            f"found {extent:.4g} m between the known ones ({labelled}) with the file's unit {unit}; {_advice(extent / scale)}"
        )


def _advice(numbers: float) -> str:
    """What to do about a person of a size that no person has, by the units in which the file's numbers would be one."""
    fitting = [name for name, scale in _UNITS.items() if SMALLEST_PERSON <= numbers * scale <= LARGEST_PERSON]
    looks = f" (the numbers look like {' or '.join(fitting)})" if fitting else ""
    return f"correct the unit in the file{looks}, or give a file with the markers of a whole person"


def check_frames(path: str, markers: np.ndarray, time: np.ndarray) -> tuple[str, ...]:
    """Refuse broken clocks and long stretches without any marker; describe what is merely incomplete.

    Args:
        path: File name for the error text.
        markers: Positions [m], shape (T, M, 3); NaN in gaps.
        time: Frame times [s], shape (T,).

    Returns:
        Notes for `LabTrial.notes`.

    Raises:
        ValueError: time not finite or not increasing; more than 0.2 s without any marker inside the trial.
    """
    if not np.isfinite(time).all():
        raise ValueError(
            f"{path}: time: expected finite times, found {int((~np.isfinite(time)).sum())} NaN, the "
            "first in "
            f"frame {int(np.flatnonzero(~np.isfinite(time))[0])}; repair the time column"
        )
    step = np.diff(time)
    if len(step) and (step <= 0).any():
        at = int(np.flatnonzero(step <= 0)[0])
        raise ValueError(
            f"{path}: time: expected strictly increasing times, found {time[at]:g} s followed by {time[at + 1]:g} s at "
            f"frame {at + 1}; remove the repeated frames or split the file into trials"
        )
    empty = ~np.any(np.isfinite(markers).all(axis=2), axis=1)
    if not empty.any():
        return ()
    period = float(np.median(step)) if len(step) else 0.01
    edge = np.concatenate([[False], empty, [False]]).astype(int)
    starts, stops = np.flatnonzero(np.diff(edge) == 1), np.flatnonzero(np.diff(edge) == -1)
    for start, stop in zip(starts, stops):
        if start > 0 and stop < len(time) and (stop - start) * period > 0.2:
            raise ValueError(
                f"{path}: marker positions: expected markers in every stretch of 0.2 s, found none from frame "
                f"{start} to "
                f"{stop - 1} ({(stop - start) * period:.2f} s); cut the file there or fill the gap in the capture "
                "software"
            )
    return (f"{int(empty.sum())} of {len(time)} frames hold no marker at all (first: frame {int(starts[0])}).",)
