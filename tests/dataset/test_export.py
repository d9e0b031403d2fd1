"""Exported sequences: read back by NumPy alone and as OpenSim external loads."""

import json

import numpy as np
import pytest

from dataset.export import ExportConfig, main
from dataset.lab.opensim import read_storage
from dataset.skeleton import BODY_NAMES
from dataset.store import Store


@pytest.fixture
def files(tmp_path, three_sequences):
    """Files of the second sequence."""
    Store.create(tmp_path / "set").append(three_sequences)
    return main(ExportConfig(folder=tmp_path / "set", name="made-up-1", out=tmp_path / "out"))


def test_the_npz_holds_every_array_and_fact(files, three_sequences) -> None:
    """No pickle needed, units and names included."""
    item = three_sequences[1]
    with np.load(files[0], allow_pickle=False) as content:
        for name in ("impulse", "grf", "cop", "quat", "closure_error"):
            np.testing.assert_array_equal(content[name], getattr(item, name))
        assert content["body_names"].tolist() == list(BODY_NAMES) and content["time"][-1] == pytest.approx(22 / 30)
        info = json.loads(str(content["info"]))
    assert info["clip"] == "made-up/turn" and info["subject"]["mass"] == 64.0 and info["units"]["impulse"] == "N·m·s"


def test_the_mot_holds_the_wrenches_of_both_feet_with_y_up(files, three_sequences) -> None:
    """World (x, y, z) becomes OpenSim's (x, z, -y)."""
    item, storage = three_sequences[1], read_storage(files[1])
    table = dict(zip(storage.labels, storage.values.T, strict=True))
    foot = item.grf[:, 7] + item.grf[:, 10]
    has_cop = np.isfinite(item.cop[:, 7, 0])
    assert has_cop.sum() > 5
    np.testing.assert_allclose(table["ground_force_l_vy"][has_cop], foot[has_cop, 2], rtol=1e-6)
    np.testing.assert_allclose(table["ground_force_l_vx"][has_cop], foot[has_cop, 0], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(table["ground_force_l_px"][has_cop], item.cop[has_cop, 7, 0], rtol=1e-6)
    np.testing.assert_allclose(table["ground_force_l_pz"][has_cop], -item.cop[has_cop, 7, 1], rtol=1e-6)


def test_an_unknown_name_is_explained(tmp_path, three_sequences) -> None:
    """The error lists what there is."""
    Store.create(tmp_path / "set").append(three_sequences)
    with pytest.raises(ValueError, match="expected a sequence or clip 'walk', found others: made-up-0"):
        main(ExportConfig(folder=tmp_path / "set", name="walk", out=tmp_path / "out"))
