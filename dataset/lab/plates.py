"""Force plates to feet: which foot stood on which plate, its measured wrench, and the frames that can be used.

A loaded stretch of a plate (vertical force above 20 N) belongs to the foot whose heel-toe line is nearest to the centre
of pressure; a stretch during which the other foot also touched the plate is ambiguous and rejected, as is a plate
contact whose beginning or end differs from the marker contact by more than 0.08 s (the foot was partly beside the
plate).

A frame is VALID where each foot either is loaded on its plate or swings with 0.03 s of margin, outside rejected
contacts and 0.08 s from the ends of the trial: then the plates measured everything that held the body.

Axis legend: T marker frames, K plate samples, F = 2 feet (left, right).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.lab.contact import FootContact, detect_contact, intervals, merge_short
from dataset.schema import ForcePlate, LabTrial

LOAD_THRESHOLD = 20.0
"""Vertical force above which a plate is loaded [N]."""
SWING_MARGIN = 0.03
"""A foot counts as swinging this long after and before its marker contact [s]."""
ONSET_TOLERANCE = 0.08
"""Largest difference of the beginning or end of plate and marker contact [s]."""
EDGE = 0.08
"""Dropped at both ends of a trial, where filters and splines lean on nothing [s]."""
SHARED_MARGIN = 0.05
"""A plate that both feet press is rejected this long before and after [s]."""
BESIDE_MARGIN, BESIDE_SHARE = 0.015, 0.3
"""A foot stands partly beside its plate where heel marker or toe tip is more than this outside [m] for more than
this share."""
FARTHEST_COP = 0.12
"""A stretch whose centre of pressure stays farther than this from both feet belongs to none [m]."""


@dataclass(frozen=True, kw_only=True)
class MeasuredFeet:
    """Measured ground reaction of both feet and where it can be trusted."""

    time: np.ndarray
    """Time of the plate samples [s] on the trial's clock, shape (K,)."""
    wrench: np.ndarray
    """Force [N] and moment about the world origin [N·m] of the ground on each foot, world, shape (K, F, 6)."""
    valid: np.ndarray
    """Marker frames whose forces are completely measured, shape (T,)."""
    contact: FootContact
    """Contacts told from the markers."""
    notes: tuple[str, ...]
    """Rejected stretches and why."""


def _distance_to_foot(point: np.ndarray, heel: np.ndarray, forefoot: np.ndarray) -> np.ndarray:
    """Horizontal distance of points (n, 2) to the line from 3 cm behind the heel to 8 cm before the forefoot marker."""
    axis = forefoot - heel
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    axis = axis / np.maximum(length, 1e-9)
    start, end = heel - 0.03 * axis, forefoot + 0.08 * axis
    along = np.clip(((point - start) * axis).sum(axis=1) / np.maximum((end - start) * axis, 1e-9).sum(axis=1), 0.0, 1.0)
    return np.linalg.norm(point - start - along[:, None] * (end - start), axis=1)


def _inside(point: np.ndarray, plate: ForcePlate, margin: float) -> np.ndarray:
    """True for horizontal points (n, 2) inside the plate's corners widened by `margin` [m]."""
    if plate.corners is None:
        return np.zeros(len(point), dtype=bool)
    corners = plate.corners[:, :2]
    x, y = corners[0] - corners[1], corners[0] - corners[3]
    offset = point - corners.mean(axis=0)
    lengths = np.linalg.norm(x), np.linalg.norm(y)
    return (np.abs(offset @ x) / lengths[0] < lengths[0] / 2 + margin) & (
        np.abs(offset @ y) / lengths[1] < lengths[1] / 2 + margin
    )


def _touches(plate: ForcePlate, contact: FootContact, frames: np.ndarray, foot: int) -> np.ndarray:
    """True at samples where a part of the foot is down inside the plate, shape (len(frames),)."""
    touching = np.zeros(len(frames), dtype=bool)
    for position, down in ((contact.heel_pos, contact.heel), (contact.forefoot_pos, contact.forefoot)):
        touching |= down[frames, foot] & _inside(position[frames, foot, :2], plate, 0.0)
    return touching


