"""C3D files: laboratory trials in and out (through ezc3d, which is imported only here).

What the reader decides is written into `LabTrial.notes`: units, up axis, dropped columns, plate signs.

Axis legend: T frames, M markers, P plates, K analog samples.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from dataset.lab.axes import UP_ROTATION, check_frames, check_person, detect_up_axis
from dataset.lab.c3d_extent import refuse_incomplete
from dataset.lab.c3d_plates import parameter_value, plates_to_world, read_plates
from dataset.lab.c3d_writer import write_c3d
from dataset.lab.force_platform import platform_axes
from dataset.schema import ForcePlate, LabTrial
from dataset.user_paths import require_file

_LENGTH: dict[str, float] = {"mm": 1e-3, "cm": 1e-2, "dm": 0.1, "m": 1.0, "": 1e-3}
_OUTPUT_SUFFIX = re.compile(r"(Angles?|Power|Force|Moment|Forces|Moments|GRF|AngleBelfast|Index|Height|LegLength)$")
_SCREEN = re.compile(r"^([+-]?)([XYZ])$")
logger = logging.getLogger(__name__)

__all__ = ["read_c3d", "write_c3d"]


def _output_labels(point: Any) -> set[str]:
    """Labels that the capture software lists as computed quantities (angles, forces, moments, powers, scalars)."""
    names: set[str] = set()
    for key in point:
        if re.fullmatch(r"(ANGLES|FORCES|MOMENTS|POWERS|SCALARS|MODELED_MARKERS)\d*", key) and "MODELED" not in key:
            names.update(str(label).strip() for label in (parameter_value(point, key, []) or []))
    return names


def _is_axis_point(label: str, labels: set[str]) -> bool:
    """True for the origin and axis tips of a segment, which Vicon's models write as points PELO, PELA, PELL, PELP."""
    return label[-1:] in "OALP" and len(label) == 4 and all(label[:3] + end in labels for end in "OALP")


def _choose_columns(labels: list[str], point: Any, seen: np.ndarray) -> tuple[list[int], list[str]]:
    outputs, names, keep, notes = _output_labels(point), set(labels), [], []
    dropped: dict[str, list[str]] = {
        "unlabelled": [],
        "model output": [],
        "without a single position": [],
        "repeated": [],
    }
    taken: set[str] = set()
    for index, label in enumerate(labels):
        bare = label.rsplit(":", 1)[-1]
        if not label or label.startswith("*") or re.fullmatch(r"U_?\d+|C_\d+|uname\*?\d*", label, re.IGNORECASE):
            dropped["unlabelled"].append(label)
        elif label in outputs or _OUTPUT_SUFFIX.search(bare) or _is_axis_point(bare, names):
            dropped["model output"].append(label)
        elif not seen[index]:
            dropped["without a single position"].append(label)
        elif bare in taken:
            dropped["repeated"].append(label)
        else:
            taken.add(bare)
            keep.append(index)
    for reason, items in dropped.items():
        if items:
            notes.append(
                f"Dropped {len(items)} columns ({reason}): {', '.join(label or '(blank)' for label in items[:6])}"
                f"{' ...' if len(items) > 6 else ''}."
            )
    return keep, notes


def _prefixes(labels: list[str]) -> set[str]:
    return {label.rsplit(":", 1)[0] for label in labels if ":" in label}


def _subject_measures(params: Any) -> tuple[float | None, float | None]:
    """(mass [kg], height [m]) from PROCESSING (Vicon), SUBJECT (label/value lists) or SUBJECTS; None where absent."""
    found: dict[str, float] = {}
    for group in ("PROCESSING", "SUBJECT", "SUBJECTS"):
        section = params.get(group)
        for name in () if section is None else section:
            key, value = name.lower(), parameter_value(section, name)
            if key in ("bodymass", "mass", "weight", "height", "bodyheight") and np.isscalar(np.ravel(value)[0]):
                try:
                    found.setdefault(
                        "mass" if key not in ("height", "bodyheight") else "height", float(np.ravel(value)[0])
                    )
                except (TypeError, ValueError):
                    continue
        names, values = parameter_value(section, "LABELS", []), parameter_value(section, "VALUES", [])
        for name, number in zip(names, values):
            key = str(name).strip().lower()
            if key in ("weight", "mass", "bodymass"):
                found.setdefault("mass", float(number))
            elif key == "height":
                found.setdefault("height", float(number))
    mass, height = found.get("mass"), found.get("height")
    if height is not None and height > 3.0:  # files count metres, centimetres or millimetres and do not say which
        height /= 100.0 if height < 300.0 else 1000.0
    return (mass if mass and mass > 0 else None), (height if height and height > 0 else None)


