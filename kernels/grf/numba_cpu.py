"""Ground reactions, compiled. Same contracts as `reference`; float64 sums in the order of the input.

Compiled functions release the interpreter lock. Frames are shared out over threads; a frame is summed by one of them.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels._check import as_unsigned
from kernels._threads import over_rows
from kernels.grf.reference import MIN_FORCE, GroundReaction

_LEAST_ITEMS = 1 << 16
"""Bodies plus four times contacts that are worth a thread."""
_FEW_BODIES = 8
"""Up to this many bodies each is finished in each frame; beyond, only those that are touched."""


def aggregate_contacts(
    position: np.ndarray,
    force: np.ndarray,
    torque: np.ndarray | None,
    body: np.ndarray,
    offsets: np.ndarray,
    out: GroundReaction,
    *,
    min_force: float = MIN_FORCE,
) -> None:
    """Same contract as reference."""
    num_frames, num_bodies = out.free_moment.shape
    contacts = len(body) // max(num_frames, 1)
    over_rows(
        _aggregate, num_frames, _LEAST_ITEMS // (num_bodies + 4 * contacts) + 1,
        np.ascontiguousarray(position), np.ascontiguousarray(force),
        np.zeros((0, 3), force.dtype) if torque is None else np.ascontiguousarray(torque), torque is not None,
        as_unsigned(body), offsets.astype(np.int64, copy=False), min_force,
        out.force.reshape(num_frames, 3 * num_bodies), out.cop.reshape(num_frames, 2 * num_bodies), out.free_moment,
        out.contact,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _aggregate(
    first_frame: int,
    last_frame: int,
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
    """Where there are many bodies most touch nothing: all get the empty result in one sweep, then the touched ones theirs.

    Nothing branches on which body a contact belongs to: its row of sums is zero when the frame begins, since finishing a
    body clears it, and only its first contact lists it.
    """
    num_bodies = free_out.shape[1]
    is_sparse = num_bodies > _FEW_BODIES
    wrench_N6 = np.zeros((num_bodies, 6))
    seen_in_N = np.full(num_bodies, -1, np.int64)
    touched = np.arange(num_bodies + 1).astype(np.uint32)
    for t in range(first_frame, last_frame):
        count = num_bodies
        if is_sparse:
            force_out[t] = 0.0
            cop_out[t] = np.nan
            free_out[t] = 0.0
            contact_out[t] = False
            count = 0
        for c in range(offsets[t], offsets[t + 1]):
            b = body[c]
            if is_sparse:
                touched[count] = b
                count += seen_in_N[b] != t
                seen_in_N[b] = t
            row = wrench_N6[b]
            px, py, pz = np.float64(position[c, 0]), np.float64(position[c, 1]), np.float64(position[c, 2])
            fx, fy, fz = np.float64(force[c, 0]), np.float64(force[c, 1]), np.float64(force[c, 2])
            mx, my, mz = py * fz - pz * fy, pz * fx - px * fz, px * fy - py * fx
            if has_torque:
                mx += torque[c, 0]
                my += torque[c, 1]
                mz += torque[c, 2]
            row[0] += fx
            row[1] += fy
            row[2] += fz
            row[3] += mx
            row[4] += my
            row[5] += mz
        for i in range(count):
            b = touched[i]
            row = wrench_N6[b]
            fx, fy, fz = row[0], row[1], row[2]
            is_touching = fz >= min_force  # false for NaN
            vertical = fz if is_touching else np.nan
            x, y = -row[4] / vertical, row[3] / vertical
            free_moment = row[5] - (x * fy - y * fx)
            force_out[t, 3 * b] = fx
            force_out[t, 3 * b + 1] = fy
            force_out[t, 3 * b + 2] = fz
            cop_out[t, 2 * b] = x
            cop_out[t, 2 * b + 1] = y
            free_out[t, b] = free_moment if is_touching else 0.0
            contact_out[t, b] = is_touching
            row[:] = 0.0


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
