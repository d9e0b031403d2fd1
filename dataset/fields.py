"""Arrays of a stored sequence: name, rows, dtype, shape, unit and frame of each. Manifests copy this table.

Axis legend: N = 24 bodies, J = 23 joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from dataset.skeleton import NUM_BODIES as N
from dataset.skeleton import NUM_JOINTS as J


@dataclass(frozen=True, kw_only=True)
class Field:
    """One array of `dataset.schema.Dynamics`, packed over sequences into one file a shard."""

    name: str
    """Attribute of `Dynamics`, and stem of the file."""
    per: Literal["frame", "transition"]
    """What a row is: a sequence has T frames and T - 1 transitions."""
    dtype: str
    """NumPy type string, little endian."""
    shape: tuple[int, ...]
    """Shape of one row."""
    unit: str
    """SI unit."""
    frame: str
    """Frame of reference of the components."""
    description: str
    """Meaning, in one line."""

    @property
    def file(self) -> str:
        """File name inside a shard."""
        return f"{self.name}.npy"

    def rows_of(self, num_frames: int) -> int:
        """Rows of a sequence with this many frames."""
        return num_frames if self.per == "frame" else num_frames - 1

    def cast(self, array: np.ndarray) -> np.ndarray:
        """The array in this field's dtype, C-contiguous."""
        return np.ascontiguousarray(array, dtype=self.dtype)


FIELDS: Final[tuple[Field, ...]] = (
    Field(name="root_pos", per="frame", dtype="<f4", shape=(3,), unit="m", frame="world",
          description="pelvis joint position"),
    Field(name="quat", per="frame", dtype="<f4", shape=(N, 4), unit="1", frame="pelvis to world, child to parent",
          description="unit quaternions wxyz"),
    Field(name="root_vel", per="frame", dtype="<f4", shape=(3,), unit="m/s", frame="world",
          description="linear velocity of the pelvis joint"),
    Field(name="ang_vel", per="frame", dtype="<f4", shape=(N, 3), unit="rad/s", frame="own body",
          description="angular velocity of the pelvis, then of each child relative to its parent"),
    Field(name="impulse", per="transition", dtype="<f4", shape=(J, 3), unit="N·m·s", frame="child body",
          description="imposed angular momentum: sum over substeps of joint torque times step"),
    Field(name="grf_mean", per="transition", dtype="<f4", shape=(N, 3), unit="N", frame="world",
          description="force of the ground on each body, mean over the transition"),
    Field(name="grf", per="frame", dtype="<f4", shape=(N, 3), unit="N", frame="world",
          description="force of the ground on each body, mean over the frame's time ± 1/60 s"),
    Field(name="cop", per="frame", dtype="<f4", shape=(N, 2), unit="m", frame="world, z = 0",
          description="centre of pressure: averaged moment over averaged force; NaN below 1 N"),
    Field(name="free_moment", per="frame", dtype="<f4", shape=(N,), unit="N·m", frame="world, vertical about cop",
          description="vertical moment about the centre of pressure; 0 where there is none"),
    Field(name="is_edge", per="frame", dtype="|b1", shape=(), unit="1", frame="-",
          description="true where the average of grf was one-sided"),
    Field(name="momentum_error", per="transition", dtype="<f4", shape=(), unit="body weight", frame="-",
          description="momentum balance of the transition"),
    Field(name="closure_error", per="transition", dtype="<f8", shape=(), unit="body weight", frame="-",
          description="largest residual of the equations of motion over the substeps"),
)  # fmt: skip
"""Stored arrays in the order of `Dynamics`."""

FIELD: Final[dict[str, Field]] = {item.name: item for item in FIELDS}
"""Fields by name."""

MAY_BE_NAN: Final[frozenset[str]] = frozenset({"cop"})
"""Fields in which NaN has a meaning; everywhere else it is refused on writing."""
