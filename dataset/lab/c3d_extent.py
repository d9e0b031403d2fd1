"""Whether a C3D file is whole, told from its own header before ezc3d reads it.

ezc3d never returns from some files that are cut inside their parameters, and silently shortens those cut inside their data.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

BLOCK: Final = 512
"""Bytes of a block; the header is the first one, and blocks are counted from 1."""
_KEY: Final = 0x50
_BIG_ENDIAN: Final = 86
"""Processor type MIPS; 84 (Intel) and 85 (DEC) are little-endian."""
_SIGN_BYTE: Final = {84: 15, 85: 13, 86: 12}
"""Byte of the header that holds the sign of the scale factor: negative where the data are floats, not integers."""


def refuse_incomplete(path: Path) -> None:
    """Refuse what is no C3D file or ends before its header says.

    The header counts at most 65535 frames, so a longer recording may be cut beyond them unnoticed.

    Raises:
        ValueError: no C3D file, or one that is cut.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(BLOCK)
        if len(head) < BLOCK or head[1] != _KEY:
            raise ValueError(
                f"{path}: expected a C3D file (512 byte header with key 0x50), found {size} bytes of something else; "
                "export the trial as C3D again"
            )
        first = head[0]  # block of the parameters
        file.seek(BLOCK * max(first - 1, 0))
        section = file.read(4)
    _refuse_shorter(path, size, BLOCK * (first - 1) + 4, "where its parameters begin")
    blocks, processor = section[2], section[3]
    if processor not in _SIGN_BYTE:
        raise ValueError(
            f"{path}: processor type: expected 84 (Intel), 85 (DEC) or 86 (MIPS), found {processor}; "
            "export the trial as C3D again"
        )
    _refuse_shorter(path, size, BLOCK * (first - 1 + blocks), f"{blocks} blocks of parameters")
    order = ">" if processor == _BIG_ENDIAN else "<"
    points, analog, begin, end = struct.unpack_from(f"{order}4H", head, 2)
    start = struct.unpack_from(f"{order}H", head, 16)[0]
    frames = max(end - begin + 1, 0)
    width = 4 if head[_SIGN_BYTE[processor]] & 0x80 else 2
    expected = BLOCK * max(start - 1, 0) + width * frames * (4 * points + analog)
    _refuse_shorter(path, size, expected, f"{frames} frames of {points} points and {analog} analog samples")


def _refuse_shorter(path: Path, size: int, expected: int, content: str) -> None:
    if size < expected:
        raise ValueError(
            f"{path}: file size: expected at least {expected} bytes ({content}, as the header says), found {size}; "
            "the file is cut: copy or export it again"
        )
