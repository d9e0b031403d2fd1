"""An S3-compatible server for tests (moto), and a connection to it that can be cut; both are real processes and sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

from local_port import free_port, wait_for

KEY, SECRET = "AKMADEUPKEY0", "made-up-secret-of-the-tests"


@contextlib.contextmanager
def s3_server(**environment: str) -> Iterator[str]:
    """`host:port` of a server of its own, which forgets everything when the block ends."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def make_bucket(server: str, name: str) -> None:
    """Make a bucket."""
    from pyarrow import fs

    files, _ = fs.FileSystem.from_uri(f"s3://{name}?endpoint_override={server}&scheme=http&allow_bucket_creation=true")
    files.create_dir(name)


def address(server: str, path: str) -> str:
    """Address of a folder of a bucket."""
    return f"s3://{path}?endpoint_override={server}&scheme=http"


def objects(server: str, path: str) -> dict[str, bytes]:
    """Everything under a folder of a bucket, by name from there."""
    from pyarrow import fs

    files, root = fs.FileSystem.from_uri(address(server, path))
    found = files.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    names = [item.path for item in found if item.type == fs.FileType.File]
    return {name[len(root) + 1 :]: files.open_input_stream(name).read() for name in names}


class Wire:
    """A way to a server, cut once: `on_cut` is called and open connections are dropped; later ones pass.

    Args:
        server: Where bytes go.
        after: Bytes that the clients may send in all.
        before: Text that the cut keeps back, such as a request for an object.
        on_cut: Called once, before the connections are dropped.
    """

    def __init__(
        self,
        server: str,
        *,
        after: int = 1 << 40,
        before: bytes = b"\0none",
        on_cut: Callable[[], object] = lambda: None,
    ) -> None:
        host, _, port = server.partition(":")
        self._server, self._after, self._before, self._on_cut = (host, int(port)), after, before, on_cut
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.server = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = 0
        self.is_cut = False
        self._uncut: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                with self._lock:
                    self._uncut.add(client)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(4096):
                with self._lock:
                    let = data if self.is_cut else data[: self._after - self.sent].partition(self._before)[0]
                    self.sent += len(let)
                    if len(let) < len(data):
                        self.is_cut = True
                        self._on_cut()
                        self._uncut.clear()
                    if client not in self._uncut:
                        break
                server.sendall(let)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the other thread, where closing alone would not
            end.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the other thread, where closing alone would not
            end.close()
