"""Ground reactions, compiled. Same contracts as `reference`; float64 sums in the order of the input.

Compiled functions release the interpreter lock. Frames are shared out over threads; a frame is summed by one of them.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels._check import as_unsigned
from kernels._lane_memory import finish_stores, load_3, load_4, put, put_2, put_3, store, take
from kernels._lanes import as_in, lane, pack_4, spread_4, where_at_least, wide, with_lane, yxzw, yzxw, zxyw
from kernels._streaming import copy_out, fill, is_past_cache
from kernels._threads import over_rows
from kernels.grf.reference import MIN_FORCE, GroundReaction

_LEAST_ITEMS = 1 << 16
"""Bodies plus four times contacts that are worth a thread."""
_FEW_BODIES = 8
"""Up to this many bodies each is finished in each frame; beyond, only those that are touched."""
_BLOCK_BODIES = 384
"""Bodies, those of some frames, that are put together in the first cache: 24 bytes each."""


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
        np.ascontiguousarray(position).reshape(-1), np.ascontiguousarray(force).reshape(-1),
        np.zeros(0, force.dtype) if torque is None else np.ascontiguousarray(torque).reshape(-1), torque is not None,
        as_unsigned(np.ascontiguousarray(body)), offsets.astype(np.int64, copy=False), min_force, num_bodies,
        out.force.reshape(-1), out.cop.reshape(-1), out.free_moment.reshape(-1), out.contact.reshape(-1).view(np.uint8),
        is_past_cache(*out),
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
    num_bodies: int,
    force_out: np.ndarray,
    cop_out: np.ndarray,
    free_out: np.ndarray,
    contact_out: np.ndarray,
    past_cache: bool,
) -> None:
    """Where there are many bodies most touch nothing: all get the empty result in one sweep, then the touched ones theirs.

    Nothing branches on which body a contact belongs to: its row of sums is zero when the frame begins, since finishing a
    body clears it, and only its first contact lists it.
    """
    is_sparse = num_bodies > _FEW_BODIES
    frames = max(_BLOCK_BODIES // num_bodies, 1)
    room = (frames * num_bodies + 7) // 8 * 8
    force_D, cop_D = np.empty(3 * room, force.dtype), np.empty(2 * room, force.dtype)
    free_D, contact_D = np.empty(room, force.dtype), np.empty(room, np.uint8)
    none, undefined, least = spread_4(0.0), spread_4(np.nan), spread_4(min_force)
    signs, missing = pack_4(1.0, -1.0, 1.0, 1.0), pack_4(np.nan, np.nan, 0.0, 0.0)
    wrench = np.zeros(8 * num_bodies)  # force, a spare number, moment, a spare number
    seen_in_N = np.full(num_bodies, -1, np.int64)
    touched = np.arange(num_bodies + 1).astype(np.uint32)
    for start in range(first_frame, last_frame, frames):
        stop = min(start + frames, last_frame)
        if is_sparse:
            fill(force_D, 0.0)
            fill(cop_D, np.nan)
            fill(free_D, 0.0)
            for i in range(room):
                put(contact_D, i, 0)
        for t in range(start, stop):
            count = 0 if is_sparse else num_bodies
            for c in range(offsets[t], offsets[t + 1]):
                b = take(body, c)
                if is_sparse:
                    touched[count] = b
                    count += seen_in_N[b] != t
                    seen_in_N[b] = t
                arm, push = wide(load_3(position, 3 * c)), wide(load_3(force, 3 * c))
                moment = yzxw(arm) * zxyw(push) - zxyw(arm) * yzxw(push)
                if has_torque:
                    moment = moment + wide(load_3(torque, 3 * c))
                at = 8 * np.int64(b)
                store(wrench, at, load_4(wrench, at) + push)
                store(wrench, at + 4, load_4(wrench, at + 4) + moment)
            for i in range(count):
                b = np.int64(touched[i])
                at, here = 8 * b, (t - start) * num_bodies + b
                push, moment = load_4(wrench, at), load_4(wrench, at + 4)
                vertical = spread_4(lane(push, 2))
                share = moment / where_at_least(vertical, least, vertical, undefined)  # centre of pressure (-y, x)
                twist = share * push
                free_moment = lane(moment, 2) + (lane(twist, 1) + lane(twist, 0))
                found = where_at_least(vertical, least, with_lane(yxzw(share * signs), 2, free_moment), missing)
                put_3(force_D, 3 * here, as_in(force_D, push))
                put_2(cop_D, 2 * here, as_in(cop_D, found))
                put(free_D, here, lane(found, 2))
                put(contact_D, here, lane(push, 2) >= min_force)
                store(wrench, at, none)
                store(wrench, at + 4, none)
        place, size = start * num_bodies, (stop - start) * num_bodies
        copy_out(force_out, 3 * place, force_D, 3 * size, past_cache)
        copy_out(cop_out, 2 * place, cop_D, 2 * size, past_cache)
        copy_out(free_out, place, free_D, size, past_cache)
        copy_out(contact_out, place, contact_D, size, False)
    finish_stores()


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
