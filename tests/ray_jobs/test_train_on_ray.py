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

from dataset.splits import SplitConfig
from dataset.store import Store
from model import config, train
from model.checkpoint import CHECKPOINT
from model.imdys import ImDySConfig
from model.metrics_log import read_rows
from model.weights import load_solver
from ray_jobs import train as job
from ray_jobs.cluster import RayConfig, connect
from ray_jobs.ray_training import check_run, train_on_ray
from tests.ray_jobs.own_processes import own_processes

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


def small(data, out):
    """Eighty steps over 690 windows, a checkpoint every ten: the last batch of a pass has 53 windows of 91."""
    return dataclasses.replace(
        config.smoke(data, out), held_out=("toy/sway-0", "toy/sway-1"), split=SplitConfig(validation=0.0, test=0.0),
        network=ImDySConfig(width=32, layers=2, ff=64), batch_size=91, steps=80, evaluate_every=10, name="toy",
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(data, cluster, tmp_path_factory):
    """Folder and result of a training by two workers."""
    out = tmp_path_factory.mktemp("run") / "two"
    return out, train_on_ray(small(data, out), 2, RayConfig())


def _bits(weights):
    return {name: value.numpy().tobytes() for name, value in load_solver(weights).state_dict().items()}


def _kill_one(out, which, killed):
    """Kill a worker as soon as there is a new checkpoint."""
    before = (out / CHECKPOINT).stat().st_mtime_ns if (out / CHECKPOINT).is_file() else 0
    for _ in range(20_000):
        if (out / CHECKPOINT).is_file() and (out / CHECKPOINT).stat().st_mtime_ns > before:
            os.kill(own_processes(WORKER)[which], signal.SIGKILL)
            killed.append(len(read_rows(out)))
            return
        time.sleep(0.01)


def _train_killed(cfg, which, retries):
    killed = []
    thread = threading.Thread(target=_kill_one, args=(cfg.out, which, killed))
    thread.start()
    try:
        return train_on_ray(cfg, 2, RayConfig(retries=retries))
    finally:
        thread.join()
        assert killed and killed[0] < 8, "the worker was not killed in the middle of the training"


def test_two_workers_on_ray_train_the_solver_that_one_trains_without_it(data, undisturbed, tmp_path):
    out, result = undisturbed
    alone = train.main(small(data, tmp_path / "one"))
    assert result.steps == alone.steps == 80 and result.weights == out / "toy.safetensors"
    one, two = ([row["train"]["loss"] for row in read_rows(folder)] for folder in (tmp_path / "one", out))
    # The same sums in another order. Forty steps on, a run by one worker whose weights began 2e-7 off differs as much: the
    # losses by 5e-6 until then, by 9e-3 thereafter, the error of the solver by 1.5e-2.
    assert two[:4] == pytest.approx(one[:4], rel=1e-4)
    assert two == pytest.approx(one, rel=3e-2)
    assert one[-1] < 0.9 * one[0], "nothing was learned, so nothing was compared"
    assert result.errors["solver"]["grf"] == pytest.approx(alone.errors["solver"]["grf"], rel=5e-2)


def test_killed_workers_change_no_bit(data, cluster, undisturbed, tmp_path):
    """Killed with no retry left, the job says how to go on; going on, a worker is killed again and replaced."""
    whole, result = undisturbed
    cfg = small(data, tmp_path / "cut")
    with pytest.raises(
        ChildProcessError, match=r"failed at each of 1 attempts .*the checkpoint of step \d+ is kept, go on"
    ):
        _train_killed(cfg, 0, retries=0)
    with pytest.raises(
        ValueError, match=f"expected no run in the output folder, found {CHECKPOINT}; go on with --resume"
    ):
        check_run(cfg, 2, RayConfig())
    with pytest.raises(ValueError, match=r"made with other settings \(clip 5\.0 -> 1\.0\)"):
        check_run(dataclasses.replace(cfg, resume=True, clip=1.0), 2, RayConfig())
    resumed = _train_killed(dataclasses.replace(cfg, resume=True), 1, retries=2)
    assert _bits(resumed.weights) == _bits(result.weights)
    assert resumed.errors == result.errors
    rows = [[(row["step"], row["held_out"]) for row in read_rows(folder)] for folder in (tmp_path / "cut", whole)]
    assert rows[0] == rows[1] and len(rows[0]) == 8


def test_a_cluster_that_is_too_small_is_refused(data, cluster, tmp_path):
    with pytest.raises(ValueError, match=r"num_cpus: expected at most 2 CPU for all workers, .* got 1 for each of 3"):
        train_on_ray(small(data, tmp_path), 3, RayConfig())
    with pytest.raises(ValueError, match=r"num_gpus: expected at most 0 GPU for all workers, .* got 1 for each of 1"):
        train_on_ray(small(data, tmp_path), 1, RayConfig(num_gpus=1))


def test_what_cannot_work_is_refused_before_ray_starts(data, tmp_path):
    options = {item.name: getattr(small(data, tmp_path), item.name) for item in dataclasses.fields(config.TrainConfig)}
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
    assert done.stderr.startswith("train: ray.train: expected Ray with its parts for training, found: ")
    assert done.stderr.rstrip().endswith("install them, `make env EXTRAS=demo,dev,ray`")
