"""The report of a gait study: one HTML file without anything outside it, the same figures as PNG, a table for the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dataset import atomic, figure_style
from sim.gait.arms import ARMS
from sim.gait.mean_cycles import MeanCycles
from sim.gait.signals import JOINTS, MAIN_JOINTS
from sim.gait.study_figures import (
    ARM_COLOURS,
    ARM_NAMES,
    plot_angles,
    plot_butterflies,
    plot_moments,
    plot_reaction,
    plot_residual,
    plot_rewards,
)
from sim.gait.study_results import BASELINE
from sim.gait.trained import Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name("study_report.html")
REPORT: Final = "report.html"
FIGURE_TEXTS: Final = {
    "rewards": "Rewards over the steps of pre-training and of the four arms",
    "angles": "Joint angles over the gait cycle and their error",
    "butterflies": "Sagittal ground reaction force over stance as vectors",
    "reaction": "Correlation of the ground reaction force, and the centre of pressure",
    "moments": "Joint moments over the gait cycle, their error and correlation",
    "residual": "Residual wrench over the gait cycle and its size",
}
"""Figures by name (file NAME.png) and what they show."""
PAPER_COP: Final = {"kinematic": "38.3 ± 2.7", "grf": "32.8 ± 2.4", "cop": "21.8 ± 2.4", "all": "21.4 ± 2.3"}
"""Table I of KAIL: error of the centre of pressure [% foot length]."""
PAPER_REDUCTION: Final = {"kinematic": "–", "grf": "14.5", "cop": "43.2", "all": "44.3"}
"""Its reduction against R^k only [%]."""


def draw_figures(
    results: Mapping[str, Any], curves: Mapping[str, Curve], means: Mapping[str, MeanCycles], measured: MeanCycles
) -> dict[str, Figure]:
    """All figures by name; within `figure_style.style()`. Without curves there are no rewards."""
    arms = results["arms"]
    figures = {
        "angles": plot_angles(means, measured, arms), "butterflies": plot_butterflies(means, measured),
        "reaction": plot_reaction(means, measured, arms),
        "moments": plot_moments(means, measured, arms), "residual": plot_residual(means, arms),
    }  # fmt: skip
    return ({"rewards": plot_rewards(curves)} if curves else {}) | figures


def write_report(
    out: Path,
    results: Mapping[str, Any],
    curves: Mapping[str, Curve],
    means: Mapping[str, MeanCycles],
    measured: MeanCycles,
) -> Path:
    """Write `report.html` and the figures (PNG) to a folder, each atomically.

    Args:
        out: Folder.
        results: Contents of `results.json`.
        curves: Rewards over steps by run.
        means: Mean cycles by arm.
        measured: Mean cycles of the expert.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["raised"] = _raised
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    with figure_style.style():
        figures = draw_figures(results, curves, means, measured)
        for name, figure in figures.items():
            figure_style.save(figure, out / f"{name}.png")
            figure.set_layout_engine("none")  # as it was laid out for the PNG: twice costs twice
        drawn = {name: figure_style.inline(figure, FIGURE_TEXTS[name]) for name, figure in figures.items()}
    atomic.write_text(out / REPORT, template.render(figures=drawn, **_facts(results)))
    return out / REPORT


def _raised(text: str) -> str:
    """HTML of a text with names such as R^grf, whose letters after the ^ are raised."""
    import markupsafe

    return markupsafe.Markup(re.sub(r"R\^(\w+)", r"R<sup>\1</sup>", str(markupsafe.escape(text))))


def _facts(results: Mapping[str, Any]) -> dict[str, Any]:
    arms, targets = results["arms"], results["targets"]
    reached = sum(row["reached"] for row in targets)
    fallen = [
        f"{ARM_NAMES[arm]}, seed {seed}: fell after {100 * part['share_walked']:.0f} % of the trial; its numbers are those of "
        f"the {part['num_cycles']} whole cycles before."
        for arm in ARMS
        for seed, part in arms[arm]["seeds"].items()
        if part["fell"]
    ]
    expert = results["expert"]
    return {
        "results": results, "expert": expert, "warnings": [*fallen, *results["notes"]],
        "cards": [
            {"value": f"{reached} of {len(targets)}", "label": "targets reached"},
            {"value": f"{len(results['seeds'])}", "label": "seeds an arm"},
            {"value": f"{expert['cycles']}", "label": f"gait cycles, {expert['seconds']:.1f} s, in one episode"},
            {"value": _number(arms["all"]["cop_rmse_pct_fl"]["mean"], 1) + " % FL", "label": "CoP error of ALL"},
            {"value": _number(arms["all"]["residual_force_pct_bw"], 1) + " % BW", "label": "RMS residual force of ALL"},
        ],
        "targets": [{**row, "found": _number(row["found"], 3, small=True)} for row in targets],
        "overview": _overview(arms, results["pretrained"]), "cop_rows": _cop_rows(arms), "joint_rows": _joint_rows(arms),
        "p_rows": _p_rows(arms), "arm_names": [ARM_NAMES[arm] for arm in ARMS]
    }  # fmt: skip


