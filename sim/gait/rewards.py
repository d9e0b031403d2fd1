"""The rewards of the gait study: equations 3 to 6 of KAIL, with the imitation terms of RFC.

    R^k   = w^p R^p + w^ee R^ee + w^rp R^rp + w^rv R^rv + w^vf R^vf            (3)
    R^dyn = w^grf R^grf + w^cop R^cop                                        (4)
    R^grf = exp(−k^grf |Δf|²),  Δf = sagittal forces of both feet            (5)
    R^cop = exp(−k^cop |Δx|²),  Δx = fore-aft centres of pressure            (6)

The terms of R^k follow RFC (Yuan & Kitani 2020, local reward, implicit residual): angles of rotations are half angles there,
the sums over joints and end effectors run inside one exponential. RFC takes velocities from finite differences over a control
step; here they are those of the state.

Source: Liu et al. 2026 (KAIL), section III.B; Khrylx/RFC motion_imitation/reward_function.py@b1166c2.

Axis legend: B environments, J = 7 joints, E = 3 end effectors, F = 2 feet (left, right).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

KINEMATIC_TERMS = ("pose", "end_effector", "root_pose", "root_velocity", "residual")
"""R^p, R^ee, R^rp, R^rv, R^vf."""


@dataclass(frozen=True, kw_only=True)
class KinematicWeights:
    """Weights and exponents of equation 3. Not in the paper: RFC's published configuration (0506), which sums to 1."""

    pose: float = 0.5
    """w^p."""
    end_effector: float = 0.3
    """w^ee."""
    root_pose: float = 0.05
    """w^rp."""
    root_velocity: float = 0.1
    """w^rv."""
    residual: float = 0.05
    """w^vf."""
    pose_gain: float = 2.0
    """k of the squared half angles of the joints [rad⁻²]."""
    end_effector_gain: float = 20.0
    """k of the squared distances of the end effectors [m⁻²]."""
    height_gain: float = 300.0
    """k of the squared error of the pelvis height [m⁻²]."""
    orientation_gain: float = 300.0
    """k of the squared half angle of the pelvis [rad⁻²]."""
    velocity_gain: float = 1.0
    """k of the squared error of the pelvis velocity [s²/m²]."""
    spin_gain: float = 0.1
    """k of the squared error of the pelvis angular velocity [s²/rad²]."""
    residual_gain: float = 1.0
    """k of the squared norm of the residual's action (before it is scaled)."""
    foot_weight: float = 0.2
    """Weight of the ankles' half angles; the other joints have 1 (RFC)."""

    @property
    def total(self) -> float:
        """Sum of the weights; R^k is divided by it, so that its maximum is 1 as in the paper's figure 4."""
        return self.pose + self.end_effector + self.root_pose + self.root_velocity + self.residual


@dataclass(frozen=True, kw_only=True)
class KineticConfig:
    """What equations 4 to 6 leave open."""

    grf_weight: float = 0.0
    """w^grf; the arms of the study differ in it. Not in the paper."""
    cop_weight: float = 0.0
    """w^cop; the arms of the study differ in it. Not in the paper."""
    grf_gain: float = 5.5
    """k^grf per squared unit of `grf_unit`. Not in the paper: with it the pre-trained policy of the `fast` preset, walking with
    its noise, scores 0.56 (`sim.gait.reward_gains`), as the paper's does (0.55 to 0.57)."""
    cop_gain: float = 510.0
    """k^cop [m⁻²]. Not in the paper: that policy scores 0.41 with it, as the paper's does."""
    grf_unit: Literal["body_weight", "newton_per_kg", "newton"] = "body_weight"
    """Unit of Δf. Not in the paper; only rescales `grf_gain`."""
    cop_frame: Literal["foot", "world"] = "foot"
    """Where x^ap is measured. `foot`: along the sole from the anatomical heel, so that a foot set down elsewhere is not punished
    (Table I is in per cent of foot length). `world`: along +x relative to the pelvis. Not in the paper."""
    cop_swing: Literal["ignore", "middle", "penalise"] = "ignore"
    """A foot without a centre of pressure. `ignore`: its Δx is 0 unless both feet, simulated and measured, are loaded. `middle`:
    an unloaded foot has its centre of pressure half way along. `penalise`: `cop_miss` where only one of the two is loaded."""
    cop_miss: float = 0.15
    """Δx [m] of a foot that is loaded where the expert's is not, or the other way, under `penalise`."""
    force_threshold: float = 20.0
    """Vertical force below which a foot has no centre of pressure [N] (the paper's heel-strike threshold)."""


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """Reward of the gait study."""

    kinematic: KinematicWeights = field(default_factory=KinematicWeights)
    """Equation 3."""
    kinetic: KineticConfig = field(default_factory=KineticConfig)
    """Equations 4 to 6."""


@dataclass(frozen=True, kw_only=True)
class MotionFeatures:
    """What R^k compares, of the simulated or the measured body."""

    joint_rot: np.ndarray
    """Orientation of each segment in its parent, shape (B, J, 3, 3): trunk, then thigh, shank and foot of each side."""
    end_effector: np.ndarray
    """Trunk's and feet's points relative to the pelvis, heading frame [m], shape (B, E, 3)."""
    height: np.ndarray
    """Height of the pelvis [m], shape (B,)."""
    tilt: np.ndarray
    """Orientation of the pelvis without its heading, shape (B, 3, 3)."""
    velocity: np.ndarray
    """Velocity of the pelvis, heading frame [m/s], shape (B, 3)."""
    spin: np.ndarray
    """Angular velocity of the pelvis, its own axes [rad/s], shape (B, 3)."""

    def farthest_from(self, end_effector: np.ndarray) -> np.ndarray:
        """Largest distance of an end effector from others (B, E, 3) [m], shape (B,)."""
        return np.sqrt(((self.end_effector - end_effector) ** 2).sum(axis=2).max(axis=1))


