"""How well an imitation follows its reference and how human its forces look.

Errors at 30 Hz against the motion itself; ground forces at the substep rate through a zero-lag fourth-order 20 Hz filter.

Torques through 6 Hz against inverse dynamics under the most plausible contacts (`tracker.feedforward`), twice: of the motion
itself, which is what a bound on the correlation is about, and of the reference that is followed (`tracker.dynamics_filter`: the
motion where floor forces can bring it about), which tells how much of what is missing the filter took and how much the search.

Axis legend: K substeps, T frames (30 Hz), N = 24 bodies, F = left, right foot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dataset.kinematics import forward_kinematics
from dataset.low_pass import low_pass
from dataset.skeleton import FEET, GRAVITY, JOINT_NAMES
from sim.acting_torque import acting_torque
from sim.humanoid import Humanoid
from sim.imitation.solution import Solution
from sim.imitation.tracker.feedforward import feedforward_torque
from sim.imitation.tracker.reference import ReferenceTrajectory
from sim.imitation.tracker.solve import Replay

FORCE_CUTOFF = 20.0
"""Low-pass of the ground force for its peaks [Hz]."""
TORQUE_CUTOFF = 6.0
"""Low-pass of joint torques for their correlation [Hz]."""
TRANSIENT = 0.3
"""Left out at the start [s], as in the records: the body lands on the floor there."""
CONTACT_FORCE = 20.0
"""Vertical force above which a foot is loaded [N]."""
SHORTEST_PHASE = 0.05
"""Contacts and gaps shorter than this are scuffs and ripples of the filter, neither steps nor swings [s]."""
FLEXED = ("Hip", "Knee", "Ankle")
"""Joints whose flexion torque is compared."""


@dataclass(frozen=True, kw_only=True)
class FootSteps:
    """A foot over its whole strides (strike to next strike): medians, NaN where there is none.

    What comes before the first strike and after the last does not count, so a clip that stands at its ends looks no different.
    """

    strides: int
    """Number of whole strides."""
    stance_share: float
    """Share of a stride in which the foot is loaded."""
    first_peak: float
    """Largest vertical force in the first half of a stance, where walking takes the weight over [body weights]."""
    second_peak: float
    """Largest vertical force in its second half, where walking pushes off [body weights]."""
    valley: float
    """Least vertical force between the two [body weights]; a stance with a single hump has none that is much lower."""


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """Figures of one imitated stretch."""

    duration: float
    """Length [s]."""
    error_mm: float
    """Mean over time and bodies of the distance from the reference [mm]."""
    error_median_mm: float
    """Median over time of the mean over the bodies [mm]."""
    error_max_mm: float
    """Largest mean over the bodies [mm]."""
    relative_error_mm: float
    """As `error_mm` with both pelvises put in one place [mm]."""
    force_mean: float
    """Mean vertical ground force [body weights]."""
    foot_peak: tuple[float, float]
    """Largest vertical force of the left and the right foot [body weights]."""
    feet: tuple[FootSteps, FootSteps]
    """Strides of the left and the right foot."""
    torque_correlation: tuple[float, float, float]
    """Correlation of hip, knee and ankle flexion torque with inverse dynamics of the motion, mean of both sides."""
    followed_correlation: tuple[float, float, float]
    """The same with inverse dynamics of the followed reference."""
    roughness: float
    """RMS second difference of the 30 Hz torque over its RMS."""


def strides(force_K: np.ndarray, rate: float) -> np.ndarray:
    """Whole strides of a foot: samples of its strike, its toe-off and its next strike, shape (strides, 3), int64.

    A foot is loaded above `CONTACT_FORCE`; contacts and gaps shorter than `SHORTEST_PHASE` do not count.

    Args:
        force_K: Vertical force on the foot [N], shape (K,).
        rate: Samples per second [Hz].
    """
    loaded = force_K > CONTACT_FORCE
    for phase in (False, True):  # first gaps are closed, then short contacts go
        changes = np.flatnonzero(np.diff(loaded)) + 1
        for first, last in pairwise(changes):
            if bool(loaded[first]) is phase and last - first < SHORTEST_PHASE * rate:
                loaded[first:last] = not phase
    changes = np.flatnonzero(np.diff(loaded)) + 1
    strikes, offs = changes[loaded[changes]], changes[~loaded[changes]]
    return np.array(
        [(one, offs[np.searchsorted(offs, one)], two) for one, two in pairwise(strikes)], dtype=np.int64
    ).reshape(-1, 3)


def foot_steps(force_K: np.ndarray, smooth_K: np.ndarray, rate: float, body_weight: float) -> FootSteps:
    """Stance and peaks of a foot's whole strides.

    Strikes and toe-offs are those of the force itself: the low-pass moves each by some 10 ms away from the stance.

    Args:
        force_K: Vertical force on the foot [N], shape (K,).
        smooth_K: The same through `FORCE_CUTOFF`, for the peaks, shape (K,).
        rate: Samples per second [Hz].
        body_weight: [N].
    """
    found = strides(force_K, rate)
    if not len(found):
        return FootSteps(strides=0, stance_share=np.nan, first_peak=np.nan, second_peak=np.nan, valley=np.nan)
    share = [(off - strike) / (following - strike) for strike, off, following in found]
    peaks = []
    for strike, off, _ in found:
        first, second = np.array_split(smooth_K[strike:off], 2)
        between = smooth_K[strike + np.argmax(first) : strike + len(first) + np.argmax(second) + 1]
        peaks.append((first.max(), second.max(), between.min()))
    first_peak, second_peak, valley = np.median(peaks, axis=0) / body_weight
    return FootSteps(
        strides=len(found), stance_share=float(np.median(share)),
        first_peak=float(first_peak), second_peak=float(second_peak), valley=float(valley),
    )  # fmt: skip


def tracking_error(humanoid: Humanoid, part: Replay, reference: np.ndarray) -> np.ndarray:
    """Mean over the bodies of their distance from the reference at each 30 Hz frame of a replay.

    Args:
        humanoid: Who imitates.
        part: Replayed stretch.
        reference: Reference trajectory, generalised positions at every physics substep of the clip, shape (K, 99).

    Returns:
        Distance [m], shape (T,).
    """
    return body_distance(humanoid, *_at_frames(humanoid, part, reference))


def body_distance(humanoid: Humanoid, simulated: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Mean over the bodies of their distance in two trajectories of generalised positions (T, 99) [m], shape (T,)."""
    here, there = _body_positions(humanoid, simulated, wanted)
    return np.linalg.norm(here - there, axis=-1).mean(axis=1)


