"""The results of a study as JSON: numbers of arms and seeds, p values against the arm with R^k alone, what was to be reached.

Axis legend: C cycles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np

from sim.gait.arms import ARMS
from sim.gait.measures import Measures
from sim.gait.signals import MAIN_JOINTS
from sim.gait.study_metrics import paired_p

BASELINE: Final = "kinematic"
"""The arm that the others are compared with."""
WORST_ANGLE, KINEMATIC_BAR, WEIGHT_BAR, RESIDUAL_BAR = 6.56, 0.90, (0.97, 1.03), 5.0
COP_BAR, COP_STRETCH, CORRELATION_BAR, P_BAR = 21.4, 15.0, 0.8, 1e-3


def summary(measures: Measures, baseline: Measures | None) -> dict[str, Any]:
    """Numbers of one walk.

    Args:
        measures: The walk's.
        baseline: Those of the arm with R^k alone of the same seed; None for itself: no p values.
    """
    out: dict[str, Any] = {
        "fell": measures.fell, "share_walked": measures.share_walked,
        "num_cycles": int(np.isfinite(measures.cycles["cop_rmse_pct_fl"]).sum()), **measures.whole,
    }  # fmt: skip
    for name, values in measures.cycles.items():
        mean, deviation = _mean_and_sd(values)
        out |= (
            {name: {"mean": mean, "sd": deviation}}
            if name == "cop_rmse_pct_fl"
            else {name: mean, f"{name}_sd": deviation}
        )
    for name, joints in measures.joints.items():
        pairs = {joint: _mean_and_sd(values) for joint, values in joints.items()}
        out[name] = {joint: pair[0] for joint, pair in pairs.items()}
        out[f"{name}_sd"] = {joint: pair[1] for joint, pair in pairs.items()}
    out |= {name: dict(joints) for name, joints in measures.whole_joints.items()}
    if baseline is not None:
        mean, usual = out["cop_rmse_pct_fl"]["mean"], _mean_and_sd(baseline.cycles["cop_rmse_pct_fl"])[0]
        out["cop_reduction_pct"] = 100.0 * (1.0 - mean / usual)
        out["p_values"] = p_values(measures, baseline)
    return out


def p_values(measures: Measures, baseline: Measures) -> dict[str, Any]:
    """Two-sided p of paired t-tests over the cycles against the baseline, by measure, or by measure and joint."""
    out: dict[str, Any] = {name: paired_p(values, baseline.cycles[name]) for name, values in measures.cycles.items()}
    for name, joints in measures.joints.items():
        out[name] = {joint: paired_p(values, baseline.joints[name][joint]) for joint, values in joints.items()}
    return out


def over_seeds(seeds: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """An arm: means over the seeds, `fell` if any did, the largest p; standard deviation over seeds under `spread`; all seeds."""
    parts = list(seeds.values())
    plain = [{name: value for name, value in part.items() if name not in ("fell", "p_values")} for part in parts]
    out: dict[str, Any] = {"fell": any(part["fell"] for part in parts), **_merge(plain, _mean)}
    if all("p_values" in part for part in parts):
        out["p_values"] = _merge([part["p_values"] for part in parts], _largest)
    out["spread"] = _merge(plain, _deviation)
    out["seeds"] = {str(seed): part for seed, part in seeds.items()}
    return out


def targets(arms: Mapping[str, dict[str, Any]], pretrained: dict[str, Any] | None) -> list[dict[str, Any]]:
    """What the study is to reach: name, bar, the worst that was found over arms and seeds, and whether it was reached."""
    every = [part for arm in ARMS for part in arms[arm]["seeds"].values()]
    full, base = (list(arms[arm]["seeds"].values()) for arm in ("all", BASELINE))
    rows: list[tuple[str, str, float, bool]] = []

    def at_most(name: str, found: float, bar: float, unit: str = "") -> None:
        rows.append((name, f"≤ {bar:g}{unit}", found, found <= bar))

    def at_least(name: str, found: float, bar: float) -> None:
        rows.append((name, f"≥ {bar:g}", found, found >= bar))

    at_least("every arm walks the whole trial (share)", _least(p["share_walked"] for p in every), 1.0)
    at_least("every arm: kinematic reward", _least(p["kinematic_reward"] for p in every), KINEMATIC_BAR)
    angles = [{joint: p["joint_rmse_deg"][joint] for joint in MAIN_JOINTS} for p in every]
    at_most(
        "every arm: worst of hip, knee, ankle angle",
        _most(value for a in angles for value in a.values()),
        WORST_ANGLE,
        "°",
    )
    at_most(
        "every arm: worst angle of all joints",
        _most(value for p in every for value in p["joint_rmse_deg"].values()),
        WORST_ANGLE,
        "°",
    )
    carried = max((p["mean_vertical_bw"] for p in every), key=lambda value: abs(value - 1.0))
    low, high = WEIGHT_BAR
    rows.append(("every arm: mean vertical force", f"{low:g}-{high:g} BW", carried, low <= carried <= high))
    at_most("every arm: RMS residual force", _most(p["residual_force_pct_bw"] for p in every), RESIDUAL_BAR, " % BW")
    cop = _most(p["cop_rmse_pct_fl"]["mean"] for p in full)
    at_most("ALL: centre of pressure", cop, COP_BAR, " % FL")
    at_most("ALL: centre of pressure, further", cop, COP_STRETCH, " % FL")
    before = [p["grf_reward"] for p in base] if pretrained is None else [pretrained["grf_reward"]] * len(full)
    gain = _least(p["grf_reward"] - first for p, first in zip(full, before))
    since = "R^k's" if pretrained is None else "pre-training's"
    rows.append((f"ALL: GRF reward above {since}", "> 0", gain, gain > 0))
    for joint in MAIN_JOINTS:
        name = "moment_rmse_nm_kg"
        change = _most(p[name][joint] - first[name][joint] for p, first in zip(full, base))
        largest = _most(p["p_values"][name][joint] for p in full)
        label = joint.replace("_", " ")
        rows.append((f"ALL: {label} moment RMSE against R^k [N·m/kg]", "< 0", change, change < 0))
        rows.append((f"ALL: p of the {label} moment RMSE's change", f"< {P_BAR:g}", largest, largest < P_BAR))
        at_least(f"ALL: {label} moment r", _least(p["moment_r"][joint] for p in full), CORRELATION_BAR)
    return [{"name": name, "bar": bar, "found": found, "reached": bool(ok)} for name, bar, found, ok in rows]


def without_nan(value: Any) -> Any:
    """The value with null for every number that is not finite, as JSON wants it."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean_and_sd(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation (n − 1) of the known values; NaN for none, or for fewer than two."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan, float(known.std(ddof=1)) if len(known) > 1 else np.nan


def _most(values: Iterable[float]) -> float:
    """Largest value; NaN if one is."""
    return float(np.max(list(values)))


def _least(values: Iterable[float]) -> float:
    """Smallest value; NaN if one is."""
    return float(np.min(list(values)))


def _merge(parts: list[Any], join: Callable[[np.ndarray], float]) -> Any:
    """The common tree of the parts with their leaves joined."""
    if isinstance(parts[0], Mapping):
        return {name: _merge([part[name] for part in parts], join) for name in parts[0]}
    return join(np.array(parts, dtype=float))


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else np.nan


def _largest(values: np.ndarray) -> float:
    return float(values.max())
