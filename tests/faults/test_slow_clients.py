"""Clients that take their file slowly, or not at all, beside one that does not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pymysql
import pytest

from mysql_support import wait_until
from service_support import Client, emulator, service

ROWS = 20_000
ALL = {"source": {"query": "SELECT * FROM users"}}
# So much that no buffer between the database and the client holds it.
ENDLESS = {"source": {"query": "SELECT a.id, b.name, b.email FROM users a CROSS JOIN users b"}}
ROOM = {"FLUXPORT_LIMITS__ACTIVE_MAX": "50", "FLUXPORT_CONNECTIONS__MAIN__QUERIES_MAX": "20"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("emulator"), ROWS) as url:
        yield url


@contextmanager
def stream(client: Client) -> Iterator[tuple[socket.socket, str]]:
    """A connection that has asked for ENDLESS and read the head of the answer, and the export's id."""
    body = json.dumps(ENDLESS).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", client.port))
        headers = client.headers("POST", "/v1/stream", body) | {"Host": "x", "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(f"POST /v1/stream HTTP/1.1\r\n{lines}\r\n".encode() + body)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 200"), head
        yield connection, head.lower().split(b"x-export-id: ")[1].split(b"\r\n")[0].decode()


def queries(url: str) -> int:
    """How many are at work in the emulator."""
    port = int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
    with pymysql.connect(host="127.0.0.1", port=port, user="fluxport", password="fluxport") as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW PROCESSLIST")
        return sum("CROSS JOIN" in str(row) for row in cursor.fetchall())


def memory_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def test_a_client_that_takes_nothing_is_cut_off_and_its_query_ended(tmp_path: Path, database: str) -> None:
    with service(tmp_path, database, FLUXPORT_SERVER__SEND_TIMEOUT_S="1") as client, stream(client) as (_, export_id):
        assert wait_until(lambda: client.get(f"/v1/exports/{export_id}").json()["status"] == "failed", 30)
        assert client.get(f"/v1/exports/{export_id}").json()["error"]["code"] == "client_stalled"
        assert wait_until(lambda: queries(database) == 0)


def test_a_client_that_takes_little_at_a_time_is_served(tmp_path: Path, database: str) -> None:
    """What a chunk of a MiB and the kernel's buffers hold may take longer than a send may; a part of it does not."""
    with service(tmp_path, database, FLUXPORT_SERVER__SEND_TIMEOUT_S="1") as client, stream(client) as (taken, export):
        pause = threading.Event()
        for _ in range(30):
            left = 40_000
            while left:
                got = taken.recv(left)
                assert got
                left -= len(got)
            pause.wait(0.2)
        assert client.get(f"/v1/exports/{export}").json()["status"] == "running"


def test_slow_clients_cost_others_nothing(tmp_path: Path, database: str) -> None:
    with service(tmp_path, database, **ROOM) as client, ExitStack() as opened:
        alone = client.post("/v1/stream", ALL).content
        before = memory_kb(client.pid)
        slow = [opened.enter_context(stream(client))[0] for _ in range(10)]
        over = threading.Event()

        def sip() -> None:
            while not over.wait(1.0):
                for connection in slow:
                    connection.recv(1024)

        sipping = threading.Thread(target=sip)
        sipping.start()
        try:
            for _ in range(3):
                assert client.post("/v1/stream", ALL).content == alone
            assert memory_kb(client.pid) - before < 10 * 20_000
        finally:
            over.set()
            sipping.join()
