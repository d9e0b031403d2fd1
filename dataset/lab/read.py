"""One entry point for laboratory trials: the reader is chosen by the file's ending."""

from __future__ import annotations

import os
from pathlib import Path

from dataset.lab.opensim import read_trc
from dataset.schema import LabTrial


def read_trial(
    path: str | os.PathLike[str], forces: str | os.PathLike[str] | None = None, *, require_known: bool = True
) -> LabTrial:
    """Read a laboratory trial.

    Args:
        path: Marker file: `.c3d` (with its own plates) or `.trc`.
        forces: Ground reaction forces in a MOT or STO file on the same clock and axes; replaces the plates of a C3D.
        require_known: Refuse files without a single known marker label.

    Returns:
        The trial in world axes (z up), SI units.

    Raises:
        ValueError: unknown ending, or whatever the format's reader refuses.
        FileNotFoundError: no such file.
    """
    ending = Path(path).suffix.lower()
    if ending == ".c3d":
        from dataset.lab.c3d import read_c3d

        trial = read_c3d(path, require_known=require_known)
    elif ending == ".trc":
        trial = read_trc(path, require_known=require_known)
    else:
        raise ValueError(f"{path}: ending: expected .c3d or .trc, found '{ending}'; convert the markers to one of them")
    if forces is None:
        return trial
    from dataset.lab.external_loads import read_forces

    return read_forces(forces, trial)
