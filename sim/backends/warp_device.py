"""Where `mujoco_warp` can run, and what of a humanoid it takes.

The engine has no counters of warnings, no automatic reset, no projected Gauss-Seidel solver, and computes in float32. What the
humanoid's model uses it has: implicitfast, balls with geared servos and force limits, capsules, boxes and spheres on a plane,
pyramidal cones with three directions. Anything it refuses is an error that carries its reason.
"""

from __future__ import annotations

import copy
import importlib.util
from typing import Any

import mujoco
import numpy as np

from sim.humanoid import Humanoid

_PLANE_CONTACTS = {
    int(mujoco.mjtGeom.mjGEOM_SPHERE): 1,
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): 2,
    int(mujoco.mjtGeom.mjGEOM_BOX): 8,
}
"""Most contacts of a shape with a plane: a box has eight where all of it is below the plane (MuJoCo itself keeps four)."""


def find_device(name: str) -> Any:
    """The warp device of a name, warp being started quietly.

    Args:
        name: `cpu`, `cuda` or `cuda:N`.

    Raises:
        RuntimeError: warp or mujoco_warp is not installed.
        ValueError: There is no such device.
    """
    missing = [package for package in ("warp", "mujoco_warp") if importlib.util.find_spec(package) is None]
    if missing:
        raise RuntimeError(
            f"mujoco_warp backend cannot run: {', '.join(missing)} not installed; pip install -e '.[gpu]' -c constraints.txt"
        )
    import warp as wp

    wp.config.log_level = wp.LOG_WARNING  # no banner, no line for each kernel that is compiled
    wp.init()
    known = ["cpu", *(f"cuda:{number}" for number in range(wp.get_cuda_device_count()))]
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in known:
        raise ValueError(f"device: expected one of {', '.join(known)}, which this machine has, got {name!r}")
    return wp.get_device(wanted)


def contact_bound(humanoid: Humanoid) -> int:
    """Most contacts that the humanoid can have with the floor: 82 for the default body.

    Raises:
        ValueError: A shape of another kind, or bodies that collide with each other.
    """
    model = humanoid.model
    own = np.flatnonzero(model.geom_bodyid > 0)
    kinds = set(model.geom_type[own].tolist())
    if not kinds <= set(_PLANE_CONTACTS):
        names = sorted(mujoco.mjtGeom(kind).name for kind in kinds - set(_PLANE_CONTACTS))
        raise ValueError(f"humanoid: expected spheres, capsules and boxes on a floor, got {', '.join(names)}")
    if np.any(model.geom_contype[own] & np.bitwise_or.reduce(model.geom_conaffinity[own])):
        raise ValueError("humanoid: expected bodies that touch the floor only, got geoms that collide with each other")
    return sum(_PLANE_CONTACTS[int(kind)] for kind in model.geom_type[own])


def rows_per_contact(model: mujoco.MjModel) -> int:
    """Constraint rows of one contact: 2·(condim - 1) of a pyramidal cone, condim of an elliptic one, 1 without friction."""
    condim = int(model.geom_condim.max())
    if model.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL and condim > 1:
        return 2 * (condim - 1)
    return condim


def device_model(model: mujoco.MjModel, device: Any) -> Any:
    """A model on a device, without sensors and with the engine's messages off.

    MuJoCo's flag against automatic resets is dropped: this engine never resets, so the flag says what happens anyway.

    Raises:
        ValueError: The engine does not have what the model asks for; its reason is given.
    """
    import mujoco_warp
    import warp as wp

    taken = copy.copy(model)
    taken.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR
    taken.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    if taken.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
        raise ValueError(
            "model: expected the solver Newton or CG, got PGS, which mujoco_warp does not have; use Newton"
        )
    try:
        with wp.ScopedDevice(device):
            placed = mujoco_warp.put_model(taken)
    except NotImplementedError as error:
        raise ValueError(f"model: mujoco_warp cannot simulate it: {error}") from error
    placed.opt.warn_overflow = 0
    if device.is_cuda and not wp.is_conditional_graph_supported():
        # a driver before CUDA 12.4: the solver then makes all its iterations, converged or not
        placed.opt.graph_conditional = False
    return placed
