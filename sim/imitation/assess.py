"""How well an imitation follows its reference and how human its forces look.

Errors at 30 Hz against the motion itself; ground forces at the substep rate through a zero-lag fourth-order 20 Hz filter;
torques through 6 Hz against the inverse dynamics of the followed reference (`tracker.dynamics_filter`: the motion where floor
forces can bring it about) under its most plausible contacts (`tracker.feedforward`).

Axis legend: K substeps, T frames (30 Hz), N = 24 bodies, F = left, right foot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.kinematics import forward_kinematics
from dataset.low_pass import low_pass
from dataset.skeleton import FEET, GRAVITY, JOINT_NAMES
from sim.acting_torque import acting_torque
from sim.humanoid import Humanoid
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
    stance_share: tuple[float, float]
    """Share of the time in which the left and the right foot is loaded."""
    torque_correlation: tuple[float, float, float]
    """Correlation of hip, knee and ankle flexion torque with the reference's inverse dynamics, mean of both sides."""
    roughness: float
    """RMS second difference of the 30 Hz torque over its RMS."""


def whole_cycles(loaded_K: np.ndarray) -> slice:
    """From the first to the last foot strike of a foot; everything where there are fewer than two."""
    strikes = np.flatnonzero(~loaded_K[:-1] & loaded_K[1:]) + 1
    return slice(int(strikes[0]), int(strikes[-1])) if len(strikes) > 1 else slice(0, len(loaded_K))


def assess(humanoid: Humanoid, reference: ReferenceTrajectory, part: Replay) -> Assessment:
    """Figures of one replayed stretch.

    Means over time and stance shares are taken over whole gait cycles of the left foot where there are any.

    Args:
        humanoid: Who imitates.
        reference: The motion at the physics rate, as it was before the dynamics filter.
        part: The replay.
    """
    trace, rate = part.trace, 1.0 / part.trace.substep
    count, skip = trace.num_substeps, round(TRANSIENT * rate)
    frames = slice(0, None, humanoid.substeps)
    simulated = trace.qpos[0, frames]
    wanted = reference.qpos[part.first_sample :][frames][: len(simulated)]
    here, there = (forward_kinematics(humanoid.body.offset, *humanoid.pose(qpos))[0] for qpos in (simulated, wanted))
    error = np.linalg.norm(here - there, axis=-1).mean(axis=1)
    relative = np.linalg.norm((here - here[:, :1]) - (there - there[:, :1]), axis=-1).mean(axis=1)

    vertical = trace.ground_force[0, :, :, 2]
    weight = float(humanoid.body.mass.sum() * GRAVITY)
    foot_KF = np.stack([vertical[:, list(bodies)].sum(axis=1) for bodies in FEET], axis=1)
    smooth = low_pass(foot_KF, rate, FORCE_CUTOFF)[skip:]
    cycles = whole_cycles(smooth[:, 0] > CONTACT_FORCE)

    torque = acting_torque(humanoid, trace, 0)
    inverse = feedforward_torque(humanoid, part.followed)[part.first_sample : part.first_sample + count].reshape(
        count, -1, 3
    )
    pair = [low_pass(values[:, :, 1], rate, TORQUE_CUTOFF)[skip:] for values in (torque, inverse)]
    correlation = []
    for kind in ("Hip", "Knee", "Ankle"):
        joints = [JOINT_NAMES.index(f"{side}_{kind}") for side in "LR"]
        correlation.append(float(np.mean([np.corrcoef(pair[0][:, j], pair[1][:, j])[0, 1] for j in joints])))
    whole = count // humanoid.substeps * humanoid.substeps
    at_30 = torque[:whole].reshape(-1, humanoid.substeps, torque.shape[1] * 3).mean(axis=1)
    roughness = float(np.sqrt(np.mean(np.diff(at_30, 2, axis=0) ** 2) / np.mean(at_30**2)))
    return Assessment(
        duration=count / rate, error_mm=1e3 * float(error.mean()), error_median_mm=1e3 * float(np.median(error)),
        error_max_mm=1e3 * float(error.max()), relative_error_mm=1e3 * float(relative.mean()),
        force_mean=float(vertical.sum(axis=1)[skip:][cycles].mean() / weight),
        foot_peak=(float(smooth[:, 0].max() / weight), float(smooth[:, 1].max() / weight)),
        stance_share=(float((smooth[cycles, 0] > CONTACT_FORCE).mean()), float((smooth[cycles, 1] > CONTACT_FORCE).mean())),
        torque_correlation=(correlation[0], correlation[1], correlation[2]), roughness=roughness,
    )  # fmt: skip
