"""Collection as Ray tasks: the bytes of one without Ray for any number of workers, after kills of worker and driver, in a folder
and on an object store; what goes wrong is said in words. Whole nodes, disks and shards: test_faults_on_ray.py."""

import contextlib
import dataclasses
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")

import s3_server  # noqa: E402  after the skip
from collections_on_ray import CLIPS, OPTIONS, ROOT, config, on_ray, ray_settings  # noqa: E402
from shard_files import shard_files  # noqa: E402

from dataset.body.subjects import SUBJECTS  # noqa: E402
from dataset.provenance import read_runs  # noqa: E402
from ray_jobs import collect as job  # noqa: E402
from ray_jobs.cluster import RayConfig, connect, room  # noqa: E402
from ray_jobs.ray_pool import RayPool  # noqa: E402
from ray_jobs.shard_task import write_shard  # noqa: E402
from ray_jobs.status import Config as StatusConfig  # noqa: E402
from ray_jobs.status import main as status  # noqa: E402
from sim.collect_pool import Task  # noqa: E402
from sim.imitate_clip import NotSavedError  # noqa: E402
from sim.progress import read_progress  # noqa: E402
from sim.work_items import list_clips, list_items  # noqa: E402

THOROUGH = pytest.mark.thorough
WORKERS = pytest.mark.parametrize("workers", [pytest.param(1, marks=THOROUGH), 2, pytest.param(4, marks=THOROUGH)])
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def cluster(s3_keys):
    """A local Ray with two cores; four half-core items fit on it. Its processes have this one's environment, with the keys."""
    with ray_settings(), connect(RayConfig(object_store_mb=100), 2):
        yield ray.get_runtime_context().gcs_address


@contextlib.contextmanager
def _a_worker_is_killed(own_processes):
    """The first process that works on an item dies; the block gets its number in a list."""
    killed, ended = [], threading.Event()

    def kill():
        while not killed and not ended.wait(0.02):
            for pid in own_processes(b"ray::_imitate")[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


def _command(out, cluster, workers):
    where = ["--out", str(out), "--ray.address", cluster, "--workers", str(workers)]
    return [sys.executable, "ray_jobs/collect.py", *OPTIONS, *where]


@WORKERS
def test_a_killed_worker_is_replaced_and_changes_no_byte(tmp_path, undisturbed, own_processes, workers):
    with _a_worker_is_killed(own_processes) as killed:
        result = on_ray(config(tmp_path / "set"), workers)
    assert killed and result["errors"] == {}
    assert result["items"] == result["complete"] == len(CLIPS) and result["workers"] == workers
    assert shard_files(tmp_path / "set") == undisturbed, "as a collection without Ray"
    assert read_runs(tmp_path / "set")[0]["command"] == "ray_jobs.collect"
    assert on_ray(config(tmp_path / "set"), workers)["items"] == 0


@WORKERS
def test_a_killed_driver_leaves_a_data_set_that_the_next_one_completes(tmp_path, undisturbed, cluster, workers):
    """Killed when the first shard is being written; by then the others' items are under way or done."""
    out = tmp_path / "set"
    with subprocess.Popen(_command(out, cluster, workers), cwd=ROOT, stderr=subprocess.DEVNULL) as driver:
        while driver.poll() is None and not any(out.glob("*shard-*")):
            time.sleep(0.005)
        driver.kill()
    assert driver.returncode == -signal.SIGKILL
    assert len(list(out.glob("shard-*/_SUCCESS"))) < len(CLIPS), "killed too late to disturb anything"
    lines = status(StatusConfig(out=out))
    assert f"of {len(CLIPS)} items" in lines[1] and read_progress(out).items == len(CLIPS)
    assert lines[2] == "state     stopped: start it again, it goes on"
    on_ray(config(out), workers)
    assert shard_files(out) == undisturbed
    assert status(StatusConfig(out=out))[2] == "state     finished"


def test_a_worker_killed_on_the_way_to_an_object_store_changes_no_byte_and_no_log_holds_a_key(
    s3, s3_folder, undisturbed, cluster, own_processes
):
    """The real command; shards are uploaded by the workers, with keys that they find in their environment."""
    with _a_worker_is_killed(own_processes) as killed:
        done = subprocess.run(
            _command(s3_folder, cluster, 2), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
        )
    assert done.returncode == 0 and killed, done.stderr
    path = s3_folder.removeprefix("s3://").partition("?")[0]
    objects = s3_server.objects(s3, path)
    assert {name: data for name, data in objects.items() if name.startswith("shard-")} == undisturbed
    lines = status(StatusConfig(out=s3_folder))
    assert lines[2] == "state     finished" and lines[3].startswith("heard of  ")

    logs = Path(ray._private.worker._global_node.get_logs_dir_path())
    texts = {str(file): file.read_bytes() for file in logs.rglob("*") if file.is_file()}
    assert any(b"_imitate" in text or b"ray_pool" in text for text in texts.values()), "logs of this Ray were looked at"
    texts |= {"output": (done.stdout + done.stderr).encode()} | objects
    for key in (s3_server.KEY, s3_server.SECRET):
        assert [name for name, text in texts.items() if key.encode() in text] == []


class Unpickles:
    """Does something in the worker that receives it; stands for what is wrong with a machine and not with a clip."""

    def __init__(self, function, *arguments):
        self.does = function, arguments

    def __reduce__(self):
        return self.does


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return Task(config=config("").imitation, stored={}, save_to=tmp_path_factory.mktemp("solutions"))


def _outcome(task, settled, retries=0):
    """What becomes of an item that the worker cannot even unpack."""
    pool = RayPool(task, 1, RayConfig(num_cpus=0.5, retries=retries))
    [item] = list_items(list_clips(["embedded/kick"]), [SUBJECTS[0]], (0,))
    pool.submit(0, dataclasses.replace(item, settled=settled))
    [finished] = pool.wait()
    return finished.outcome


def test_an_item_that_kills_its_workers_is_given_up_as_crashed_and_says_so(task):
    outcome = _outcome(task, Unpickles(os._exit, 9), retries=1)
    assert [loss.reason for loss in outcome.dropped] == ["crashed"]
    expected = "embedded/kick/neutral172/0: at each of 2 attempts its process died (WorkerCrashedError: "
    assert outcome.error.startswith(expected)


def test_an_error_is_counted_as_one_with_its_own_words(task):
    outcome = _outcome(task, Unpickles(int, "many"))
    assert [loss.reason for loss in outcome.dropped] == ["error"]
    assert outcome.error == (
        "embedded/kick/neutral172/0: ValueError: invalid literal for int() with base 10: 'many'"
    )  # fmt: skip


def test_a_solution_that_cannot_be_written_stops_the_collection_and_is_no_failure_of_its_clip(task):
    """It comes back as what it is, with the words of the system."""
    raising = "from sim.imitate_clip import NotSavedError; raise NotSavedError(28, 'No space left on device', 'a.npz')"
    with pytest.raises(NotSavedError, match=r"No space left on device: 'a\.npz'"):
        _outcome(task, Unpickles(exec, raising))


def test_a_machine_without_our_packages_stops_the_collection_and_says_what_to_do(task):
    with pytest.raises(
        ChildProcessError, match=r"kick/.*found ModuleNotFoundError: No module named 'no_such'; give every"
    ):
        _outcome(task, Unpickles(importlib.import_module, "no_such"))


def test_a_node_that_does_not_see_the_data_set_writes_no_shard_of_its_own(tmp_path):
    """Where a folder is not shared there is another one of this name, without what the driver put there, or none."""
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match=r"expected the folder that the collection made, found none of it on this"):
            write_shard(str(folder), frozenset(), [])
    assert list(tmp_path.iterdir()) == []


