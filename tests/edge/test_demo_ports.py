"""``fluxport demo`` where its usual ports are in use."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from own_servers import free_port
from service_support import process


@contextlib.contextmanager
def in_use(*ports: int) -> Iterator[None]:
    """While these ports are in use, by this test or by another program that has them already."""
    with contextlib.ExitStack() as held:
        for port in ports:
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


def output(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("demo-*.log"))


@pytest.mark.parametrize("chosen", [True, False], ids=["with --port", "without"])
def test_ports_that_were_not_chosen_and_are_in_use_become_free_ones(tmp_path: Path, chosen: bool) -> None:
    words = ["--port", str(free_port())] if chosen else []
    with in_use(9090, 8080):
        with process("demo", "--rows", "10", *words, folder=tmp_path, until="Press Ctrl-C"):
            text = output(tmp_path)
            assert "port 9090 is in use; gRPC takes a free one" in text
            assert ("port 8080 is in use; HTTP takes a free one" in text) is not chosen
            pages, pushes = re.search(r"service +http://127.0.0.1:(\d+)", text), re.search(r"gRPC +\S+:(\d+)", text)
            assert pages
            assert pushes
            assert pushes[1] != "9090"
            assert pages[1] == words[1] if chosen else pages[1] != "8080"
            assert httpx.get(f"http://127.0.0.1:{pages[1]}/health/live").status_code == 200
            socket.create_connection(("127.0.0.1", int(pushes[1])), timeout=10).close()


def test_a_chosen_port_that_is_in_use_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "fluxport", "demo", "--port", port]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    expected = f"Cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port."
    assert done.stderr.strip() == f"fluxport: {expected}"
    assert done.stdout == ""
