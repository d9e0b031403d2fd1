"""A solver trained on toy dynamics for a moment, and a trial of them."""

import dataclasses

import pytest

from dataset.body.default import make_body
from dataset.body.marker_sets import marker_set
from dataset.lab.simulated import simulated_trial
from dataset.schema import LabTrial
from dataset.store import Store


@pytest.fixture(scope="session")
def weights(sway_sequences, tmp_path_factory):
    """A solver trained for a moment on six of them."""
    from model.config import smoke
    from model.train import main as train

    folder = tmp_path_factory.mktemp("smoke")
    Store.create(folder / "data").append(sway_sequences[:6])
    cfg = dataclasses.replace(smoke(folder / "data", folder / "out"), steps=15, evaluate_every=15)
    return train(cfg).weights


@pytest.fixture(scope="session")
def trial(sway_sequences) -> LabTrial:
    """Two seconds of a swaying toy body in Plug-in Gait markers."""
    record = sway_sequences[3]
    whole = simulated_trial(record, make_body(record.subject), marker_set("plug_in_gait_39"), path="sway.c3d")
    return dataclasses.replace(whole, time=whole.time[:240], markers=whole.markers[:240])
