"""Ground reaction of both feet from markers by physics alone: `marker_physics(trial, mass) -> FootForces`."""

from model.physics.estimate import marker_physics
from model.physics.forces import FootForces

__all__ = ["FootForces", "marker_physics"]
