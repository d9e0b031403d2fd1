"""Contacts to ground reaction forces, centres of pressure and free moments: the specification, float64 NumPy.

Conventions: world frame, z up, ground plane z = 0, SI. A force is that of the ground ON the body. A wrench is the pair
of a force and its moment about the world origin, which simply add up; the centre of pressure is read off the sum at the
end and never averaged itself.

Axis legend: C contacts of all frames, T frames, N bodies, P = T - 1 transitions, S substeps of a transition, K = P S
substeps, G groups of bodies (feet), A any leading axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MIN_FORCE = 1.0
"""Vertical force below which a centre of pressure is not defined [N] (gait events use 20 N, elsewhere)."""


class GroundReaction(NamedTuple):
    """What the ground does to each body."""

    force: np.ndarray
    """Force of the ground on the body [N], world, shape (A, N, 3)."""
    cop: np.ndarray
    """Centre of pressure on z = 0 [m], world x and y, shape (A, N, 2); NaN where `contact` is false."""
    free_moment: np.ndarray
    """Vertical moment about `cop` [N·m], shape (A, N); 0 where `contact` is false."""
    contact: np.ndarray
    """True where the vertical force reaches the least force, shape (A, N), bool."""


class AveragedReaction(NamedTuple):
    """Ground reaction at 30 Hz, from the substeps of one recorded stretch."""

    grf: np.ndarray
    """Mean force over half a transition before and after each frame [N], shape (T, N, 3)."""
    cop: np.ndarray
    """Averaged moment over averaged force on z = 0 [m], shape (T, N, 2); NaN where `contact` is false."""
    free_moment: np.ndarray
    """Averaged vertical moment about `cop` [N·m], shape (T, N)."""
    contact: np.ndarray
    """True where the averaged vertical force reaches the least force, shape (T, N), bool."""
    is_edge: np.ndarray
    """True where the average is one-sided: the first and the last frame, shape (T,), bool."""
    grf_mean: np.ndarray
    """Mean force over each transition [N], shape (P, N, 3)."""


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
    """Sum the contacts of each frame into one ground reaction a body.

    F_b = sum of f_c, M_b = sum of (p_c x f_c + tau_c) over the contacts c of body b in the frame, then `read_wrench`.
    A frame or body without contacts has force 0 and no centre of pressure. A NaN spoils its own body and frame only.

    Args:
        position: Contact points [m], world, shape (C, 3).
        force: Force of the ground on the body at each contact [N], world, shape (C, 3).
        torque: Torque of the ground on the body at each contact [N·m], world, shape (C, 3); None for point contacts.
        body: Body of each contact, shape (C,), integers in [0, N).
        offsets: Contacts of frame t are offsets[t] to offsets[t + 1], shape (T + 1,).
        out: Written: ground reaction, A = T, in the dtype of `force`.
        min_force: Vertical force below which there is no centre of pressure [N].
    """
    num_frames, num_bodies = out.free_moment.shape
    position_C3, force_C3 = position.astype(np.float64), force.astype(np.float64)
    moment_C3 = np.cross(position_C3, force_C3)
    if torque is not None:
        moment_C3 = moment_C3 + torque.astype(np.float64)
    frame_C = np.repeat(np.arange(num_frames), np.diff(offsets))
    force_TN3 = np.zeros((num_frames, num_bodies, 3))
    moment_TN3 = np.zeros((num_frames, num_bodies, 3))
    np.add.at(force_TN3, (frame_C, body), force_C3)
    np.add.at(moment_TN3, (frame_C, body), moment_C3)
    reaction = read_wrench(force_TN3, moment_TN3, min_force=min_force)
    for written, field in zip(out, reaction):
        written[...] = field


def read_wrench(force: np.ndarray, moment: np.ndarray, *, min_force: float = MIN_FORCE) -> GroundReaction:
    """Centre of pressure and free moment of wrenches.

    The point (x, y, 0) about which the horizontal moment vanishes, and the vertical moment about it:
    x = -M_y / F_z, y = M_x / F_z, T_z = M_z - (x F_y - y F_x).
    Where F_z is below `min_force` (also: friction alone, pulling, NaN) there is no such point: NaN, and T_z = 0.

    Args:
        force: Force on each body [N], shape (A, N, 3).
        moment: Moment on each body about the world origin [N·m], shape (A, N, 3).
        min_force: Least vertical force [N].

    Returns:
        Ground reaction; `force` is passed on as it is.
    """
    contact = force[..., 2] >= min_force
    vertical = np.where(contact, force[..., 2], 1.0)
    x = np.where(contact, -moment[..., 1] / vertical, np.nan)
    y = np.where(contact, moment[..., 0] / vertical, np.nan)
    about_cop = moment[..., 2] - (x * force[..., 1] - y * force[..., 0])
    return GroundReaction(force, np.stack((x, y), axis=-1), np.where(contact, about_cop, 0.0), contact)


def moment_about_origin(force: np.ndarray, cop: np.ndarray, free_moment: np.ndarray) -> np.ndarray:
    """Moment about the world origin of stored ground reactions: `read_wrench` backwards.

    M = (x, y, 0) x F + (0, 0, T_z). Where `cop` is NaN the moment is unknown and taken as 0 (its force is below 1 N, so
    the error is below 1 N times the lever arm).

    Args:
        force: Force [N], shape (A, N, 3).
        cop: Centre of pressure [m], shape (A, N, 2).
        free_moment: Vertical moment about `cop` [N·m], shape (A, N).

    Returns:
        Moment about the world origin [N·m], shape (A, N, 3), float64.
    """
    x, y = cop[..., 0].astype(np.float64), cop[..., 1].astype(np.float64)
    fx, fy, fz = np.moveaxis(force.astype(np.float64), -1, 0)
    moment = np.stack((y * fz, -x * fz, x * fy - y * fx + free_moment), axis=-1)
    return np.where(np.isnan(x)[..., None], 0.0, moment)


def sum_bodies(
    force: np.ndarray,
    cop: np.ndarray,
    free_moment: np.ndarray,
    groups: tuple[tuple[int, ...], ...],
    *,
    min_force: float = MIN_FORCE,
) -> GroundReaction:
    """Ground reaction of groups of bodies, e.g. the two feet: wrenches add, the centre of pressure is that of the sum.

    Args:
        force: Force on each body [N], shape (A, N, 3).
        cop: Centre of pressure of each body [m], shape (A, N, 2), NaN where undefined.
        free_moment: Vertical moment about `cop` [N·m], shape (A, N).
        groups: Bodies of each group, length G, e.g. ((7, 10), (8, 11)) for (left, right) foot.
        min_force: Least vertical force of a group [N].

    Returns:
        Ground reaction with one row a group, N -> G, float64.
    """
    moment = moment_about_origin(force, cop, free_moment)
    force_AG3 = np.stack([force[..., list(group), :].sum(axis=-2, dtype=np.float64) for group in groups], axis=-2)
    moment_AG3 = np.stack([moment[..., list(group), :].sum(axis=-2) for group in groups], axis=-2)
    return read_wrench(force_AG3, moment_AG3, min_force=min_force)


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
    """Add a run of substeps to the running sums of their frames and transitions, in place.

    Substep k acts over [k, k + 1] in units of the step h; frame t lies at t S and averages over [t S - S/2, t S + S/2]
    (t ± 1/60 s at 30 Hz). With r = k mod S the substep belongs to frame k // S + 1 with the share
    clip(r + 1 - S/2, 0, 1), its overlap with that frame's window, and to frame k // S with the rest: only the middle
    substep of an odd S is cut. Every share is counted in `frame_weight`, S inside and S/2 at the two ends.
    Where force and torque are exactly zero the position is not read.

    Args:
        frame_wrench: Sum of shares times (force, moment about the world origin) [N, N·m], shape (T, N, 6), float64.
        frame_weight: Sum of shares, shape (T,), float64.
        transition_force: Sum of forces over the transition's substeps [N], shape (P, N, 3), float64.
        force: Net force of the ground on each body in each substep [N], world, shape (K, N, 3).
        torque: Net torque about `position` [N·m], world, shape (K, N, 3).
        position: Point the net wrench refers to [m], world, shape (K, N, 3).
        substeps_per_frame: S.
        first_substep: Number of substeps that were added before this run.
    """
    force_KN3 = force.astype(np.float64)
    acts_KN1 = np.any((force != 0) | (torque != 0), axis=-1, keepdims=True)
    lever_KN3 = np.where(acts_KN1, position, 0.0).astype(np.float64)
    moment_KN3 = np.cross(lever_KN3, force_KN3) + torque.astype(np.float64)
    wrench_KN6 = np.concatenate((force_KN3, moment_KN3), axis=-1)
    for row, wrench_N6 in enumerate(wrench_KN6):
        frame, rest = divmod(first_substep + row, substeps_per_frame)
        share_next = min(max(rest + 1 - 0.5 * substeps_per_frame, 0.0), 1.0)
        frame_wrench[frame] += (1.0 - share_next) * wrench_N6
        frame_weight[frame] += 1.0 - share_next
        frame_wrench[frame + 1] += share_next * wrench_N6
        frame_weight[frame + 1] += share_next
        transition_force[frame] += wrench_N6[:, :3]


def finish_contact_wrench(
    frame_wrench: np.ndarray,
    frame_weight: np.ndarray,
    transition_force: np.ndarray,
    *,
    substeps_per_frame: int,
    min_force: float = MIN_FORCE,
) -> AveragedReaction:
    """Averages of sums made by `accumulate_contact_wrench`; the sums are left as they are.

    Args:
        frame_wrench: Running sums, shape (T, N, 6).
        frame_weight: Sum of shares, shape (T,); a frame with none has force 0.
        transition_force: Running sums, shape (P, N, 3).
        substeps_per_frame: S.
        min_force: Least averaged vertical force for a centre of pressure [N].

    Returns:
        Averages, float64. Frames with less than S of weight are marked `is_edge`.
    """
    weight = np.where(frame_weight > 0, frame_weight, 1.0)[:, None, None]
    mean_TN6 = frame_wrench / weight
    reaction = read_wrench(np.ascontiguousarray(mean_TN6[..., :3]), mean_TN6[..., 3:], min_force=min_force)
    is_edge = frame_weight < substeps_per_frame
    return AveragedReaction(*reaction, is_edge, transition_force / substeps_per_frame)
