"""Private brokers on free ports, removed afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from own_servers import free_port, listening
from services import require_program


@contextlib.contextmanager
def nats_server(folder: Path, port: int | None = None, settings: str = "") -> Iterator[str]:
    """``settings`` are the content of its configuration file."""
    port = port or free_port()
    configuration = folder / "nats.conf"
    configuration.write_text(settings)
    program = require_program("nats-server", "/usr/sbin/nats-server")
    with listening(
        [
            program,
            "-a",
            "127.0.0.1",
            "-p",
            str(port),
            "-js",
            "-sd",
            str(folder / "jetstream"),
            "-c",
            str(configuration),
        ],
        port,
    ):
        yield f"nats://127.0.0.1:{port}"


@contextlib.contextmanager
def mosquitto(folder: Path, *lines: str, port: int | None = None) -> Iterator[str]:
    """``lines`` are further settings; by default its queues have no limit."""
    port = port or free_port()
    program = require_program("mosquitto", "/usr/sbin/mosquitto")
    settings = folder / "mosquitto.conf"
    more = "\n".join(lines or ("max_queued_messages 0",))
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nsys_interval 1\n{more}\n")
    with listening([program, "-c", str(settings)], port):
        yield f"mqtt://127.0.0.1:{port}"
