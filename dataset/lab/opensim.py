"""OpenSim text files: TRC marker trajectories and MOT/STO storages.

TRC and storages are text with Y up in most laboratories; the reader rotates markers to the world (z up) and keeps the
file's own clock. Force storages are understood in `dataset.lab.external_loads`.

Axis legend: T frames, M markers, C columns.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset.atomic import write_text
from dataset.lab.axes import UP_ROTATION, check_frames, check_person, detect_up_axis
from dataset.schema import LabTrial
from dataset.user_paths import require_file

_LENGTH: dict[str, float] = {"mm": 1e-3, "cm": 1e-2, "m": 1.0}


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A MOT or STO table."""

    path: str
    """File it was read from."""
    labels: tuple[str, ...]
    """Column labels without `time`, length C."""
    time: np.ndarray
    """Time [s], shape (T,)."""
    values: np.ndarray
    """Columns in the file's own units and axes, shape (T, C)."""
    in_degrees: bool = False
    """True where the header says inDegrees=yes (angles only)."""
    notes: tuple[str, ...] = ()
    """What did not agree inside the file."""


def _rows(path: Path, lines: Sequence[str], first: int, width: int, what: str) -> np.ndarray:
    """Numbers of the data lines, shape (rows, width); an empty field is NaN (a gap)."""
    rows = np.full((len(lines), width), np.nan)
    for row, line in enumerate(lines):
        fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
        while len(fields) > width and not fields[-1].strip():
            fields.pop()
        if len(fields) > width:
            raise ValueError(
                f"{path}: line {first + row}: expected at most {width} {what}, found {len(fields)}; "
                "the header does not describe the table, export the file again"
            )
        for column, text in enumerate(fields):
            text = text.strip()
            if text:
                try:
                    rows[row, column] = float(text)
                except ValueError:
                    raise ValueError(
                        f"{path}: line {first + row}, column {column + 1}: expected a number, "
                        f"found '{text}'; "
                        "correct the cell or leave it empty for a gap"
                    ) from None
    return rows


def read_storage(path: str | os.PathLike[str]) -> Storage:
    """Read a MOT or STO table.

    Args:
        path: Text file with a header that ends in `endheader`, a line of labels, then one line a frame.

    Returns:
        The table in the file's own units; header counts that disagree with the table are named in `notes`.

    Raises:
        ValueError: no `endheader`, no `time` column, no rows, a cell that is no number, non-increasing or NaN time.
        FileNotFoundError: no such file.
    """
    source = Path(path)
    require_file(source, "an OpenSim MOT or STO table")
    lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
    ends = [index for index, line in enumerate(lines[:200]) if line.strip().lower() == "endheader"]
    if not ends or ends[0] + 1 >= len(lines):
        raise ValueError(
            f"{source}: header: expected a line 'endheader' followed by labels, found none in the first "
            f"{min(200, len(lines))} lines; is this an OpenSim MOT or STO file?"
        )
    header: dict[str, str] = {}
    for line in lines[: ends[0]]:
        parts = line.replace("=", " ").split()
        if len(parts) >= 2:
            header[parts[0].lower()] = parts[1]
    labels = lines[ends[0] + 1].split()
    if not labels or labels[0].lower() != "time":
        raise ValueError(f"{source}: column labels: expected 'time' first, found {labels[:3]}; add the time column")
    body = [line for line in lines[ends[0] + 2 :] if line.strip()]
    if not body:
        raise ValueError(
            f"{source}: table: expected at least one row after the labels, found none; export the file again"
        )
    table = _rows(source, body, ends[0] + 3, len(labels), "columns")
    notes = []
    for key, have in (("nrows", len(body)), ("ncolumns", len(labels))):
        if key in header and header[key].isdigit() and int(header[key]) != have:
            notes.append(f"Header of {source.name} says {key}={header[key]}, the table has {have}: the table is used.")
    time = table[:, 0]
    check_frames(str(source), np.zeros((len(time), 1, 3)), time)
    return Storage(
        path=str(source),
        labels=tuple(labels[1:]),
        time=time,
        values=table[:, 1:],
        in_degrees=header.get("indegrees", "no").lower() == "yes",
        notes=tuple(notes),
    )