def _at_frames(humanoid: Humanoid, part: Replay, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Simulated and wanted generalised positions of a replay at 30 Hz, each (T, 99)."""
    frames = slice(0, None, humanoid.substeps)
    simulated = part.trace.qpos[0, frames]
    return simulated, reference[part.first_sample :][frames][: len(simulated)]


def _body_positions(humanoid: Humanoid, simulated: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the bodies in both [m], each (T, N, 3)."""
    here, there = (forward_kinematics(humanoid.body.offset, *humanoid.pose(qpos))[0] for qpos in (simulated, wanted))
    return here, there


def is_tracked_throughout(
    humanoid: Humanoid, reference: ReferenceTrajectory, solution: Solution, parts: Sequence[Replay], limit: float
) -> bool:
    """Whether a solution, as it replays here, follows the whole motion.

    One stretch from the first frame to the last knot, no warning of the engine, and the mean body error against the motion (not
    against the filtered reference, which the error in the solution's file refers to) below the limit at every frame.

    Args:
        humanoid: Who imitates.
        reference: The motion at the physics rate, as it was before the dynamics filter.
        solution: What was replayed.
        parts: Its replay.
        limit: Largest mean distance of the bodies from the motion [m].
    """
    if not solution.is_complete or len(parts) != 1:
        return False
    trace = parts[0].trace
    is_sound = int(trace.valid_substeps[0]) == trace.num_substeps
    return is_sound and bool(np.all(tracking_error(humanoid, parts[0], reference.qpos) < limit))


def assess(humanoid: Humanoid, reference: ReferenceTrajectory, part: Replay) -> Assessment:
    """Figures of one replayed stretch.

    The mean force is taken over whole strides of the left foot where there are any, over everything where there are none.

    Args:
        humanoid: Who imitates.
        reference: The motion at the physics rate, as it was before the dynamics filter.
        part: The replay.
    """
    trace, rate = part.trace, 1.0 / part.trace.substep
    count, skip = trace.num_substeps, round(TRANSIENT * rate)
    here, there = _body_positions(humanoid, *_at_frames(humanoid, part, reference.qpos))
    error = np.linalg.norm(here - there, axis=-1).mean(axis=1)
    relative = np.linalg.norm((here - here[:, :1]) - (there - there[:, :1]), axis=-1).mean(axis=1)

    vertical = trace.ground_force[0, :, :, 2]
    weight = float(humanoid.body.mass.sum() * GRAVITY)
    foot_KF = np.stack([vertical[:, list(bodies)].sum(axis=1) for bodies in FEET], axis=1)
    smooth, sharp = low_pass(foot_KF, rate, FORCE_CUTOFF)[skip:], foot_KF[skip:]
    left = strides(sharp[:, 0], rate)
    cycles = slice(left[0, 0], left[-1, 2]) if len(left) else slice(None)

    torque = acting_torque(humanoid, trace, 0)
    span = slice(part.first_sample, part.first_sample + count)
    of_motion, of_followed = (
        _correlation(torque, feedforward_torque(humanoid, wanted)[span].reshape(count, -1, 3), rate, skip)
        for wanted in (reference, part.followed)
    )
    whole = count // humanoid.substeps * humanoid.substeps
    at_30 = torque[:whole].reshape(-1, humanoid.substeps, torque.shape[1] * 3).mean(axis=1)
    roughness = float(np.sqrt(np.mean(np.diff(at_30, 2, axis=0) ** 2) / np.mean(at_30**2)))
    return Assessment(
        duration=count / rate, error_mm=1e3 * float(error.mean()), error_median_mm=1e3 * float(np.median(error)),
        error_max_mm=1e3 * float(error.max()), relative_error_mm=1e3 * float(relative.mean()),
        force_mean=float(vertical.sum(axis=1)[skip:][cycles].mean() / weight),
        foot_peak=(float(smooth[:, 0].max() / weight), float(smooth[:, 1].max() / weight)),
        feet=(foot_steps(sharp[:, 0], smooth[:, 0], rate, weight), foot_steps(sharp[:, 1], smooth[:, 1], rate, weight)),
        torque_correlation=of_motion, followed_correlation=of_followed, roughness=roughness,
    )  # fmt: skip


def _correlation(torque: np.ndarray, inverse: np.ndarray, rate: float, skip: int) -> tuple[float, float, float]:
    """Correlation of the flexion torques of hip, knee and ankle through the low-pass, mean of both sides; both (K, J, 3)."""
    acted, wanted = (low_pass(values[:, :, 1], rate, TORQUE_CUTOFF)[skip:] for values in (torque, inverse))
    hip, knee, ankle = (
        float(np.mean([np.corrcoef(acted[:, j], wanted[:, j])[0, 1] for j in (left, right)]))
        for left, right in ((JOINT_NAMES.index(f"L_{kind}"), JOINT_NAMES.index(f"R_{kind}")) for kind in FLEXED)
    )
    return hip, knee, ankle
