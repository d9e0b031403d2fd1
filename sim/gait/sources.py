"""What an expert is made of: a body, its poses over a trial and the forces that were measured with them.

From inverse kinematics, the OpenSim body frames are followed; from markers, the body is built from a static trial (or the trial
itself) and fitted. Both end in the same place, and both name their residuals.

Axis legend: T frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataset.lab.axes import UP_ROTATION
from dataset.lab.external_loads import read_forces
from dataset.lab.opensim import Storage, read_storage
from dataset.lab.osim import read_osim
from dataset.schema import LabTrial
from sim.gait.body import GaitBody
from sim.gait.fit_pose import fit_poses, segment_rms
from sim.gait.kinematics import place
from sim.gait.osim_body import body_from_osim
from sim.gait.osim_pose import followed_points
from sim.gait.segments import COORDINATES, FEET

_MARKER_HEIGHT = 0.03
_PELVIS_MARKERS = np.array([[0.08, 0.12, 0.08], [0.08, -0.12, 0.08]])


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A trial as the gait model sees it, before any filter."""

    name: str
    """Name of the trial."""
    body: GaitBody
    """The person."""
    trial: LabTrial
    """Markers (or points that stand for them) and forces, world."""
    qpos: np.ndarray
    """Poses at the trial's frames, shape (T, 24)."""
    segment_error: np.ndarray
    """Root mean square distance between the model's points and the measured ones, per segment [m], shape (8,)."""
    error: float
    """The same over all points [m]."""
    shipped: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Joint moments that came with the data [N·m] by our coordinate names, on `shipped_time`."""
    shipped_time: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Times of the shipped moments [s]."""
    shipped_by: str = ""
    """Who computed them."""
    notes: tuple[str, ...] = ()
    """What was decided or repaired on the way."""


def measure_from_coordinates(
    coordinates: Path, model: Path, forces: Path, moments: Path | None = None, mass: float | None = None
) -> Measured:
    """A trial of inverse kinematics with its scaled model and forces.

    Args:
        coordinates: Inverse kinematics (`.mot`, `.sto`).
        model: The scaled `.osim` that they belong to.
        forces: External loads on the same clock.
        moments: Inverse dynamics that came with the trial; None for none.
        mass: Body mass [kg] that the model's masses are scaled to; None for the model's own.

    Raises:
        ValueError: whatever the readers refuse; no column of moments that the gait model has.
    """
    from sim.gait.body import rescaled

    osim, storage = read_osim(model), read_storage(coordinates)
    body = body_from_osim(osim)
    body = body if mass is None else rescaled(body, mass)
    points = followed_points(osim, body, storage)
    fit = fit_poses(body, points.segment, points.local, points.world)
    trial = _trial_of_poses(coordinates, storage, body, fit.qpos)
    trial = read_forces(forces, trial)
    shipped, time = ({}, np.zeros(0)) if moments is None else shipped_moments(moments)
    return Measured(
        name=f"{model.parent.name}/{coordinates.stem}", body=body, trial=trial, qpos=fit.qpos,
        segment_error=segment_rms(fit, points.segment), error=fit.rms, shipped=shipped, shipped_time=time,
        shipped_by="" if moments is None else moments.name, notes=(*storage.notes, *body.notes, *trial.notes),
    )  # fmt: skip


def _trial_of_poses(path: Path, storage: Storage, body: GaitBody, qpos: np.ndarray) -> LabTrial:
    """Heel, toe and pelvis points of the model as markers, so that forces find their feet as in any other trial."""
    placement = place(body, qpos)
    names, paths = [], []
    for foot, segment in enumerate(FEET):
        sole = body.soles[foot]
        for name, along in (("HEE", -0.5), ("TOE", 0.2)):
            local = sole.center + np.array([along * sole.foot_length, 0.0, _MARKER_HEIGHT])
            names.append("LR"[foot] + name)
            paths.append(placement.points(np.array([segment]), local[None])[:, 0])
    for name, local in zip(("LASI", "RASI"), _PELVIS_MARKERS):
        names.append(name)
        paths.append(placement.points(np.array([0]), local[None])[:, 0])
    rate = (len(storage.time) - 1) / float(storage.time[-1] - storage.time[0])
    return LabTrial(
        name=path.stem, path=str(path), marker_names=tuple(names), marker_rate=rate, time=storage.time,
        markers=np.stack(paths, axis=1), rot_world_lab=UP_ROTATION["y"],
    )  # fmt: skip


def shipped_moments(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Joint moments of an OpenSim inverse dynamics storage by our coordinate names [N·m], and their times [s].

    Raises:
        ValueError: no column that the gait model has a coordinate for.
    """
    storage = read_storage(path)
    found = {}
    for name in COORDINATES:
        label = name.replace("trunk", "lumbar") + "_moment"
        if label in storage.labels:
            found[name] = storage.values[:, storage.labels.index(label)]
    if not found:
        raise ValueError(
            f"{path}: columns: expected hip_flexion_r_moment, knee_angle_r_moment, ..., found {list(storage.labels[:4])}; "
            "give the results of inverse dynamics"
        )
    return found, storage.time