def overview_columns() -> list[tuple[str, Callable[[Mapping[str, Any]], float], int]]:
    """Columns of the overview: name with unit, the number of an arm or seed, its digits."""
    flat = [
        ("kinematic reward", "kinematic_reward", 3), ("GRF reward", "grf_reward", 3), ("CoP reward", "cop_reward", 3),
        ("|ρ|", "cpcc_magnitude", 3), ("phase [rad]", "cpcc_phase_rad", 3), ("vertical force [BW]", "mean_vertical_bw", 3),
        ("residual force [% BW]", "residual_force_pct_bw", 2), ("residual moment [N·m/kg]", "residual_moment_nm_kg", 3),
    ]  # fmt: skip
    columns: list[tuple[str, Callable[[Mapping[str, Any]], float], int]] = [
        (title, lambda part, name=name: part[name], digits) for title, name, digits in flat
    ]
    columns.insert(3, ("CoP RMSE [% FL]", lambda part: part["cop_rmse_pct_fl"]["mean"], 1))
    columns.insert(
        3, ("worst angle RMSE [°]", lambda part: max(part["joint_rmse_deg"][joint] for joint in MAIN_JOINTS), 2)
    )
    return columns


def _overview(arms: Mapping[str, Any], pretrained: Mapping[str, Any] | None) -> dict[str, Any]:
    """Rows of the arms, after one of the policy that they began as."""
    columns = overview_columns()
    rows: list[dict[str, Any]] = [
        {
            "name": ARM_NAMES[arm], "colour": ARM_COLOURS[arm], "fell": arms[arm]["fell"],
            "cells": [_of_seeds(arms[arm], get, digits) for _, get, digits in columns],
        }
        for arm in ARMS
    ]  # fmt: skip
    if pretrained is not None:
        cells = [_number(get(pretrained), digits) for _, get, digits in columns]
        rows.insert(
            0, {"name": "pre-trained", "fell": pretrained["fell"], "colour": figure_style.BLACK, "cells": cells}
        )
    return {"titles": [title for title, _, _ in columns], "rows": rows}


def _of_seeds(arm: Mapping[str, Any], get: Callable[[Mapping[str, Any]], float], digits: int) -> str:
    """Mean over the seeds with the smallest and largest."""
    values = [get(seed) for seed in arm["seeds"].values()]
    mean = _number(sum(values) / len(values), digits)
    if len(values) == 1 or any(math.isnan(value) for value in values):
        return mean
    return f"{mean} ({_number(min(values), digits)}–{_number(max(values), digits)})"


def _cop_rows(arms: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Table I: error, reduction and p of every arm and seed beside the paper's."""
    rows = []
    for arm in ARMS:
        for seed, part in arms[arm]["seeds"].items():
            error = part["cop_rmse_pct_fl"]
            usual = arm == BASELINE
            rows.append({
                "name": ARM_NAMES[arm],
                "cells": [
                    seed, f"{_number(error['mean'], 1)} ± {_number(error['sd'], 1)}",
                    "–" if usual else _number(part["cop_reduction_pct"], 1),
                    "–" if usual else _power(part["p_values"]["cop_rmse_pct_fl"]), _number(100 * part["stance_missed"], 1),
                    _number(100 * part["swing_touched"], 1), PAPER_COP[arm], PAPER_REDUCTION[arm],
                ],
            })  # fmt: skip
    return rows


def _joint_rows(arms: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Error of angle and moment and correlation of the moment of every joint, an arm a column."""
    rows = []
    for joint in JOINTS:
        cells = [
            _of_seeds(arms[arm], lambda part, name=name: part[name][joint], digits)  # noqa: B023  # called at once
            for name, digits in (("joint_rmse_deg", 2), ("moment_rmse_nm_kg", 3), ("moment_r", 3))
            for arm in ARMS
        ]
        rows.append({"name": joint.replace("_", " "), "cells": cells, "main": joint in MAIN_JOINTS})
    return rows


def _p_rows(arms: Mapping[str, Any]) -> list[dict[str, Any]]:
    """p of the paired t-tests against R^k of every arm and seed."""
    rows = []
    for arm in ARMS:
        for seed, part in arms[arm]["seeds"].items():
            if arm != BASELINE:
                p = part["p_values"]
                cells = [seed, *(_power(p[name]) for name in ("cpcc_magnitude", "cpcc_phase_rad"))]
                for name in ("joint_rmse_deg", "moment_rmse_nm_kg", "moment_r"):
                    cells += [_power(p[name][joint]) for joint in MAIN_JOINTS]
                rows.append({"name": ARM_NAMES[arm], "cells": cells})
    return rows


def summary_text(results: Mapping[str, Any]) -> str:
    """A few lines for the terminal."""
    columns = [column for column in overview_columns() if column[0] not in ("phase [rad]", "residual moment [N·m/kg]")]
    lines = []
    for arm in ARMS:
        found = results["arms"][arm]
        numbers = ", ".join(f"{title} {_of_seeds(found, get, digits)}" for title, get, digits in columns)
        lines.append(f"{ARM_NAMES[arm]:13s} {'FELL, ' if found['fell'] else ''}{numbers}")
    missed = [row for row in results["targets"] if not row["reached"]]
    lines.append(f"targets reached: {len(results['targets']) - len(missed)} of {len(results['targets'])}")
    lines += [f"  missed: {row['name']}: {_number(row['found'], 3, small=True)}, wanted {row['bar']}" for row in missed]
    return "\n".join(lines)


def _number(value: float, digits: int, *, small: bool = False) -> str:
    """Decimals; – where unknown; with `small` a power of ten below what the digits show."""
    if math.isnan(value):
        return "–"
    if small and value and abs(value) < 10.0**-digits:
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


def _power(p: float) -> str:
    return "–" if math.isnan(p) else f"{p:.1e}" if p < 1e-3 else f"{p:.3f}"
