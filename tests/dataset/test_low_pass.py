"""The low-pass: half power where it says at every rate, no lag, and no second one anywhere."""

from pathlib import Path

import numpy as np
import pytest

from dataset.low_pass import low_pass

ROOT = Path(__file__).resolve().parents[2]


def gain(rate: float, cutoff: float, frequency: float) -> float:
    """Response to an impulse in the middle of a long silence, at one frequency."""
    impulse = np.zeros(2001)
    impulse[1000] = 1.0
    clock = (np.arange(2001) - 1000) / rate
    spectrum = np.sum(low_pass(impulse, rate, cutoff) * np.exp(-2j * np.pi * frequency * clock))
    assert abs(spectrum.imag) < 1e-9  # no lag
    return float(spectrum.real)


@pytest.mark.parametrize(
    ("rate", "cutoff"), [(30.0, 6.0), (30.0, 10.0), (100.0, 6.0), (150.0, 6.0), (450.0, 20.0), (2000.0, 20.0)]
)
def test_two_passes_together_have_half_the_power_at_the_cutoff_at_every_rate(rate, cutoff):
    """1/√2 of the amplitude, with 30 Hz as with 2000 Hz."""
    assert gain(rate, cutoff, 0.0) == pytest.approx(1.0, abs=1e-6)
    assert gain(rate, cutoff, cutoff) == pytest.approx(np.sqrt(0.5), abs=1e-4)
    # |H|² of one pass is 1 / (1 + w⁴), w the warped frequency over that of the section.
    w = np.tan(np.pi * 0.5 * cutoff / rate) / np.tan(np.pi * cutoff / rate) * (np.sqrt(2.0) - 1.0) ** 0.25
    assert gain(rate, cutoff, 0.5 * cutoff) == pytest.approx(1.0 / (1.0 + w**4), abs=1e-4)


def test_short_paths_and_high_cutoffs_are_returned_as_they_are():
    """A copy, not the array itself."""
    path = np.random.default_rng(0).normal(size=(9, 2))
    same = low_pass(path, 30.0, 6.0)
    assert np.array_equal(same, path) and same is not path
    assert np.array_equal(low_pass(np.tile(path, (5, 1)), 30.0, 13.5), np.tile(path, (5, 1)))


def test_nothing_else_designs_a_low_pass():
    """Training frames, laboratory trajectories and the assessment of imitations all come here."""
    files = [path for package in ("dataset", "sim", "model", "bench") for path in (ROOT / package).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in files if "filtfilt" in path.read_text(encoding="utf-8")}
    assert found == {"dataset/low_pass.py"}
