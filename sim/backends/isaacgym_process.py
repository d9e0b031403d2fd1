"""The worker process of Isaac Gym as its host sees it: started, asked, waited for no longer than agreed, and never left behind.

Whatever goes wrong over there (no such interpreter, a missing package, the wrong Python, an exception, a kill, junk on the pipe,
silence) ends the worker and comes back as one error that says what happened and shows the end of the worker's own output.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from sim.backends import isaacgym_worker as protocol

WORKER = Path(protocol.__file__)
LOG_LINES = 12
"""Lines of the worker's output shown with an error."""
ALIGNMENT = 64
"""Of arrays in shared memory [bytes]."""


class WorkerFailure(ChildProcessError):
    """The worker ended, hung, or did not keep to the protocol."""


class WorkerProcess:
    """One worker. Not thread-safe; every method but `close` raises `WorkerFailure` once the worker has ended."""

    def __init__(self, python: Path, *, start_timeout: float, reply_timeout: float) -> None:
        """Start a worker and wait until it has imported the simulator.

        Args:
            python: Interpreter that has `isaacgym`.
            start_timeout: Longest time until it greets and until a world is built [s].
            reply_timeout: Longest silence afterwards [s]; a long rollout gives signs of life.

        Raises:
            ValueError: `python` cannot be started, is no Python that `isaacgym` exists for, or has no `isaacgym`.
            WorkerFailure: It ended or said nothing.
        """
        self._python, self._start_timeout, self._reply_timeout = python, start_timeout, reply_timeout
        self._number, self._ended = 0, ""
        self._memory = os.memfd_create("imdylab_isaacgym")
        self._size, self._map = 0, None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        commands, self._commands = os.pipe()
        self._replies, replies = os.pipe()
        lifeline, self._lifeline = os.pipe()
        os.set_blocking(self._commands, False)
        names = ("commands", "replies", "memory", "lifeline")
        given = (commands, replies, self._memory, lifeline)
        arguments = [word for name, fd in zip(names, given, strict=True) for word in (f"--{name}", str(fd))]
        own = (self._commands, self._replies, self._lifeline, self._memory)
        try:
            self._process = subprocess.Popen(
                [os.fspath(python), "-u", os.fspath(WORKER), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=given,
                start_new_session=True,  # Ctrl-C comes to us, who tell it; and its group can be ended as one
            )
        except OSError as error:
            for fd in own:
                os.close(fd)
            self._log.close()
            raise ValueError(
                f"isaac_python: expected the interpreter that has isaacgym, found {python}: {error.strerror}; name the"
                " python of that environment"
            ) from error
        finally:
            for fd in (commands, replies, lifeline):
                os.close(fd)
        self._release = weakref.finalize(self, _release, os.getpid(), self._process, own, self._log)
        self.greeting = self._wait("start", start_timeout)

    @property
    def pid(self) -> int:
        """Process of the worker."""
        return self._process.pid

    def share(self, fields: dict[str, tuple[str, tuple[int, ...]]]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays in memory that both sides see, until the next call.

        Args:
            fields: Type and shape of each array by name.

        Returns:
            The arrays, and what a request must contain for the worker to find them.
        """
        places, end = {}, 0
        for name, (dtype, shape) in fields.items():
            places[name] = {"dtype": dtype, "shape": list(shape), "offset": end}
            end += -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // ALIGNMENT) * ALIGNMENT
        if end > self._size:
            os.ftruncate(self._memory, end)
            self._size, self._map = end, mmap.mmap(self._memory, end)
        memory = self._map
        assert memory is not None
        arrays = {
            name: np.ndarray(tuple(place["shape"]), place["dtype"], memory, place["offset"])
            for name, place in places.items()
        }
        return arrays, {"fields": places, "size": self._size}

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Reply to a request.

        Raises:
            WorkerFailure: It did not come; the worker is ended.
        """
        if self._ended:
            raise WorkerFailure(f"the Isaac Gym worker was ended before: {self._ended}; make a new backend")
        timeout = self._start_timeout if request["op"] == "build" else self._reply_timeout
        self._number += 1
        frame = memoryview(protocol.pack(protocol.REQUEST, self._number, request))
        deadline = time.monotonic() + timeout
        try:
            while frame:
                if not select.select([], [self._commands], [], max(0.0, deadline - time.monotonic()))[1]:
                    raise TimeoutError
                frame = frame[os.write(self._commands, frame) :]
        except (TimeoutError, BrokenPipeError):
            pass  # the wait for its reply finds out what happened to it
        return self._wait(request["op"], timeout)

    def close(self) -> None:
        """End the worker and all that belongs to it."""
        if not self._ended and self._release.alive:
            with contextlib.suppress(WorkerFailure):
                self._reply_timeout = min(self._reply_timeout, 5.0)
                self.ask({"op": "stop"})
            self._ended = "it was closed"
        self._release()

    def _wait(self, what: str, timeout: float) -> dict[str, Any]:
        deadline = [time.monotonic() + timeout]

        def read(size: int) -> bytes:
            parts = b""
            while len(parts) < size:
                if not select.select([self._replies], [], [], max(0.0, deadline[0] - time.monotonic()))[0]:
                    raise TimeoutError
                part = os.read(self._replies, size - len(parts))
                if not part:
                    raise EOFError
                parts += part
            return parts

        while True:
            try:
                kind, number, content = protocol.read_frame(read)
            except TimeoutError:
                self._fail(f"it said nothing for {timeout:g} s during {what!r}")
            except EOFError:
                self._fail(f"it ended during {what!r} {self._ending()}")
            except ValueError as error:
                self._fail(f"what came back during {what!r} is not the protocol: {error}")
            else:
                if number != self._number:
                    self._fail(f"expected the reply to request {self._number}, got the one to {number}")
                if kind == protocol.ERROR:
                    self._refuse(what, content)
                if kind == protocol.REPLY:
                    return content
                deadline[0] = time.monotonic() + timeout  # a sign of life

    def _refuse(self, what: str, content: dict[str, Any]) -> None:
        if content.get("kind") != "environment":
            self._fail(f"{what!r} failed with {content.get('message')}\n{content.get('traceback', '')}")
        self._ended = str(content.get("message"))
        text = self._log_end()
        self._release()
        raise ValueError(
            f"isaac_python: expected an interpreter with isaacgym and numpy, found {self._python}: {self._ended}{text}"
        )

    def _fail(self, reason: str) -> None:
        self._ended = reason
        text = self._log_end()
        self._release()
        raise WorkerFailure(f"the Isaac Gym worker ({self._python}) was ended: {reason}{text}")

    def _ending(self) -> str:
        for _ in range(50):
            # looked at, not taken: until `_release` the number of the process stays its own
            status = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if status is not None:
                if status.si_code == os.CLD_EXITED:
                    return f"with exit status {status.si_status}"
                return f"by signal {status.si_status} ({signal.Signals(status.si_status).name})"
            time.sleep(0.1)
        return "by closing its pipe"

    def _log_end(self) -> str:
        lines = os.pread(self._log.fileno(), 1 << 16, max(0, os.fstat(self._log.fileno()).st_size - (1 << 16)))
        tail = lines.decode(errors="replace").splitlines()[-LOG_LINES:]
        return "\nThe end of its output:\n  " + "\n  ".join(tail) if tail else ""


def _release(owner: int, process: subprocess.Popen[bytes], fds: Sequence[int], log: IO[bytes]) -> None:
    """Kill the worker's group, which its guardian is in, and close what we hold; a fork of the owner leaves it alone."""
    if os.getpid() != owner:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # before it is waited for: its number cannot be another's yet
    process.wait()
    for fd in fds:
        os.close(fd)
    log.close()
