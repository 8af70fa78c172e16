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

from fluxport.testing.sources import wait_until
from own_servers import free_port
from service_support import Client, process


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


@pytest.mark.parametrize("port", [9090, 50051])
def test_a_port_that_was_chosen_for_http_is_no_port_of_grpc(tmp_path: Path, port: int) -> None:
    """Though both are usual ports of gRPC."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            pytest.skip(f"another program listens on port {port}")
        held.close()
        held.enter_context(process("demo", "--rows", "10", "--port", str(port), folder=tmp_path, until="Press Ctrl-C"))
        text = output(tmp_path)
        [addresses] = re.findall(r"gRPC +(.+?) +\(", text)
        assert str(port) not in re.findall(r":(\d+)", addresses)
        assert (f"port {port} is in use; gRPC takes a free one" in text) is (port == 9090)
        assert httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200


def test_the_environment_changes_neither_service_nor_worker(tmp_path: Path) -> None:
    """Nor does a file of variables in the folder in which the demo starts."""
    nowhere = "mysql://nobody@127.0.0.1:1/nothing"
    (tmp_path / ".env").write_text(f"MYSQL_DSN={nowhere}\nLOCAL_STORAGE_PATH=/proc/exports\n")
    environ = {"MYSQL_DSN": nowhere, "FLUXPORT_CONNECTIONS__MAIN__URL": nowhere, "STORAGE_TYPE": "s4"}
    words = ("demo", "--rows", "10", "--port", str(free_port()))
    with process(*words, folder=tmp_path, environ=environ, until="Press Ctrl-C") as (started, _):
        client = Client(f"http://127.0.0.1:{words[-1]}", started.pid, secret="devsecret")
        query = {"source": {"query": "SELECT id FROM users"}, "format": "csv"}
        place = f"/v1/exports/{client.post('/v1/exports', query).json()['id']}"
        wait_until(lambda: client.get(place).json()["status"] not in ("queued", "running"))
        done = client.get(place).json()
        assert (done["status"], done.get("rows")) == ("completed", 10), done


def test_a_chosen_port_that_is_in_use_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "fluxport", "demo", "--port", port]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    expected = f"Cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port."
    assert done.stderr.strip() == f"fluxport: {expected}"
    assert done.stdout == ""
