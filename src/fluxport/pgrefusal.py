"""Why a server refused a connection: libpq keeps the SQLSTATE to itself and has but words, in the server's language.

So the server is asked once more with the first packet of the protocol alone, without a password. What it refuses before
it wants one (no such user here, no free connection) or where it wants none, it tells by its SQLSTATE.
https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import socket
import struct
from typing import BinaryIO

PROTOCOL_3 = 196_608
MESSAGE_MAX = 1 << 16


def refusal_state(host: str, port: int, user: bytes, database: bytes, wait_s: float) -> str | None:
    """The SQLSTATE of the refusal; None if the server asks for a password or lets in.

    OSError if it is gone or is no PostgreSQL.
    """
    with _connected(host, port, wait_s) as sock, sock.makefile("rb") as answers:
        body = struct.pack("!I", PROTOCOL_3) + b"user\0" + user + b"\0database\0" + database + b"\0\0"
        sock.sendall(struct.pack("!I", len(body) + 4) + body)
        while True:
            kind, content = _message(answers)
            if kind == b"E":
                fields = {field[:1]: field[1:] for field in content.split(b"\0") if field}
                return fields.get(b"C", b"").decode("ascii", "replace")
            if kind == b"Z" or (kind == b"R" and content != b"\0\0\0\0"):
                return None


def _connected(host: str, port: int, wait_s: float) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), wait_s)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(wait_s)
        sock.connect(f"{host}/.s.PGSQL.{port}")
    except OSError:
        sock.close()
        raise
    return sock


def _message(answers: BinaryIO) -> tuple[bytes, bytes]:
    head = answers.read(5)
    size = int.from_bytes(head[1:], "big") - 4
    if len(head) < 5 or not 0 <= size <= MESSAGE_MAX:
        raise ConnectionError("no message of the protocol")
    return head[:1], answers.read(size)
