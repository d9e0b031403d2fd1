"""The nearest motion that floor contacts can bring about (a dynamics filter, after Yamane and Nakamura 2003).

A motion that was measured on one body and put on another falls faster than gravity, turns in the air, leans where nothing
pushes: no controller can follow it, and a search with a short horizon finds out too late. So the motion itself is changed
first, as little as possible. Each frame may shift by δ and turn by θ about its mass centre; with

    b = [ m(c̈ + δ̈ - g) ;  L̇ + I·θ̈ + δ × F ]        (F = m(c̈ - g), L about the mass centre c, I of the whole body)

the force and moment the floor must supply, and f ≥ 0 the forces it can supply on friction-pyramid edges A at low points,

    min over δ, θ, f of  Σ_t |b - A f|² + Σ ρ² f² + w_δ |δ|² + w_θ |θ|²      (body weights, metres, radians).

Eliminating f on its active set leaves bᵀ(1 + A_a ρ⁻² A_aᵀ)⁻¹ b, so that each Newton step is one banded solve for all frames.
Inverse kinematics then moves trunk and arms with δ and θ while what is near the floor stays; in flight everything moves.

Axis legend: T frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.linalg import solveh_banded

from dataset.schema import Motion
from dataset.skeleton import GRAVITY
from sim.humanoid import Humanoid
from sim.imitation.tracker.contact_forces import compliance_of, supply_frames
from sim.imitation.tracker.floor_demand import MOMENT_SCALE, Demand, floor_demand
from sim.imitation.tracker.pose_shift import shift_poses
from sim.imitation.tracker.reference import ReferenceTrajectory, make_reference

SHIFT_WEIGHT = 1.0
"""Weight of a shift [1/m²]; a residual of one body weight in one frame weighs 1."""
TURN_WEIGHT = 0.5
"""Weight of a turn [1/rad²]."""
NEWTON_STEPS = 6
"""Newton steps over the active sets of all frames."""
PASSES = 2
"""Times that the motion is changed and judged again."""
SWEEPS = 200
"""Largest number of sweeps of the contact-force solver."""


def _cross_matrix(vectors: np.ndarray) -> np.ndarray:
    """Matrices X with X·δ = δ × v, shape (T, 3, 3)."""
    out = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = z, -y, x
    out[:, 1, 0], out[:, 2, 0], out[:, 2, 1] = -z, y, -x
    return out


def _solve_banded(hessians: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Unknowns (T + 2, 6) of Σ_t (h_t over frames t - 1, t, t + 1) plus the weights of shift and turn.

    Args:
        hessians: Shape (T, 18, 18).
        slopes: Right sides, shape (T, 18).
    """
    count = len(hessians)
    size = 6 * (count + 2)
    matrix, right = np.zeros((18, size)), np.zeros(size)
    first = 6 * np.arange(count)
    for row in range(18):
        right[first + row] += slopes[:, row]
        for column in range(row, 18):
            matrix[17 - column + row, first + column] += hessians[:, row, column]
    matrix[17] += np.tile(np.repeat([SHIFT_WEIGHT, TURN_WEIGHT], 3), count + 2)
    return solveh_banded(matrix, right).reshape(-1, 6)


class _ShiftedDemand:
    """b over frames as a linear function of shifts and turns x, and the least of its cost once it is known what pushes."""

    def __init__(self, demand: Demand, rate: float) -> None:
        count = len(demand.force)
        self.demand, self.base = demand, np.concatenate([demand.force, demand.moment], axis=1)
        second = np.zeros((count, 6, 6))
        second[:, :3, :3] = np.eye(3) / GRAVITY
        second[:, 3:, 3:] = demand.inertia
        second *= rate**2
        place = np.zeros((count, 6, 6))
        place[:, 3:, :3] = MOMENT_SCALE * _cross_matrix(demand.force)
        inner = np.ones(count)
        inner[[0, -1]] = 0.0  # no acceleration from differences at the ends
        left = second * inner[:, None, None]
        self.blocks = np.concatenate([left, place - 2.0 * left, left], axis=2)  # (T, 6, 18) on x[t-1], x[t], x[t+1]

    def at(self, x: np.ndarray) -> np.ndarray:
        """b at x, shape (T, 6); `x` has a frame more at both ends, shape (T + 2, 6)."""
        window = np.concatenate([x[:-2], x[1:-1], x[2:]], axis=1)
        return self.base + np.einsum("tij,tj->ti", self.blocks, window)

    def least(self, pushing: np.ndarray) -> np.ndarray:
        """x of least cost if exactly these forces push, shape (T + 2, 6)."""
        demand = self.demand
        shape = np.linalg.inv(compliance_of(demand.columns, demand.ridges, demand.offsets, pushing))
        weighted = np.matmul(self.blocks.transpose(0, 2, 1), shape)
        return _solve_banded(np.matmul(weighted, self.blocks), -np.einsum("tij,tj->ti", weighted, self.base))


