"""Training on Ray: two workers train the solver of one, deaths change no bit, what cannot work is refused with its reason."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
pytest.importorskip(
    "ray.train", reason="Ray is installed without its part for training (extra `ray`)", exc_type=ImportError
)

from ray.exceptions import ActorDiedError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback
from ray.train.v2.api.exceptions import WorkerGroupError

from dataset.store import Store
from model import config, train
from model.checkpoint import CHECKPOINT
from model.metrics_log import read_rows
from model.weights import load_solver
from ray_jobs import train as job
from ray_jobs.cluster import RayConfig, connect
from ray_jobs.ray_training import check_run, explained, train_on_ray

ROOT = Path(__file__).parent.parent.parent
WORKER = b"ray::RayTrainWorker"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def data(sway_sequences, tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    Store.create(path).append(sway_sequences[:8])
    return path


@pytest.fixture(scope="module")
def cluster():
    """A local Ray with two cores."""
    with connect(RayConfig(object_store_mb=100), 2):
        yield


def _bits(weights):
    return {name: value.numpy().tobytes() for name, value in load_solver(weights).state_dict().items()}


def _kill_one(out, own_processes, killed):
    """Kill the last worker as soon as there is a checkpoint."""
    for _ in range(50_000):
        if (out / CHECKPOINT).is_file():
            killed += [own_processes(WORKER)[-1], len(read_rows(out))]
            os.kill(killed[0], signal.SIGKILL)
            return
        time.sleep(0.01)


def test_two_workers_on_ray_train_the_solver_of_one_and_a_kill_changes_no_bit(
    data, cluster, second_worker, own_processes, tmp_path
):
    """Killed in the middle, both go on from the checkpoint, to the bits of two that trained without Ray or disturbance."""
    killed = []
    thread = threading.Thread(target=_kill_one, args=(tmp_path / "ray", own_processes, killed))
    thread.start()
    result = train_on_ray(second_worker.long(data, tmp_path / "ray"), 2, RayConfig(retries=1))
    thread.join()
    assert killed and killed[1] < 4, "no worker was killed in the middle of the training"
    assert result.steps == 40 and result.weights == tmp_path / "ray" / "imdys.safetensors"

    undisturbed = second_worker.train_with_two("long", data, tmp_path / "two")
    assert _bits(result.weights) == _bits(undisturbed.weights)
    assert result.errors == undisturbed.errors
    rows, expected = ([(row["step"], row["train"]) for row in read_rows(tmp_path / name)] for name in ("ray", "two"))
    assert rows == expected and len(rows) == 4

    alone = train.main(second_worker.long(data, tmp_path / "one"))
    one, two = ([row["train"]["loss"] for row in read_rows(tmp_path / name)] for name in ("one", "ray"))
    # The same sums in another order: a run by one worker whose weights began 2e-7 off differs by 5e-6 in forty steps.
    assert two == pytest.approx(one, rel=1e-4)
    assert one[-1] < 0.95 * one[0], "nothing was learned, so nothing was compared"
    assert result.errors["solver"]["grf"] == pytest.approx(alone.errors["solver"]["grf"], rel=1e-3)


def test_a_folder_that_holds_another_run_is_refused_and_so_is_going_on_with_other_settings(
    data, second_worker, tmp_path
):
    cfg = dataclasses.replace(second_worker.short(data, tmp_path), epochs=None, steps=1)
    train.main(cfg)
    with pytest.raises(
        ValueError, match=f"expected no run in the output folder, found {CHECKPOINT}; go on with --resume"
    ):
        check_run(cfg, 2, RayConfig())
    with pytest.raises(ValueError, match=r"made with other settings \(clip 5\.0 -> 1\.0\)"):
        check_run(dataclasses.replace(cfg, resume=True, clip=1.0), 2, RayConfig())
    check_run(dataclasses.replace(cfg, resume=True), 2, RayConfig())


def test_a_training_that_failed_at_every_attempt_says_what_to_do(data, second_worker, tmp_path):
    """Ray's own errors in our words: what a worker refused as it is, deaths with the way to go on."""
    cfg = second_worker.long(data, tmp_path)
    died = WorkerGroupError("", {0: RuntimeError("connection closed"), 1: ActorDiedError()})
    text = r"failed at each of 4 attempts \(ActorDiedError, RuntimeError\); start again"
    with pytest.raises(ChildProcessError, match=text):
        raise explained(died, cfg, RayConfig())
    refused = ValueError("data: expected a folder")
    assert explained(WorkerGroupError("", {1: UserExceptionWithTraceback(refused, "")}), cfg, RayConfig()) is refused


def test_a_cluster_that_is_too_small_is_refused(data, cluster, second_worker, tmp_path):
    with pytest.raises(ValueError, match=r"num_cpus: expected at most 2 CPU for all workers, .* got 1 for each of 3"):
        train_on_ray(second_worker.long(data, tmp_path), 3, RayConfig())
    with pytest.raises(ValueError, match=r"num_gpus: expected at most 0 GPU for all workers, .* got 1 for each of 1"):
        train_on_ray(second_worker.long(data, tmp_path), 1, RayConfig(num_gpus=1))


def test_what_cannot_work_is_refused_before_ray_starts(data, second_worker, tmp_path):
    options = {
        item.name: getattr(second_worker.long(data, tmp_path), item.name)
        for item in dataclasses.fields(config.TrainConfig)
    }
    with pytest.raises(ValueError, match=r"workers: expected 1 to 91, .* got 0"):
        job.main(job.Config(**options, workers=0))
    with pytest.raises(ValueError, match="expected the folder of a data set, found nothing"):
        job.main(job.Config(**(options | {"data": tmp_path / "none"})))
    with pytest.raises(ValueError, match="no checkpoint to resume from"):
        job.main(job.Config(**(options | {"resume": True})))
    with pytest.raises(ValueError, match=r"device: .*--ray\.num-gpus"):
        job.main(job.Config(**(options | {"device": "cuda"})))
    assert config.parse(["--data", "d", "--out", "o", "--workers", "3", "--ray.num-cpus", "2"], job.Config).workers == 3


@pytest.mark.parametrize("missing", ["ray", "pandas"])
def test_without_ray_the_command_says_what_to_install(tmp_path, missing):
    """One line and status 2; pandas is what Ray's part for training needs and plain Ray does not bring."""
    code = f"import sys, runpy; sys.modules[{missing!r}] = None; sys.argv[1:] = ['--data', 'd', '--out', 'o']; "
    code += "runpy.run_path('ray_jobs/train.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("train: ray.train: expected Ray with all its parts that are used here, found: ")
    assert done.stderr.rstrip().endswith("install them, `make env EXTRAS=demo,dev,ray`")
