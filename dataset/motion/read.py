"""One entry for all motion files: by extension and content to the reader, on the canonical skeleton."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import numpy as np

from dataset.motion.amass import read_amass
from dataset.motion.amc import read_amc
from dataset.motion.bvh import read_bvh
from dataset.motion.corrections import corrected_frame_rate
from dataset.motion.deepmimic import read_deepmimic
from dataset.motion.joint_map import MapReport
from dataset.schema import Motion

EXTENSIONS: Final[tuple[str, ...]] = (".bvh", ".amc", ".npz", ".txt", ".json")
"""Files that `read_motion` tries."""


def read_motion(
    path: str | Path, *, source: str = "", asf_path: str | Path | None = None, rest_joint_pos: np.ndarray | None = None
) -> tuple[Motion, MapReport | None]:
    """Motion of a file, and the joint mapping where the file has its own skeleton (BVH, AMC).

    Args:
        path: BVH, AMC (its ASF beside it), AMASS npz, or DeepMimic text.
        source: Stored in the motion; default: the parent folder's name.
        asf_path: Skeleton of an AMC file, if it is not found by name.
        rest_joint_pos: Rest joints for AMASS files (`dataset.motion.amass.read_amass`), shape (N, 3).

    Raises:
        FileNotFoundError: If the file or the skeleton it needs does not exist.
        ValueError: If the file is of no known kind or cannot be read; names file, field, expected and found.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a motion file, found {'a folder' if path.is_dir() else 'nothing'}; check it"
        )
    source = source or path.resolve().parent.name
    kind = path.suffix.lower()
    if kind == ".bvh":
        motion, report = read_bvh(path, source=source)
        correction = corrected_frame_rate(path)
        if correction is not None:
            motion = dataclasses.replace(motion, frame_rate=correction[0])
            report = dataclasses.replace(report, notes=(*report.notes, correction[1]))
        return motion, report
    if kind == ".amc":
        return read_amc(path, asf_path, source=source)
    if kind in (".txt", ".json"):
        return read_deepmimic(path, source=source), None
    if kind == ".npz":
        if rest_joint_pos is None:
            raise ValueError(
                f"{path}: rest_joint_pos: expected the rest joints of a body for an AMASS file, found none"
            )
        return read_amass(path, rest_joint_pos, source=source), None
    raise ValueError(
        f"{path}: expected one of {', '.join(EXTENSIONS)}, found {kind or 'no extension'}; convert it to one of them"
    )
