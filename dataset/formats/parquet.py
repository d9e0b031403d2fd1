"""Sequences as one Parquet file: a row a frame, a row group a sequence, arrays as fixed-size lists."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dataset import atomic
from dataset.fields import FIELDS, Field
from dataset.formats.facts import field_facts, sequence_facts
from dataset.formats.packages import require
from dataset.schema import FRAME_RATE, Dynamics
from dataset.skeleton import BODY_NAMES, JOINT_NAMES

_FACTS = ("name", "clip", "seed", "controller", "perturbation")


def write_parquet(path: Path, sequences: Iterable[Dynamics], content: str) -> Path:
    """Columns `name`, `clip`, `subject`, `mass`, `seed`, ..., `frame`, `time` [s], then every field, flattened in C order.

    What belongs to transitions stands in the row of the frame they start from, and is null in the last row of a sequence.
    Units, frames and shapes are in the file's metadata under `imdylab` (JSON).

    Args:
        path: File to write, atomically.
        sequences: Records; one at a time is held in memory.
        content: Identity of the data set, for the metadata.

    Raises:
        ValueError: `pyarrow` is not installed.
    """
    arrow, parquet = require("pyarrow", "Parquet"), require("pyarrow.parquet", "Parquet")
    about = {
        "content": content, "frame_rate": FRAME_RATE, "bodies": BODY_NAMES, "joints": JOINT_NAMES,
        "fields": {name: facts | {"shape": _shape(name)} for name, facts in field_facts().items()},
    }  # fmt: skip
    schema = arrow.schema(
        [("name", arrow.string()), ("clip", arrow.string()), ("seed", arrow.int64()), ("controller", arrow.string()),
         ("perturbation", arrow.string()), ("subject", arrow.string()), ("mass", arrow.float64()), ("frame", arrow.int32()),
         ("time", arrow.float64()), *((field.name, _type(arrow, field)) for field in FIELDS)],
        metadata={"imdylab": json.dumps(about, ensure_ascii=False)},
    )  # fmt: skip
    with atomic.open_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for item in sequences:
            writer.write_table(_table(arrow, schema, item), row_group_size=item.num_frames)
    return path


def _shape(name: str) -> list[int]:
    return next(list(field.shape) for field in FIELDS if field.name == name)


def _type(arrow: Any, field: Field) -> Any:
    number = arrow.from_numpy_dtype(np.dtype(field.dtype))
    return arrow.list_(number, int(np.prod(field.shape))) if field.shape else number


def _table(arrow: Any, schema: Any, item: Dynamics) -> Any:
    frames, facts = item.num_frames, sequence_facts(item)
    columns = [arrow.array([facts[key]] * frames, schema.field(key).type) for key in _FACTS]
    columns.append(arrow.array([item.subject.name] * frames, arrow.string()))
    columns.append(arrow.array([item.subject.mass] * frames, arrow.float64()))
    columns += [arrow.array(np.arange(frames, dtype=np.int32)), arrow.array(np.arange(frames) / FRAME_RATE)]
    columns += [_column(arrow, field, getattr(item, field.name), frames) for field in FIELDS]
    return arrow.Table.from_arrays(columns, schema=schema)


def _column(arrow: Any, field: Field, array: np.ndarray, frames: int) -> Any:
    size = int(np.prod(field.shape))
    rows = np.zeros((frames, size), field.dtype)
    rows[: len(array)] = array.reshape(len(array), size)
    is_missing = np.arange(frames) >= len(array)
    flat = arrow.array(rows.reshape(-1), mask=None if field.shape else is_missing)
    if not field.shape:
        return flat
    return arrow.FixedSizeListArray.from_arrays(flat, size, mask=arrow.array(is_missing))
