"""Settings of the gait environment: what the paper gives and what it leaves out, as fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sim.gait.config import PhysicsConfig
from sim.gait.rewards import RewardConfig


@dataclass(frozen=True, kw_only=True)
class EnvironmentConfig:
    """The gait environment."""

    physics: PhysicsConfig = field(default_factory=PhysicsConfig)
    """Body and contact."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """Equations 3 to 6."""
    target: Literal["absolute", "relative"] = "absolute"
    """What the first 17 actions are. `absolute` (paper): ψ_eq = expert's mean posture + scale · action. `relative` (fast):
    ψ_eq = expert's ψ at the end of the control step + scale · action."""
    is_damping_led: bool = False
    """Under `relative`, add Kd/Kp · dψ/dt of the expert to ψ_eq, so that the damping of equation 2, which pulls to rest, does not
    make the joints lag. Uses the measured motion only, no force. Not in the paper."""
    target_scale: float = 0.5
    """Angle of one unit of action [rad]. Not in the paper."""
    residual_force_scale: float = 100.0
    """Force of one unit of action [N]: RFC's 100. Not in the paper. The force acts in the pelvis's heading frame."""
    residual_moment_scale: float = 100.0
    """Moment of one unit of action [N·m]: RFC's 100. Not in the paper. The moment acts in the pelvis's own axes."""
    residual_limit: float = 3.0
    """Largest magnitude of a residual action; more is cut, so that no rare sample throws the body."""
    phase: Literal["cycle", "clip"] = "cycle"
    """φ of the state. `cycle`: from right heel strike to right heel strike, so that all cycles share one policy. `clip`: over the
    whole trial, as RFC has it. Not in the paper ('normalized gait phase')."""
    is_heading_free: bool = True
    """Show and reward the pelvis's orientation without its heading (RFC), so that walking direction does not matter, and drifts.
    False: with it, as the paper's state is written (q without horizontal position), so that a walker can keep its direction."""
    episode_steps: int = 200
    """Control steps after which an episode is cut (RFC); the end of the expert cuts it too."""
    fall_margin: float = 0.1
    """An episode ends where the pelvis is this much below the expert's lowest [m] (RFC)."""
    stray_limit: float | None = None
    """An episode also ends where the trunk's or a foot's point, relative to the pelvis and its heading, is further from the
    expert's than this [m]: what follows teaches nothing about walking. None: it ends at falls only, as the paper's."""
    deepest_start: float = 0.005
    """Deepest that a contact point may begin under the ground [m]: the start is raised to that, since a rigid foot under a
    measured toe-off reaches centimetres into the floor."""
