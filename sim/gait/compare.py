"""Our joint moments beside those that came with the data: root mean square error, correlation, residual.

Axis legend: T frames.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset.atomic import write_text
from sim.gait.expert_build import Analysis
from sim.gait.segments import COORDINATES
from sim.gait.sources import Measured

JOINTS = {
    "hip flexion": ("hip_flexion_l", "hip_flexion_r"), "hip adduction": ("hip_adduction_l", "hip_adduction_r"),
    "hip rotation": ("hip_rotation_l", "hip_rotation_r"), "knee flexion": ("knee_angle_l", "knee_angle_r"),
    "ankle flexion": ("ankle_angle_l", "ankle_angle_r"), "trunk extension": ("trunk_extension",),
    "trunk bending": ("trunk_bending",), "trunk rotation": ("trunk_rotation",),
}  # fmt: skip
"""What the table's lines are called, and the coordinates that they pool."""
COLUMNS = (
    "trial", "joint", "frames", "rmse_nm_kg", "r", "range_nm_kg", "fit_mm", "residual_ap_bw", "residual_ml_bw", "residual_v_bw",
    "residual_moment_nm_kg", "mean_vertical_bw", "reference",
)  # fmt: skip
"""Columns of the table."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One joint of one trial; without shipped moments one line with the residual alone."""

    trial: str
    joint: str
    frames: int
    rmse: float
    r: float
    span: float
    fit_mm: float
    residual_force: tuple[float, float, float]
    residual_moment: float
    mean_vertical: float
    reference: str


def compare_moments(measured: Measured, analysis: Analysis) -> list[Row]:
    """Agreement of the joint moments over the frames whose forces are known and that the shipped moments cover.

    RMSE [N·m/kg] over both sides together; r is Pearson's; the range is the shipped moments' largest minus smallest value. The
    residual [body weights, N·m/kg] is the wrench on the pelvis that our motion and the measured forces leave unexplained, root
    mean square over the same frames.
    """
    weight, mass = analysis.gait.weight, analysis.gait.body.total_mass
    known = np.isfinite(analysis.wrench).all(axis=(1, 2))
    if len(measured.shipped_time):
        tolerance = 1e-6
        known &= (analysis.time >= measured.shipped_time[0] - tolerance) & (
            analysis.time <= measured.shipped_time[-1] + tolerance
        )
    force = np.sqrt((analysis.dynamics.residual_force[known] ** 2).mean(axis=0)) / weight
    shared = {
        "trial": measured.name, "frames": int(known.sum()), "fit_mm": 1e3 * measured.error,
        "residual_force": (float(force[0]), float(force[1]), float(force[2])),
        "residual_moment": float(np.sqrt((analysis.dynamics.residual_moment[known] ** 2).sum(axis=1).mean()) / mass),
        "mean_vertical": float(analysis.wrench[known, :, 2].sum(axis=1).mean() / weight),
    }  # fmt: skip
    rows = []
    for joint, names in JOINTS.items():
        ours, theirs = [], []
        for name in names:
            if name in measured.shipped:
                reference = np.interp(analysis.time, measured.shipped_time, measured.shipped[name])
                both = known & np.isfinite(reference)
                ours.append(analysis.dynamics.moment[both, COORDINATES.index(name)] / mass)
                theirs.append(reference[both] / mass)
        if ours:
            mine, other = np.concatenate(ours), np.concatenate(theirs)
            rows.append(
                Row(
                    joint=joint, rmse=float(np.sqrt(np.mean((mine - other) ** 2))), r=float(np.corrcoef(mine, other)[0, 1]),
                    span=float(np.ptp(other)), reference=measured.shipped_by, **shared,
                )
            )  # fmt: skip
    return rows or [Row(joint="", rmse=np.nan, r=np.nan, span=np.nan, reference="none shipped", **shared)]


def _cells(row: Row) -> list[str]:
    def number(value: float, digits: int) -> str:
        return "" if np.isnan(value) else f"{value:.{digits}f}"

    return [
        row.trial, row.joint, str(row.frames), number(row.rmse, 4), number(row.r, 4), number(row.span, 3), f"{row.fit_mm:.2f}",
        *(f"{value:.4f}" for value in row.residual_force), f"{row.residual_moment:.4f}", f"{row.mean_vertical:.4f}",
        row.reference,
    ]  # fmt: skip


def write_table(stem: Path, rows: Iterable[Row], refused: Iterable[str] = ()) -> None:
    """Write the table as `stem.csv` and, to be read, `stem.md`; trials that were refused follow there with the reason."""
    lines = [_cells(row) for row in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *lines])
    write_text(stem.with_suffix(".csv"), text.getvalue())
    head = [
        "# Joint moments of the experts beside those that came with the data", "",
        "Made by `python -m sim.gait.expert_table`. RMSE and r over both sides and all frames with known forces; the residual is"
        " the wrench on the pelvis that motion and measured forces leave unexplained (root mean square).", "",
        "| " + " | ".join(COLUMNS) + " |", "|" + "-|" * len(COLUMNS),
    ]  # fmt: skip
    tail = ["", "Refused:", "", *(f"- {reason}" for reason in refused)] if refused else []
    table = ["| " + " | ".join(line) + " |" for line in lines]
    write_text(stem.with_suffix(".md"), "\n".join([*head, *table, *tail]) + "\n")
