"""Sequences as one HDF5 file: a group each, arrays with their unit and frame as attributes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from dataset import atomic
from dataset.fields import FIELDS
from dataset.formats.facts import sequence_facts
from dataset.formats.packages import require
from dataset.schema import FRAME_RATE, Dynamics
from dataset.skeleton import BODY_NAMES, JOINT_NAMES


def write_hdf5(path: Path, sequences: Iterable[Dynamics], content: str) -> Path:
    """Groups `sequences/000000` and so on, in order, each with its arrays and, as attributes, its facts.

    Equal data give equal bytes with one version of the library: no times are stored.

    Args:
        path: File to write, atomically.
        sequences: Records; one at a time is held in memory.
        content: Identity of the data set, kept as attribute `content`.

    Raises:
        ValueError: `h5py` is not installed.
    """
    h5py = require("h5py", "HDF5")
    with atomic.open_path(path) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        file.attrs.update({"content": content, "frame_rate": FRAME_RATE})
        file.attrs["body_names"], file.attrs["joint_names"] = list(BODY_NAMES), list(JOINT_NAMES)
        for number, item in enumerate(sequences):
            group = file.create_group(f"sequences/{number:06d}", track_order=True)
            for key, value in sequence_facts(item).items():
                is_plain = isinstance(value, (bool, int, float, str))
                group.attrs[key] = value if is_plain else json.dumps(value, ensure_ascii=False)
            for field in FIELDS:
                data = group.create_dataset(field.name, data=getattr(item, field.name), track_times=False)
                data.attrs.update({"unit": field.unit, "frame": field.frame, "per": field.per})
    return path
