"""Whatever goes wrong in the Isaac Gym worker comes back as an error that says so, soon, and leaves no process behind."""

import gc
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sim.backends import isaacgym_worker as protocol
from sim.backends.isaacgym_process import WORKER, WorkerFailure, WorkerProcess

PATIENCE = 15.0
"""Time in which an end must be noticed [s]: the guardian looks every second, and the machine may be busy."""


def processes_of(group):
    """Living processes of a process group, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, own_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(own_group) == group and state != "Z":
                found.append(int(entry.name))
    return found


def is_gone(group, patience=PATIENCE):
    end = time.monotonic() + patience
    while processes_of(group) and time.monotonic() < end:
        time.sleep(0.05)
    return not processes_of(group)


def start(python, **options):
    return WorkerProcess(Path(python), **({"start_timeout": 60.0, "reply_timeout": 60.0} | options))


@pytest.fixture
def standing(humanoid, rest_state, isaacgym):
    """Makes a backend with a person in it: standing(reply_timeout=3)."""

    def make(**options):
        backend = isaacgym(humanoid, **options)
        backend.reset(*rest_state(humanoid))
        return backend

    return make


@pytest.mark.parametrize(
    ("python", "found"),
    [
        ("/nonexistent/python3.8", "No such file"),
        ("/proc", "Permission denied"),
        (__file__, "Permission denied"),
    ],
)
def test_what_cannot_be_started_is_named(python, found):
    with pytest.raises(ValueError, match=rf"isaac_python: expected the interpreter.*{python}.*{found}"):
        start(python)


def test_a_wrong_python_is_named_with_those_that_are_right():
    with pytest.raises(ValueError, match=r"isaac_python: .*expected CPython 3\.6 to 3\.8.*found 3\.1\d"):
        start(sys.executable)


def test_a_program_that_is_no_python_is_said_to_have_ended():
    with pytest.raises(WorkerFailure, match="it ended during 'start' with exit status 1"):
        start("/bin/false")


def test_a_missing_package_is_named(python38, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(ValueError, match=r"isaac_python: .*No module named 'isaacgym'"):
        start(python38)


def test_a_package_that_cannot_load_its_library_says_which(python38, stand_in):
    stand_in(fault="import")
    with pytest.raises(ValueError, match=r"isaac_python: .*libpython3\.8m\.so") as error:
        start(python38)
    assert "STAND-IN" in str(error.value), "the worker's own output must be shown"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise", "RuntimeError: PhysX: out of memory"),
        ("exit", "with exit status 3"),
        ("kill", r"by signal 9 \(SIGKILL\)"),
        ("segmentation", r"by signal 11 \(SIGSEGV\)"),
        ("garbage", "is not the protocol"),
        ("hang", "it said nothing for 3 s during 'rollout'"),
        ("hang_in_c", "it said nothing for 3 s during 'rollout'"),
    ],
)
def test_a_fault_ends_the_worker_and_says_what_it_was(standing, stand_in, fault, said):
    stand_in(fault=fault, at=8)
    backend = standing(reply_timeout=3.0)
    group = backend.pid
    assert len(processes_of(group)) == 2, "worker and guardian"
    begin = time.monotonic()
    with pytest.raises(WorkerFailure, match=said):
        backend.rollout(np.zeros((1, 30, 69)))
    assert time.monotonic() - begin < PATIENCE
    assert is_gone(group)
    with pytest.raises(WorkerFailure, match="was ended before"):
        backend.rollout(np.zeros((1, 30, 69)))


def test_a_long_rollout_is_no_silence(standing):
    backend = standing(reply_timeout=1.5)
    took, steps = 0.0, 100
    while took < 2.0:  # until one call takes longer than the silence that is allowed
        steps *= 2
        begin = time.monotonic()
        backend.rollout(np.zeros((1, steps, 69)))
        took = time.monotonic() - begin


def test_a_state_that_is_no_number_ends_the_trace_there(standing, stand_in):
    stand_in(fault="nan", at=8)
    trace = standing().rollout(np.zeros((1, 30, 69)))
    # the seventh of this call: one substep went into measuring the conventions
    assert trace.valid_substeps.tolist() == [6]
    assert trace.warnings == ("BADSTATE",)


def test_closing_leaves_nothing_and_may_be_done_twice(standing):
    backend = standing()
    group = backend.pid
    backend.close()
    assert is_gone(group, 0.0)
    backend.close()


def test_a_backend_that_is_forgotten_ends_its_worker(python38, stand_in):
    worker = start(python38)
    group = worker.pid
    assert processes_of(group)
    del worker
    gc.collect()
    assert is_gone(group, 1.0)


def test_a_fork_of_the_host_that_ends_leaves_the_worker_alone(python38, stand_in):
    worker = start(python38)
    child = os.fork()
    if child == 0:
        del worker
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(processes_of(worker.pid)) == 2
    worker.close()


def test_no_descriptor_is_left_open(python38, stand_in, monkeypatch):
    start(python38).close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        start(python38).close()
        with pytest.raises(ValueError, match="expected the interpreter"):
            start("/nonexistent/python3.8")
    stand_in(fault="import")
    with pytest.raises(ValueError, match="libpython"):
        start(python38)
    assert len(os.listdir("/proc/self/fd")) == before


HOST = """
import sys, time
from pathlib import Path
import numpy as np
from dataset.body.default import make_body
from dataset.schema import Subject
from sim.backends.isaacgym_client import IsaacGym
from sim.backends.isaacgym_model import IsaacGymConfig
from sim.humanoid import make_humanoid

