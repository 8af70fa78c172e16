"""The emulator in a thread or in a separate process, and a minimal client that speaks the protocol byte by byte."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors

from fluxport_emulator.server import EmulatorOptions, serve
from fluxport_emulator.tables import SampleColumn, SampleTable

USER = PASSWORD = "fluxport"
CLIENTS = Path(__file__).parent / "emulator_clients"

KINDS = SampleTable(
    "kinds",
    (
        SampleColumn("id", "int", nullable=False, key=True),
        SampleColumn("tiny", "tinyint"),
        SampleColumn("flag", "tinyint(1)"),
        SampleColumn("small", "smallint unsigned"),
        SampleColumn("big", "bigint"),
        SampleColumn("ubig", "bigint unsigned"),
        SampleColumn("ratio", "float"),
        SampleColumn("score", "double"),
        SampleColumn("price", "decimal(30,4)"),
        SampleColumn("day", "date"),
        SampleColumn("moment", "datetime"),
        SampleColumn("moment_ms", "datetime(3)"),
        SampleColumn("moment_us", "datetime(6)"),
        SampleColumn("clock", "time"),
        SampleColumn("clock_us", "time(6)"),
        SampleColumn("born", "year"),
        SampleColumn("word", "varchar(20)"),
        SampleColumn("story", "longtext"),
        SampleColumn("raw", "blob"),
        SampleColumn("doc", "json"),
    ),
    """
    SELECT * FROM (VALUES
      (1, -128, true, 65535, -9223372036854775808, 18446744073709551615, 0.1::FLOAT, 0.1::DOUBLE,
       '12345678901234567890123456.7891'::DECIMAL(30,4), DATE '2024-02-29', TIMESTAMP '1999-12-31 23:59:59',
       TIMESTAMP '2024-01-02 03:04:05.678', TIMESTAMP '9999-12-31 23:59:59.999999', TIME '23:59:59',
       TIME '01:02:03.000004', 1901, 'snow ☃', repeat('x', 70000), '\\x00\\xFF\\x27'::BLOB, '{"a": [1, null]}'),
      (2, 127, false, 0, 9223372036854775807, 0, -3.4e38::FLOAT, 1e300, '-0.0001'::DECIMAL(30,4), DATE '1000-01-01',
       TIMESTAMP '1969-12-31 00:00:00', TIMESTAMP '2024-01-02 03:04:05', TIMESTAMP '1000-01-01 00:00:00.000001',
       TIME '00:00:00', TIME '00:00:00', 2155, '', repeat('é', 200), '\\x00'::BLOB, '"text"'),
      (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL)
    ) AS v(id, tiny, flag, small, big, ubig, ratio, score, price, day, moment, moment_ms, moment_us, clock, clock_us,
           born, word, story, raw, doc)""",
    rows=3,
)


@dataclass(frozen=True)
class Running:
    port: int

    def connect(self, **options: Any) -> pymysql.Connection[pymysql.cursors.Cursor]:
        settings = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": PASSWORD, "database": "app"}
        return pymysql.connect(**(settings | options))

    def rows(self, sql: str, **options: Any) -> tuple[tuple[Any, ...], ...]:
        with self.connect(**options) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return tuple(cursor.fetchall())


class _Faults(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@contextmanager
def emulator(**options: Any) -> Iterator[Running]:
    """An emulator in a thread; it must end when cancelled and have no internal error."""
    settings = EmulatorOptions(**({"port": 0, "rows": 1} | options))
    log = logging.getLogger("fluxport_emulator")
    watch = _Faults(logging.ERROR)
    log.addHandler(watch)
    port: list[int] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()

    def started(number: int) -> None:
        port.append(number)
        ready.set()

    serving = loop.create_task(serve(settings, started))
    serving.add_done_callback(lambda _: ready.set())

    def work() -> None:
        loop.run_until_complete(asyncio.wait([serving]))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        ready.wait(60)
        assert port, serving
        yield Running(port[0])
    finally:
        if not serving.done():
            loop.call_soon_threadsafe(serving.cancel)
        thread.join(20)
        log.removeHandler(watch)
    assert not thread.is_alive()
    assert not watch.messages, watch.messages


@dataclass(frozen=True)
class RunningProcess(Running):
    process: subprocess.Popen[str]

    def memory_bytes(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


_PROGRAM = """
import json, sys
from fluxport_emulator.server import EmulatorOptions, run
run(EmulatorOptions(**json.loads(sys.argv[1])), lambda port: print(port, flush=True))
"""


@contextmanager
def emulator_process(**options: Any) -> Iterator[RunningProcess]:
    """An emulator as the command line runs it; it must end by SIGTERM without output."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps({"port": 0} | options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield RunningProcess(int(line), process)
    finally:
        process.terminate()
        said = process.communicate(timeout=20)[1]
    assert process.returncode == 0, said
    assert not said, said


def login_response(proof: bytes, *, plugin: bytes = b"mysql_native_password", database: bytes = b"app") -> bytes:
    head = struct.pack("<IIB23x", 0x8 | 0x200 | 0x8000 | 0x80000, 1 << 24, 45)
    return head + USER.encode() + b"\0" + bytes((len(proof),)) + proof + database + b"\0" + plugin + b"\0"


class Bare:
    """A client that sends exactly the given bytes; ``receive`` returns the payload of one packet."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sequence = 0

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def receive(self) -> bytes:
        header = self._exactly(4)
        self.sequence = (header[3] + 1) & 0xFF
        return self._exactly(int.from_bytes(header[:3], "little"))

    def send(self, payload: bytes) -> None:
        self.socket.sendall(len(payload).to_bytes(3, "little") + bytes((self.sequence,)) + payload)

    def command(self, payload: bytes) -> None:
        self.sequence = 0
        self.send(payload)

    def log_in(self, database: bytes = b"app") -> None:
        """By mysql_native_password, without TLS and with the EOF packets of old."""
        greeting = self.receive()
        at = greeting.index(b"\0") + 5
        salt = greeting[at : at + 8] + greeting[at + 27 : at + 39]
        once = hashlib.sha1(PASSWORD.encode()).digest()
        mask = hashlib.sha1(salt + hashlib.sha1(once).digest()).digest()
        proof = bytes(a ^ b for a, b in zip(once, mask, strict=True))
        self.send(login_response(proof, database=database))
        assert self.receive()[0] == 0

    def ended(self) -> bool:
        """Whether the server has closed the connection (waits for it)."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True
