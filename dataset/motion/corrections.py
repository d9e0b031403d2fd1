"""Facts about published files that the files themselves get wrong, with where the truth stands.

Matched by the end of the folder path, so they hold wherever the data was unpacked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FRAME_RATES: Final[dict[str, tuple[float, str]]] = {
    "acrnn/salsa": (60.0, "the header says 120 Hz, the source's readme says salsa is 60 Hz"),
}
"""Folder ending -> (true frame rate [Hz], why)."""


def corrected_frame_rate(path: Path) -> tuple[float, str] | None:
    """True frame rate [Hz] of a file whose header is known to be wrong, and why; None for all others."""
    folder = path.resolve().parent.as_posix()
    return next((value for ending, value in FRAME_RATES.items() if folder.endswith("/" + ending)), None)