def _up_axis(
    path: str, point: Any, plates: list[ForcePlate], markers: np.ndarray, labels: list[str]
) -> tuple[str, str]:
    """(axis, source): from the markers, else the screen parameters, else the plates' normals, else z."""
    axis = detect_up_axis(markers, labels)
    if axis is not None:
        return axis, "feet and pelvis markers"
    screen = _SCREEN.match(str(parameter_value(point, "Y_SCREEN", [""])[0]).strip().upper())
    if screen:
        return ("-" if screen[1] == "-" else "") + screen[2].lower(), "POINT:Y_SCREEN"
    for plate in plates:
        if plate.corners is not None:
            normal = platform_axes(plate.corners)[0][:, 2]
            return "xyz"[int(np.argmax(np.abs(normal)))], "normal of the force plates"
    logger.debug("%s: no hint of the up axis, z assumed", path)
    return "z", "assumption"


def read_c3d(path: str | os.PathLike[str], *, require_known: bool = True) -> LabTrial:
    """Read a C3D file: markers, force plates and what the file says about the person.

    Markers: metres, world frame (z up); NaN where the residual is negative or the point exactly zero. The first frame
    has time 0. Plates: types 1 to 4, force and moment about the world origin, sign such that standing gives +z.

    Args:
        path: C3D file.
        require_known: Refuse files without a single known marker label (`dataset.lab.landmarks`).

    Returns:
        The trial; its `notes` say what was decided or dropped.

    Raises:
        ValueError: unreadable or empty file, no markers, unknown unit or labels, implausible size, broken plate
            parameters.
        FileNotFoundError: no such file.
    """
    import ezc3d

    name = os.fspath(path)
    refuse_incomplete(require_file(name, "a C3D trial"))
    try:
        content = ezc3d.c3d(name)
    except Exception as error:  # ezc3d raises bare C++ exceptions of many types
        raise ValueError(
            f"{name}: expected a readable C3D file, ezc3d found: {error}; export the trial again"
        ) from None
    params = content["parameters"]
    point = params["POINT"]
    points = np.asarray(content["data"]["points"][:3], dtype=float).transpose(2, 1, 0)
    labels = [
        str(label).strip()
        for key in ("LABELS", *sorted(k for k in point if re.fullmatch(r"LABELS\d+", k)))
        for label in parameter_value(point, key, [])
    ]
    labels = (labels + [""] * points.shape[1])[: points.shape[1]]
    if points.shape[0] == 0 or points.shape[1] == 0:
        raise ValueError(
            f"{name}: POINT data: expected frames with markers, found {points.shape[0]} frames of "
            f"{points.shape[1]} "
            "points; the file holds no trajectories, export them with the trial"
        )
    rate = float(np.ravel(parameter_value(point, "RATE", [content["header"]["points"]["frame_rate"]]))[0])
    if not rate > 0:
        raise ValueError(f"{name}: POINT:RATE: expected a positive rate in Hz, found {rate}; set it in the file")
    unit = str(parameter_value(point, "UNITS", [""])[0]).strip().lower()
    if unit not in _LENGTH:
        raise ValueError(f"{name}: POINT:UNITS: expected mm, cm, dm or m, found '{unit}'; set it in the file")
    notes = [] if unit else ["POINT:UNITS is missing: millimetres assumed."]
    residual = np.asarray(content["data"]["meta_points"]["residuals"], dtype=float)[0].T
    hidden = ~np.isfinite(points).all(axis=2) | (residual < 0) | (points == 0.0).all(axis=2)
    points = np.where(hidden[:, :, None], np.nan, points * _LENGTH[unit])
    keep, dropped = _choose_columns(labels, point, (~hidden).any(axis=0))
    if not keep:
        raise ValueError(
            f"{name}: POINT data: expected at least one labelled marker with a position, found "
            f"{len(labels)} columns "
            f"of which none qualifies ({' '.join(dropped).rstrip('.')}); reconstruct and label the trajectories"
        )
    prefixes = _prefixes([labels[index] for index in keep])
    markers = points[:, keep]
    kept = [labels[index].rsplit(":", 1)[-1] for index in keep]
    notes += [f"Removed the subject prefix {', '.join(sorted(prefixes))} from labels."] if prefixes else []
    notes += dropped
    said = unit or "mm (assumed: POINT:UNITS is missing)"
    check_person(name, markers, kept, unit=said, scale=_LENGTH[unit], require_known=require_known)
    time = np.arange(len(markers)) / rate
    plates = read_plates(name, content, _LENGTH[unit], notes)
    axis, source = _up_axis(name, point, plates, markers, kept)
    rot = UP_ROTATION[axis]
    notes += [] if axis == "z" else [f"Laboratory axis {axis} points up (from {source}): rotated to z up."]
    notes += check_frames(name, markers, time)
    mass, height = _subject_measures(params)
    return LabTrial(
        name=Path(name).stem,
        path=name,
        marker_names=tuple(kept),
        marker_rate=rate,
        time=time,
        markers=markers @ rot.T,
        rot_world_lab=rot,
        plates=plates_to_world(plates, rot, notes),
        mass=mass,
        height=height,
        notes=tuple(notes),
    )