def _beside(plates: tuple[ForcePlate, ...], contact: FootContact, frames: np.ndarray, foot: int) -> float:
    """Share of a contact during which the heel marker or the toe tip is down outside all plates; 0 without corners.

    The toe tip lies ahead of the forefoot marker by 0.3 of the distance from heel to forefoot marker.
    """
    if len(frames) == 0 or any(plate.corners is None for plate in plates):
        return 0.0
    heel, fore = contact.heel_pos[frames, foot, :2], contact.forefoot_pos[frames, foot, :2]
    shares = []
    for point, down in ((heel, contact.heel), (fore + 0.3 * (fore - heel), contact.forefoot)):
        pressing = down[frames, foot] & np.isfinite(point.sum(axis=1))
        if pressing.sum() > 0.1 * len(frames):
            carried = np.any([_inside(point, plate, BESIDE_MARGIN) for plate in plates], axis=0)
            shares.append(float((pressing & ~carried).sum() / pressing.sum()))
    return max(shares, default=0.0)


def _stretch_distance(plate: ForcePlate, samples: slice, contact: FootContact, frames: np.ndarray) -> np.ndarray:
    """Median distance of a loaded stretch's centre of pressure to each foot while that foot is down [m], shape (F,)."""
    fz = plate.force[samples, 2]
    point = np.column_stack([-plate.moment[samples, 1], plate.moment[samples, 0]]) / np.maximum(fz, 1.0)[:, None]
    sure = fz > max(LOAD_THRESHOLD, 0.2 * fz.max())
    distance = np.full(2, np.inf)
    for foot in range(2):
        heel, fore = contact.heel_pos[frames, foot, :2], contact.forefoot_pos[frames, foot, :2]
        # A foot that is in the air cannot be the one that presses.
        down = np.isfinite((heel + fore).sum(axis=1)) & sure & contact.foot[frames, foot]
        if down.sum() >= 0.25 * sure.sum():
            distance[foot] = np.median(_distance_to_foot(point[down], heel[down], fore[down]))
    return distance


