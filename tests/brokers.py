"""Brokers of the tests' own, on free ports, gone afterwards."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from services import require_program


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def listening(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, f"{command[0]} ended"
            assert time.monotonic() < deadline, f"{command[0]} does not listen"
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def nats_server(folder: Path, port: int | None = None) -> Iterator[str]:
    port = port or free_port()
    program = require_program("nats-server", "/usr/sbin/nats-server")
    with listening([program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / "jetstream")], port):
        yield f"nats://127.0.0.1:{port}"


@contextlib.contextmanager
def mosquitto(folder: Path, *lines: str, port: int | None = None) -> Iterator[str]:
    """``lines`` are more of its settings; without any its queues have no limit."""
    port = port or free_port()
    program = require_program("mosquitto", "/usr/sbin/mosquitto")
    settings = folder / "mosquitto.conf"
    more = "\n".join(lines or ("max_queued_messages 0",))
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nsys_interval 1\n{more}\n")
    with listening([program, "-c", str(settings)], port):
        yield f"mqtt://127.0.0.1:{port}"
