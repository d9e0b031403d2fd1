"""Ground reactions, compiled. Same contracts as `reference`; float64 sums in the order of the input.

Compiled functions release the interpreter lock. Frames are shared out over threads; a frame is summed by one of them.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels._check import as_unsigned
from kernels._lane_memory import finish_stores, load_3, load_4, put, put_2, put_3, store, take
from kernels._lanes import as_in, lane, pack_4, spread_4, where_at_least, wide, with_lane, yxzw, yzxw
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
        None if torque is None else np.ascontiguousarray(torque).reshape(-1),
        as_unsigned(np.ascontiguousarray(body)), np.ascontiguousarray(offsets, np.int64), min_force, num_bodies,
        out.force.reshape(-1), out.cop.reshape(-1), out.free_moment.reshape(-1), out.contact.reshape(-1).view(np.uint8),
        is_past_cache(*out),
    )  # fmt: skip


@numba.njit(error_model="numpy", inline="always")
def _add_contact(wrench, position, force, torque, body, c, load):  # noqa: ANN001, ANN202  compiled into its caller
    """Force and moment of a contact onto the sums of its body."""
    arm, push = wide(load(position, 3 * c)), wide(load(force, 3 * c))
    moment = yzxw(arm * yzxw(push) - yzxw(arm) * push)
    if torque is not None:  # decided when compiling: None has a type of its own
        moment = moment + wide(load(torque, 3 * c))
    at = 8 * np.int64(take(body, c))
    store(wrench, at, load_4(wrench, at) + push)
    store(wrench, at + 4, load_4(wrench, at + 4) + moment)


@numba.njit(error_model="numpy", inline="always")
def _finish_body(wrench, b, here, min_force, force_D, cop_D, free_D, contact_D):  # noqa: ANN001, ANN202  likewise
    """What a body's sums say."""
    push, moment = load_4(wrench, 8 * b), load_4(wrench, 8 * b + 4)
    vertical, least = spread_4(lane(push, 2)), spread_4(min_force)
    share = moment / where_at_least(vertical, least, vertical, spread_4(np.nan))  # centre of pressure (-y, x)
    twist = share * push
    free_moment = lane(moment, 2) + (lane(twist, 1) + lane(twist, 0))
    centre = with_lane(yxzw(share * pack_4(1.0, -1.0, 1.0, 1.0)), 2, free_moment)
    found = where_at_least(vertical, least, centre, pack_4(np.nan, np.nan, 0.0, 0.0))
    put_3(force_D, 3 * here, as_in(force_D, push))
    put_2(cop_D, 2 * here, as_in(cop_D, found))
    put(free_D, here, lane(found, 2))
    put(contact_D, here, lane(push, 2) >= min_force)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _aggregate(
    first_frame: int,
    last_frame: int,
    position: np.ndarray,
    force: np.ndarray,
    torque: np.ndarray | None,
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
    """Where there are more bodies than contacts all get the empty result in one sweep, then the touched ones theirs.

    Nothing branches on which body a contact belongs to: a body with two contacts is finished twice, with the same result.
    """
    frames = max(_BLOCK_BODIES // num_bodies, 1)
    room = (frames * num_bodies + 7) // 8 * 8
    force_D, cop_D = np.empty(3 * room, force.dtype), np.empty(2 * room, force.dtype)
    free_D, contact_D = np.empty(room, force.dtype), np.empty(room, np.uint8)
    none = spread_4(0.0)
    wrench = np.zeros(8 * num_bodies)  # force, a spare number, moment, a spare number
    last_contact = len(body) - 1
    for start in range(first_frame, last_frame, frames):
        stop = min(start + frames, last_frame)
        if num_bodies > _FEW_BODIES:
            fill(force_D, 0.0)
            fill(cop_D, np.nan)
            fill(free_D, 0.0)
            for i in range(room):
                put(contact_D, i, 0)
        for t in range(start, stop):
            first, end = take(offsets, t), take(offsets, t + 1)
            for c in range(first, min(end, last_contact)):
                _add_contact(wrench, position, force, torque, body, c, load_4)  # a fourth number is the next contact's
            if end > last_contact and end > first:
                _add_contact(wrench, position, force, torque, body, last_contact, load_3)
            row = (t - start) * num_bodies
            if num_bodies > _FEW_BODIES and end - first < num_bodies:
                for c in range(first, end):
                    b = np.int64(take(body, c))
                    _finish_body(wrench, b, row + b, min_force, force_D, cop_D, free_D, contact_D)
                for c in range(first, end):
                    b = np.int64(take(body, c))
                    store(wrench, 8 * b, none)
                    store(wrench, 8 * b + 4, none)
            else:
                for b in range(num_bodies):
                    _finish_body(wrench, b, row + b, min_force, force_D, cop_D, free_D, contact_D)
                    store(wrench, 8 * b, none)
                    store(wrench, 8 * b + 4, none)
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
