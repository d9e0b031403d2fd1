"""Train the solver with several workers of a Ray cluster: `model.train` under Ray Train.

`python ray_jobs/train.py --data DIR --out DIR --workers 2` starts a Ray of its own; `ray job submit --working-dir . -- python
ray_jobs/train.py …` uses the cluster. Same options and same files as `python -m model.train`, and the same solver but for
rounding, whatever the number of workers. `--out` must be a folder that every node sees under this name, `--data` such a folder or
an address of an object store.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]  # run as a file, the packages are beside its folder

from dataset.command_line import run_command
from model.config import TrainConfig, parse
from model.train import TrainResult
from ray_jobs.cluster import RayConfig, connect, load_ray


@dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Options of `ray_jobs/train.py`: those of `model.train`, and the cluster."""

    workers: int = 1
    """Workers that share every batch; `batch_size` counts the windows of all."""
    ray: RayConfig = dataclasses.field(default_factory=RayConfig)
    """Where."""


def main(config: Config) -> TrainResult:
    """Train on Ray; errors as `ray_jobs.ray_training.train_on_ray`."""
    load_ray("ray.train")
    from ray_jobs.ray_training import check_run, train_on_ray

    cfg = TrainConfig(**{item.name: getattr(config, item.name) for item in dataclasses.fields(TrainConfig)})
    check_run(cfg, config.workers, config.ray)
    with connect(config.ray, config.workers):
        return train_on_ray(cfg, config.workers, config.ray)


def run() -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    print(main(parse(kind=Config)).weights)


if __name__ == "__main__":
    sys.exit(run_command("train", run))
