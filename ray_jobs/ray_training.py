"""One training by several Ray workers: `model.train` in each of them, under Ray Train.

The workers' checkpoint is that of `model.train`: one file in the output folder, replaced atomically, the same with Ray and
without. So workers that Ray starts again after a death, a job that is repeated with `--resume`, and `python -m model.train
--resume` all go on from the same state. Rows of metrics.jsonl are reported to Ray Train as well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context, report
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError

from dataset.place import absolute
from dataset.splits import split_sequences
from dataset.store import Store
from model.checkpoint import CHECKPOINT, load_checkpoint
from model.config import TrainConfig
from model.metrics_log import read_rows, row_line
from model.parallel import Workers
from model.train import TrainResult, check_share, resumable
from model.train import main as train
from ray_jobs.cluster import RayConfig, room

RAY_FOLDER = "ray"
"""What Ray Train keeps of its own, in the folder of the run."""
START_SECONDS = "600"
"""How long workers may take to start; Ray's own minute is short for a machine at work [s]."""
LOOK_SECONDS = 1.0
"""How often new rows of metrics are looked for [s]."""

_log = logging.getLogger(__name__)


def check_run(cfg: TrainConfig, workers: int, config: RayConfig) -> None:
    """Refuse what can be known to fail before anything is started.

    Raises:
        ValueError: Too few windows a batch, a GPU that no worker has, unreadable data, an output folder that holds another
            run, or none to resume.
    """
    check_share(cfg, workers)
    if cfg.device == "cuda" and not config.num_gpus:
        raise ValueError(
            "device: expected 'cpu' for workers that are given no GPU, got 'cuda'; give each one with --ray.num-gpus 1"
        )
    store = Store.open(cfg.data)
    split_sequences(store.sequences, cfg.split, held_out=cfg.held_out)
    if cfg.resume:
        load_checkpoint(cfg.out, resumable(cfg, store))
    elif (cfg.out / CHECKPOINT).is_file():
        raise ValueError(
            f"{cfg.out}: expected no run in the output folder, found {CHECKPOINT}; go on with --resume, or give another --out"
        )


def train_on_ray(cfg: TrainConfig, workers: int, config: RayConfig) -> TrainResult:
    """Train with so many workers on the Ray that is connected. After a death they go on from the last checkpoint.

    Raises:
        ValueError: The cluster has too few cores or GPUs, or a worker refused the settings or the data.
        FloatingPointError: The loss is not finite.
        ChildProcessError: Workers died more often than `config.retries`.
    """
    _check_resources(workers, config)
    out = cfg.out.resolve()
    device = "cuda" if config.num_gpus else cfg.device
    cfg = dataclasses.replace(cfg, data=absolute(cfg.data), out=out, device=device)
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", START_SECONDS)
    # NCCL refuses two workers on one GPU; gloo serves them and the processors.
    trainer = TorchTrainer(
        _work, train_loop_config={"cfg": cfg},
        torch_config=TorchConfig(backend="nccl" if config.num_gpus >= 1 else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=config.num_gpus > 0,
            resources_per_worker={"CPU": config.num_cpus} | ({"GPU": config.num_gpus} if config.num_gpus else {}),
        ),
        run_config=RunConfig(
            name=RAY_FOLDER, storage_path=str(out), failure_config=FailureConfig(max_failures=config.retries)
        ),
    )  # fmt: skip
    try:
        with _rows_shown(cfg), _own_interrupt():
            outcome: Any = trainer.fit().return_value
    except TrainingFailedError as error:
        raise explained(error, cfg, config) from error
    if isinstance(outcome, FloatingPointError):
        raise outcome
    return outcome


def _work(settings: dict[str, Any]) -> TrainResult | FloatingPointError:
    """What each worker does."""
    cfg: TrainConfig = settings["cfg"]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not (cfg.out / RAY_FOLDER).is_dir():
        raise ValueError(
            f"{cfg.out}: expected the folder that the job made, found nothing on this node; give an --out that every node "
            "sees under this name"
        )
    # The job began with no checkpoint or was told to go on from it: one that is here now is this run's own.
    cfg = dataclasses.replace(cfg, resume=cfg.resume or (cfg.out / CHECKPOINT).is_file())
    place = get_context()
    workers = Workers(rank=place.get_world_rank(), count=place.get_world_size(), report=report)
    try:
        return train(cfg, workers)
    except FloatingPointError as error:
        return error  # of all workers alike; raised, it would be tried again to the same end


def _check_resources(workers: int, config: RayConfig) -> None:
    found = ray.cluster_resources()
    for name, option, each in (("CPU", "num_cpus", config.num_cpus), ("GPU", "num_gpus", config.num_gpus)):
        if workers * each > found.get(name, 0.0):
            raise ValueError(
                f"{option}: expected at most {found.get(name, 0.0):g} {name} for all workers, which the cluster has, got "
                f"{each:g} for each of {workers}; use fewer workers, a smaller --ray.{option.replace('_', '-')}, or a larger "
                "cluster"
            )
    if (places := room(config)) < workers:  # Ray Train would wait for it to the end of its patience
        raise ValueError(
            f"workers: expected at most {places}, each on one machine of the cluster, got {workers} that take "
            f"{config.num_cpus:g} CPU and {config.num_gpus:g} GPU each; use fewer workers, or smaller shares with --ray.num-cpus "
            "or --ray.num-gpus"
        )


@contextlib.contextmanager
def _rows_shown(cfg: TrainConfig) -> Iterator[None]:
    """Rows of metrics logged here as they are written, wherever the first worker is."""
    done = threading.Event()
    shown = max((row["step"] for row in read_rows(cfg.out)), default=0) if cfg.resume else 0

    def follow() -> None:
        nonlocal shown
        is_last = False
        while not is_last:
            is_last = done.wait(LOOK_SECONDS)
            for row in read_rows(cfg.out):
                if row["step"] > shown:
                    shown = row["step"]
                    _log.info(row_line(row))

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()


@contextlib.contextmanager
def _own_interrupt() -> Iterator[None]:
    """Ctrl-C as it was, after Ray Train has put its own handler in place."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def explained(error: TrainingFailedError, cfg: TrainConfig, config: RayConfig) -> Exception:
    """What the user can do about a training that failed at every attempt."""
    failures: list[BaseException] = []
    if isinstance(error, WorkerGroupError):
        failures = [getattr(failure, "_base_exc", failure) for _, failure in sorted(error.worker_failures.items())]
    elif isinstance(error, ControllerError):
        failures = [error.controller_failure]
    for failure in failures:
        if isinstance(failure, (ValueError, OSError)):
            return failure
    rows = read_rows(cfg.out) if (cfg.out / CHECKPOINT).is_file() else []
    next_step = f"the checkpoint of step {rows[-1]['step']} is kept, go on with --resume" if rows else "start again"
    causes = ", ".join(sorted({type(failure).__name__ for failure in failures})) or str(error)
    return ChildProcessError(
        f"{cfg.out}: expected the workers to finish, found that they failed at each of {config.retries + 1} attempts "
        f"({causes}); {next_step}"
    )
