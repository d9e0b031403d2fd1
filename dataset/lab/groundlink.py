"""GroundLink sequences as npz: measured force and centre of pressure per foot, and the authors' network's prediction.

Only the arrays `grf`, `cop` and `prediction` are read (no pickle). The files do not state the unit of force. Steady
hopping must average to one body weight, and the public sample averages to 0.62: kilonewton (63 kg, peaks of 3.3 body
weights), not body weights, and so it is read. z is up; positions are in metres.

Axis legend: T frames at 250 Hz, F = 2 feet (left, right).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from dataset.skeleton import GRAVITY

GROUNDLINK_RATE = 250.0
"""Frames per second [Hz] (Han et al. 2023, GroundLink)."""
NEWTON = 1000.0
"""Newton per unit of the files."""
_STRONGEST = 15.0
"""Forces above this [kN] mean that the file is in another unit."""


@dataclass(frozen=True, kw_only=True)
class GroundLinkSequence:
    """One sequence without its motion."""

    name: str
    """File stem."""
    time: np.ndarray
    """Time [s], shape (T,)."""
    grf: np.ndarray
    """Measured force on each foot [N], shape (T, F, 3)."""
    cop: np.ndarray
    """Measured centre of pressure [m], shape (T, F, 3)."""
    predicted_grf: np.ndarray
    """Force predicted by the authors' network [N], shape (T, F, 3); NaN where the file has none."""
    predicted_cop: np.ndarray
    """Centre of pressure predicted by the authors' network [m], shape (T, F, 3); NaN where the file has none."""

    @property
    def mass(self) -> float:
        """Mass that the measured forces carry on average [kg]; the person's where the body starts as it ends."""
        return float(self.grf[:, :, 2].sum(axis=1).mean()) / GRAVITY


def read_groundlink(path: str | os.PathLike[str]) -> GroundLinkSequence:
    """Read a GroundLink sequence.

    Args:
        path: npz file with `grf` (T, 2, 3), `cop` (T, 2, 3) and, optionally, `prediction` (T, 2, 6: position, then
            force).

    Returns:
        The sequence, left foot first.

    Raises:
        ValueError: no npz archive, missing arrays, object arrays, wrong shapes, NaN, or forces that cannot be
            kilonewton.
        FileNotFoundError: no such file.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file; expected a GroundLink npz")
    try:
        with np.load(source, allow_pickle=False) as archive:
            arrays = {
                key: np.asarray(archive[key], dtype=float) for key in ("grf", "cop", "prediction") if key in archive
            }
    except (BadZipFile, ValueError, OSError) as error:
        raise ValueError(
            f"{source}: expected an npz archive of plain arrays, found: {error}; convert the sequence without pickles"
        ) from None
    for key in ("grf", "cop"):
        have = arrays[key].shape if key in arrays else None
        if have is None or len(have) != 3 or have[1:] != (2, 3) or have[0] == 0:
            raise ValueError(f"{source}: {key}: expected shape (T, 2, 3), found {have}; export both feet in x, y, z")
    grf, cop = arrays["grf"], arrays["cop"]
    if len(grf) != len(cop) or not np.isfinite(grf).all():
        bad = int((~np.isfinite(grf)).any(axis=(1, 2)).sum())
        raise ValueError(
            f"{source}: grf: expected finite forces of {len(cop)} frames (as cop has), found {len(grf)} frames of "
            f"which {bad} "
            "hold NaN; export the sequence again"
        )
    if np.abs(grf).max() > _STRONGEST:
        raise ValueError(
            f"{source}: grf: expected kilonewton (at most {_STRONGEST}), found {np.abs(grf).max():.4g}; "
            "convert the forces"
        )
    prediction = arrays.get("prediction", np.full((len(grf), 2, 6), np.nan))
    if prediction.shape != (len(grf), 2, 6):
        raise ValueError(
            f"{source}: prediction: expected shape ({len(grf)}, 2, 6), found {prediction.shape}; leave it out"
        )
    return GroundLinkSequence(
        name=source.stem,
        time=np.arange(len(grf)) / GROUNDLINK_RATE,
        grf=NEWTON * grf,
        cop=cop,
        predicted_grf=NEWTON * prediction[:, :, 3:],
        predicted_cop=prediction[:, :, :3],
    )
