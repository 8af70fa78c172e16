"""Limits of connections that send no complete request, tested by plain sockets."""

from __future__ import annotations

import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fluxport.samples import create_sample
from service_support import Client, service

HEAD = b"GET /health/live HTTP/1.1\r\nHost: a\r\n"
SLOW = 300


def database(folder: Path) -> str:
    create_sample(folder / "rows.db", 50, ("ann",))
    return f"sqlite:///{folder / 'rows.db'}"


@pytest.fixture
def sockets(client: Client) -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("connections")
    settings = {"FLUXPORT_SERVER__HEADER_TIMEOUT_S": "3"}
    with service(folder, database(folder), "--no-worker", **settings) as running:
        yield running


def connected(client: Client, sockets: contextlib.ExitStack) -> socket.socket:
    return sockets.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=60))


def said(connection: socket.socket) -> bytes:
    """Everything received until the service closes the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            found += part
    return found


def test_heads_that_do_not_end_are_closed_and_others_are_answered_meanwhile(
    client: Client, sockets: contextlib.ExitStack
) -> None:
    slow = [connected(client, sockets) for _ in range(SLOW)]
    for number, connection in enumerate(slow):
        connection.sendall((b"", b"G", HEAD, HEAD + b"X-A: " + b"a" * 1000)[number % 4])
    assert httpx.get(client.base + "/health/live", timeout=60).status_code == 200
    assert {said(connection) for connection in slow} == {b""}


def test_more_of_a_head_gives_no_more_time(client: Client, sockets: contextlib.ExitStack) -> None:
    connection = connected(client, sockets)
    connection.sendall(HEAD)
    connection.settimeout(0.2)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for _ in range(300):  # a minute, unless it is closed
            connection.sendall(b"X-A: a\r\n")
            with contextlib.suppress(TimeoutError):
                assert connection.recv(1) == b""
                return
        pytest.fail("the connection was never closed")


def test_a_body_that_pauses_is_closed(client: Client, sockets: contextlib.ExitStack) -> None:
    connection = connected(client, sockets)
    connection.sendall(b"POST /session HTTP/1.1\r\nHost: a\r\nX-Requested-With: fluxport\r\nContent-Length: 9\r\n\r\n{")
    assert b"200" not in said(connection)


def test_a_connection_is_used_again_after_each_answer(client: Client, sockets: contextlib.ExitStack) -> None:
    connection = connected(client, sockets)
    for _ in range(3):
        connection.sendall(HEAD + b"\r\n")
        answer = b""
        while not answer.endswith(b'{"status":"ok"}'):
            answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
    connection.sendall(HEAD)  # of the next one, only this
    assert said(connection) == b""


@pytest.mark.parametrize(
    "head",
    [
        b"POST /session HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /session HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"POST /session HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /session HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n{}{}{",
        b"POST /session HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_body_of_two_lengths_is_refused_and_its_connection_closed(
    client: Client, sockets: contextlib.ExitStack, head: bytes
) -> None:
    connection = connected(client, sockets)
    connection.sendall(head + HEAD + b"\r\n")
    answer = said(connection)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert answer.count(b"HTTP/1.1 ") == 1, "what stands behind it is no request"


def test_an_address_has_a_limit_of_connections_and_closed_ones_are_free_again(tmp_path: Path) -> None:
    settings = {"FLUXPORT_SERVER__CONNECTIONS_PER_ADDRESS": "20", "FLUXPORT_SERVER__HEADER_TIMEOUT_S": "300"}
    with service(tmp_path, database(tmp_path), "--no-worker", **settings) as client, contextlib.ExitStack() as sockets:
        first = [connected(client, sockets) for _ in range(20)]
        for connection in first:
            connection.sendall(HEAD)
        assert {said(connected(client, sockets)) for _ in range(10)} == {b""}
        for connection in first:
            connection.sendall(b"Connection: close\r\n\r\n")
            assert said(connection).startswith(b"HTTP/1.1 200")
        assert httpx.get(client.base + "/health/live", timeout=60).status_code == 200


def test_files_of_the_service_are_for_its_own_account_alone(tmp_path: Path) -> None:
    with service(tmp_path, database(tmp_path), FLUXPORT_SERIES__PATH="series.db") as client:
        client.post("/v1/exports", {"source": {"query": "SELECT id FROM trades"}})
        client.post("/v1/sensors/A/points", {"timestamp_ms": 1, "value": 1})
        found = {
            path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.db*") if "rows" not in path.name
        }
    found.pop("rows.db", None)
    assert {"fluxport.db", "fluxport.db-wal", "fluxport.db-shm", "fluxport.db.signatures", "series.db"} <= set(found)
    assert set(found.values()) == {0o600}, found
