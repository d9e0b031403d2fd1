"""Force plates of a C3D file: FORCE_PLATFORM parameters and analog channels to wrenches on the body.

Axis legend: K analog samples, P plates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dataset.lab.force_platform import NUM_CHANNELS, platform_wrench
from dataset.schema import ForcePlate


def parameter_value(group: Any, name: str, default: Any = None) -> Any:
    """Value of a C3D parameter as an array or list; `default` where the group or the parameter is absent or empty."""
    if group is None or name not in group:
        return default
    value = group[name].get("value")  # a group's __METADATA__ entry has none
    return default if value is None or len(value) == 0 else value


def _channel_scale(unit: str) -> float:
    """SI value of one analog unit of a force channel."""
    unit = unit.strip().replace(".", "").replace("·", "").lower()
    return {"nmm": 1e-3, "ncm": 1e-2, "mm": 1e-3, "cm": 1e-2, "kn": 1e3}.get(unit, 1.0)


def read_plates(path: str, content: Any, scale: float, notes: list[str]) -> list[ForcePlate]:
    """Plates of a C3D file in laboratory axes, sign as stored.

    Args:
        path: File name for the error text.
        content: The ezc3d structure.
        scale: Metres per unit of length of the file.
        notes: Gets a sentence for every decision.

    Returns:
        Plates of types 1 to 4; others are named in `notes`.

    Raises:
        ValueError: incomplete or inconsistent FORCE_PLATFORM parameters, NaN in the analog data.
    """
    params = content["parameters"]
    group = params.get("FORCE_PLATFORM")
    used = int(np.ravel(parameter_value(group, "USED", [0]))[0])
    if used == 0:
        return []
    kinds = np.ravel(parameter_value(group, "TYPE", [])).astype(int)
    corners = np.asarray(parameter_value(group, "CORNERS", np.zeros((3, 4, 0))), dtype=float)
    origins = np.asarray(parameter_value(group, "ORIGIN", np.zeros((3, used))), dtype=float)
    channel = np.asarray(parameter_value(group, "CHANNEL", np.zeros((6, 0))), dtype=int)
    zero = np.ravel(parameter_value(group, "ZERO", [0, 0])).astype(int)[:2]
    matrices = np.asarray(parameter_value(group, "CAL_MATRIX", np.zeros(0)), dtype=float)
    analog = params["ANALOG"]
    units = [str(unit) for unit in parameter_value(analog, "UNITS", [])]
    names = [str(name) for name in parameter_value(analog, "LABELS", [])]
    rate = float(np.ravel(parameter_value(analog, "RATE", [0.0]))[0])
    samples = np.asarray(content["data"]["analogs"][0], dtype=float)
    plates = []
    for index in range(used):
        if index >= len(kinds) or index >= channel.shape[1] or corners.ndim != 3 or index >= corners.shape[2]:
            raise ValueError(
                f"{path}: FORCE_PLATFORM: expected TYPE, CHANNEL and CORNERS of {used} plates (USED), "
                "found "
                f"only {min(len(kinds), channel.shape[1])}; correct the group or set USED"
            )
        kind = int(kinds[index])
        if kind not in NUM_CHANNELS:
            notes.append(f"Plate {index + 1} has type {kind}, which is not read (types 1 to 4 are).")
            continue
        columns = channel[: NUM_CHANNELS[kind], index] - 1
        if (columns < 0).any() or (columns >= len(samples)).any():
            raise ValueError(
                f"{path}: FORCE_PLATFORM:CHANNEL of plate {index + 1}: expected channel numbers 1 to "
                f"{len(samples)}, found {(columns + 1).tolist()}; correct the channel list"
            )
        values = samples[columns].T.copy()
        if 0 < zero[0] < zero[1] <= len(values):
            values -= values[zero[0] - 1 : zero[1]].mean(axis=0)
            notes.append(
                f"Plate {index + 1}: subtracted the mean of samples {zero[0]} to {zero[1]} (FORCE_PLATFORM:ZERO)."
            )
        if kind != 4:
            values *= [_channel_scale(units[column]) if column < len(units) else 1.0 for column in columns]
        matrix = matrices[:, :, index] if matrices.ndim == 3 and index < matrices.shape[2] else None
        if kind == 4 and matrix is not None:
            matrix = matrix * np.array([1.0, 1.0, 1.0, scale, scale, scale])[:, None]
        here, origin = corners[:, :, index].T * scale, origins[:, index] * scale
        try:
            force, moment = platform_wrench(kind, values, here, origin, matrix)
        except ValueError as error:
            raise ValueError(
                f"{path}: FORCE_PLATFORM plate {index + 1}: {error}; correct the group's parameters"
            ) from None
        if not np.isfinite(force).all() or not np.isfinite(moment).all():
            bad = int(np.flatnonzero(~np.isfinite(force + moment).all(axis=1))[0])
            raise ValueError(
                f"{path}: analog data of plate {index + 1}: expected finite values, found NaN at sample "
                f"{bad}; "
                "export the trial again"
            )
        name = names[columns[0]] if columns[0] < len(names) else f"plate {index + 1}"
        plates.append(ForcePlate(rate=rate, force=force, moment=moment, corners=here, name=name))
    return plates


def plates_to_world(plates: list[ForcePlate], rot: np.ndarray, notes: list[str]) -> tuple[ForcePlate, ...]:
    """Plates in world axes with the sign that makes standing push the body up."""
    sign = 1.0
    lift = sum(float((plate.force @ rot.T)[:, 2].sum()) for plate in plates)
    if lift < 0:
        sign = -1.0
        notes.append("Plates stored the force of the body on the plate: negated to the force on the body.")
    return tuple(
        ForcePlate(
            rate=plate.rate,
            force=sign * plate.force @ rot.T,
            moment=sign * plate.moment @ rot.T,
            corners=None if plate.corners is None else plate.corners @ rot.T,
            name=plate.name,
        )
        for plate in plates
    )
