"""Joint moments from motion and measured forces, on the same model that later walks.

M(q) q̈ + c(q, q̇) = [ξ; τ] + Σ_feet J_fᵀ w_f, solved for τ (17 joint moments about the hinges) and ξ (the wrench on the pelvis that
motion and forces do not explain).

Axis legend: T frames, F = 2 feet (left, right).
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from sim.gait.model import GaitModel
from sim.gait.segments import FEET, SEGMENTS


@dataclass(frozen=True, kw_only=True)
class InverseDynamics:
    """What must have acted."""

    moment: np.ndarray
    """Joint moments about the hinges [N·m], shape (T, 17)."""
    residual_force: np.ndarray
    """Unexplained force on the pelvis [N], world, shape (T, 3)."""
    residual_moment: np.ndarray
    """Unexplained moment on the pelvis about its origin [N·m], world, shape (T, 3)."""


def inverse_dynamics(
    gait: GaitModel, qpos: np.ndarray, qvel: np.ndarray, qacc: np.ndarray, wrench: np.ndarray
) -> InverseDynamics:
    """Joint moments and residual wrench of a motion under measured foot forces.

    Args:
        gait: The model; its contacts and servos take no part.
        qpos: Generalised positions, shape (T, 24).
        qvel: Generalised velocities, shape (T, 23).
        qacc: Generalised accelerations, shape (T, 23).
        wrench: Force [N] and moment about the world origin [N·m] of the ground on each foot, world, shape (T, F, 6).

    Returns:
        Moments and residuals; NaN in frames whose wrench is NaN.
    """
    model, data = gait.model, mujoco.MjData(gait.model)
    flags = int(model.opt.disableflags)
    feet = [model.body(SEGMENTS[segment]).id for segment in FEET]
    result = np.full((len(qpos), model.nv), np.nan)
    rot = np.empty((len(qpos), 3, 3))
    pushed = np.empty(model.nv)
    model.opt.disableflags = flags | int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
    try:
        for frame in range(len(qpos)):
            data.qpos[:], data.qvel[:], data.qacc[:] = qpos[frame], qvel[frame], qacc[frame]
            mujoco.mj_inverse(model, data)
            pushed[:] = 0.0
            for foot, body in enumerate(feet):
                force, moment = wrench[frame, foot, :3], wrench[frame, foot, 3:]
                mujoco.mj_applyFT(model, data, force, moment, np.zeros(3), body, pushed)
            result[frame] = data.qfrc_inverse - pushed
            rot[frame] = data.xmat[model.body("pelvis").id].reshape(3, 3)
    finally:
        model.opt.disableflags = flags
    return InverseDynamics(
        moment=result[:, 6:], residual_force=result[:, :3],
        residual_moment=np.einsum("tij,tj->ti", rot, result[:, 3:6]),
    )  # fmt: skip
