"""What every backend asks of states and servo targets, refused in the same words.

Axis legend: E environments, K substeps.
"""

from __future__ import annotations

import numpy as np

from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL


def check_states(qpos: np.ndarray, qvel: np.ndarray) -> None:
    """States to put environments into: qpos (E, 99), qvel (E, 75).

    Raises:
        ValueError: Wrong shape or a value that is not finite.
    """
    for name, values, width in (("qpos", qpos, NUM_QPOS), ("qvel", qvel, NUM_QVEL)):
        if values.ndim != 2 or values.shape[1] != width or values.shape[0] != qpos.shape[0] or not len(qpos):
            raise ValueError(f"{name}: expected shape (E >= 1, {width}), got {values.shape}")
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")


def check_controls(
    state: np.ndarray | None,
    ctrl: np.ndarray,
    warmstart: np.ndarray | None = None,
    residual: np.ndarray | None = None,
) -> np.ndarray:
    """Inputs of a roll-out of environments in states (E, ...); returns the states.

    Args:
        state: States, None before the first `reset`.
        ctrl: Servo targets [rad], shape (E, K, 69).
        warmstart: Start of the contact solver, shape (1 or E, 75).
        residual: Wrench on the pelvis, shape (E, K, 6).

    Raises:
        ValueError: Wrong shape, or no `reset`.
    """
    if state is None:
        raise ValueError("rollout: expected reset(qpos, qvel) first, it was never called")
    count = state.shape[0]
    if ctrl.ndim != 3 or ctrl.shape[0] != count or ctrl.shape[1] < 1 or ctrl.shape[2] != NUM_CTRL:
        raise ValueError(f"ctrl: expected shape ({count}, K >= 1, {NUM_CTRL}), got {ctrl.shape}")
    if warmstart is not None and warmstart.shape not in ((1, NUM_QVEL), (count, NUM_QVEL)):
        raise ValueError(f"warmstart: expected shape (1 or {count}, {NUM_QVEL}), got {warmstart.shape}")
    if residual is not None and residual.shape != (*ctrl.shape[:2], 6):
        raise ValueError(f"residual: expected shape {(*ctrl.shape[:2], 6)}, got {residual.shape}")
    return state
