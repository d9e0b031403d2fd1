"""One of several workers of a training on toy data, as a process: SETTINGS RANK COUNT RENDEZVOUS DATA OUT."""

import dataclasses
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from torch import distributed

from dataset.splits import SplitConfig
from model import config, train
from model.imdys import ImDySConfig
from model.parallel import Workers


def _small(data: Path, out: Path) -> config.TrainConfig:
    return dataclasses.replace(
        config.smoke(data, out), split=SplitConfig(validation=0.0, test=0.0),
        network=ImDySConfig(width=32, layers=2, ff=64),
    )  # fmt: skip


def short(data: Path, out: Path) -> config.TrainConfig:
    """One pass over the 690 windows of six sequences in 14 batches, of which the last has a single window; a row a step."""
    return dataclasses.replace(_small(data, out), batch_size=53, epochs=1, evaluate_every=1)


def long(data: Path, out: Path) -> config.TrainConfig:
    """Forty steps over the same number of windows, two sequences of eight held out, a checkpoint every ten."""
    held_out = ("toy/sway-0", "toy/sway-1")
    return dataclasses.replace(_small(data, out), held_out=held_out, batch_size=91, steps=40, evaluate_every=10)


SETTINGS = {"short": short, "long": long}


def work(settings: str, rank: int, count: int, rendezvous: str, data: Path, out: Path) -> train.TrainResult:
    """Train with the others that meet in the file."""
    distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=count)
    try:
        return train.main(SETTINGS[settings](data, out), Workers(rank=rank, count=count))
    finally:
        distributed.destroy_process_group()


def train_with_two(settings: str, data: Path, out: Path) -> train.TrainResult:
    """Train in this process, as the first worker, and in another."""
    places = [f"{out}-rendezvous", str(data), str(out)]
    second = subprocess.Popen([sys.executable, __file__, settings, "1", "2", *places])
    try:
        result = work(settings, 0, 2, places[0], data, out)
        assert second.wait(300) == 0
    finally:
        second.kill()
    return result


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], Path(sys.argv[5]), Path(sys.argv[6]))
