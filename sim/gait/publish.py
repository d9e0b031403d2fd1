"""The policies of a study as files that come with the project: `python -m sim.gait.publish STUDY`.

Copies every arm's policy and the pre-trained one with their settings to `weights/gait`, and their reward curves beside them, from
where `python -m sim.gait.study --evaluate-only` evaluates them. Where the study was evaluated, a card says what they reach.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dataset import atomic
from dataset.command_line import run_command
from sim.gait.arms import PRETRAINED, WEIGHTS, weights_file
from sim.gait.policy_card import card
from sim.gait.trained import CURVES_FILE, RESULTS_FILE, find_policies, find_pretrained, load_trained, read_curves

CARD_FILE = "README.md"


@dataclass(frozen=True, kw_only=True)
class PublishConfig:
    """What goes where."""

    study: Annotated[Path, tyro.conf.Positional]
    """Folder of a study: its runs."""
    out: Path = WEIGHTS
    """Folder of the published policies; those of other arms and seeds that are there stay."""
    licence: str = "Apache-2.0"
    """Terms of the trial that the policies imitate, for the card."""


def publish(study: Path, out: Path) -> list[Path]:
    """Copy the finished policies of a study; returns their files.

    Raises:
        ValueError: no policy in the study, or a damaged one.
    """
    found = {weights_file(arm, seed, out): path for (arm, seed), path in find_policies(study).items()}
    pretrained = find_pretrained(study)
    if not found or pretrained is None:
        raise ValueError(
            f"{study}: expected the runs of a study, with {PRETRAINED} and arms that ended, found {len(found)} arms"
        )
    found[weights_file(PRETRAINED, 0, out)] = pretrained
    for target, source in found.items():
        copy_policy(source, target)
    curves = read_curves(out) if (out / CURVES_FILE).is_file() else {}
    names = {PRETRAINED, *(path.stem for path in found)}
    curves |= {name: curve for name, curve in read_curves(study).items() if name in names}
    atomic.write_text(out / CURVES_FILE, json.dumps(curves) + "\n")
    return sorted(found)


def copy_policy(source: Path, target: Path) -> None:
    """Copy a policy with its settings.

    Raises:
        ValueError: it is damaged, or no gait policy.
    """
    load_trained(source)
    atomic.write_bytes(target, source.read_bytes())
    atomic.write_bytes(target.with_suffix(".json"), source.with_suffix(".json").read_bytes())


def main(config: PublishConfig) -> list[Path]:
    """Copy, write the card, and say what."""
    files = publish(config.study, config.out)
    results = config.study / RESULTS_FILE
    if results.is_file():
        text = card(json.loads(results.read_text()), load_trained(files[0]), config.licence)
        atomic.write_text(config.out / CARD_FILE, text)
    else:
        print(f"no card: {results} is not there, the study was not evaluated", file=sys.stderr)
    for path in files:
        print(path)
    return files


def run() -> None:
    """The command line."""
    main(tyro.cli(PublishConfig, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("publish", run))
