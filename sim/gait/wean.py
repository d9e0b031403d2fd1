"""A walk without the residual wrench: `python -m sim.gait.wean STUDY --out DIR`.

The study keeps the wrench, as the paper does. Here an arm goes on from its last checkpoint in stages, each with a smaller
share of the wrench and at last with none, so that what moves the body is what could move a person. A row a stage goes to
`weaning.csv`: how the mean policy walks the trial with that share. `--publish` copies what the last stage made, with a card.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dataset import atomic, provenance
from dataset.command_line import run_command
from sim.gait import arms
from sim.gait.arms import Arm, GaitPreset
from sim.gait.expert_file import Expert
from sim.gait.policy_card import weaned_card
from sim.gait.publish import CARD_FILE, copy_policy
from sim.gait.study import open_expert
from sim.gait.trained import load_trained
from sim.gait.walk_score import WalkScore, score_walk
from sim.learning.checkpoint import checkpoints
from sim.learning.train import POLICY_FILE

_log = logging.getLogger(__name__)

TABLE = "weaning.csv"
"""Rows of the stages, in the folder of the runs."""


@dataclass(frozen=True, kw_only=True)
class WeanConfig:
    """Which policy, in which stages."""

    study: Annotated[Path, tyro.conf.Positional]
    """Folder of a study that was trained with the preset `fast`."""
    out: Path
    """Folder of the runs and the table."""
    expert: Path | None = None
    """Trial or expert (.npz) of the study; as in sim.gait.study."""
    arm: Arm = "all"
    """Arm that goes on."""
    seed: int = 0
    """Its seed."""
    shares: tuple[float, ...] = (0.5, 0.25, 0.0)
    """Share of the residual wrench in each stage, falling."""
    iterations: int = 100
    """Iterations of each stage."""
    resume: bool = False
    """Go on from the last checkpoint in OUT."""
    publish: Path | None = None
    """Folder for the policy of the last stage, its settings and its card."""
    licence: str = "Apache-2.0"
    """Terms of the trial that it imitates, for the card."""

    def __post_init__(self) -> None:
        if not self.shares or list(self.shares) != sorted(set(self.shares), reverse=True) or min(self.shares) < 0.0:
            raise ValueError(f"shares: expected falling shares of at least 0, got {self.shares}")
        if self.iterations < 1:
            raise ValueError(f"iterations: expected at least 1, got {self.iterations}")


def with_share(preset: GaitPreset, share: float) -> GaitPreset:
    """The preset with a share of its residual wrench; its price stays that of the action."""
    environment = dataclasses.replace(
        preset.environment,
        residual_force_scale=share * preset.environment.residual_force_scale,
        residual_moment_scale=share * preset.environment.residual_moment_scale,
    )
    return dataclasses.replace(preset, environment=environment)


def wean(expert: Expert, preset: GaitPreset, config: WeanConfig) -> list[tuple[float, WalkScore]]:
    """Train the stages; share and score of each.

    Raises:
        ValueError: no such arm in the study, runs in OUT that are not to go on, or of other settings.
    """
    source = arms.arm_folder(config.study, config.arm, config.seed)
    if not (source.is_dir() and checkpoints(source)):
        raise ValueError(f"{source}: expected a trained arm, found none; train it with python -m sim.gait.study")
    rows: list[tuple[float, WalkScore]] = []
    for share in config.shares:
        stage = dataclasses.replace(with_share(preset, share), finetune_iterations=config.iterations)
        folder = config.out / f"share_{share:g}"
        run = arms.arm_folder(folder, config.arm, config.seed)
        goes_on = config.resume and run.is_dir() and bool(checkpoints(run))
        source = arms.finetune(expert, stage, config.arm, folder, seed=config.seed, resume=goes_on, initial=source)
        score = score_walk(expert, arms.arm_config(stage, config.arm), arms.run_policy(source))
        rows.append((share, score))
        _log.info("share %g: %s", share, score)
        atomic.write_text(config.out / TABLE, _table(rows))
    provenance.add_run(config.out, provenance.run_record("sim.gait.wean", config, seeds={"seed": config.seed}))
    if config.publish is not None:
        published = arms.weights_file(config.arm, config.seed, config.publish)
        copy_policy(source / POLICY_FILE, published)
        atomic.write_text(config.publish / CARD_FILE, weaned_card(rows, load_trained(published), config.licence))
    return rows


def _table(rows: list[tuple[float, WalkScore]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["share", *(field.name for field in dataclasses.fields(WalkScore))])
    for share, score in rows:
        writer.writerow([f"{share:g}", *(f"{value:.4g}" for value in dataclasses.astuple(score))])
    return buffer.getvalue()


def run() -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    config = tyro.cli(WeanConfig, description=__doc__)
    wean(open_expert(config.expert), arms.fast(), config)
    print(f"written: {config.out / TABLE}")


if __name__ == "__main__":
    sys.exit(run_command("wean", run))
