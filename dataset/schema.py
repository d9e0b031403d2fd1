"""Records that the packages exchange: Subject, Motion, Dynamics, LabTrial. Fields carry shape, unit and frame.

World frame: z up, right-handed, SI. Quaternions are wxyz. Body frames: see `dataset.skeleton`.

Axis legend: T frames, N = 24 bodies, J = 23 joints, M markers, P force plates, K plate samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dataset.skeleton import NUM_BODIES, NUM_JOINTS

FRAME_RATE = 30.0
"""Rate of stored frames [Hz] (ImDy section 3.2: all sequences re-sampled to 30 FPS)."""


def _expect(owner: str, name: str, value: np.ndarray, shape: tuple[int | None, ...]) -> None:
    if value.ndim != len(shape) or any(want is not None and have != want for have, want in zip(value.shape, shape)):
        wanted = "(" + ", ".join("any" if want is None else str(want) for want in shape) + ")"
        raise ValueError(f"{owner}.{name}: expected shape {wanted}, got {value.shape}")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A person, as far as the body model needs to know."""

    name: str
    """Identifier, unique inside a data set; splits by subject use it."""
    sex: float = 0.5
    """0 male, 1 female, 0.5 neutral (values between interpolate)."""
    height: float = 1.72
    """Standing height [m], 1.1 to 2.0."""
    mass: float = 70.0
    """Body mass [kg]."""
    age: float = 30.0
    """Age [years]; below 1.5 m height the body model takes the child's proportions from the height instead."""
    shape: tuple[float, ...] = ()
    """Further shape coefficients of the body model (its low-rank space), empty for the mean body of these measures."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Poses of the 24-body skeleton over time, without dynamics."""

    name: str
    """Clip identifier, unique inside its source."""
    source: str
    """Folder or package it came from (and so its licence)."""
    frame_rate: float
    """Frames per second [Hz]."""
    root_pos: np.ndarray
    """Pelvis joint position [m], world frame, shape (T, 3), float64."""
    quat: np.ndarray
    """Unit quaternions wxyz, shape (T, N, 4), float64: pelvis to world in row 0, then child body to parent body."""
    subject: Subject | None = None
    """Body whose proportions `root_pos` and the foot heights refer to; None before retargeting."""
    is_cyclic: bool = False
    """True if the clip was marked as one repeating cycle."""
    leg_length: float | None = None
    """Hip to knee to ankle [m] of the skeleton that `root_pos` refers to; None after retargeting, when `subject` says it.
    Before retargeting the pelvis joint is midway between the hips (the canonical skeleton of `dataset.motion.tpose`)."""

    def __post_init__(self) -> None:
        frames = self.root_pos.shape[0]
        _expect("Motion", "root_pos", self.root_pos, (None, 3))
        _expect("Motion", "quat", self.quat, (frames, NUM_BODIES, 4))
        if not (np.all(np.isfinite(self.root_pos)) and np.all(np.isfinite(self.quat))):
            raise ValueError(
                f"Motion {self.source}/{self.name}: expected finite root_pos and quat, found NaN or infinity"
            )
        if not self.frame_rate > 0:
            raise ValueError(f"Motion.frame_rate: expected a positive rate in Hz, got {self.frame_rate}")

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return self.root_pos.shape[0]

    @property
    def duration(self) -> float:
        """Time from first to last frame [s]."""
        return (self.num_frames - 1) / self.frame_rate


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """One recorded sequence of simulated motion: T frames at 30 Hz and the T - 1 transitions between them.

    No residual force acts in it. Definitions: design section 3 (transition, torque, impulse, grf, cop).
    """

    name: str
    """Identifier, unique inside a data set."""
    clip: str
    """`source/name` of the motion that was imitated."""
    subject: Subject
    """Simulated person."""
    seed: int
    """Seed of the controller's search."""
    substep: float
    """Physics step h [s]."""
    root_pos: np.ndarray
    """Pelvis joint position [m], world, shape (T, 3), float32."""
    quat: np.ndarray
    """Unit quaternions wxyz, shape (T, N, 4), float32: pelvis to world, then child to parent."""
    root_vel: np.ndarray
    """Linear velocity of the pelvis joint [m/s], world, shape (T, 3), float32."""
    ang_vel: np.ndarray
    """Angular velocity [rad/s], shape (T, N, 3), float32: the pelvis' in its own frame, then each child's relative to its
    parent in the child frame."""
    impulse: np.ndarray
    """Imposed angular momentum [N·m·s] = sum over substeps of torque · h, child frame, shape (T - 1, J, 3), float32."""
    grf_mean: np.ndarray
    """Force of the ground on each body [N], world, mean over the transition's substeps, shape (T - 1, N, 3), float32."""
    grf: np.ndarray
    """Force of the ground on each body [N], world, mean over the frame's time ± 1/60 s, shape (T, N, 3), float32."""
    cop: np.ndarray
    """Centre of pressure on z = 0 [m], averaged moment over averaged force, shape (T, N, 2), float32; NaN below 1 N."""
    free_moment: np.ndarray
    """Vertical moment about `cop` [N·m], averaged like `grf`, shape (T, N), float32; 0 where `cop` is NaN."""
    is_edge: np.ndarray
    """True where the averaging window of `grf` was one-sided (first and last frame of a stretch), shape (T,), bool."""
    momentum_error: np.ndarray
    """|m·Δv_com − Σ h·(Σ grf + m·g)| / (m·g·Δt): momentum balance in body weights, shape (T - 1,), float32."""
    closure_error: np.ndarray
    """Largest residual of the equations of motion over the transition's substeps [body weights], shape (T - 1,), float64."""
    clip_start: float = 0.0
    """Time of the clip that the first frame imitates [s]."""
    controller: str = ""
    """What drove the body: name and, where it has one, version or settings hash."""
    solution: str = ""
    """Hash of the stored solution that was replayed; empty where none was."""
    perturbation: str = ""
    """Disturbance applied on purpose (kind and size); empty for none."""
    flags: tuple[str, ...] = ()
    """What a user should know about this sequence, one word each (`fell`, `retried`, ...)."""

    def __post_init__(self) -> None:
        frames = self.root_pos.shape[0]
        shapes: dict[str, tuple[int | None, ...]] = {
            "root_pos": (None, 3), "quat": (frames, NUM_BODIES, 4), "root_vel": (frames, 3),
            "ang_vel": (frames, NUM_BODIES, 3), "impulse": (frames - 1, NUM_JOINTS, 3),
            "grf_mean": (frames - 1, NUM_BODIES, 3), "grf": (frames, NUM_BODIES, 3), "cop": (frames, NUM_BODIES, 2),
            "free_moment": (frames, NUM_BODIES), "is_edge": (frames,), "momentum_error": (frames - 1,),
            "closure_error": (frames - 1,),
        }  # fmt: skip
        for name, shape in shapes.items():
            _expect("Dynamics", name, getattr(self, name), shape)

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return self.root_pos.shape[0]


