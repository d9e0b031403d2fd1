"""What a physics backend is: environments put into states and driven by servo targets, every substep returned.

A backend holds E environments of one humanoid. `reset` puts them into states, `rollout` applies K substeps of servo
targets to all of them and returns what happened in each substep.

Axis legend: E environments, K substeps of one call, N = 24 bodies, J = 23 joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sim.humanoid import NUM_QPOS, NUM_QVEL, Humanoid

FLOAT32_CLOSURE = 1e-3
"""Bound on the residual of the equations of motion of an engine that computes in float32 [body weights]: sound substeps stay
below 2e-4, mostly at 1e-5 (150 and 480 Hz), float64 reaches 1e-13. `RecordConfig.max_closure` takes it for such a trace."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SubstepTrace:
    """Everything that acted in K substeps of E environments.

    Row k of the states is the state BEFORE substep k; servo forces and ground contacts of substep k act during it, so
    they take state k to state k + 1, and the last row is the state after the last substep.
    """

    substep: float
    """Physics step h [s]."""
    state: np.ndarray
    """Time [s], qpos and qvel, shape (E, K + 1, 175); `qpos` and `qvel` are views of it."""
    ctrl: np.ndarray
    """Servo targets [rad], shape (E, K, 69)."""
    ground_force: np.ndarray
    """Net force of the ground on each body [N], world frame, skeleton order, shape (E, K, N, 3)."""
    ground_torque: np.ndarray
    """Net torque of the ground on each body about `ground_point` [N·m], world frame, shape (E, K, N, 3)."""
    ground_point: np.ndarray
    """Force-weighted centre of each body's contacts [m], world frame, shape (E, K, N, 3); 0 where none touches."""
    servo_force: np.ndarray
    """Servo output [N·m] after its limit, before implicit damping, shape (E, K, 69). Not the torque that acted."""
    residual: np.ndarray | None
    """Wrench applied to the pelvis by no physical cause: force [N] in the world, torque [N·m] in the pelvis frame,
    shape (E, K, 6); None if none was applied."""
    valid_substeps: np.ndarray
    """Number of leading substeps that are sound, shape (E,), int64; K where the engine gave no warning. What follows
    is junk."""
    warnings: tuple[str, ...]
    """What ended each environment (`BADQACC`, `CONTACTFULL`, ...; empty where nothing did), length E."""
    warmstart: np.ndarray | None
    """State of the contact solver after the last substep, shape (1, 75), for one environment; None for several. Given
    to the next call, two calls give the same bits as one long one."""
    torque: np.ndarray | None = None
    """Torque that acted at each servo [N·m], child frame, shape (E, K, 69), where the engine is told or tells it; None where it
    follows from `servo_force` (`sim.acting_torque`)."""
    flags: tuple[str, ...] = ()
    """What the records of this trace must say about the engine, one word each."""

    @property
    def num_environments(self) -> int:
        """Number of environments E."""
        return self.state.shape[0]

    @property
    def num_substeps(self) -> int:
        """Number of substeps K."""
        return self.state.shape[1] - 1

    @property
    def qpos(self) -> np.ndarray:
        """Generalised positions, shape (E, K + 1, 99)."""
        return self.state[:, :, 1 : 1 + NUM_QPOS]

    @property
    def qvel(self) -> np.ndarray:
        """Generalised velocities, shape (E, K + 1, 75)."""
        return self.state[:, :, 1 + NUM_QPOS : 1 + NUM_QPOS + NUM_QVEL]


class PhysicsBackend(Protocol):
    """The whole contract between control and physics."""

    @property
    def humanoid(self) -> Humanoid:
        """Humanoid that every environment simulates."""
        ...

    def reset(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Put the environments into states; their number becomes E.

        Args:
            qpos: Generalised positions, shape (E, 99).
            qvel: Generalised velocities, shape (E, 75).

        Raises:
            ValueError: Wrong shape or a value that is not finite.
        """
        ...

    def rollout(self, ctrl: np.ndarray) -> SubstepTrace:
        """Apply servo targets to all environments, from the states they are in.

        Args:
            ctrl: Servo targets [rad], shape (E, K, 69).

        Returns:
            Every substep. The environments stay in the states after the last one.

        Raises:
            ValueError: Wrong shape, or `reset` was never called.
        """
        ...

    def close(self) -> None:
        """Release threads, processes or device memory."""
        ...