def write_storage(path: str | os.PathLike[str], time: np.ndarray, labels: Sequence[str], values: np.ndarray) -> None:
    """Write a MOT or STO table, atomically.

    Args:
        path: File to write.
        time: Time [s], shape (T,).
        labels: Column labels, length C.
        values: Columns, shape (T, C).

    Raises:
        ValueError: shapes that do not agree.
    """
    if values.shape != (len(time), len(labels)):
        raise ValueError(f"values: expected shape ({len(time)}, {len(labels)}), got {values.shape}")
    head = [
        Path(path).stem,
        "version=1",
        f"nRows={len(time)}",
        f"nColumns={len(labels) + 1}",
        "inDegrees=no",
        "endheader",
        "\t".join(["time", *labels]),
    ]
    rows = ["\t".join(f"{value:.8g}" for value in row) for row in np.column_stack([time, values])]
    write_text(Path(path), "\n".join(head + rows) + "\n")


def read_trc(path: str | os.PathLike[str], *, require_known: bool = True) -> LabTrial:
    """Read a TRC file of marker trajectories.

    Args:
        path: TRC text file.
        require_known: Refuse files without a single known marker label (`dataset.lab.landmarks`).

    Returns:
        The trial, metres, world frame (z up), on the file's own clock; empty cells, NaN and exact zeros are gaps.

    Raises:
        ValueError: broken header, unknown unit, no markers or rows, broken clock, unknown labels, implausible size.
        FileNotFoundError: no such file.
    """
    source = Path(path)
    require_file(source, "a TRC trial")
    lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
    header = _trc_header(source, lines)
    unit = header["units"].lower()
    labels = [label.strip() for label in lines[3].split("\t")[2:] if label.strip()]
    body = [line for line in lines[5:] if line.strip()]
    if not labels or not body:
        raise ValueError(
            f"{source}: table: expected markers and rows, found {len(labels)} markers (labels apart by tabs) and "
            f"{len(body)} rows; the file holds no trajectories, export the trial as TRC again"
        )
    first = next(index for index in range(5, len(lines)) if lines[index].strip()) + 1
    table = _rows(source, body, first, 2 + 3 * len(labels), "columns (frame, time, 3 a marker)")
    notes = _compare_counts(source, header, body, labels)
    time = table[:, 1]
    points = table[:, 2:].reshape(len(body), len(labels), 3) * _LENGTH[unit]
    points = np.where((points == 0.0).all(axis=2, keepdims=True), np.nan, points)
    names = [label.rsplit(":", 1)[-1] for label in labels]
    if len(set(names)) != len(names):
        twice = sorted({label for label in names if names.count(label) > 1})
        raise ValueError(
            f"{source}: marker labels: expected each label once, found {', '.join(twice)} repeated; rename them"
        )
    if names != labels:
        notes.append("Removed the subject prefix from labels.")
    check_person(str(source), points, names, unit=unit, scale=_LENGTH[unit], require_known=require_known)
    notes += check_frames(str(source), points, time)
    axis = detect_up_axis(points, names)
    if axis is None:
        axis = "y"
        notes.append("No up axis could be told from the markers: Y up assumed, as OpenSim has it.")
    else:
        notes += (
            []
            if axis == "z"
            else [f"Laboratory axis {axis} points up (from feet and pelvis markers): rotated to z up."]
        )
    rate = _marker_rate(source, header, time, notes)
    rot = UP_ROTATION[axis]
    return LabTrial(
        name=source.stem,
        path=str(source),
        marker_names=tuple(names),
        marker_rate=rate,
        time=time,
        markers=points @ rot.T,
        rot_world_lab=rot,
        notes=tuple(notes),
    )


