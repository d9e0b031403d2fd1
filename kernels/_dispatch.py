"""Choice of a kernel's implementation: `auto` by device, or by name. A named backend that cannot run is an error."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
from dataclasses import dataclass
from types import ModuleType

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One implementation of a family."""

    name: str
    """What a caller writes: `reference`, `numba`, `torch`, `triton`."""
    module: str
    """Module that holds it, under the family's package, e.g. `numba_cpu`."""
    devices: tuple[str, ...] = ("cpu",)
    """Device types it runs on."""
    requires: tuple[str, ...] = ()
    """Packages that must be importable."""


@functools.cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _why_not(backend: Backend, device: str) -> str:
    """Reason why a backend cannot run on a device, empty if it can."""
    missing = [package for package in backend.requires if not _is_installed(package)]
    if missing:
        return f"{', '.join(missing)} not installed"
    if device not in backend.devices:
        return f"runs on {' and '.join(backend.devices)} arrays, these are on {device}"
    return ""


@functools.cache
def pick(family: str, backends: tuple[Backend, ...], name: str = "auto", device: str = "cpu") -> ModuleType:
    """Module of the implementation to call.

    Args:
        family: Package of the family, e.g. `kernels.grf`.
        backends: Its implementations, best first: `auto` takes the first that can run.
        name: `auto` or the name of one.
        device: Device type of the arrays, `cpu` or `cuda`.

    Raises:
        ValueError: The name is unknown, or no listed backend runs on this device.
        RuntimeError: The named backend cannot run here; the reason is given. There is no fallback from a named backend.
    """
    if name == "auto":
        reasons = {backend.name: _why_not(backend, device) for backend in backends}
        for backend in backends:
            if not reasons[backend.name]:
                _log.debug("%s on %s: %s", family, device, backend.name)
                return importlib.import_module(f"{family}.{backend.module}")
        raise ValueError(f"{family}: no backend runs here: {reasons}")
    for backend in backends:
        if backend.name == name:
            reason = _why_not(backend, device)
            if reason:
                raise RuntimeError(f"{family}: backend {name!r} cannot run: {reason}")
            return importlib.import_module(f"{family}.{backend.module}")
    raise ValueError(f"{family}: expected backend 'auto' or one of {[b.name for b in backends]}, got {name!r}")
