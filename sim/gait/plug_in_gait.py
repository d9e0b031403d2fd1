"""Joint moments that Plug-in Gait (or a model of its labels) left in a C3D, by our coordinate names.

Axis legend: T frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

_MOMENTS = {
    "hip_flexion": ("HipMoment", 0), "hip_adduction": ("HipMoment", 1), "knee_angle": ("KneeMoment", 0),
    "ankle_angle": ("AnkleMoment", 0),
}  # fmt: skip


def plug_in_gait_moments(path: Path, mass: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Moments of a C3D's model output [N·m], and their times [s]; empty where there is none.

    Plug-in Gait stores internal moments per mass (N·mm/kg) with extension, abduction and plantarflexion positive: the
    opposite of ours.

    Args:
        path: C3D file.
        mass: Body mass [kg].
    """
    import ezc3d

    file = ezc3d.c3d(str(path))
    point = file["parameters"]["POINT"]
    points = file["data"]["points"]
    labels: list[str] = list(point["LABELS"]["value"])
    for extra in ("LABELS2", "LABELS3"):
        labels += list(point[extra]["value"]) if extra in point else []
    names = [label.rsplit(":", 1)[-1] for label in labels]
    rate = float(point["RATE"]["value"][0])
    found = {}
    for coordinate, (label, axis) in _MOMENTS.items():
        for side in "lr":
            if side.upper() + label in names:
                values = -1e-3 * mass * points[axis, names.index(side.upper() + label)]
                found[f"{coordinate}_{side}"] = np.where(values == 0.0, np.nan, values)
    return found, np.arange(points.shape[2]) / rate