def _assign(
    trial: LabTrial, contact: FootContact
) -> tuple[np.ndarray, np.ndarray, list[tuple[float, float]], list[str]]:
    """Feet of the plates: clock (K,), wrench (K, F, 6), rejected stretches (start, stop) [s] and notes."""
    rate = trial.plates[0].rate
    count = min(len(plate.force) for plate in trial.plates)
    clock = trial.plate_start + np.arange(count) / rate
    wrench = np.zeros((count, 2, 6))
    rejected: list[tuple[float, float]] = []
    notes: list[str] = []
    frame_of = np.clip(np.round((clock - trial.time[0]) * trial.marker_rate).astype(int), 0, trial.num_frames - 1)
    for plate in trial.plates:
        loaded = merge_short(plate.force[:count, 2] > LOAD_THRESHOLD, max(2, round(0.03 * rate)))
        for start, stop in intervals(loaded):
            label = f"plate {plate.name} {clock[start]:.2f}-{clock[stop - 1]:.2f} s"
            frames = frame_of[start:stop]
            distance = _stretch_distance(plate, slice(start, stop), contact, frames)
            foot = int(np.argmin(distance))
            if distance[foot] > FARTHEST_COP:
                rejected.append((float(clock[start]), float(clock[stop - 1])))
                notes.append(f"Rejected {label}: no foot within {FARTHEST_COP} m of the centre of pressure.")
                continue
            owner = np.full(stop - start, foot)
            touching = np.stack([_touches(plate, contact, frames, side) for side in range(2)])
            if touching[1 - foot].sum() > SWING_MARGIN * rate:
                owner = np.where(touching[1 - foot] & ~touching[foot], 1 - foot, foot)
                shared = touching.all(axis=0)
                spread = np.ones(2 * round(SHARED_MARGIN * rate) + 1, dtype=int)
                shared = np.convolve(shared.astype(int), spread, mode="same") > 0
                change = np.flatnonzero(np.diff(owner)) + 1
                for at in change:  # one foot steps off as the other steps on: the moment itself belongs to neither
                    shared[max(0, at - len(spread) // 2) : at + len(spread) // 2 + 1] = True
                for low, high in intervals(shared):
                    rejected.append((float(clock[start + low]), float(clock[start + high - 1])))
                    notes.append(
                        f"Rejected {label}: both feet on the plate from {rejected[-1][0]:.2f} to "
                        f"{rejected[-1][1]:.2f} s."
                    )
            for side in range(2):
                beside = _beside(trial.plates, contact, frames[owner == side], side)
                if beside > BESIDE_SHARE:
                    low, high = np.flatnonzero(owner == side)[[0, -1]] + start
                    rejected.append((float(clock[low]), float(clock[high])))
                    notes.append(
                        f"Rejected {label}: the {('left', 'right')[side]} foot stands partly beside the plate "
                        f"({100 * beside:.0f} % of the contact)."
                    )
                mine = np.flatnonzero(owner == side) + start
                wrench[mine, side, :3] += plate.force[mine]
                wrench[mine, side, 3:] += plate.moment[mine]
    return clock, wrench, rejected, notes


def _foot_frames(
    trial: LabTrial, contact: FootContact, loaded: np.ndarray, foot: int, cut: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Frames at which the force on one foot is known, shape (T,), and a note for each rejected contact.

    Known are: the whole of a marker contact that a plate contact confirms, and swing `SWING_MARGIN` away from any
    marker contact that no plate saw. Beginnings and ends next to a rejected stretch (`cut`) are not compared.
    """
    frames, rate = trial.num_frames, trial.marker_rate
    tolerance, margin = round(ONSET_TOLERANCE * rate), round(SWING_MARGIN * rate)
    bad = np.zeros(frames, dtype=bool)
    unseen = contact.foot[:, foot].copy()
    notes, side = [], ("left", "right")[foot]
    marker = intervals(contact.foot[:, foot])

    def is_cut(frame: int) -> bool:
        return bool(cut[max(0, frame - margin) : frame + margin + 1].any())

    for start, stop in intervals(loaded):
        at = f"{side} foot {trial.time[start]:.2f}-{trial.time[stop - 1]:.2f} s"
        size, low, high = max(((min(stop, b) - max(start, a), a, b) for a, b in marker), default=(0, 0, 0))
        if size <= 0:
            bad[start:stop] = True
            notes.append(f"Rejected {at}: loaded plate without marker contact.")
            continue
        differs = (
            abs(start - low) > tolerance and min(start, low) > 0 and not is_cut(start),
            abs(stop - high) > tolerance and max(stop, high) < frames and not is_cut(stop),
        )
        if any(differs):
            bad[min(low, start) : max(high, stop)] = True
            notes.append(
                f"Rejected {at}: plate and marker contact differ by {start - low} and {stop - high} frames "
                "(partial strike)."
            )
        else:
            unseen[
                max(0, min(low, start) if not is_cut(start) else start) : max(high, stop) if not is_cut(stop) else stop
            ] = False
    known = np.isfinite((contact.heel_pos[:, foot] + contact.forefoot_pos[:, foot]).sum(axis=1))
    near = np.convolve(unseen.astype(int), np.ones(2 * margin + 1, dtype=int), mode="same") > 0
    return ~bad & (loaded | (known & ~near)), notes


def _frame_means(trial: LabTrial, clock: np.ndarray, wrench: np.ndarray) -> np.ndarray:
    """Vertical force of each foot averaged over one marker frame, shape (T, F); zero outside the plates' clock."""
    return window_mean(clock, wrench[:, :, 2], trial.time, 0.5 / trial.marker_rate)


def window_mean(clock: np.ndarray, values: np.ndarray, times: np.ndarray, half: float) -> np.ndarray:
    """Mean of a sampled signal over [t - half, t + half]: the integral of its linear interpolation over the window.

    Args:
        clock: Sample times [s], increasing, shape (K,).
        values: Samples, shape (K, ...).
        times: Centres of the windows [s], shape (T,).
        half: Half width of the window [s].

    Returns:
        Means, shape (T, ...); a window that leaves the clock is cut to it, one that lies outside gives NaN.
    """
    flat = values.reshape(len(clock), -1)
    steps = np.diff(clock)[:, None]
    integral = np.concatenate([np.zeros((1, flat.shape[1])), np.cumsum(0.5 * (flat[1:] + flat[:-1]) * steps, axis=0)])
    low, high = np.maximum(times - half, clock[0]), np.minimum(times + half, clock[-1])
    result = np.full((len(times), flat.shape[1]), np.nan)
    inside = high > low

    def area(at: np.ndarray) -> np.ndarray:
        index = np.clip(np.searchsorted(clock, at, side="right") - 1, 0, len(clock) - 2)
        rest = (at - clock[index])[:, None]
        slope = (flat[index + 1] - flat[index]) / (clock[index + 1] - clock[index])[:, None]
        return integral[index] + rest * (flat[index] + 0.5 * rest * slope)

    result[inside] = (area(high[inside]) - area(low[inside])) / (high - low)[inside, None]
    return result.reshape(len(times), *values.shape[1:])


def measure_feet(trial: LabTrial, contact: FootContact | None = None) -> MeasuredFeet:
    """Measured wrench of each foot and the valid frames of a trial.

    Args:
        trial: Trial with plates or foot wrenches.
        contact: Marker contacts; detected where not given.

    Returns:
        The measurement; see the module for what is rejected.

    Raises:
        ValueError: neither plates nor foot wrenches, plates with different rates, or missing foot markers.
    """
    if not trial.plates and trial.foot_wrench is None:
        raise ValueError(
            f"{trial.path}: forces: expected force plates or foot wrenches, found none; give the file with the forces"
        )
    if len({plate.rate for plate in trial.plates}) > 1:
        raise ValueError(
            f"{trial.path}: plates: expected one rate, found {sorted({p.rate for p in trial.plates})} Hz; resample"
        )
    contact = detect_contact(trial) if contact is None else contact
    rejected: list[tuple[float, float]] = []
    if trial.foot_wrench is not None:
        wrench, notes = trial.foot_wrench, []
        clock = trial.plate_start + np.arange(len(wrench)) / trial.foot_rate
    else:
        clock, wrench, rejected, notes = _assign(trial, contact)
    vertical = _frame_means(trial, clock, wrench)
    covered = np.isfinite(vertical.sum(axis=1))
    loaded = np.nan_to_num(vertical) > LOAD_THRESHOLD
    valid: np.ndarray = np.array(covered)
    cut = np.zeros(trial.num_frames, dtype=bool)
    for start, stop in rejected:
        cut |= (trial.time >= start - SWING_MARGIN) & (trial.time <= stop + SWING_MARGIN)
    for foot in range(2):
        good, more = _foot_frames(trial, contact, loaded[:, foot], foot, cut)
        valid &= good & ~cut
        notes += more
    edge = round(EDGE * trial.marker_rate)
    valid[:edge] = False
    valid[len(valid) - edge :] = False
    return MeasuredFeet(time=clock, wrench=wrench, valid=valid, contact=contact, notes=tuple(notes))


def center_of_pressure(wrench: np.ndarray, *, height: float = 0.0, lowest: float = LOAD_THRESHOLD) -> np.ndarray:
    """Centre of pressure: where the horizontal moment of a wrench vanishes on the plane z = height.

    cop = (height · Fx − My, height · Fy + Mx) / Fz.

    Args:
        wrench: Force and moment about the world origin, shape (..., 6).
        height: Height of the plane [m].
        lowest: Vertical force below which the result is NaN [N].

    Returns:
        Horizontal position [m], shape (..., 2).
    """
    fz = wrench[..., 2]
    safe = np.where(fz > lowest, fz, np.nan)
    x = (height * wrench[..., 0] - wrench[..., 4]) / safe
    y = (height * wrench[..., 1] + wrench[..., 3]) / safe
    return np.stack([x, y], axis=-1)
