"""Ports of this machine for servers that tests start."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Until the server that the process is, or starts, listens; the test's own limit of time ends the waiting."""
    while True:
        assert process.poll() is None, f"the server ended before it listened on port {port}"
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
