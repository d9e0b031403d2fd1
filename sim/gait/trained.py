"""Trained policies of a study: where they lie, and with which settings they were made.

They are found in two layouts: a study's own folder (`ARM_seedN/policy.safetensors`, `pretrain/`) and a folder of published
weights (`ARM_seedN.safetensors`, `pretrain_seed0.safetensors`, `curves.json`).
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from sim.gait.arms import ARMS, PRETRAINED, Arm
from sim.gait.environment import ACTION_SIZE
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.features import OBSERVATION_SIZE
from sim.learning.policy import Policy, load_policy
from sim.learning.progress import METRICS_FILE, read_metrics
from sim.learning.train import POLICY_FILE

CURVES_FILE: Final = "curves.json"
"""Rewards over iterations of all runs, beside published policies."""
RESULTS_FILE: Final = "results.json"
"""Results of an evaluated study in its folder."""
CURVE_TERMS: Final = ("kinematic", "grf", "cop")
"""Rewards of the curves."""
Curve = dict[str, list[float]]
"""`steps` and the mean of each reward, by iteration."""
_NAME = re.compile(rf"({'|'.join(ARMS)})_seed(\d+)")
_Config = TypeVar("_Config")


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """A policy and the settings that it was trained with."""

    path: Path
    """Its file."""
    policy: Policy
    """What acts."""
    environment: EnvironmentConfig
    """Environment of the training."""
    facts: dict[str, Any]
    """Everything in its JSON file."""

    @property
    def expert(self) -> dict[str, Any]:
        """Name and hash of the expert that it was trained on."""
        return self.facts["settings"]["task"]["expert"]


def load_trained(path: Path) -> Trained:
    """Read a policy with its settings.

    Raises:
        ValueError: no policy, one of another task or model, or settings of another version.
    """
    policy = load_policy(path)
    facts = json.loads(path.with_suffix(".json").read_text())
    found = policy.network.observation_size, policy.network.action_size
    if found != (OBSERVATION_SIZE, ACTION_SIZE):
        raise ValueError(
            f"{path}: expected a policy of {OBSERVATION_SIZE} observations and {ACTION_SIZE} actions, found one of "
            f"{found[0]} and {found[1]}; give policies that python -m sim.gait.study trained"
        )
    task = facts.get("settings", {}).get("task", {})
    if not {"environment", "expert"} <= task.keys():
        raise ValueError(
            f"{path.with_suffix('.json')}: settings: expected the environment and the expert of a gait study, found "
            f"{sorted(task)}; give policies that python -m sim.gait.study trained"
        )
    environment = read_config(EnvironmentConfig, task["environment"], str(path.with_suffix(".json")))
    return Trained(path=path, policy=policy, environment=environment, facts=facts)


def find_policies(folder: Path) -> dict[tuple[Arm, int], Path]:
    """Files of the arms' policies in a folder by arm and seed."""
    found: dict[tuple[Arm, int], Path] = {}
    for path in [*folder.glob("*.safetensors"), *folder.glob(f"*/{POLICY_FILE}")]:
        name = path.parent.name if path.name == POLICY_FILE else path.stem
        if match := _NAME.fullmatch(name):
            found[typing.cast(Arm, match[1]), int(match[2])] = path
    return dict(sorted(found.items(), key=lambda item: (ARMS.index(item[0][0]), item[0][1])))


def find_pretrained(folder: Path) -> Path | None:
    """File of the pre-trained policy in a folder, None where there is none."""
    for path in (folder / PRETRAINED / POLICY_FILE, folder / f"{PRETRAINED}_seed0.safetensors"):
        if path.is_file():
            return path
    return None


def read_curves(folder: Path) -> dict[str, Curve]:
    """Rewards over iterations by run (`pretrain`, `ARM_seedN`); empty where nobody kept them.

    Raises:
        ValueError: a damaged file.
    """
    published = folder / CURVES_FILE
    if published.is_file():
        try:
            return json.loads(published.read_text())
        except ValueError as error:
            raise ValueError(f"{published}: expected JSON, found {error}; delete the file") from error
    runs = sorted(path.parent for path in folder.glob(f"*/{METRICS_FILE}"))
    return {run.name: _curve(run) for run in runs if run.name == PRETRAINED or _NAME.fullmatch(run.name)}


def _curve(run: Path) -> Curve:
    rows = read_metrics(run)
    curve = {"steps": [row["steps"] for row in rows]}
    for name in CURVE_TERMS:
        values = np.array([row["terms"].get(name, np.nan) for row in rows], dtype=float)
        curve[name] = [round(float(value), 5) for value in values]
    return curve


def read_config(kind: type[_Config], plain: Any, source: str) -> _Config:
    """A configuration from its JSON: nested dataclasses, tuples and plain values.

    Args:
        kind: Its dataclass.
        plain: What `dataset.provenance.plain` made of it.
        source: File, for the error.

    Raises:
        ValueError: fields that are missing or that this version does not have.
    """
    if not isinstance(plain, dict):
        raise ValueError(f"{source}: expected the fields of {kind.__name__}, found {plain!r}")
    kinds = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]  # a dataclass
    if names != plain.keys():
        raise ValueError(
            f"{source}: settings of {kind.__name__}: expected the fields of this version, missing "
            f"{sorted(names - plain.keys()) or 'none'}, unknown {sorted(plain.keys() - names) or 'none'}; train again, or "
            "use the version that made it"
        )
    return kind(**{name: _read_value(kinds[name], plain[name], source) for name in names})


def _read_value(kind: Any, plain: Any, source: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return read_config(typing.cast(type, kind), plain, source)
    choices = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    nested = [choice for choice in choices if dataclasses.is_dataclass(choice)]
    if nested and plain is not None:
        return read_config(typing.cast(type, nested[0]), plain, source)
    return tuple(plain) if isinstance(plain, list) else plain
