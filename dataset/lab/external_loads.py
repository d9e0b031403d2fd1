"""Ground reaction forces in OpenSim storages (external loads), in the several spellings of their columns.

Spellings read: `ground_force_vx` / `1_ground_force_vx` (Gait2392), `ground_force_1_vx` with `ground_force_1_mx` or
`ground_torque_1_x` (Moco, AddBiomechanics), `ground_force_r_vx`, `R_ground_force_vx`. Where the key says left or right
the wrench belongs to that foot; otherwise it is a plate and the foot is told from the markers (`dataset.lab.plates`).

Axis legend: T samples, F = 2 feet (left, right).
"""

from __future__ import annotations

import dataclasses
import os
import re

import numpy as np

from dataset.lab.axes import UP_ROTATION
from dataset.lab.opensim import Storage, read_storage, write_storage
from dataset.schema import ForcePlate, LabTrial

_COLUMN = re.compile(
    r"^(?:(?P<before>[A-Za-z0-9]+)_)?ground_(?P<kind>force|torque|moment)_?(?:(?P<after>[A-Za-z0-9]+)_)?"
    r"(?P<what>[vpm]?)(?P<axis>[xyz])$",
    re.IGNORECASE,
)
_LEFT, _RIGHT = {"l", "left", "calcnl", "lfoot"}, {"r", "right", "calcnr", "rfoot"}
_FARTHEST_POINT = 20.0
"""Centres of pressure beyond this distance from the origin [m] must be millimetres."""


