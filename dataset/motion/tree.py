"""A source's own skeleton in motion: what BVH and ASF+AMC files have in common.

Axis legend: T frames, K source joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset import rotation


@dataclass(frozen=True, kw_only=True)
class JointTree:
    """Joints with constant offsets, posed by rotations. Lengths and axes are the file's own."""

    names: tuple[str, ...]
    """Joint names, parents first, length K."""
    parents: tuple[int, ...]
    """Parent of each joint, -1 for the root."""
    offset: np.ndarray
    """Joint from its parent's joint in the rest pose, file axes and length unit, shape (K, 3); row 0 is zero."""
    ends: dict[int, np.ndarray]
    """Offset of the end of each leaf bone from its joint, where the file has one."""
    root_pos: np.ndarray
    """Root joint position in the file's world, file unit, shape (T, 3)."""
    quat: np.ndarray
    """Joint frame (aligned with the file's axes in the rest pose) to parent frame, unit quaternions, shape (T, K,
    4)."""
    frame_rate: float
    """Frames per second [Hz]."""
    notes: tuple[str, ...] = ()
    """What of the file is not used, one sentence each."""

    def rest_positions(self) -> np.ndarray:
        """Joint positions in the rest pose from the root joint, file unit, shape (K, 3)."""
        pos = np.zeros((len(self.names), 3))
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                pos[joint] = pos[parent] + self.offset[joint]
        return pos

    def pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Joint positions (T, K, 3) and joint-to-world quaternions (T, K, 4) in the file's axes and unit."""
        frames, joints = self.quat.shape[:2]
        pos, world = np.empty((frames, joints, 3)), np.empty((frames, joints, 4))
        for joint, parent in enumerate(self.parents):
            if parent < 0:
                pos[:, joint], world[:, joint] = self.root_pos, self.quat[:, joint]
            else:
                pos[:, joint] = pos[:, parent] + rotation.rotate(world[:, parent], self.offset[joint])
                world[:, joint] = rotation.multiply(world[:, parent], self.quat[:, joint])
        return pos, world
