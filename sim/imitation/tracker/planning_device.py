"""The device that a search runs on, asked for before any work: what is missing is a matter of the machine and of no clip."""

from __future__ import annotations

from typing import Any

from sim.backends.warp_device import find_device
from sim.imitation.solution import KNOTS_PER_SECOND
from sim.imitation.tracker.config import SearchConfig


def find_planner(name: str) -> Any:
    """The warp device of a name, where torch works too.

    Args:
        name: `cpu`, `cuda` or `cuda:N`.

    Raises:
        RuntimeError: warp or mujoco_warp is not installed, or torch is a build without CUDA.
        ValueError: There is no such device.
    """
    device = find_device(name)
    if device.is_cuda:
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError(
                f"torch: expected a build with CUDA for {name!r}, found {torch.__version__}, which sees no GPU; "
                "install one, or plan on `cpu`"
            )
    return device


def repeats(name: str) -> bool:
    """Whether a search with this planner gives the same every time: a GPU sums contacts in no fixed order."""
    return name in ("", "cpu")


def check_knot_time(search: SearchConfig) -> None:
    """Refuse a search between whose plans another time lies than solutions are made of.

    Raises:
        ValueError: It is another.
    """
    if abs(search.knot_time * KNOTS_PER_SECOND - 1.0) > 1e-9:
        raise ValueError(
            f"SearchConfig.knot_time: expected 1/{KNOTS_PER_SECOND} s, the time between two knots of every solution, got "
            f"{search.knot_time:g} s"
        )
