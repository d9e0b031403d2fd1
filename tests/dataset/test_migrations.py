"""Migration: today's data come out unchanged, older schemas go through every step, unknown ones are refused.

No older schema exists yet, so the steps are tested with two made-up ones that were "written before": schema 0 had no
perturbation and kept the impulse as a sum of torques, schema -1 called the controller a policy.
"""

import hashlib
import json

import numpy as np
import pytest

from dataset.fields import FIELDS
from dataset.manifest import MANIFEST, SUCCESS, Dropped, content_of, encode_manifest
from dataset.migrate import MigrateConfig, main
from dataset.migrations import migrate_shard
from dataset.provenance import read_runs
from dataset.shard import Shard, hash_file
from dataset.store import Store

FELL = Dropped(clip="made-up/flip", subject="made-up-person", seed=3, reason="fell", seconds=1.5)
RATE = 120.0


def _age(shard):
    """Write a shard as the made-up schema -1 had it."""
    manifest = json.loads((shard / MANIFEST).read_text()) | {"schema": -1}
    for row in manifest["sequences"]:
        row["policy"] = row.pop("controller")
        del row["perturbation"]
    entry = next(entry for entry in manifest["fields"] if entry["name"] == "impulse")
    np.save(shard / "torque_sum.npy", (np.load(shard / "impulse.npy").astype(np.float64) * RATE).astype(np.float32))
    (shard / "impulse.npy").unlink()
    path = shard / "torque_sum.npy"
    entry |= {"name": "torque_sum", "file": path.name, "sha256": hash_file(path), "bytes": path.stat().st_size}
    manifest["content"] = content_of(manifest)
    (shard / MANIFEST).write_bytes(encode_manifest(manifest))
    (shard / SUCCESS).write_text(hashlib.sha256(encode_manifest(manifest)).hexdigest())


def _from_minus_one(manifest, arrays):
    rows = [row | {"controller": row["policy"]} for row in manifest["sequences"]]
    return manifest | {"schema": 0, "sequences": rows}, arrays


def _from_zero(manifest, arrays):
    rows = [row | {"perturbation": ""} for row in manifest["sequences"]]
    impulse = (arrays.pop("torque_sum").astype(np.float64) / RATE).astype(np.float32)
    return manifest | {"schema": 1, "sequences": rows}, arrays | {"impulse": impulse}


def test_a_shard_goes_through_every_step(tmp_path, three_sequences) -> None:
    """Facts, arrays and losses of the oldest schema arrive as today's records."""
    shard = Store.create(tmp_path).append(three_sequences, [FELL])
    _age(shard)
    records, dropped = migrate_shard(shard, {-1: _from_minus_one, 0: _from_zero})
    assert dropped == [FELL] and [item.name for item in records] == [item.name for item in three_sequences]
    for want, have in zip(three_sequences, records, strict=True):
        assert (have.controller, have.perturbation, have.subject, have.flags) == (
            "made-up",
            "",
            want.subject,
            want.flags,
        )
        for field in FIELDS:
            tolerance = 1e-6 if field.name == "impulse" else 0.0
            np.testing.assert_allclose(getattr(have, field.name), getattr(want, field.name), rtol=tolerance)
    with pytest.raises(ValueError, match=r"expected one of the schemas \[-1, 1\], found 0; update this program"):
        migrate_shard(shard, {-1: _from_minus_one})
    with pytest.raises(
        ValueError, match=r"expected schema version 1, found -1; bring it up with `python -m dataset.migrate`"
    ):
        Shard(shard)


def test_a_damaged_file_is_not_migrated(tmp_path, three_sequences) -> None:
    """It would get a hash of its own."""
    shard = Store.create(tmp_path).append(three_sequences)
    data = bytearray((shard / "cop.npy").read_bytes())
    data[-1] ^= 1
    (shard / "cop.npy").write_bytes(data)
    with pytest.raises(ValueError, match=r"cop.npy: expected sha256"):
        migrate_shard(shard)


def test_data_of_today_come_out_byte_for_byte(tmp_path, three_sequences) -> None:
    """All of a shard is in its records; the old set is only read, and the run says where it came from."""
    store = Store.create(tmp_path / "old")
    store.append(three_sequences[:1], [FELL])
    store.append(three_sequences[1:])
    new = main(MigrateConfig(folder=tmp_path / "old", out=tmp_path / "new"))
    trees = [
        {path.relative_to(folder): path.read_bytes() for path in folder.glob("shard-*/*")}
        for folder in (tmp_path / "old", tmp_path / "new")
    ]
    assert trees[0] == trees[1] and len(trees[0]) == 30
    assert read_runs(tmp_path / "new")[0]["result"]["content"] == new.content == store.content
    with pytest.raises(ValueError, match="expected a data set with at least one complete shard, found none"):
        main(MigrateConfig(folder=tmp_path, out=tmp_path / "x"))
