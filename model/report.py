"""The report of a prediction: one HTML file without anything outside it, and its summary for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset import atomic, figure_style
from dataset.lab.contact import intervals
from dataset.lab.plates import LOAD_THRESHOLD
from dataset.schema import FRAME_RATE, LabTrial
from dataset.skeleton import GRAVITY
from dataset.viewer import view_page
from model.comparison import TrialComparison
from model.kinetics import Kinetics
from model.physics.quality import AMBER, GREEN, GREEN_BELOW, RED, RED_ABOVE, UNKNOWN
from model.report_figures import FLAG_COLOURS, plot_floor, plot_forces, plot_torques
from model.view import kinetics_panel

if TYPE_CHECKING:
    from model.lab_metrics import LabErrors

TEMPLATE = Path(__file__).with_name("report.html")
FLAG_TEXT = {
    GREEN: f"agrees (below {GREEN_BELOW:g} body weights)",
    AMBER: "doubtful, few markers or end of the trial",
    RED: f"contradicts (above {RED_ABOVE:g})",
    UNKNOWN: "not checked",
}
"""Meaning of the quality colours in a caption."""
MOST_RED = 0.1
"""A warning stands on top if more than this share of the frames contradicts Newton."""


def write_report(
    path: str | Path, kinetics: Kinetics, trial: LabTrial, comparison: TrialComparison | None = None
) -> None:
    """Write the report, atomically.

    Args:
        path: HTML file.
        kinetics: Prediction.
        trial: The trial it is about (plates' outlines).
        comparison: Measured forces and errors; None without `--compare`.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    with figure_style.style():
        figures = {
            "forces_svg": figure_style.inline(plot_forces(kinetics, comparison), "Ground reaction force over time"),
            "torques_svg": figure_style.inline(plot_torques(kinetics), "Joint torques over time"),
            "floor_svg": figure_style.inline(
                plot_floor(kinetics, trial, comparison), "Centres of pressure seen from above"
            ),
        }
    animation = view_page([kinetics_panel(kinetics.file_arrays())])
    atomic.write_text(path, template.render(**figures, animation=animation, **_facts(kinetics, comparison)))


def _facts(kinetics: Kinetics, comparison: TrialComparison | None) -> dict[str, Any]:
    shares = flag_shares(kinetics)
    fitted = float(kinetics.torque_has_frame_T.mean())
    return {
        "k": kinetics,
        "comparison": comparison is not None,
        "mass_from_plates": "plates" in kinetics.mass_source,
        "cards": _cards(kinetics, shares),
        "warnings": _warnings(kinetics, shares, comparison),
        "flags": [
            {"colour": FLAG_COLOURS[flag], "text": f"{FLAG_TEXT[flag]} {100 * shares[flag]:.0f} %"}
            for flag in FLAG_COLOURS
            if shares[flag] > 0
        ],
        "error_rows": [] if comparison is None else error_rows(comparison.methods),
        "valid_frames": 0 if comparison is None else int(comparison.valid_T.sum()),
        "refused": [] if comparison is None else list(comparison.refused.items()),
        "plate_notes": [] if comparison is None else comparison.notes,
        "steps": _steps(kinetics),
        "torque_text": (
            f"A fitted body gives the joints' axes in {100 * fitted:.0f} % of the frames."
            if fitted
            else "No body could be fitted: lengths only, without directions."
        ),
        "axes_text": _axes_text(kinetics),
        "floor_text": _floor_text(kinetics),
    }


def flag_shares(kinetics: Kinetics) -> dict[int, float]:
    """Share of the frames that carries each quality flag."""
    return {flag: float((kinetics.quality_T == flag).mean()) for flag in FLAG_COLOURS}


def _cards(kinetics: Kinetics, shares: dict[int, float]) -> list[dict[str, str]]:
    vertical = np.nanmean(kinetics.grf_TF3[:, :, 2].sum(axis=1) + kinetics.rest_grf_T3[:, 2])
    return [
        {"value": f"{kinetics.mass:.1f} kg", "label": f"body mass ({kinetics.mass_source})"},
        {"value": f"{kinetics.num_frames / FRAME_RATE:.2f} s", "label": f"{kinetics.num_frames} frames at 30 Hz"},
        {"value": str(len(kinetics.marker_names)), "label": f"markers in use, {len(kinetics.left_out)} left out"},
        {"value": f"{100 * shares[GREEN]:.0f} %", "label": "of the frames agree with Newton"},
        {"value": f"{vertical / (kinetics.mass * GRAVITY):.3f}", "label": "mean vertical force [body weights]"},
    ]


def _warnings(kinetics: Kinetics, shares: dict[int, float], comparison: TrialComparison | None) -> list[str]:
    texts = []
    if shares[RED] > MOST_RED:
        texts.append(
            f"The solver's total force contradicts Newton's law in {100 * shares[RED]:.0f} % of the frames: the motion, the "
            "markers or the mass are unlike what it was trained on. Do not rely on these forces."
        )
    if shares[UNKNOWN] > 0.5:
        texts.append("Most frames could not be checked against Newton's law: see what was done, below.")
    if not np.isfinite(kinetics.grf_TF3).all():
        texts.append("Some frames have no answer: the lines are broken there.")
    if comparison is not None and not comparison.methods:
        texts.append("No frame of this trial can be compared: the plates never measured everything that held the body.")
    return texts


def error_rows(errors: dict[str, LabErrors]) -> list[dict[str, Any]]:
    """Rows of the error table, formatted."""
    rows = []
    for name, item in errors.items():
        numbers = (item.all_frames, item.loaded, item.double_support, item.loaded_vertical, item.vertical_correlation)
        cells = [f"{value:.2f}" if np.isfinite(value) else "–" for value in numbers]
        cells.append(f"{item.body_weight_error:+.1f} %")
        cells.append(f"{item.cop_single_support:.0f} mm" if np.isfinite(item.cop_single_support) else "–")
        rows.append({"name": name, "cells": cells})
    return rows


def _steps(kinetics: Kinetics) -> list[dict[str, Any]]:
    """Contacts of each foot above 20 N in order of time."""
    vertical = np.nan_to_num(kinetics.grf_TF3[:, :, 2])
    rows = []
    for foot, side in enumerate(("left", "right")):
        for start, stop in intervals(vertical[:, foot] > LOAD_THRESHOLD):
            force = vertical[start:stop, foot]
            begin, end = kinetics.time_T[start], kinetics.time_T[stop - 1]
            cells = [
                f"{begin:.2f}", f"{end:.2f}", f"{force.max():.0f}", f"{force.max() / (kinetics.mass * GRAVITY):.2f}",
                f"{force.sum() / FRAME_RATE:.0f}",
            ]  # fmt: skip
            rows.append((begin, {"side": side, "cells": cells}))
    return [row for _, row in sorted(rows, key=lambda item: item[0])]


def _axes_text(kinetics: Kinetics) -> str:
    up = kinetics.rot_world_lab.T[:, 2]
    axis = int(np.argmax(np.abs(up)))
    sign = "" if up[axis] > 0 else "−"
    return f"Forces, positions and directions in the file's own laboratory axes ({sign}{'XYZ'[axis]} up)."


def _floor_text(kinetics: Kinetics) -> str:
    """Which plane the centres of pressure lie on."""
    height = round(1000 * kinetics.floor)
    if not height:
        return "Centres of pressure lie on the floor at height 0, the origin of the laboratory's axes."
    side = "above" if height > 0 else "below"
    origin = f"{abs(height)} mm {side} the origin of the laboratory's axes"
    return f"Centres of pressure lie on the floor that the heels show, {origin}."


def summary_text(kinetics: Kinetics, errors: dict[str, dict[str, float]]) -> str:
    """A few lines for the terminal."""
    shares = flag_shares(kinetics)
    lines = [
        f"{kinetics.name}: {kinetics.num_frames} frames, {kinetics.mass:.1f} kg ({kinetics.mass_source}), "
        f"{len(kinetics.marker_names)} markers, method {kinetics.method}",
        f"agrees with Newton in {100 * shares[GREEN]:.0f} % of the frames, doubtful {100 * shares[AMBER]:.0f} %, contradicts "
        f"{100 * shares[RED]:.0f} %, not checked {100 * shares[UNKNOWN]:.0f} %",
    ]
    for name, item in errors.items():
        lines.append(
            f"  {name:20s} per-foot error {item['all_frames']:.2f} N/kg (loaded {item['loaded']:.2f}, double support "
            f"{item['double_support']:.2f}), vertical r {item['vertical_correlation']:.3f}"
        )
    return "\n".join(lines)
