"""One sequence as a NumPy archive without pickled objects."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from dataset import atomic
from dataset.fields import FIELDS
from dataset.formats.facts import sequence_facts
from dataset.schema import FRAME_RATE, Dynamics
from dataset.skeleton import BODY_NAMES, JOINT_NAMES


def write_npz(path: Path, item: Dynamics) -> Path:
    """Every array of a sequence under its own name, `time` [s], `body_names`, `joint_names` and `info` (JSON text)."""
    info = sequence_facts(item) | {"units": {field.name: field.unit for field in FIELDS}}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        time=np.arange(item.num_frames) / FRAME_RATE,
        body_names=np.array(BODY_NAMES),
        joint_names=np.array(JOINT_NAMES),
        info=np.array(json.dumps(info, ensure_ascii=False)),
        **{field.name: getattr(item, field.name) for field in FIELDS},
    )
    atomic.write_bytes(path, buffer.getvalue())
    return path
