"""Figures: right numbers on labelled axes, the same bytes for the same data."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from dataset import figure_style as look
from dataset.figures import plot_ground_reaction, plot_torque


def test_ground_reaction_lines_are_the_feet_in_their_colours(build_dynamics) -> None:
    """Left foot blue, right foot vermillion, vertical force first, units on the axes."""
    item = build_dynamics()
    with look.style():
        figure = plot_ground_reaction(item)
    vertical = figure.axes[0]
    lines = {line.get_label(): line for line in vertical.get_lines()}
    np.testing.assert_allclose(lines["left foot"].get_ydata(), item.grf[:, 7, 2] + item.grf[:, 10, 2], rtol=1e-6)
    np.testing.assert_allclose(lines["right foot"].get_ydata(), item.grf[:, 8, 2] + item.grf[:, 11, 2], rtol=1e-6)
    assert (lines["left foot"].get_color(), lines["right foot"].get_color()) == (look.LEFT, look.RIGHT)
    assert vertical.get_ylabel() == "Force, vertical [N]" and figure.axes[2].get_xlabel() == "Time [s]"


def test_torque_lines_are_impulse_over_the_length_of_a_transition(build_dynamics) -> None:
    """1 N·m·s in 1/30 s is 30 N·m, drawn in the middle of the transition."""
    item = build_dynamics()
    with look.style():
        figure = plot_torque(item)
    left = figure.axes[1].get_lines()[0]
    np.testing.assert_allclose(left.get_ydata(), item.impulse[:, 3, 1] * 30, rtol=1e-6)
    assert left.get_xdata()[0] == pytest.approx(0.5 / 30)
    assert figure.axes[1].get_ylabel() == "Knee\nflexion + [N·m]"


def test_the_same_figure_has_the_same_bytes(build_dynamics, tmp_path) -> None:
    """No date and no random ids, so committed figures change only with their data."""
    with look.style():
        first, second = (look.render(plot_torque(build_dynamics()), "svg") for _ in range(2))
        path = look.save(plot_torque(build_dynamics()), tmp_path / "a" / "torque.png")
    assert first == second
    assert path.read_bytes()[:4] == b"\x89PNG"
