"""Make a data set on a Ray cluster: `sim.collect`, with its items as Ray tasks.

`python ray_jobs/collect.py --motions embedded --out DIR` starts a Ray of its own; `ray job submit --working-dir . -- python
ray_jobs/collect.py --motions … --out DIR` uses the cluster. Same options, same bytes (unless a GPU plans: it repeats nothing to
the bit), same way to go on after a stop as `python -m sim.collect`; `--out` must be a folder that all nodes see under this name,
or an address of an object store.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]  # run as a file, the packages are beside its folder

import tyro

from dataset.command_line import run_command
from ray_jobs.cluster import RayConfig, connect, load_ray, room
from sim import collect
from sim.collect_pool import ONE_THREAD


@dataclass(frozen=True, kw_only=True)
class Config(collect.Config):
    """Options of `ray_jobs/collect.py`: those of `sim.collect`, and the cluster.

    `--workers` is the number of items in flight, by default as many as the cluster has cores and GPUs for.
    """

    ray: RayConfig = dataclasses.field(default_factory=RayConfig)
    """Where."""


def main(config: Config) -> dict[str, Any]:
    """Collect on Ray; as `sim.collect.main`.

    Raises:
        ValueError: Ray is not installed, no GPU is asked for where one plans, or the cluster does not answer or has no machine
            for an item.
        ChildProcessError: The cluster failed: it lost a shard's records at every attempt, or cannot run the work at all.
    """
    if config.imitation.planner.startswith("cuda") and not config.ray.num_gpus:
        raise ValueError(
            "num_gpus: expected a share of a GPU for each item with a planner on one, got 0; give --ray.num-gpus 1, or 0.25 for"
            " four items on one"
        )
    load_ray()
    from ray_jobs.ray_pool import RayPool

    os.environ.update(ONE_THREAD)
    with connect(config.ray, config.workers or collect.usable_cores()):
        places = room(config.ray)
        workers = config.workers or places  # more than there are places for wait, or make a cluster grow that can
        return collect.main(
            config, lambda task, items: RayPool(task, min(workers, max(1, items)), config.ray), "ray_jobs.collect"
        )


def run() -> None:
    """The command line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    config = tyro.cli(Config, description=__doc__)
    collect.print_result(main(config), config.out)


if __name__ == "__main__":
    sys.exit(run_command("collect", run))
