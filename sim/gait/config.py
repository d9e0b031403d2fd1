"""Physical parameters of the gait model: what the paper gives, and what it leaves out, as fields."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sim.gait.segments import COORDINATES


@dataclass(frozen=True, kw_only=True)
class JointGains:
    """Values of one quantity for each kind of joint."""

    trunk: float
    """Trunk extension, bending and rotation."""
    hip: float
    """Hip flexion, adduction and rotation."""
    knee: float
    """Knee flexion."""
    ankle: float
    """Ankle flexion, inversion and rotation."""

    def per_coordinate(self) -> np.ndarray:
        """The values in the order of the coordinates, shape (17,)."""
        return np.array([getattr(self, name.split("_")[0]) for name in COORDINATES])

    def times(self, factor: float) -> JointGains:
        """All values multiplied by a factor."""
        return JointGains(
            trunk=factor * self.trunk, hip=factor * self.hip, knee=factor * self.knee, ankle=factor * self.ankle
        )


@dataclass(frozen=True, kw_only=True)
class PhysicsConfig:
    """Physics of the gait model. Paper: Liu et al. 2026 (KAIL); RFC: Yuan & Kitani 2020 with its published configuration."""

    substep: float = 1.0 / 450.0
    """Physics step [s] (paper: 450 Hz)."""
    substeps: int = 15
    """Physics steps in a control interval (paper: 30 Hz)."""
    stiffness: JointGains = field(default_factory=lambda: JointGains(trunk=1000.0, hip=500.0, knee=500.0, ankle=400.0))
    """Kp of equation 2 [N·m/rad]. Not in the paper, which takes 'preset' ones from RFC: its configuration 0506."""
    damping: JointGains = field(default_factory=lambda: JointGains(trunk=100.0, hip=50.0, knee=50.0, ankle=40.0))
    """Kd of equation 2 [N·m·s/rad]: a tenth of Kp as in RFC (which doubles it in one configuration)."""
    torque_limit: JointGains = field(
        default_factory=lambda: JointGains(trunk=400.0, hip=400.0, knee=400.0, ankle=400.0)
    )
    """Largest joint torque [N·m]. Not in the paper. RFC's 150 at the ankle is what an adult of 86 kg reaches in walking."""
    contact_margin: float = 0.05
    """Distance at which the contact force starts [m] (paper). On the foot's points only: MuJoCo adds the margins of a pair."""
    contact_time: float = 0.02
    """Time constant of the contact [s] (paper)."""
    contact_damping: float = 1.0
    """Damping ratio of the contact (paper)."""
    contact_impedance: tuple[float, float, float] = (0.9, 0.95, 0.001)
    """Solimp: impedance at first touch, deep inside, and the depth in between [m]. Not in the paper: MuJoCo's own."""
    friction: float = 1.0
    """Sliding friction (RFC). Not in the paper."""
    point_radius: float = 0.002
    """Radius of the spheres that stand for the contact points [m]."""
    armature: float = 0.01
    """Rotor inertia of every hinge [kg·m²] (RFC). Part of the simulated body and of its inverse dynamics alike."""
    solver_iterations: int = 10
    """Newton iterations at most; fewer than 5 are marginal."""

    @property
    def control_interval(self) -> float:
        """Time of one control step [s]."""
        return self.substep * self.substeps