def half_angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Half the angle between rotations (..., 3, 3) [rad]: arccos of the relative quaternion's real part."""
    trace = np.einsum("...ij,...ij->...", first, second)
    return 0.5 * np.arccos(np.clip(0.5 * (trace - 1.0), -1.0, 1.0))


def kinematic_terms(
    mine: MotionFeatures, expert: MotionFeatures, residual_action: np.ndarray, weights: KinematicWeights
) -> dict[str, np.ndarray]:
    """The five terms of equation 3, each in (0, 1], shape (B,).

    Args:
        mine: Simulated body.
        expert: Measured body at the same time.
        residual_action: The residual's part of the action before scaling, shape (B, 6).
        weights: Exponents.
    """
    joint_weight = np.array([1.0, 1.0, 1.0, weights.foot_weight, 1.0, 1.0, weights.foot_weight])
    angle = half_angle(mine.joint_rot, expert.joint_rot) * joint_weight
    reach = ((mine.end_effector - expert.end_effector) ** 2).sum(axis=(1, 2))
    tilt = half_angle(mine.tilt, expert.tilt)
    root_pose = weights.height_gain * (mine.height - expert.height) ** 2 + weights.orientation_gain * tilt**2
    root_velocity = weights.velocity_gain * ((mine.velocity - expert.velocity) ** 2).sum(axis=1)
    root_velocity = root_velocity + weights.spin_gain * ((mine.spin - expert.spin) ** 2).sum(axis=1)
    return {
        "pose": np.exp(-weights.pose_gain * (angle**2).sum(axis=1)),
        "end_effector": np.exp(-weights.end_effector_gain * reach),
        "root_pose": np.exp(-root_pose),
        "root_velocity": np.exp(-root_velocity),
        "residual": np.exp(-weights.residual_gain * (residual_action**2).sum(axis=1)),
    }


def kinematic_reward(terms: dict[str, np.ndarray], weights: KinematicWeights) -> np.ndarray:
    """R^k of its terms, divided by the sum of the weights, shape (B,)."""
    weighted = [getattr(weights, name) * terms[name] for name in KINEMATIC_TERMS]
    return np.sum(weighted, axis=0) / weights.total


def grf_error(force: np.ndarray, expert_force: np.ndarray, body_mass: float, weight: float, unit: str) -> np.ndarray:
    """|Δf|² of equation 5: fore-aft and vertical forces of both feet, shape (B,).

    Args:
        force: Simulated forces [N], walking direction +x, shape (B, F, 3).
        expert_force: Measured forces, same shape; NaN (not measured) gives NaN.
        body_mass: Mass [kg].
        weight: Body weight [N].
        unit: Unit of Δf: `body_weight`, `newton_per_kg` or `newton`.
    """
    scale = {"body_weight": weight, "newton_per_kg": body_mass, "newton": 1.0}[unit]
    difference = (force - expert_force)[..., [0, 2]] / scale
    return (difference**2).sum(axis=(1, 2))


def cop_error(
    cop: np.ndarray,
    expert_cop: np.ndarray,
    loaded: np.ndarray,
    expert_loaded: np.ndarray,
    middle: float,
    config: KineticConfig,
) -> np.ndarray:
    """|Δx|² of equation 6 [m²], shape (B,).

    Args:
        cop: Simulated fore-aft centres of pressure [m], shape (B, F); anything where not loaded.
        expert_cop: Measured ones, same frame.
        loaded: Simulated feet that are loaded, shape (B, F).
        expert_loaded: Measured feet that are loaded.
        middle: Where the centre of pressure of an unloaded foot is under `middle` [m] (half the foot's length).
        config: What happens in swing.
    """
    both = loaded & expert_loaded
    difference = np.where(both, np.where(both, cop, 0.0) - np.where(both, expert_cop, 0.0), 0.0)
    if config.cop_swing == "penalise":
        difference = np.where(loaded ^ expert_loaded, config.cop_miss, difference)
    elif config.cop_swing == "middle":
        difference = np.where(loaded, cop, middle) - np.where(expert_loaded, expert_cop, middle)
    return (difference**2).sum(axis=1)


def gain_for(squared_error: np.ndarray, score: float) -> float:
    """Gain k at which mean(exp(−k e²)) equals a score: how k^grf and k^cop are fixed on the pre-trained policy.

    Args:
        squared_error: e² of the frames, not all zero.
        score: Wanted mean, in (0, 1) and above the share of frames without error.

    Raises:
        ValueError: a score that no gain reaches.
    """
    errors = squared_error[np.isfinite(squared_error)]
    floor = float((errors == 0.0).mean()) if len(errors) else 1.0
    if not floor < score < 1.0:
        raise ValueError(
            f"score: expected a value between {floor:.2f} (share of the {len(errors)} frames without error) and 1, got {score}"
        )
    low, high = -30.0, 30.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if np.exp(-np.exp(middle) * errors).mean() > score:
            low = middle
        else:
            high = middle
    return float(np.exp(0.5 * (low + high)))
