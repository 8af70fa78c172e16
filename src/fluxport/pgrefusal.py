"""The SQLSTATE of a refused connection. libpq does not expose it, only a message in the server's language.

So this module sends the protocol's startup message once more, without a password. The server responds with the SQLSTATE
if it refuses before authentication (unknown user, no free connection), or if none is required:

    -> | length | 3.0 | "user" 0 NAME 0 "database" 0 NAME 0 0 |
    <- | 'E' | length | 'S' severity 0 'C' SQLSTATE 0 ... 0 |      refused
    <- | 'R' | length | 0 = ok, else a password is requested |

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import socket
import struct
from typing import BinaryIO

PROTOCOL_3 = 196_608
_UNIX = getattr(socket, "AF_UNIX", None)  # Windows has none
MESSAGE_MAX = 1 << 16


def refusal_state(host: str, port: int, user: bytes, database: bytes, wait_s: float) -> str | None:
    """The SQLSTATE of the refusal; None if the server requests a password or accepts the connection.

    OSError if the server is unreachable or is not PostgreSQL.
    """
    with _connected(host, port, wait_s) as sock, sock.makefile("rb") as responses:
        body = struct.pack("!I", PROTOCOL_3) + b"user\0" + user + b"\0database\0" + database + b"\0\0"
        sock.sendall(struct.pack("!I", len(body) + 4) + body)
        while True:
            kind, content = _message(responses)
            if kind == b"E":
                fields = {field[:1]: field[1:] for field in content.split(b"\0") if field}
                return fields.get(b"C", b"").decode("ascii", "replace")
            if kind == b"Z" or (kind == b"R" and content != b"\0\0\0\0"):
                return None


def _connected(host: str, port: int, wait_s: float) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), wait_s)
    if _UNIX is None:
        raise ConnectionError("this system has no Unix sockets")
    sock = socket.socket(_UNIX)
    try:
        sock.settimeout(wait_s)
        sock.connect(f"{host}/.s.PGSQL.{port}")
    except OSError:
        sock.close()
        raise
    return sock


def _message(responses: BinaryIO) -> tuple[bytes, bytes]:
    head = responses.read(5)
    size = int.from_bytes(head[1:], "big") - 4
    if len(head) < 5 or not 0 <= size <= MESSAGE_MAX:
        raise ConnectionError("not a message of the PostgreSQL protocol")
    return head[:1], responses.read(size)
