"""Clients that read their file slowly, or not at all, beside a fast one."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
# Less than that, and more than any buffer: what the spool takes.
MUCH = {"source": {"query": "SELECT a.id, b.name, b.email FROM users a CROSS JOIN users b WHERE a.id <= 50"}}
ROOM = {"FLUXPORT_LIMITS__ACTIVE_MAX": "50", "FLUXPORT_CONNECTIONS__MAIN__QUERIES_MAX": "20"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("emulator"), ROWS) as url:
        yield url


@contextmanager
def stream(client: Client, request: object = ENDLESS) -> Iterator[tuple[socket.socket, str]]:
    """A connection that has requested a stream and read the head of the response, and the export's id."""
    body = json.dumps(request).encode()
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
    """The number of running queries in the emulator."""
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


def rest_of(connection: socket.socket) -> tuple[bytes, bool]:
    """The rest of a response in chunks, read quickly, and whether it was complete."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    answer = http.client.HTTPResponse(connection)
    answer.fp = connection.makefile("rb")
    answer.chunked, answer.chunk_left, answer.will_close, answer.length = True, None, False, None
    try:
        return answer.read(), True
    except http.client.IncompleteRead as error:
        return error.partial, False
    except ConnectionError:
        return b"", False


def test_a_slow_reader_does_not_block_the_database_for_others(tmp_path: Path, database: str) -> None:
    """Three use all the queries of the connection; what they do not read is spooled to disk and is complete in the
    end."""
    disk = tmp_path / "disk"
    disk.mkdir()
    environ = {"FLUXPORT_SERVER__SPOOL__PATH": str(disk)}
    environ["FLUXPORT_SERVER__SEND_TIMEOUT_S"] = "600"  # those who do not read wait as long as the others take
    with service(tmp_path, database, **environ) as client, ExitStack() as opened:
        whole = client.post("/v1/stream", MUCH).content
        before = memory_kb(client.pid)
        slow = [opened.enter_context(stream(client, MUCH)) for _ in range(3)]
        for _ in range(5):
            assert client.post("/v1/stream", ALL).status_code == 200
        assert wait_until(lambda: queries(database) == 0)
        assert list(disk.iterdir()) == []
        assert f"{disk}/" in open_files(client.pid)
        assert memory_kb(client.pid) - before < 60_000
        for connection, export in slow:
            assert client.get(f"/v1/exports/{export}").json()["status"] == "running"
            assert rest_of(connection) == (whole, True)
            assert wait_until(lambda export=export: client.get(f"/v1/exports/{export}").json()["status"] == "completed")
            reported = client.get(f"/v1/exports/{export}").json()
            assert reported["files"][0]["sha256"] == hashlib.sha256(whole).hexdigest()


def open_files(pid: int) -> str:
    return " ".join(os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink())


def test_past_the_disks_bound_a_slow_reader_is_cut_off_while_others_wait(tmp_path: Path, database: str) -> None:
    settings = {"FLUXPORT_SERVER__SPOOL__BYTES_MAX": "1000000", "FLUXPORT_SERVER__SEND_TIMEOUT_S": "600"}
    with service(tmp_path, database, **settings) as client, ExitStack() as opened:
        slow = {export: taken for taken, export in (opened.enter_context(stream(client)) for _ in range(3))}
        assert client.post("/v1/stream", ALL).status_code == 200
        assert wait_until(lambda: ended(client, slow))
        reported = ended(client, slow)
        assert set(reported.values()) == {"client_slow"}
        _, complete = rest_of(slow[next(iter(reported))])
        assert not complete


def ended(client: Client, exports: Iterable[str]) -> dict[str, str]:
    """The error codes of ended exports, by id."""
    errors = {export: client.get(f"/v1/exports/{export}").json()["error"] for export in exports}
    return {export: error["code"] for export, error in errors.items() if error}


def test_a_reader_who_leaves_gives_its_part_of_the_disk_back(tmp_path: Path, database: str) -> None:
    """One response fills the spool; the next one has space."""
    settings = {"FLUXPORT_SERVER__SPOOL__ALL_BYTES_MAX": "60000000", "FLUXPORT_CONNECTIONS__MAIN__QUERIES_MAX": "1"}
    with service(tmp_path, database, **settings) as client:
        for _ in range(3):
            with stream(client, MUCH) as (_, export):
                assert client.post("/v1/stream", ALL).status_code == 200
            assert wait_until(lambda export=export: client.get(f"/v1/exports/{export}").json()["status"] == "failed")
            assert client.get(f"/v1/exports/{export}").json()["error"]["code"] == "client_gone"


def test_many_waiting_callers_do_not_block_running_exports(tmp_path: Path, database: str) -> None:
    """More callers wait for a connection than there are threads, and a query runs all the same."""
    settings = {"FLUXPORT_CONNECTIONS__MAIN__QUERIES_MAX": "1", "FLUXPORT_LIMITS__REQUESTS_PER_MINUTE": "10000"}
    with service(tmp_path, database, **settings) as client, ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/stream", ALL), range(100)))
        wrong = [answer.text for answer in answers if answer.status_code != 200]
        assert not wrong, wrong[:2]
        assert len({answer.content for answer in answers}) == 1
