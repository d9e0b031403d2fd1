"""The card of published gait policies: what they are, what they learned from, what they reach, what they are not for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim.gait.arms import ARMS
from sim.gait.signals import MAIN_JOINTS
from sim.gait.trained import Trained
from sim.gait.walk_score import WalkScore

_LIMITS = (
    "- Each policy knows one person, one speed and one trial; elsewhere it falls.",
    "- Rigid feet with four contact points on level ground.",
    "- Not a medical device.",
)


def card(results: Mapping[str, Any], policy: Trained, licence: str) -> str:
    """Text of the card (Markdown).

    Args:
        results: Contents of the study's `results.json`, evaluated with the whole residual wrench.
        policy: One of the policies.
        licence: Terms of the trial that they imitate.

    Raises:
        ValueError: results without the residual wrench, or with a part of it.
    """
    if results["residual_factor"] != 1.0:
        raise ValueError(
            f"results.json: residual_factor: expected 1, found {results['residual_factor']:g}; evaluate the study without it"
        )
    expert, arms = results["expert"], results["arms"]
    count = sum(parameter.numel() for parameter in policy.policy.network.policy.parameters())
    rows = [
        f"| {arm} | {_cell(found['kinematic_reward'], 3)} | {_cell(found['grf_reward'], 3)} | {_cell(found['cop_reward'], 3)} | "
        f"{_cell(found['cop_rmse_pct_fl']['mean'], 1)} | {_cell(found['cpcc_magnitude'], 3)} | "
        + " | ".join(_cell(found["moment_rmse_nm_kg"][joint], 3) for joint in MAIN_JOINTS)
        + f" | {_cell(found['residual_force_pct_bw'], 2)} | {'yes' if found['fell'] else 'no'} |"
        for arm, found in ((arm, arms[arm]) for arm in ARMS)
    ]
    lines = [
        "# Policies of the gait study", "",
        f"Four arms, seeds {', '.join(map(str, results['seeds']))}, and the policy that all began as. Each maps "
        f"46 observations to 23 actions ({count:,} parameters) at 30 Hz. They imitate one measured walk, {expert['name']} "
        f"({licence}; {expert['mass']:.1f} kg, {expert['seconds']:.1f} s), and hold no recording of it.", "",
        "Settings of environment and learner are in each `.json`; rewards over the steps in `curves.json`. What the numbers "
        "mean: docs/gait.md. Made again by `python -m sim.gait.study --evaluate-only --out DIR`.", "",
        "| arm | kinematic | GRF | CoP | CoP RMSE [% FL] | \\|ρ\\| | hip moment RMSE [N·m/kg] | knee | ankle | "
        "residual force [% BW] | fell |",
        "|" + "-|" * 11, *rows, "", "Means over the seeds.", "",
        "## Limits", "",
        _LIMITS[0], "- A residual wrench on the pelvis helps; how much is in the table.", *_LIMITS[1:], "",
        "## Made by", "",
        f"`python -m sim.gait.study`, commit {results['code']['commit']}, "
        + ", ".join(f"{name} {results['versions'][name]}" for name in ("mujoco", "numpy", "torch") if name in results["versions"])
        + ".", "",
    ]  # fmt: skip
    return "\n".join(lines)


def weaned_card(rows: Sequence[tuple[float, WalkScore]], policy: Trained, licence: str) -> str:
    """Text of the card of a policy that was taken off the residual wrench (Markdown).

    Args:
        rows: Share of the wrench and score of every stage; the last is the policy's.
        policy: What the last stage made.
        licence: Terms of the trial that it imitates.
    """
    task = policy.facts["settings"]["task"]
    cells = [
        [
            f"{share:g}", _cell(one.kinematic, 3), _cell(one.grf, 3), _cell(one.cop, 3), _cell(one.cop_rmse_pct_fl, 1),
            *(_cell(value, 2) for value in (one.moment_rmse_hip, one.moment_rmse_knee, one.moment_rmse_ankle)),
            *(_cell(value, 2) for value in (one.moment_r_hip, one.moment_r_knee, one.moment_r_ankle)),
            _cell(one.residual_force_pct_bw, 2), f"{100.0 * one.finished:.0f} %",
        ]
        for share, one in rows
    ]  # fmt: skip
    lines = [
        f"# Gait policy {f'with {rows[-1][0]:g} of' if rows[-1][0] else 'without'} the residual wrench", "",
        f"`{policy.path.name}` went on from arm `{task['arm']}` of the gait study in stages with less and less of the wrench "
        f"(`python -m sim.gait.wean`), {policy.facts['steps']:,} steps each; it is what the last stage made. It imitates one "
        f"measured walk, {task['expert']['name']} ({licence}), and holds no recording of it. Settings are in the `.json`.", "",
        "| share | kinematic | GRF | CoP | CoP RMSE [% FL] | hip moment RMSE [N·m/kg] | knee | ankle | hip r | knee | ankle | "
        "residual force [% BW] | walkers at the end |",
        "|" + "-|" * 13, *("| " + " | ".join(row) + " |" for row in cells), "",
        "Eight walkers that start in the first second walk the trial without noise; all their frames count.", "",
        "## Limits", "", *_LIMITS, "",
    ]  # fmt: skip
    return "\n".join(lines)


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
