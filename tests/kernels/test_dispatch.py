"""Choice of a backend: by device, by name, never a silent fallback."""

import pytest

from kernels._dispatch import Backend, pick

FAST = Backend(name="fast", module="numba_cpu", requires=("no_such_package_anywhere",))
CUDA = Backend(name="triton", module="triton_gpu", devices=("cuda",))
PLAIN = Backend(name="reference", module="reference")


def test_auto_takes_the_first_backend_that_can_run() -> None:
    """A backend whose package is missing is passed over by `auto`."""
    assert pick("kernels.grf", (FAST, PLAIN)).__name__ == "kernels.grf.reference"


def test_a_named_backend_that_cannot_run_says_why() -> None:
    """Missing package and wrong device are errors with the reason, not fallbacks."""
    with pytest.raises(RuntimeError, match="backend 'fast' cannot run: no_such_package_anywhere not installed"):
        pick("kernels.grf", (FAST, PLAIN), "fast")
    with pytest.raises(RuntimeError, match="backend 'triton' cannot run: runs on cuda arrays, these are on cpu"):
        pick("kernels.grf", (CUDA, PLAIN), "triton")


def test_auto_with_nothing_that_runs_lists_the_reasons() -> None:
    """No backend for the device: every candidate's reason is in the message."""
    with pytest.raises(ValueError, match=r"no backend runs here: .*fast.*reference"):
        pick("kernels.grf", (FAST, PLAIN), device="cuda")
