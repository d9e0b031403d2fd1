"""Sweeps: a run each combination, tables from the folders, repeating goes on, mistakes are named."""

import csv
import dataclasses

import numpy as np
import pytest

pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
pytest.importorskip(
    "ray.tune", reason="Ray is installed without its part for tuning (extra `ray`)", exc_type=ImportError
)

from safetensors.numpy import load_file

from dataset.store import Store
from model.train import main as train
from ray_jobs import sweep
from ray_jobs.cluster import RayConfig

pytestmark = pytest.mark.timeout(600)
FIXED = (
    "network.width=16", "network.layers=1", "network.ff=32", "batch-size=64", "steps=6", "warmup=2", "split.validation=0",
    "split.test=0", "held-out=toy/sway-0", "evaluate-every=3", "evaluate-windows=64",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(sway_sequences, tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    Store.create(path).append(sway_sequences[:6])
    return path


def test_every_combination_is_a_run_with_the_options_of_training(tmp_path):
    config = sweep.Config(
        data=tmp_path, out=tmp_path, presets=("smoke", "demo"), vary=("learning-rate=1e-3,2e-3", "network.width=16,32"),
        fixed=("clip=1.0",),
    )  # fmt: skip
    runs = sweep.plan(config)
    assert len(runs) == 8 and {cfg.clip for cfg in runs.values()} == {1.0}
    chosen = runs["demo_learning-rate=2e-3_network.width=16"]
    assert (chosen.learning_rate, chosen.network.width, chosen.batch_size) == (2e-3, 16, 600)
    assert chosen.out == tmp_path / "demo_learning-rate=2e-3_network.width=16"


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("learning-rate", "vary: expected NAME=VALUE, got 'learning-rate'"),
        ("speed=1,2", r"vary: expected options of `python -m model.train`, got \['--speed=1'\]"),
        ("steps=many", r"vary: expected options of `python -m model.train`, got \['--steps=many'\]"),
    ],
)
def test_options_that_training_does_not_have_are_refused(tmp_path, vary, message):
    with pytest.raises(ValueError, match=message):
        sweep.plan(sweep.Config(data=tmp_path, out=tmp_path, vary=(vary,)))


@pytest.mark.thorough
def test_a_sweep_goes_on_compares_and_leaves_alone_what_is_finished(data, tmp_path):
    """Of three runs one is finished and one has its last checkpoint only, which gives the weights it had before."""
    config = sweep.Config(
        data=data, out=tmp_path / "sweep", presets=("smoke",), vary=("seed=0,1,2",), fixed=FIXED,
        ray=RayConfig(object_store_mb=100),
    )  # fmt: skip
    runs = sweep.plan(config)
    kept, lost, new = (cfg.out / "imdys.safetensors" for cfg in runs.values())
    for cfg in list(runs.values())[:2]:
        train(cfg)
    weights, written = load_file(lost), kept.stat().st_mtime_ns  # a file's own bytes vary with the order of its header
    lost.unlink()
    sweep.write_tables(config.out, runs)
    rows = list(csv.DictReader((config.out / "sweep.csv").open()))
    assert [(row["state"], row["steps"]) for row in rows] == [
        ("finished", "6"),
        ("not finished", "6"),
        ("not finished", "0"),
    ]

    out = sweep.main(config)
    again = load_file(lost)
    assert weights.keys() == again.keys() and kept.stat().st_mtime_ns == written
    for name, values in weights.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)
    rows = list(csv.DictReader((out / "sweep.csv").open()))
    assert [(row["state"], row["steps"]) for row in rows] == [("finished", "6")] * 3
    assert float(rows[0]["grf"]) <= float(rows[1]["grf"]) <= float(rows[2]["grf"])
    assert new.is_file() and len((out / "sweep.md").read_text().splitlines()) == 5
    with pytest.raises(ValueError, match=r"made with other settings \(clip 5\.0 -> 1\.0\)"):
        sweep.main(dataclasses.replace(config, fixed=(*FIXED, "clip=1.0")))