def smallest_shift(demand: Demand, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shift and turn of every frame that let the floor supply what the motion demands.

    Args:
        demand: From `floor_demand`.
        rate: Frames per second [Hz].

    Returns:
        Shift [m], shape (T, 3); turn [rad], shape (T, 3); force and moment that are still missing [body weights, body
        weights · metre], shape (T, 6); which of the demand's forces pushed when shift and turn were found, bool: all that
        `shift_for` needs to find them again.
    """
    shifted, count = _ShiftedDemand(demand, rate), len(demand.force)
    x, rest = np.zeros((count + 2, 6)), np.zeros((count, 6))
    force = np.zeros(len(demand.ridges))
    pushing = force > 0.0
    for step in range(NEWTON_STEPS + 1):
        supply_frames(demand.columns, demand.ridges, demand.offsets, shifted.at(x), force, SWEEPS, rest)
        if step == NEWTON_STEPS:
            break
        pushing = force > 0.0
        x = shifted.least(pushing)
    rest[:, 3:] /= MOMENT_SCALE
    return x[1:-1, :3], x[1:-1, 3:], rest, pushing


def shift_for(demand: Demand, rate: float, pushing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift [m] and turn [rad] of every frame, shapes (T, 3), where it is known which forces push: one linear solve."""
    x = _ShiftedDemand(demand, rate).least(pushing)
    return x[1:-1, :3], x[1:-1, 3:]


def filter_motion(
    humanoid: Humanoid,
    motion: Motion,
    pushing: Sequence[np.ndarray] = (),
    wanted: ReferenceTrajectory | None = None,
) -> tuple[Motion, tuple[np.ndarray, ...]]:
    """The motion, shifted and turned as little as possible so that the floor can bring it about.

    Args:
        humanoid: Body and masses.
        motion: A motion that is already on this body.
        pushing: What this function returned for the same motion before: which forces push in each pass, which spares the
            search for them. A pass without one, or with another number of forces (a point near `REACH` is in it on one
            machine and not on another), finds its own.
        wanted: Trajectory of the motion, if it is at hand.

    Returns:
        The filtered motion, and which forces of each pass push.
    """
    current, found = motion, []
    stride = round(1.0 / (motion.frame_rate * humanoid.config.substep))
    for number in range(PASSES):
        reference = wanted if wanted is not None and number == 0 else make_reference(humanoid, current)
        samples = np.minimum(np.arange(motion.num_frames) * stride, reference.num_samples - 1)
        demand = floor_demand(humanoid, reference, samples)
        known = pushing[number] if number < len(pushing) else None
        if known is not None and known.shape == demand.ridges.shape:
            shift, turn = shift_for(demand, motion.frame_rate, known)
        else:
            shift, turn, _, known = smallest_shift(demand, motion.frame_rate)
        found.append(known)
        moved = shift_poses(humanoid, humanoid.qpos(current.root_pos, current.quat), demand.com, shift, turn)
        root_pos, quat = humanoid.pose(moved)
        current = dataclasses.replace(current, root_pos=root_pos, quat=quat)
    return current, tuple(found)


def feasible_reference(
    humanoid: Humanoid,
    motion: Motion,
    pushing: Sequence[np.ndarray] = (),
    wanted: ReferenceTrajectory | None = None,
) -> tuple[ReferenceTrajectory, tuple[np.ndarray, ...]]:
    """What the tracker follows, the trajectory of the filtered motion, and which forces push (`filter_motion`).

    Errors are measured against the motion itself.
    """
    filtered, found = filter_motion(humanoid, motion, pushing, wanted)
    return make_reference(humanoid, filtered), found
