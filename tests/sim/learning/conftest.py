"""Small trainings on the point mass, seconds each."""

import dataclasses

import pytest

from sim.learning.config import NetworkConfig, fast


@pytest.fixture
def small():
    """Settings of a training whose iterations take hundredths of a second: `small(seed=3)` changes fields."""

    def make(**changes):
        network = NetworkConfig(hidden=(24, 16), log_std=-1.0)
        base = dataclasses.replace(
            fast(), iterations=4, iteration_steps=256, epochs=3, minibatch=96, network=network, checkpoint_every=1
        )  # fmt: skip
        return dataclasses.replace(base, **changes)

    return make