@dataclass(frozen=True, kw_only=True)
class ForcePlate:
    """One force plate: the wrench of the ground on the body, in the world frame."""

    rate: float
    """Sampling rate [Hz]."""
    force: np.ndarray
    """Force on the body [N], world (standing gives +z), shape (K, 3)."""
    moment: np.ndarray
    """Moment on the body about the world origin [N·m], world, shape (K, 3)."""
    corners: np.ndarray | None = None
    """Plate corners [m], world, shape (4, 3); None where the file has none."""
    name: str = ""
    """Channel prefix in the file."""

    def __post_init__(self) -> None:
        _expect("ForcePlate", "force", self.force, (None, 3))
        _expect("ForcePlate", "moment", self.moment, (self.force.shape[0], 3))


@dataclass(frozen=True, kw_only=True)
class LabTrial:
    """One laboratory trial: markers and, where measured, ground reaction forces."""

    name: str
    """Trial name (file stem)."""
    path: str
    """File it was read from."""
    marker_names: tuple[str, ...]
    """Labels as in the file with any subject prefix removed, length M."""
    marker_rate: float
    """Marker frames per second [Hz]."""
    time: np.ndarray
    """Time of each marker frame [s], shape (T,); a C3D's first frame is 0, a TRC keeps its own clock."""
    markers: np.ndarray
    """Marker positions [m], world frame (z up), shape (T, M, 3), float64; NaN in gaps."""
    rot_world_lab: np.ndarray = field(default_factory=lambda: np.eye(3))
    """Rotation taking the file's own laboratory axes to the world frame, shape (3, 3)."""
    plates: tuple[ForcePlate, ...] = ()
    """Force plates; empty where the trial has none."""
    plate_start: float = 0.0
    """Time of the first plate sample on the clock of `time` [s]."""
    foot_wrench: np.ndarray | None = None
    """Measured wrench per foot at plate rate, (K, 2, 6): force [N] and moment about the world origin [N·m] for (left, right)
    where the file itself says which foot it is (OpenSim external loads); None otherwise."""
    foot_rate: float = 0.0
    """Rate of `foot_wrench` [Hz]; 0 where there is none."""
    mass: float | None = None
    """Body mass [kg] if the file knows it."""
    height: float | None = None
    """Standing height [m] if the file knows it."""
    notes: tuple[str, ...] = ()
    """What the reader had to decide or repair, one sentence each (unit conversion, gaps, label changes)."""

    def __post_init__(self) -> None:
        frames = self.time.shape[0]
        _expect("LabTrial", "time", self.time, (None,))
        _expect("LabTrial", "markers", self.markers, (frames, len(self.marker_names), 3))
        _expect("LabTrial", "rot_world_lab", self.rot_world_lab, (3, 3))

    @property
    def num_frames(self) -> int:
        """Number of marker frames T."""
        return self.time.shape[0]