class Forgets(RayPool):
    """As the pool, on a cluster that loses the records of the first shard; the task that would bring them back dies."""

    def store(self, block, store):
        if not self._writing:
            item = self._unwritten.pop(block.records[0])
            block.records[0] = ray.remote(lambda: os._exit(9)).options(num_cpus=0, max_retries=0).remote()
            self._unwritten[block.records[0]] = item
        super().store(block, store)


def test_records_that_ray_cannot_bring_back_are_made_again(tmp_path, undisturbed):
    result = on_ray(config(tmp_path / "set"), 2, Forgets, retries=1)
    assert result["errors"] == {} and shard_files(tmp_path / "set") == undisturbed


def test_a_shard_whose_records_are_lost_at_every_attempt_ends_in_words_and_the_next_run_makes_it(tmp_path, undisturbed):
    message = r"shard from embedded/kick/.*found at each of 1 attempts that its process died .*start again, it goes on"
    with pytest.raises(ChildProcessError, match=message):
        on_ray(config(tmp_path / "set"), 2, Forgets, retries=0)
    on_ray(config(tmp_path / "set"), 2)
    assert shard_files(tmp_path / "set") == undisturbed


def test_only_work_that_some_machine_has_room_for_is_begun(tmp_path):
    assert room(RayConfig()) == 2 and room(RayConfig(num_cpus=0.5)) == 4
    with pytest.raises(
        ValueError, match=r"num_cpus: expected at most 2 CPU, .* got 3 for each; use a smaller --ray.num-cpus"
    ):
        room(RayConfig(num_cpus=3))
    with pytest.raises(ValueError, match=r"num_gpus: expected at most \d+ GPU, .* got 64 for each"):
        room(RayConfig(num_gpus=64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_cpus": -1.0}, "num_cpus: expected zero or more, got -1"),
        ({"num_cpus": 0.0}, "num_cpus: expected that work takes a core or a GPU, got none of either"),
        ({"num_gpus": 1.5}, "num_gpus: expected a fraction of one GPU or a whole number, got 1.5"),
        ({"retries": -1}, "retries: expected zero or more, got -1"),
    ],
)
def test_resources_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RayConfig(**options)


def test_an_address_without_a_cluster_is_explained(tmp_path, monkeypatch):
    def collect(**ray):
        job.main(job.Config(out=tmp_path / "set", ray=RayConfig(**ray)))

    with pytest.raises(ValueError, match=r"^address: expected a Ray cluster at '127.0.0.1:1', found: .*refused"):
        collect(address="127.0.0.1:1")
    with pytest.raises(ValueError, match=r"^address: expected a cluster .* found 'http://head:8265', which takes jobs"):
        collect(address="http://head:8265")
    with pytest.raises(
        ValueError, match=r"found 'ray://head:10001', which serves clients .* job to its http://HEAD:8265"
    ):
        collect(address="ray://head:10001")
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    with pytest.raises(ValueError, match=r"^RAY_ADDRESS: .*`ray job submit .* or .* with --ray.address local"):
        collect()
    assert not (tmp_path / "set").exists()


def test_without_ray_the_command_says_what_to_install(tmp_path):
    code = f"import sys, runpy; sys.modules['ray'] = None; sys.argv[1:] = ['--out', {str(tmp_path / 'set')!r}]; "
    code += "runpy.run_path('ray_jobs/collect.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not (tmp_path / "set").exists()
    assert done.stderr.startswith("collect: ray: expected Ray ")
    assert (
        done.stderr.rstrip().endswith("install them, `make env EXTRAS=demo,dev,ray`") and done.stderr.count("\n") == 1
    )
