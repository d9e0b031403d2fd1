"""Ground reactions, compiled for one CPU core. Same contracts as `reference`; float64 sums in the order of the input.

Compiled functions release the interpreter lock, so that several threads may each work on their own arrays.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels.grf.reference import MIN_FORCE, GroundReaction


def aggregate_contacts(
    position: np.ndarray,
    force: np.ndarray,
    torque: np.ndarray | None,
    body: np.ndarray,
    offsets: np.ndarray,
    *,
    num_bodies: int = 24,
    min_force: float = MIN_FORCE,
) -> GroundReaction:
    """Same contract as reference."""
    num_frames = len(offsets) - 1
    force_out = np.empty((num_frames, num_bodies, 3), dtype=force.dtype)
    cop_out = np.empty((num_frames, num_bodies, 2), dtype=force.dtype)
    free_out = np.empty((num_frames, num_bodies), dtype=force.dtype)
    contact_out = np.empty((num_frames, num_bodies), dtype=np.bool_)
    has_torque = torque is not None
    given_torque = torque if torque is not None else np.empty((0, 3), dtype=force.dtype)
    _aggregate(
        position, force, given_torque, has_torque, body, offsets, min_force, force_out, cop_out, free_out, contact_out
    )
    return GroundReaction(force_out, cop_out, free_out, contact_out)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _aggregate(
    position: np.ndarray,
    force: np.ndarray,
    torque: np.ndarray,
    has_torque: bool,
    body: np.ndarray,
    offsets: np.ndarray,
    min_force: float,
    force_out: np.ndarray,
    cop_out: np.ndarray,
    free_out: np.ndarray,
    contact_out: np.ndarray,
) -> None:
    num_frames, num_bodies = free_out.shape
    wrench_N6 = np.zeros((num_bodies, 6))
    for t in range(num_frames):
        for b in range(num_bodies):
            for axis in range(6):
                wrench_N6[b, axis] = 0.0
        for c in range(offsets[t], offsets[t + 1]):
            row = wrench_N6[body[c]]
            px, py, pz = np.float64(position[c, 0]), np.float64(position[c, 1]), np.float64(position[c, 2])
            fx, fy, fz = np.float64(force[c, 0]), np.float64(force[c, 1]), np.float64(force[c, 2])
            row[0] += fx
            row[1] += fy
            row[2] += fz
            row[3] += py * fz - pz * fy
            row[4] += pz * fx - px * fz
            row[5] += px * fy - py * fx
            if has_torque:
                row[3] += torque[c, 0]
                row[4] += torque[c, 1]
                row[5] += torque[c, 2]
        for b in range(num_bodies):
            row = wrench_N6[b]
            is_touching = row[2] >= min_force  # false for NaN
            contact_out[t, b] = is_touching
            force_out[t, b, 0] = row[0]
            force_out[t, b, 1] = row[1]
            force_out[t, b, 2] = row[2]
            if is_touching:
                x = -row[4] / row[2]
                y = row[3] / row[2]
                cop_out[t, b, 0] = x
                cop_out[t, b, 1] = y
                free_out[t, b] = row[5] - (x * row[1] - y * row[0])
            else:
                cop_out[t, b, 0] = np.nan
                cop_out[t, b, 1] = np.nan
                free_out[t, b] = 0.0


def accumulate_contact_wrench(
    frame_wrench: np.ndarray,
    frame_weight: np.ndarray,
    transition_force: np.ndarray,
    force: np.ndarray,
    torque: np.ndarray,
    position: np.ndarray,
    *,
    substeps_per_frame: int,
    first_substep: int = 0,
) -> None:
    """Same contract as reference."""
    _accumulate(
        frame_wrench, frame_weight, transition_force, force, torque, position, substeps_per_frame, first_substep
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _accumulate(
    frame_wrench: np.ndarray,
    frame_weight: np.ndarray,
    transition_force: np.ndarray,
    force: np.ndarray,
    torque: np.ndarray,
    position: np.ndarray,
    substeps: int,
    first: int,
) -> None:
    num_bodies = force.shape[1]
    for k in range(force.shape[0]):
        frame = (first + k) // substeps
        share_next = min(max((first + k) % substeps + 1 - 0.5 * substeps, 0.0), 1.0)
        share_here = 1.0 - share_next
        frame_weight[frame] += share_here
        frame_weight[frame + 1] += share_next
        for b in range(num_bodies):
            fx, fy, fz = np.float64(force[k, b, 0]), np.float64(force[k, b, 1]), np.float64(force[k, b, 2])
            mx, my, mz = np.float64(torque[k, b, 0]), np.float64(torque[k, b, 1]), np.float64(torque[k, b, 2])
            if fx == 0.0 and fy == 0.0 and fz == 0.0 and mx == 0.0 and my == 0.0 and mz == 0.0:
                continue
            px, py, pz = np.float64(position[k, b, 0]), np.float64(position[k, b, 1]), np.float64(position[k, b, 2])
            mx += py * fz - pz * fy
            my += pz * fx - px * fz
            mz += px * fy - py * fx
            for row, share in ((frame, share_here), (frame + 1, share_next)):
                frame_wrench[row, b, 0] += share * fx
                frame_wrench[row, b, 1] += share * fy
                frame_wrench[row, b, 2] += share * fz
                frame_wrench[row, b, 3] += share * mx
                frame_wrench[row, b, 4] += share * my
                frame_wrench[row, b, 5] += share * mz
            transition_force[frame, b, 0] += fx
            transition_force[frame, b, 1] += fy
            transition_force[frame, b, 2] += fz
