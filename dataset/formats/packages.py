"""Packages that only some formats need."""

from __future__ import annotations

import importlib
from typing import Any


def require(package: str, purpose: str) -> Any:
    """The imported package.

    Raises:
        ValueError: It is not installed; the message says how to.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        top = package.partition(".")[0]
        raise ValueError(
            f"{purpose}: expected the package {top}, found {error}; run `make env EXTRAS=demo,dev,export`"
        ) from error
