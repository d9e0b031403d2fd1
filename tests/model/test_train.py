"""Training end to end on toy data: it learns, resumes bit for bit, writes what it promises, refuses what cannot work."""

import dataclasses
import json

import numpy as np
import pytest

from dataset.splits import SplitConfig
from dataset.store import Store
from model import config, evaluate, train
from model.batches import NO_AUGMENTATION
from model.checkpoint import CHECKPOINT
from model.imdys import ImDySConfig
from model.weights import load_solver, read_card


@pytest.fixture(scope="module")
def store(sway_sequences, tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    Store.create(path).append(sway_sequences)
    return path


def small(store, out, **changes):
    """A run of seconds."""
    base = dataclasses.replace(
        config.smoke(store, out), held_out=("toy/sway-0", "toy/sway-1"), split=SplitConfig(validation=0.0, test=0.0),
        network=ImDySConfig(width=32, layers=2, ff=64),
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


FAST = {
    "learning_rate": 3e-3, "warmup": 20, "evaluate_every": 125, "evaluate_windows": 160,
    "augmentation": dataclasses.replace(NO_AUGMENTATION, mirror_share=0.5, smoothed_share=0.3, lab_share=0.3),
}  # fmt: skip
"""Little noise and a high learning rate: a toy is learned in a few hundred steps."""


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """Two hundred and fifty steps: enough to beat both baselines on unseen toy subjects."""
    out = tmp_path_factory.mktemp("run")
    cfg = small(store, out, steps=250, batch_size=256, **FAST)
    return out, train.main(cfg)


def test_a_short_training_beats_both_baselines_on_unseen_subjects(trained):
    """The toy's forces follow from its motion, so a working pipeline finds them; a broken one does not."""
    _, result = trained
    solver, mean, contact = (result.errors[name] for name in (evaluate.SOLVER, evaluate.MEAN, evaluate.CONTACT))
    assert solver["foot_loaded"] < 0.7 * min(mean["foot_loaded"], contact["foot_loaded"])
    assert solver["total_vertical"] < mean["total_vertical"]
    assert solver["impulse"] < 0.95 * mean["impulse"]


def test_a_run_leaves_weights_card_metrics_settings_and_provenance(trained):
    """Everything the docstring of model.train names, readable."""
    out, result = trained
    assert load_solver(result.weights).config.width == 32
    card = read_card(result.weights)
    assert card.test_clips == ("toy/sway-0", "toy/sway-1")
    assert [(source.name, source.licence, source.sequences) for source in card.sources] == [("toy", "unknown", 18)]
    assert card.errors == result.errors
    assert str(out) not in result.weights.with_suffix(".json").read_text()
    rows = [json.loads(line) for line in (out / train.METRICS_FILE).read_text().splitlines()]
    assert [row["step"] for row in rows] == [125, 250]
    assert rows[1]["train"]["loss"] < rows[0]["train"]["loss"]
    assert rows[1]["train"]["foot_cop"] < rows[0]["train"]["foot_cop"]
    assert rows[1]["held_out"]["grf"] > 0
    assert json.loads((out / train.CONFIG_FILE).read_text())["steps"] == 250
    assert (out / CHECKPOINT).is_file() and (out / "run.json").is_file()


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(store, tmp_path, monkeypatch):
    """Interrupted in the middle of an epoch after step 20 of 30, then resumed: the same weights, bit for bit."""
    whole = train.main(small(store, tmp_path / "whole", evaluate_every=10))
    steps = 0
    original = train.train_step

    def interrupted(*arguments):
        nonlocal steps
        steps += 1
        if steps > 25:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(train, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.main(small(store, tmp_path / "cut", evaluate_every=10))
    monkeypatch.setattr(train, "train_step", original)
    resumed = train.main(small(store, tmp_path / "cut", evaluate_every=10, resume=True))
    first, second = (load_solver(result.weights).state_dict() for result in (whole, resumed))
    assert all((first[name] == second[name]).all() for name in first)
    rows = [json.loads(line)["step"] for line in (tmp_path / "cut" / train.METRICS_FILE).read_text().splitlines()]
    assert rows == [10, 20, 30]


def test_resuming_without_a_checkpoint_or_with_other_settings_is_refused(trained, store, tmp_path):
    """The difference is named; nothing is silently started over."""
    out, _ = trained
    with pytest.raises(ValueError, match="no checkpoint to resume from"):
        train.main(small(store, tmp_path, resume=True))
    with pytest.raises(ValueError, match=r"learning_rate 0\.003 -> 0\.01"):
        train.main(small(store, out, steps=250, batch_size=256, resume=True, **(FAST | {"learning_rate": 0.01})))


def test_evaluation_writes_table_csv_and_figure_and_counts_a_simulated_baseline(trained, store, tmp_path):
    """The data set as its own baseline has no error, on the same windows as everybody else."""
    _, result = trained
    outcome = evaluate.main(
        evaluate.EvaluateConfig(
            data=store, weights=result.weights, out=tmp_path, baseline=store, markers="plug_in_gait_39",
            held_out=("toy/sway-0", "toy/sway-1"), split=SplitConfig(validation=0.0, test=0.0),
        )
    )  # fmt: skip
    assert outcome.num_windows == 2 * 115
    assert outcome.overall[evaluate.SIMULATED]["grf"] < 1e-5
    assert outcome.overall[evaluate.SIMULATED]["impulse"] < 1e-7
    assert 0 < outcome.overall[evaluate.SOLVER]["foot_loaded"] < outcome.overall[evaluate.MEAN]["foot_loaded"]
    table = (tmp_path / "evaluation.csv").read_text().splitlines()
    assert table[0] == "clip,method,metric,unit,value"
    assert any(line.startswith("toy/sway-1,solver,foot_left,N/kg,") for line in table)
    assert "constant mass, 76.3869" in (tmp_path / "evaluation.md").read_text()
    assert (tmp_path / "evaluation.png").read_bytes()[:4] == b"\x89PNG"


def test_learning_rate_rises_then_falls_to_nothing(tmp_path):
    """Linear warm-up, half a cosine; the paper's preset stays constant."""
    cfg = config.full(tmp_path, tmp_path)
    factors = [train.learning_rate_factor(cfg, step, 1000) for step in range(1000)]
    assert factors[0] == pytest.approx(0.01) and max(factors) == pytest.approx(1.0)
    assert factors[-1] < 1e-4 and np.all(np.diff(factors[100:]) <= 0)
    assert train.learning_rate_factor(config.paper(tmp_path, tmp_path), 999, 1000) == 1.0


def test_the_command_line_takes_a_preset_and_overrides():
    """`--preset` sets the defaults; any field can be changed; unknown presets are named."""
    cfg = config.parse(["--data", "d", "--out", "o", "--preset", "demo", "--steps", "7", "--network.design", "encoder"])
    assert (cfg.batch_size, cfg.steps, cfg.network.design) == (config.demo(cfg.data, cfg.out).batch_size, 7, "encoder")
    assert config.parse(["--data", "d", "--out", "o"]).batch_size == 2400
    with pytest.raises(ValueError, match="expected one of smoke, demo, full, paper"):
        config.parse(["--preset", "huge"])


def test_settings_and_data_that_cannot_work_are_refused(store, tmp_path):
    """Each message names the argument."""
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        small(store, tmp_path, batch_size=0)
    with pytest.raises(ValueError, match="expected the folder of a data set, found nothing"):
        train.main(small(tmp_path / "none", tmp_path))
    with pytest.raises(ValueError, match="toy/other"):
        train.main(small(store, tmp_path, held_out=("toy/other",)))
