"""Private servers on free ports of 127.0.0.1: programs, and HTTP handlers in a thread."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

STARTS_S = 60


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    with contextlib.ExitStack() as held:
        return [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def free_port() -> int:
    return free_ports(1)[0]


@contextlib.contextmanager
def listening(command: Sequence[str], port: int, folder: Path | None = None, **account: Any) -> Iterator[None]:
    """While ``command``, started in ``folder`` (and as ``user`` of the account), listens on the port."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **account)
        try:
            if not listens(port, [process]):
                log.seek(0)
                raise AssertionError(f"{command[0]} does not listen on {port}:\n{log.read()}")
            yield
        finally:
            process.terminate()
            process.wait(20)


def listens(port: int, processes: Sequence[subprocess.Popen[Any]]) -> bool:
    """Whether the port accepts connections within a minute, while all the processes run."""
    deadline = time.monotonic() + STARTS_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        if any(process.poll() is not None for process in processes) or time.monotonic() > deadline:
            return False
        time.sleep(0.02)


@contextlib.contextmanager
def http_server(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server of this handler, each request in its own thread; with TLS if there is a context."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)  # looks for shutdown()
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
