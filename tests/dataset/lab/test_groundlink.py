"""GroundLink npz: shapes, refusals, and the real sample's person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset.lab.groundlink import read_groundlink


def test_a_sequence_without_prediction_is_read_with_nan_predictions(tmp_path: Path) -> None:
    grf = np.zeros((5, 2, 3))
    grf[:, 0, 2] = 1.0
    np.savez(tmp_path / "a.npz", grf=grf, cop=np.ones((5, 2, 3)))
    sequence = read_groundlink(tmp_path / "a.npz")
    assert sequence.grf[0, 0, 2] == 1000.0 and sequence.mass == pytest.approx(1000.0 / 9.81)
    assert np.isnan(sequence.predicted_grf).all() and sequence.time[-1] == pytest.approx(4 / 250)


def test_broken_sequences_are_refused_with_the_field(tmp_path: Path) -> None:
    good = np.zeros((5, 2, 3))
    nan = good.copy()
    nan[2] = np.nan
    cases = {
        "cop: expected shape": {"grf": good},
        "grf: expected finite forces": {"grf": nan, "cop": good},
        "grf: expected kilonewton": {"grf": good + 700.0, "cop": good},
        "prediction: expected shape": {"grf": good, "cop": good, "prediction": np.zeros((5, 2, 3))},
    }
    for message, arrays in cases.items():
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(ValueError, match=r"bad\.npz: " + message):
            read_groundlink(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", grf=np.array([{"a": 1}], dtype=object), cop=good)
    with pytest.raises(ValueError, match=r"bad\.npz: expected an npz archive of plain arrays"):
        read_groundlink(tmp_path / "bad.npz")


def test_the_real_hops_touch_down_and_fly(data_dir: Path) -> None:
    sequence = read_groundlink(data_dir / "lab/groundlink_sample/s007_hopping_1.npz")
    total = sequence.grf[:, :, 2].sum(axis=1) / (sequence.mass * 9.81)
    assert sequence.grf.shape == (4030, 2, 3)
    assert 50.0 < sequence.mass < 80.0
    assert 2.0 < total.max() < 4.5 and (total < 0.05).mean() > 0.05