humanoid = make_humanoid(make_body(Subject(name="default")))
backend = IsaacGym(humanoid, IsaacGymConfig(python=Path(sys.argv[1])))
qpos = np.zeros((1, 99))
qpos[:, 2] = 2.0
qpos[:, humanoid.quat_columns[:, 0]] = 1.0
backend.reset(qpos, np.zeros((1, 75)))
print(backend.pid, flush=True)
if sys.argv[2] == "busy":
    backend.rollout(np.zeros((1, 100, 69)))
time.sleep(600)
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_no_worker_outlives_a_killed_host_even_when_it_hangs(python38, stand_in, state):
    stand_in(fault="hang_in_c", at=8)
    command = [sys.executable, "-c", HOST, os.fspath(python38), state]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    assert host.stdout is not None
    group = int(host.stdout.readline())
    time.sleep(1.0)
    assert len(processes_of(group)) == 2
    host.kill()
    host.wait()
    host.stdout.close()
    assert is_gone(group)


def raw_worker(python, written):
    """A worker without our client: what it answers to bytes, and its exit status."""
    commands, own_commands = os.pipe()
    own_replies, replies = os.pipe()
    lifeline, own_lifeline = os.pipe()
    memory = os.memfd_create("test")
    names = {"commands": commands, "replies": replies, "memory": memory, "lifeline": lifeline}
    arguments = [word for name, fd in names.items() for word in (f"--{name}", str(fd))]
    process = subprocess.Popen([python, WORKER, *arguments], pass_fds=list(names.values()), stdout=subprocess.DEVNULL)
    for fd in names.values():
        os.close(fd)
    os.write(own_commands, written)
    answer = b""
    while select.select([own_replies], [], [], 60.0)[0] and (part := os.read(own_replies, 65536)):
        answer += part
    for fd in (own_commands, own_replies, own_lifeline):
        os.close(fd)
    return answer, process.wait(timeout=60)


def frames(answer):
    place = [0]

    def read(size):
        place[0] += size
        return answer[place[0] - size : place[0]]

    while place[0] < len(answer):
        yield protocol.read_frame(read)


def test_a_worker_refuses_what_is_no_request(python38, stand_in):
    for written, complaint in (
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "expected a frame"),
        (protocol.pack(protocol.REPLY, 1, {}), "expected a request"),
        (protocol.pack(protocol.REQUEST, 1, {"op": "rollout", "fields": {}, "size": 0}), ""),
        (protocol.pack(protocol.REQUEST, 1, {"op": "dance", "fields": {}, "size": 4096}), ""),
    ):
        answer, status = raw_worker(python38, written)
        (greeting, error) = frames(answer)
        assert greeting[0] == protocol.REPLY and greeting[2]["python"].startswith("3.8")
        assert error[0] == protocol.ERROR and error[2]["kind"] == "failure" and complaint in error[2]["message"]
        assert status == 1


def test_every_damaged_byte_of_a_frame_is_noticed():
    frame = protocol.pack(protocol.REPLY, 7, {"bodies": ["Pelvis"], "mass": 70.0})
    assert list(frames(frame)) == [(protocol.REPLY, 7, {"bodies": ["Pelvis"], "mass": 70.0})]
    checked = [*range(8), *range(20, len(frame))]  # between them: length, found out by the checksum, and the number
    for place in checked:
        broken = bytearray(frame)
        broken[place] ^= 0x55
        with pytest.raises(ValueError, match="expected"):
            list(frames(bytes(broken)))


def test_another_version_of_the_protocol_is_refused(monkeypatch):
    monkeypatch.setattr(protocol, "VERSION", protocol.VERSION + 1)
    frame = protocol.pack(protocol.REPLY, 1, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match=f"expected protocol version {protocol.VERSION}, found {protocol.VERSION + 1}"):
        list(frames(frame))
