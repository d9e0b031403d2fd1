"""Kinetics of a trial: what `predict` finds out, and `kinetics.npz`, the file that holds it.

In memory everything is in the world frame (z up); in the file everything is in the trial's own laboratory axes.

Axis legend: T frames at 30 Hz, F = 2 feet (left, right), J = 23 joints, N = 24 bodies, M markers.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset import atomic, rotation
from dataset.skeleton import BODY_NAMES, JOINT_NAMES
from model.physics.forces import FootForces
from model.physics.quality import QUALITY_NAMES

FORMAT = "imdylab-kinetics-1"
"""Layout of kinetics.npz; raised when an array changes its meaning."""

ARRAYS: dict[str, str] = {
    "time_T": "s; a C3D's first frame is 0, a TRC keeps its own clock; 30 Hz",
    "grf_TF3": "N; force of the ground on (left, right) foot, laboratory axes",
    "grf_sd_TF3": "N; standard deviation of grf_TF3 (see uncertainty)",
    "rest_grf_T3": "N; force of the ground on the rest of the body (hands, knees ...), laboratory axes",
    "newton_T3": "N; m (a + g) of the centre of mass from the markers, low-passed at 6 Hz, laboratory axes; NaN where unknown",
    "cop_TF3": "m; centre of pressure of each foot on the floor, laboratory axes; NaN off the ground",
    "contact_TF": "probability that the ground touches the foot",
    "torque_TJ3": "N·m; impulse × 30: mean joint torque from this frame to the next, on the child body, axes of the child",
    "torque_size_TJ": "N·m; length of torque_TJ3",
    "torque_has_frame_T": "True where body_quat_TN4 places the child's axes; elsewhere only the length has a meaning",
    "newton_difference_T": "body weights; |total - m (a + g)| of the solver's own total, NaN where not checked",
    "quality_T": "0 green, 1 amber, 2 red, 3 unknown",
    "is_edge_T": "True where the answer leans on tracks continued beyond the trial's ends",
    "num_markers_T": "markers that the solver saw in the frame's window",
    "com_T3": "m; centre of mass from the markers, laboratory axes; NaN where unknown",
    "markers_TM3": "m; markers in use at 30 Hz, laboratory axes; NaN in gaps",
    "joint_pos_TN3": "m; joint centres of the fitted body, laboratory axes; NaN without a fit",
    "body_quat_TN4": "wxyz; axes of the fitted bodies to laboratory axes; NaN without a fit",
    "forward_3": "unit vector; direction that the pelvis faces on average, laboratory axes",
    "rot_world_lab": "rotation from laboratory axes to the world (z up)",
    "mass": "kg",
}
"""Arrays of kinetics.npz and their unit, meaning and frame; stored in the file as `description`."""


@dataclass(frozen=True, kw_only=True)
class Kinetics:
    """Forces and torques of one trial, world frame (z up), at 30 Hz."""

    time_T: np.ndarray
    """Time on the trial's clock [s], shape (T,)."""
    grf_TF3: np.ndarray
    """Force of the ground on each foot [N], shape (T, F, 3); NaN where markers are missing."""
    grf_sd_TF3: np.ndarray
    """Its standard deviation [N], shape (T, F, 3)."""
    rest_grf_T3: np.ndarray
    """Force of the ground on the rest of the body [N], shape (T, 3)."""
    newton_T3: np.ndarray
    """m (a + g) of the centre of mass [N], low-passed at 6 Hz, shape (T, 3); NaN where unknown."""
    cop_TF2: np.ndarray
    """Centre of pressure of each foot on the floor [m], shape (T, F, 2); NaN off the ground."""
    contact_TF: np.ndarray
    """Probability that the ground touches the foot, shape (T, F)."""
    torque_TJ3: np.ndarray
    """Mean joint torque from each frame to the next [N·m], on the child, axes of the child, shape (T, J, 3)."""
    torque_has_frame_T: np.ndarray
    """True where a fitted pose gives the child's axes, shape (T,)."""
    newton_difference_T: np.ndarray
    """Difference of the solver's total from Newton's [body weights], shape (T,)."""
    quality_T: np.ndarray
    """Flags of `model.physics.quality`, shape (T,), uint8."""
    is_edge_T: np.ndarray
    """Frames at the ends, where tracks were continued, shape (T,)."""
    num_markers_T: np.ndarray
    """Markers that the solver saw, shape (T,)."""
    com_T3: np.ndarray
    """Centre of mass [m], shape (T, 3); NaN where unknown."""
    markers_TM3: np.ndarray
    """Markers in use [m], shape (T, M, 3)."""
    marker_names: tuple[str, ...]
    """Their labels, length M."""
    left_out: tuple[tuple[str, str], ...]
    """(label, reason) of markers that were not used."""
    joint_pos_TN3: np.ndarray
    """Joint centres of the fitted body [m], shape (T, N, 3); NaN without a fit."""
    body_quat_TN4: np.ndarray
    """Body axes to world, wxyz, shape (T, N, 4); NaN without a fit."""
    forward_3: np.ndarray
    """Unit horizontal direction that the pelvis faces on average, shape (3,)."""
    floor: float
    """Height of the floor [m]."""
    mass: float
    """Body mass [kg]."""
    mass_source: str
    """Where the mass comes from."""
    method: str
    """`imdys` or `imdys+physics`."""
    uncertainty: str
    """What `grf_sd_TF3` means."""
    weights: str
    """Name of the solver's weights."""
    source: str
    """File the trial was read from."""
    name: str
    """Trial name."""
    rot_world_lab: np.ndarray
    """Rotation from the file's laboratory axes to the world, shape (3, 3)."""
    notes: tuple[str, ...] = ()
    """What was decided, repaired or assumed."""

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return len(self.time_T)

    def foot_forces(self) -> FootForces:
        """The forces as every predictor returns them; frames that lean on continued tracks are NaN."""
        grf = np.where(self.is_edge_T[:, None, None], np.nan, self.grf_TF3)
        return FootForces(
            time_T=self.time_T, grf_TF3=grf, cop_TF2=self.cop_TF2, contact_TF=self.contact_TF > 0.5, mass=self.mass,
            floor=self.floor, notes=self.notes,
        )  # fmt: skip

    def file_arrays(self) -> dict[str, np.ndarray]:
        """Contents of kinetics.npz: arrays in laboratory axes and texts."""
        rot = self.rot_world_lab  # row vectors times rot: world to laboratory
        floor = np.full((*self.cop_TF2.shape[:2], 1), self.floor)
        to_lab = rotation.conjugate(rotation.from_matrix(rot))
        known = np.isfinite(self.body_quat_TN4).all(axis=2)
        quat = np.full(self.body_quat_TN4.shape, np.nan)
        quat[known] = rotation.multiply(to_lab, self.body_quat_TN4[known])
        text = {
            "format": FORMAT, "name": self.name, "source": self.source, "method": self.method, "weights": self.weights,
            "mass_source": self.mass_source, "uncertainty": self.uncertainty,
            "frame": "The file's own laboratory axes. rot_world_lab takes them to the world (z up). Feet: left, right.",
            "description": json.dumps(ARRAYS, ensure_ascii=False),
            "left_out": json.dumps(dict(self.left_out), ensure_ascii=False),
        }  # fmt: skip
        return {
            "time_T": self.time_T,
            "grf_TF3": self.grf_TF3 @ rot,
            "grf_sd_TF3": np.sqrt(self.grf_sd_TF3**2 @ rot**2),
            "rest_grf_T3": self.rest_grf_T3 @ rot,
            "newton_T3": self.newton_T3 @ rot,
            "cop_TF3": np.concatenate([self.cop_TF2, floor], axis=2) @ rot,
            "contact_TF": self.contact_TF,
            "torque_TJ3": self.torque_TJ3,
            "torque_size_TJ": np.linalg.norm(self.torque_TJ3, axis=2),
            "torque_has_frame_T": self.torque_has_frame_T,
            "newton_difference_T": self.newton_difference_T,
            "quality_T": self.quality_T,
            "is_edge_T": self.is_edge_T,
            "num_markers_T": self.num_markers_T,
            "com_T3": self.com_T3 @ rot,
            "markers_TM3": self.markers_TM3 @ rot,
            "joint_pos_TN3": self.joint_pos_TN3 @ rot,
            "body_quat_TN4": quat,
            "forward_3": self.forward_3 @ rot,
            "rot_world_lab": rot,
            "mass": np.array(self.mass),
            "foot_names": np.array(["left", "right"]),
            "joint_names": np.array(JOINT_NAMES),
            "body_names": np.array(BODY_NAMES),
            "marker_names": np.array(self.marker_names),
            "quality_names": np.array(QUALITY_NAMES),
            "notes": np.array(self.notes or [""]),
            **{key: np.array(value) for key, value in text.items()},
        }


def write_kinetics(path: str | Path, kinetics: Kinetics) -> None:
    """Write kinetics.npz atomically, without pickles."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = kinetics.file_arrays()  # names are never numpy's own keyword
    np.savez_compressed(buffer, **arrays)
    atomic.write_bytes(path, buffer.getvalue())


def read_kinetics(path: str | Path) -> dict[str, Any]:
    """Arrays and texts of a kinetics.npz, in laboratory axes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of this format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; make one with `python -m model.predict`")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("one bare array")
        with archive:
            found = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected a kinetics.npz, found {error}; copy it again, or predict again") from error
    if str(found.get("format")) != FORMAT:
        raise ValueError(
            f"{path}: format: expected {FORMAT!r}, found {str(found.get('format', 'none'))!r}; give a kinetics.npz that "
            "`python -m model.predict` wrote"
        )
    return {name: value if value.shape or value.dtype.kind != "U" else str(value) for name, value in found.items()}
