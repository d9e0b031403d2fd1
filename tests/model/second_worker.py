"""One of several workers of a training on toy data, as a process: RANK COUNT RENDEZVOUS DATA OUT."""

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from torch import distributed

from dataset.splits import SplitConfig
from model import config, train
from model.imdys import ImDySConfig
from model.parallel import Workers


def settings(data: Path, out: Path) -> config.TrainConfig:
    """One pass over 690 windows in 14 batches, of which the last has a single window; a row a step."""
    return dataclasses.replace(
        config.smoke(data, out), split=SplitConfig(validation=0.0, test=0.0), batch_size=53, epochs=1, evaluate_every=1,
        network=ImDySConfig(width=32, layers=2, ff=64),
    )  # fmt: skip


def work(rank: int, count: int, rendezvous: str, data: Path, out: Path) -> None:
    """Train with the others that meet in the file."""
    distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=count)
    try:
        train.main(settings(data, out), Workers(rank=rank, count=count))
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5]))
