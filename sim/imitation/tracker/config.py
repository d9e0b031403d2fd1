"""Settings of the tracker's search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.skeleton import BODY_NAMES, JOINT_NAMES


@dataclass(frozen=True, kw_only=True)
class CostWeights:
    """Weights of the cost terms (`sim.imitation.tracker.residuals`); units make each term a number."""

    pose: float = 3.0
    """Joint rotations [1/rad²]."""
    root: float = 6.0
    """Root orientation [-]."""
    position: float = 30.0
    """Body positions [1/m²]; with `com`, 30 tracks walking at 46 mm where 10 gives 63-75."""
    com: float = 30.0
    """Centre of mass [1/m²]."""
    com_velocity: float = 3.0
    """Velocity of the centre of mass [s²/m²]; with `com` it weighs the capture point, which tells a fall long before the
    position does: turning in place 41 -> 30 mm, walking's ankle torque correlation .83 -> .87 against a weight of 0.6."""
    angular_momentum: float = 0.0008
    """Angular momentum about the centre of mass [s²/(kg²·m⁴)]."""
    feet: float = 5.0
    """Feet relative to the centre of mass [1/m²]."""
    softness: float = 0.2
    """Change of the vertical ground force over 20 ms, in body weights."""
    offset_size: float = 0.05
    """Offsets in search widths. Small offsets leave the torque to the feed-forward, which is the reference's own: with 0.05
    walking's knee torque follows it with r = .86 where 0.004 gives .74, at the same error; 0.15 loses hard clips."""
    offset_rate: float = 0.05
    """Change of the offsets from knot to knot in search widths."""
    joint_range: float = 3.0
    """Excess over the joint ranges [1/rad²]."""
    clearance: float = 200.0
    """Overlap of limbs [1/m²]."""

    def vector(self) -> np.ndarray:
        """Weights in the order of the constants in `residuals`, shape (10,)."""
        return np.array([
            self.pose, self.root, self.position, self.com, self.com_velocity, self.angular_momentum, self.feet,
            self.softness, self.joint_range, self.clearance,
        ])  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Receding-horizon search by sampled Gauss-Newton steps."""

    samples: int = 28
    """Roll-outs sampled in each round."""
    rounds: int = 2
    """Rounds of sampling and stepping per plan; later rounds use the samples of earlier ones too."""
    good_cost: float = 0.1
    """A plan this cheap needs no further round."""
    damping: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    """Dampings of the step that are tried, one roll-out each."""
    trusted_cost: float = 4.0
    """A sample whose cost is larger than this many times the centre's is left out of the step (if it is in the worse half)."""
    knots: int = 6
    """Knots in the horizon."""
    knot_time: float = 1.0 / 15.0
    """Time between knots and between plans [s]."""
    width_scale: float = 1.5
    """Factor on the basic widths of `SEARCHED`: the unit σ of the offsets in the cost."""
    first_width: float = 0.6
    """Standard deviation of the first round's samples, in σ."""
    width_decay: float = 0.6
    """Factor on it after each round."""
    width_floor: float = 0.3
    """It never falls below this."""
    planning_substep: float = 1.0 / 120.0
    """Physics step of roll-outs that are only planned [s]; a multiple of the executing humanoid's step."""
    planning_sweeps: int = 10
    """Sweeps of the projected Gauss-Seidel contact solver in roll-outs that are only planned, a third faster than Newton;
    0 plans with Newton too. What is executed and recorded always runs with Newton."""
    checkpoints: int = 12
    """Times in the horizon at which the roll-out is compared with the reference."""
    weights: CostWeights = CostWeights()
    """Weights of the cost terms."""


SEARCHED: tuple[tuple[str, str, float], ...] = (
    ("Hip", "x", 0.15), ("Hip", "y", 0.15), ("Hip", "z", 0.09), ("Knee", "y", 0.15), ("Ankle", "x", 0.15),
    ("Ankle", "y", 0.15), ("Ankle", "z", 0.09), ("Torso", "x", 0.12), ("Torso", "y", 0.12), ("Torso", "z", 0.072),
    ("Shoulder", "x", 0.15), ("Shoulder", "y", 0.15), ("Shoulder", "z", 0.09), ("Elbow", "z", 0.1),
)  # fmt: skip
"""Degrees of freedom the search moves, with their basic width [rad]; 25 in all with both sides."""

POSE_WEIGHTS: dict[str, float] = {
    "Hip": 3.0, "Knee": 3.0, "Torso": 2.0, "Spine": 2.0, "Chest": 2.0, "Ankle": 1.5, "Toe": 0.3, "Neck": 0.3,
    "Head": 0.3, "Thorax": 1.0, "Shoulder": 1.0, "Elbow": 1.0, "Wrist": 0.3, "Hand": 0.3,
}  # fmt: skip
"""Relative importance of joint rotations in the cost."""


def searched_columns() -> tuple[np.ndarray, np.ndarray]:
    """Servo indices (D,) of the searched degrees of freedom and their basic widths [rad] (D,)."""
    columns, widths = [], []
    for joint, name in enumerate(JOINT_NAMES):
        for kind, axis, width in SEARCHED:
            if name.split("_")[-1] == kind:
                columns.append(3 * joint + "xyz".index(axis))
                widths.append(width)
    return np.array(columns, dtype=np.int64), np.array(widths)


def pose_weights() -> np.ndarray:
    """Normalised joint-rotation weights, 0 for the pelvis, shape (N,)."""
    weights = np.array([0.0, *(POSE_WEIGHTS[name.split("_")[-1]] for name in BODY_NAMES[1:])])
    return weights / weights.sum()