def _trc_header(source: Path, lines: Sequence[str]) -> dict[str, str]:
    """Fields of the second and third line by lower-case name; refuses what is no TRC file or names no unit."""
    if len(lines) < 6 or "Frame" not in lines[3]:
        fourth = f", the fourth '{lines[3].strip()[:30]}'" if len(lines) > 3 else ""
        raise ValueError(
            f"{source}: header: expected the five header lines of a TRC file (the fourth begins with Frame#), found "
            f"{len(lines)} lines{fourth}; export the trial as TRC again"
        )
    keys, values = lines[1].split(), lines[2].split()
    if len(values) < len(keys):  # an empty cell: only the tabs tell which
        keys, values = ([cell.strip() for cell in line.split("\t")] for line in lines[1:3])
    header = dict(zip((key.lower() for key in keys), values))
    unit = header.setdefault("units", "")
    if unit.lower() not in _LENGTH:
        raise ValueError(f"{source}: Units: expected mm, cm or m, found '{unit}'; set it in the third line")
    return header


def _compare_counts(source: Path, header: dict[str, str], body: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Notes on counts of the header that the table does not have; refuses a table that is shorter or narrower."""
    said = {key: int(header[key]) for key in ("numframes", "nummarkers") if header.get(key, "").isdigit()}
    frames, markers = said.get("numframes", len(body)), said.get("nummarkers", len(labels))
    if frames > len(body):
        raise ValueError(
            f"{source}: table: expected {frames} rows as NumFrames says, found {len(body)}; the file is cut: copy or export it "
            "again, or correct NumFrames"
        )
    widest = max(len(line.rstrip("\r\n").split("\t")) if "\t" in line else len(line.split()) for line in body)
    if markers != len(labels) and widest <= 2 + 3 * (len(labels) - 1):
        raise ValueError(
            f"{source}: marker labels: expected one for each of {markers} markers (NumMarkers; {widest} columns), found "
            f"{len(labels)}; the labels do not belong to the columns, export the trial as TRC again"
        )
    counts = (("NumFrames", frames, len(body)), ("NumMarkers", markers, len(labels)))
    return [
        f"Header says {key}={told}, the table has {have}: the table is used."
        for key, told, have in counts
        if told != have
    ]


def _marker_rate(source: Path, header: dict[str, str], time: np.ndarray, notes: list[str]) -> float:
    """Rate of the time column; the header's where there is a single frame."""
    try:
        said = float(header.get("datarate", "0"))
    except ValueError:
        said = 0.0
    if len(time) > 1:
        rate = (len(time) - 1) / float(time[-1] - time[0])
        if said > 0 and abs(said / rate - 1.0) > 0.01:
            notes.append(
                f"Header says DataRate={said:g} Hz, the time column runs at {rate:.4g} Hz: the time column is used."
            )
            return rate
        return said if said > 0 else rate
    if said > 0:
        return said
    raise ValueError(
        f"{source}: DataRate: expected a positive rate for a single frame, found '{header.get('datarate', '')}'"
    )


def write_trc(path: str | os.PathLike[str], trial: LabTrial) -> None:
    """Write the markers of a trial as TRC in its own laboratory axes, metres, atomically; gaps are empty cells.

    Args:
        path: File to write.
        trial: Markers in world axes; `rot_world_lab` gives the axes of the file.
    """
    local = trial.markers @ trial.rot_world_lab  # row vectors: multiplies by the transpose, world to laboratory
    frames, count = local.shape[:2]
    rate = f"{trial.marker_rate:g}"
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{Path(path).name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{frames}\t{count}\tm\t{rate}\t1\t{frames}",
        "Frame#\tTime\t" + "\t\t\t".join(trial.marker_names) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{index}" for index in range(1, count + 1) for axis in "XYZ"),
        "",
    ]
    for frame in range(frames):
        cells = ["" if not np.isfinite(value) else f"{value:.7f}" for value in local[frame].ravel()]
        lines.append("\t".join([str(frame + 1), f"{trial.time[frame]:.8g}", *cells]))
    write_text(Path(path), "\n".join(lines) + "\n")
