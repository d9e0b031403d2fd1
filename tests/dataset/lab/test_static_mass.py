"""Mass from quiet standing: real children, and refusals of walking and of missing plates."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dataset.lab.c3d import read_c3d
from dataset.lab.static_mass import static_mass
from dataset.schema import ForcePlate, LabTrial


def standing(force: np.ndarray) -> LabTrial:
    plate = ForcePlate(rate=1000.0, force=force, moment=np.zeros_like(force))
    return LabTrial(
        name="s",
        path="s.c3d",
        marker_names=(),
        marker_rate=100.0,
        time=np.zeros(1),
        markers=np.zeros((1, 0, 3)),
        plates=(plate, plate),
    )


def test_two_plates_add_up_to_the_mass_and_walking_is_refused() -> None:
    force = np.tile([0.0, 0.0, 343.35], (100, 1))
    assert static_mass(standing(force)) == pytest.approx(70.0)
    force[::2] *= 0.5
    with pytest.raises(ValueError, match=r"s\.c3d: forces: expected quiet standing"):
        static_mass(standing(force))
    with pytest.raises(ValueError, match=r"s\.c3d: forces: expected force plates"):
        static_mass(dataclasses.replace(standing(force), plates=()))


def test_real_static_trials_weigh_what_their_files_say(data_dir: Path) -> None:
    for path in sorted((data_dir / "lab/biomechzoo_children").glob("*/Static/*.c3d")):
        trial = read_c3d(path)
        assert trial.mass is not None
        assert static_mass(trial) == pytest.approx(
            trial.mass, rel=0.035
        )  # HC002D: 31.1 kg on the plate, 32.1 in the file
