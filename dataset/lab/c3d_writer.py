"""Writing laboratory trials as C3D files (through ezc3d).

Axis legend: T frames, M markers, P plates, K analog samples.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np

from dataset.atomic import TEMPORARY_PREFIX, sync_folder
from dataset.lab.force_platform import platform_axes
from dataset.schema import ForcePlate, LabTrial


def _plate_corners(plate: ForcePlate) -> np.ndarray:
    """The plate's corners, or a square of 1 m around its centre of pressure where it has none (platform z down)."""
    if plate.corners is not None:
        return plate.corners
    loaded = plate.force[:, 2] > 20.0
    center = np.zeros(2)
    if loaded.any():
        fz = plate.force[loaded, 2]
        center = np.array([np.mean(-plate.moment[loaded, 1] / fz), np.mean(plate.moment[loaded, 0] / fz)])
    offset = np.array([[0.5, 0.5], [0.5, -0.5], [-0.5, -0.5], [-0.5, 0.5]])
    return np.column_stack([center + offset, np.zeros(4)])


def write_c3d(path: str | os.PathLike[str], trial: LabTrial) -> None:
    """Write markers and plates as a C3D file in the trial's own laboratory axes (millimetres, N, N·mm, type 2 plates).

    Gaps get a negative residual. Plates are resampled onto a whole number of analog samples a frame and stored as the
    force on the body. Atomic: a temporary file in the same folder is renamed.

    Args:
        path: File to write.
        trial: Markers in world axes; `rot_world_lab` gives the axes of the file.

    Raises:
        ValueError: no frames or no markers; plates with different rates.
    """
    import ezc3d

    target = Path(path)
    frames, count = trial.markers.shape[:2]
    if frames == 0 or count == 0:
        raise ValueError(f"{target}: trial.markers: expected frames with markers, found shape {trial.markers.shape}")
    rot = trial.rot_world_lab.T
    content = ezc3d.c3d()
    local = trial.markers @ rot.T * 1000.0
    hidden = ~np.isfinite(local.sum(axis=2))
    points = np.ones((4, count, frames))
    points[:3] = np.where(hidden[:, :, None], np.nan, local).transpose(2, 1, 0)
    content["data"]["points"] = points
    content["data"]["meta_points"]["residuals"] = np.where(hidden, -1.0, 0.0).T[None]
    content["data"]["meta_points"]["camera_masks"] = np.zeros((7, count, frames), dtype=bool)
    content["parameters"]["POINT"]["RATE"]["value"] = [float(trial.marker_rate)]
    content["parameters"]["POINT"]["LABELS"]["value"] = list(trial.marker_names)
    content["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    up = int(np.argmax(trial.rot_world_lab[2]))
    content.add_parameter("POINT", "X_SCREEN", ["+X" if up else "+Y"])
    content.add_parameter("POINT", "Y_SCREEN", ["+" + "XYZ"[up]])
    for key, value in (("Bodymass", trial.mass), ("Height", None if trial.height is None else trial.height * 1000.0)):
        if value is not None:
            content.add_parameter("PROCESSING", key, [float(value)])
    if trial.plates:
        _add_plates(content, trial, rot)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{target.stem}.c3d")
    try:
        content.write(str(temporary))
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _add_plates(content: Any, trial: LabTrial, rot: np.ndarray) -> None:
    rates = {plate.rate for plate in trial.plates}
    if len(rates) != 1:
        raise ValueError(f"trial.plates: expected one common rate, found {sorted(rates)} Hz; resample them first")
    ratio = max(1, round(rates.pop() / trial.marker_rate))
    grid = trial.time[0] + np.arange(trial.num_frames * ratio) / (ratio * trial.marker_rate)
    analogs, labels, all_corners = [], [], []
    for number, plate in enumerate(trial.plates, start=1):
        clock = trial.plate_start + np.arange(len(plate.force)) / plate.rate
        corners = _plate_corners(plate) @ rot.T
        axes, centre = platform_axes(corners)
        force = np.column_stack([np.interp(grid, clock, column) for column in plate.force.T]) @ rot.T
        moment = np.column_stack([np.interp(grid, clock, column) for column in plate.moment.T]) @ rot.T
        moment = moment - np.cross(np.broadcast_to(centre, force.shape), force)
        analogs += [*(force @ axes).T, *(moment @ axes * 1000.0).T]
        labels += [f"{kind}{axis}{number}" for kind in "FM" for axis in "xyz"]
        all_corners.append(corners.T * 1000.0)
    plates = len(trial.plates)
    content["data"]["analogs"] = np.asarray(analogs)[None]
    analog = content["parameters"]["ANALOG"]
    analog["RATE"]["value"] = [float(ratio * trial.marker_rate)]
    analog["LABELS"]["value"] = labels
    analog["UNITS"]["value"] = (["N"] * 3 + ["Nmm"] * 3) * plates
    group = content["parameters"]["FORCE_PLATFORM"]  # assigned in place: its parameters keep their integer types
    group["USED"]["value"] = np.array([plates])
    group["TYPE"]["value"] = np.full(plates, 2)
    group["ZERO"]["value"] = np.array([0, 0])
    group["CORNERS"]["value"] = np.stack(all_corners, axis=2)
    group["ORIGIN"]["value"] = np.zeros((3, plates))
    group["CHANNEL"]["value"] = np.arange(1, 6 * plates + 1).reshape(plates, 6).T