def _groups(storage: Storage) -> dict[str, dict[str, np.ndarray]]:
    """Key (plate or foot) -> {v, p, m} -> (T, 3)."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for index, label in enumerate(storage.labels):
        match = _COLUMN.match(label)
        if match is None:
            continue
        key = (match["before"] or match["after"] or "").lower()
        what = match["what"].lower() if match["kind"].lower() == "force" else "m"
        if what == "":
            what = "v"
        block = groups.setdefault(key, {}).setdefault(what, np.full((len(storage.time), 3), np.nan))
        block[:, "xyz".index(match["axis"].lower())] = storage.values[:, index]
    return groups


def read_forces(path: str | os.PathLike[str], trial: LabTrial) -> LabTrial:
    """The trial with the plates or foot wrenches of an external-loads file added.

    The wrench about the world origin is F and p × F + m with p the point and m the torque of the file, rotated by the
    trial's own `rot_world_lab` (the force file shares the axes of the marker file).

    Args:
        path: MOT or STO file with `ground_force_*` columns.
        trial: Trial read from the markers of the same recording, on the same clock.

    Returns:
        A copy of the trial with `foot_wrench` where every force names its foot, `plates` otherwise.

    Raises:
        ValueError: no force columns, incomplete columns, NaN, no overlap in time with the markers.
    """
    storage = read_storage(path)
    groups = _groups(storage)
    name = storage.path
    if not groups:
        raise ValueError(
            f"{name}: columns: expected ground_force_*_vx ... columns, found {list(storage.labels[:6])}; "
            "give the file with the ground reaction forces"
        )
    if storage.time[-1] < trial.time[0] or storage.time[0] > trial.time[-1]:
        raise ValueError(
            f"{name}: time: expected an overlap with the markers' {trial.time[0]:g} to "
            f"{trial.time[-1]:g} s, "
            f"found {storage.time[0]:g} to {storage.time[-1]:g} s; give the forces of the "
            "same trial"
        )
    notes = list(storage.notes)
    storage, rate, added = _evenly_sampled(storage)
    notes += added
    groups = _groups(storage)
    rot = _axes_of_forces(groups, trial.rot_world_lab, notes)
    wrenches: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for key, block in groups.items():
        if set(block) - {"m"} != {"v", "p"} or not all(np.isfinite(part).all() for part in block.values()):
            raise ValueError(
                f"{name}: force '{key or 'ground_force'}': expected finite columns v, p (and m) with "
                "x, y, z each, "
                f"found {sorted(block)} (or NaN in them); export the complete wrench"
            )
        force, point, torque = block["v"], block["p"], block.get("m", np.zeros_like(block["v"]))
        loaded = np.linalg.norm(force, axis=1) > 20.0
        far = np.abs(point[loaded]).max() if loaded.any() else 0.0
        if far > _FARTHEST_POINT:
            point, torque = point * 1e-3, torque * 1e-3
            notes.append(f"Points of force '{key}' reach {far:.0f}: millimetres and N·mm taken.")
        force, point, torque = force @ rot.T, point @ rot.T, torque @ rot.T
        wrenches[key] = (force, np.cross(point, force) + torque)
    _check_lift(name, wrenches)
    sides = {key: "l" if key in _LEFT else "r" if key in _RIGHT else "" for key in wrenches}
    shared = {"plate_start": float(storage.time[0]), "notes": (*trial.notes, *notes)}
    if sorted(sides.values()) == ["l", "r"]:
        order = sorted(wrenches, key=lambda key: sides[key])
        feet = np.stack([np.concatenate(wrenches[key], axis=1) for key in order], axis=1)
        return dataclasses.replace(trial, foot_wrench=feet, foot_rate=rate, **shared)
    plates = tuple(
        ForcePlate(rate=rate, force=force, moment=moment, name=key or "ground_force")
        for key, (force, moment) in wrenches.items()
    )
    return dataclasses.replace(trial, plates=plates, **shared)


def _evenly_sampled(storage: Storage) -> tuple[Storage, float, list[str]]:
    """The storage on an even clock, its rate [Hz] and a note if rows had to be interpolated."""
    steps = np.diff(storage.time)
    step = float(np.median(steps))
    if len(steps) == 0 or steps.max() > 0.05:
        found = steps.max() if len(steps) else 0.0
        raise ValueError(
            f"{storage.path}: time: expected rows without a gap above 0.05 s, found {len(storage.time)} "
            "rows with a "
            f"gap of {found:g} s; export the forces again"
        )
    even = storage.time[0] + step * np.arange(round((storage.time[-1] - storage.time[0]) / step) + 1)
    rate = 1.0 / step
    if len(even) == len(storage.time):  # rounding of the printed times only
        span = float(storage.time[-1] - storage.time[0])
        return storage, (len(even) - 1) / span, []
    values = np.column_stack([np.interp(even, storage.time, column) for column in storage.values.T])
    note = f"{storage.path}: {len(storage.time)} rows are unevenly spaced: interpolated to {rate:g} Hz."
    return dataclasses.replace(storage, time=even, values=values), rate, [note]


def _axes_of_forces(groups: dict[str, dict[str, np.ndarray]], rot: np.ndarray, notes: list[str]) -> np.ndarray:
    """The marker file's rotation, or OpenSim's (y up) where only that makes the forces lift the body."""
    total = np.sum([block["v"].sum(axis=0) for block in groups.values() if "v" in block], axis=0)
    size = np.linalg.norm(total)
    if (rot @ total)[2] < 0.5 * size <= (UP_ROTATION["y"] @ total)[2] / 0.6:
        notes.append("The force file has Y up where the marker file has not: rotated by 90 degrees about x.")
        return UP_ROTATION["y"]
    return rot


def _check_lift(name: str, wrenches: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    total = np.sum([force for force, _ in wrenches.values()], axis=0).sum(axis=0)
    if total[2] <= 0 or total[2] < 0.5 * np.linalg.norm(total):
        raise ValueError(
            f"{name}: force columns: expected forces that push the body up on average, found a mean direction of "
            f"{np.round(total / max(np.linalg.norm(total), 1e-12), 2).tolist()} in world axes (z up); the sign "
            "or the axes "
            "of the force file differ from those of the marker file"
        )


def write_grf_mot(
    path: str | os.PathLike[str],
    time: np.ndarray,
    grf_TF3: np.ndarray,
    cop_TF2: np.ndarray,
    free_moment_TF: np.ndarray,
    *,
    floor: float = 0.0,
    rot_world_lab: np.ndarray | None = None,
) -> None:
    """Write the wrenches of both feet as an OpenSim external-loads storage.

    Columns are `ground_force_r_vx`, `ground_force_r_px`, `ground_torque_r_x` and so on, then the same for `l`.

    Args:
        path: File to write, atomically.
        time: Time [s], shape (T,).
        grf_TF3: Force on each foot [N], world, (left, right), shape (T, 2, 3).
        cop_TF2: Centre of pressure on the floor [m], world, shape (T, 2, 2); NaN where undefined (written as the
            nearest defined point with zero force).
        free_moment_TF: Vertical moment about the centre of pressure [N·m], shape (T, 2).
        floor: Height of the floor [m], world: that of every point of the file.
        rot_world_lab: Axes of the file; default Y up, X forward, as OpenSim has it.
    """
    rot = UP_ROTATION["y"] if rot_world_lab is None else rot_world_lab
    labels, columns = [], []
    for foot, side in ((1, "r"), (0, "l")):
        point = np.full((len(time), 3), [0.0, 0.0, floor])
        known = np.isfinite(cop_TF2[:, foot].sum(axis=1))
        for axis in range(2):
            if known.any():
                point[:, axis] = np.interp(time, time[known], cop_TF2[known, foot, axis])
        force = np.where(known[:, None], grf_TF3[:, foot], 0.0)
        torque = np.column_stack([np.zeros((len(time), 2)), np.where(known, free_moment_TF[:, foot], 0.0)])
        for kind, values in (
            (f"ground_force_{side}_v", force),
            (f"ground_force_{side}_p", point),
            (f"ground_torque_{side}_", torque),
        ):
            labels += [kind + axis for axis in "xyz"]
            columns.append(values @ rot)
    write_storage(path, time, labels, np.concatenate(columns, axis=1))
