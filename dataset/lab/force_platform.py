"""Wrench of a force platform in laboratory axes from its analog channels (C3D force platform types 1 to 4).

Frames: the platform's own axes have x from corner 2 to corner 1, y from corner 4 to corner 1, z = x × y (C3D format
user guide, FORCE_PLATFORM group). Signs are left as stored; the reader decides whether that is action or reaction.

Axis legend: K analog samples, C channels.
"""

from __future__ import annotations

import numpy as np

NUM_CHANNELS: dict[int, int] = {1: 6, 2: 6, 3: 8, 4: 6}
"""Analog channels of each supported platform type."""


def platform_axes(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (platform to laboratory) and centre of the working surface.

    Args:
        corners: Corner positions in laboratory axes, shape (4, 3).

    Returns:
        rot (3, 3) with the platform's axes as columns, centre (3,) in the unit of `corners`.

    Raises:
        ValueError: the corners do not span a surface.
    """
    x = corners[0] - corners[1] + corners[3] - corners[2]
    y = corners[0] - corners[3] + corners[1] - corners[2]
    z = np.cross(x, y)
    if np.linalg.norm(z) < 1e-12 or not np.isfinite(corners).all():
        raise ValueError(f"corners: expected four corners of a surface, found {corners.tolist()}")
    z /= np.linalg.norm(z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1), corners.mean(axis=0)


def _local_wrench(kind: int, channels: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Force (K, 3) and moment (K, 3) about the centre of the working surface, platform axes."""
    if kind == 1:  # force, CoP on the surface and free moment
        force = channels[:, :3]
        point = np.column_stack([channels[:, 3], channels[:, 4], np.zeros(len(channels))])
        moment = np.cross(point, force)
        moment[:, 2] += channels[:, 5]
        return force, moment
    if kind == 3:  # four three-axis sensors; origin holds their half distances a, b and their depth
        a, b, depth = origin[0], origin[1], origin[2]
        fx12, fx34, fy14, fy23, fz1, fz2, fz3, fz4 = channels.T
        force = np.column_stack([fx12 + fx34, fy14 + fy23, fz1 + fz2 + fz3 + fz4])
        moment = np.column_stack(
            [
                b * (fz1 + fz2 - fz3 - fz4),
                a * (-fz1 + fz2 + fz3 - fz4),
                b * (fx34 - fx12) + a * (fy14 - fy23),
            ]
        )
        surface = np.array([0.0, 0.0, -abs(depth)])
    else:  # 2 and 4: force and moment about the transducer's origin
        force, moment, surface = channels[:, :3], channels[:, 3:6], origin
        # The origin parameter runs from the transducer to the surface's centre. It must point up to the surface,
        # against z (which points down); writers that store its opposite are common.
        surface = -surface if surface[2] > 0 else surface
    return force, moment - np.cross(np.broadcast_to(surface, force.shape), force)


def platform_wrench(
    kind: int, channels: np.ndarray, corners: np.ndarray, origin: np.ndarray, calibration: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Force and moment about the laboratory origin, laboratory axes, sign as stored.

    moment = rot · moment_surface + centre × force.

    Args:
        kind: Platform type 1 to 4.
        channels: Channel values [N, N·m; type 1: N, m, N·m; type 3: N], shape (K, C).
        corners: Corners in laboratory axes [m], shape (4, 3).
        origin: The platform's ORIGIN parameter [m], shape (3,).
        calibration: Type 4 only: matrix (6, 6) applied to the channels.

    Returns:
        force [N] (K, 3) and moment [N·m] (K, 3).

    Raises:
        ValueError: unknown type, wrong number of channels, degenerate corners, or type 4 without a calibration matrix.

    Source: C3D file format user guide (Motion Lab Systems), FORCE_PLATFORM types; type 3 from Kistler's eight channels.
    """
    if kind not in NUM_CHANNELS:
        raise ValueError(f"platform type: expected 1, 2, 3 or 4, found {kind}")
    if channels.ndim != 2 or channels.shape[1] != NUM_CHANNELS[kind]:
        raise ValueError(
            f"channels: expected {NUM_CHANNELS[kind]} columns for type {kind}, found shape {channels.shape}"
        )
    if kind == 4:
        if calibration is None or calibration.shape != (6, 6):
            raise ValueError("CAL_MATRIX: expected a 6 x 6 matrix for a type 4 platform, found none")
        channels = channels @ calibration.T
    rot, centre = platform_axes(corners)
    force, moment = _local_wrench(kind, channels, np.asarray(origin, dtype=float))
    force, moment = force @ rot.T, moment @ rot.T
    return force, moment + np.cross(np.broadcast_to(centre, force.shape), force)
